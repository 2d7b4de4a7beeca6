#include "compressor/training/coded_export.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "compressor/graph/graph_index.h"
#include "compressor/graph/simplify.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using quantizer::Codebook;
using quantizer::CodedModel;
using quantizer::CodedTensor;
using quantizer::TensorMethod;
using torch::Tensor;

constexpr uint64_t kInlineBytes = 40;
constexpr float kSmallTensorStep = 1.0f / 16;  // in units of its root mean square: 35 dB
constexpr double kScaleTolerance = 5e-3;       // relative, of what a scale for each channel explains

// The factor of each channel that turns `from` into `to`, both rows x columns or columns x rows; empty if there is
// none.
std::vector<float> channel_factors(std::span<const float> from, std::span<const float> to, size_t channels,
                                   size_t inner) {
  std::vector<double> product(channels, 0.0), power(channels, 0.0);
  for (size_t e = 0; e < from.size(); ++e) {
    const size_t c = e / inner % channels;
    product[c] += static_cast<double>(from[e]) * to[e];
    power[c] += static_cast<double>(from[e]) * from[e];
  }
  std::vector<float> factors(channels);
  for (size_t c = 0; c < channels; ++c) factors[c] = power[c] > 0 ? static_cast<float>(product[c] / power[c]) : 0;
  double error = 0, signal = 0;
  for (size_t e = 0; e < from.size(); ++e) {
    const double difference = static_cast<double>(to[e]) - static_cast<double>(factors[e / inner % channels]) * from[e];
    error += difference * difference;
    signal += static_cast<double>(to[e]) * to[e];
  }
  if (error > kScaleTolerance * kScaleTolerance * signal) return {};
  return factors;
}

Tensor as_rows(const Tensor& values, const Tensor& like) {
  std::vector<int64_t> dims(static_cast<size_t>(like.dim()), 1);
  dims[0] = values.numel();
  return values.view(dims);
}

}  // namespace

std::vector<NormalizedWeight> find_normalized_weights(const OnnxModel& model) {
  OnnxModel copy = model.clone();
  const graph::GraphIndex index(*copy.proto.mutable_graph());
  std::vector<NormalizedWeight> found;
  for (const onnx::NodeProto& norm : copy.proto.graph().node()) {
    if (!graph::is_op(norm, "BatchNormalization") || norm.input_size() != 5) continue;
    const onnx::NodeProto* conv = index.producer(norm.input(0));
    if (!conv || !graph::is_op(*conv, "Conv") || index.uses(norm.input(0)) != 1) continue;
    NormalizedWeight each{conv->input(1),
                          norm.input(1),
                          norm.input(3),
                          norm.input(4),
                          graph::has_input(*conv, 2) ? conv->input(2) : "",
                          graph::float_attribute(norm, "epsilon", 1e-5f)};
    const auto single = [&](const std::string& name) {
      return name.empty() || (index.initializer(name) != nullptr && index.uses(name) == 1);
    };
    if (single(each.weight) && single(each.scale) && single(each.mean) && single(each.variance) && single(each.bias)) {
      found.push_back(std::move(each));
    }
  }
  return found;
}

void make_positive(GraphModule& module, const std::vector<NormalizedWeight>& normalized) {
  torch::NoGradGuard no_grad;
  for (const NormalizedWeight& each : normalized) {
    Tensor& scale = module.parameters().at(each.scale);
    const Tensor sign = torch::where(scale < 0, -torch::ones_like(scale), torch::ones_like(scale));
    Tensor& weight = module.parameters().at(each.weight);
    scale.mul_(sign);
    weight.mul_(as_rows(sign, weight));
    module.buffers().at(each.mean).mul_(sign);
    if (!each.bias.empty()) module.parameters().at(each.bias).mul_(sign);
  }
}

void keep_positive(GraphModule& module, const std::vector<NormalizedWeight>& normalized) {
  torch::NoGradGuard no_grad;
  for (const NormalizedWeight& each : normalized) module.parameters().at(each.scale).clamp_min_(1e-4);
}

void snap_scales(GraphModule& module, const SoftToHard& quantizer, const std::vector<NormalizedWeight>& normalized) {
  torch::NoGradGuard no_grad;
  const auto hard = quantizer.harden(module.parameters());
  for (const NormalizedWeight& each : normalized) {
    const auto found = hard.find(each.weight);
    if (found == hard.end()) continue;
    Tensor& gamma = module.parameters().at(each.scale);
    const Tensor deviation = (module.buffers().at(each.variance) + each.epsilon).sqrt();
    const Tensor unit = found->second.scale.flatten().to(gamma.device()).expand_as(gamma) / deviation;
    const Tensor folded = (gamma * unit).to(torch::kCPU, torch::kFloat32).contiguous();
    const float largest = folded.max().item<float>();
    Tensor snapped = folded.clone();
    float* values = snapped.data_ptr<float>();
    for (int64_t c = 0; c < snapped.numel(); ++c) {
      values[c] = container::scale_from_code(largest, container::code_from_scale(largest, values[c]));
    }
    gamma.copy_(snapped.to(gamma.device()) / unit);
  }
}

CodedExport::CodedExport(const GraphModule& module, const SoftToHard& quantizer, entropy::Coder coder) {
  const auto hard = quantizer.harden(module.parameters());
  model_ = module.to_onnx(quantizer.hard_weights(module.parameters()));
  graph::simplify(model_);
  coded_ = std::make_unique<CodedModel>(model_);
  coded_->coder = coder;
  std::vector<std::vector<uint64_t>> counts;
  for (size_t scope = 0; scope < quantizer.scopes(); ++scope) {
    counts.emplace_back(quantizer.centers(scope).size() / static_cast<size_t>(quantizer.options().dimension));
  }
  for (const auto& [name, tensor] : hard) {
    for (const int64_t index : tensor.indices) ++counts[tensor.scope][static_cast<size_t>(index)];
  }
  // Centers in half precision, unused ones dropped. make_codebook sorts them, so each is found again by its value.
  for (size_t scope = 0; scope < counts.size(); ++scope) {
    std::vector<float> centers = quantizer.centers(scope);
    for (float& value : centers) value = container::float32_from_float16(container::float16_from_float32(value));
    const int d = quantizer.options().dimension;
    Codebook codebook = quantizer::make_codebook(d, centers, counts[scope]);
    std::vector<uint16_t> numbers(counts[scope].size(), 0);
    for (size_t j = 0; j < numbers.size(); ++j) {
      for (size_t k = 0; k < codebook.size(); ++k) {
        const std::span<const float> center = codebook.center(k);
        if (std::equal(center.begin(), center.end(), centers.begin() + static_cast<std::ptrdiff_t>(j) * d)) {
          numbers[j] = static_cast<uint16_t>(k);
        }
      }
    }
    coded_->codebooks.push_back(std::move(codebook));
    renumbered_.push_back(std::move(numbers));
  }
  for (size_t w = 0; w < model_.weights.size(); ++w) {
    const auto found = hard.find(model_.weights[w].name);
    found != hard.end() ? add_tensor(w, found->second) : add_small(w);
  }
}

void CodedExport::add_tensor(size_t w, const SoftToHard::HardTensor& hard) {
  const Weight& weight = model_.weights[w];
  const std::vector<float> values = read_float(weight);
  auto tensor = std::make_unique<CodedTensor>();
  tensor->weight = w;
  tensor->scope = hard.scope;
  tensor->codebook = coded_->codebooks[hard.scope];
  for (const int64_t index : hard.indices) {
    tensor->indices.push_back(renumbered_[hard.scope][static_cast<size_t>(index)]);
  }
  tensor->largest = 1;
  const std::vector<float> unit = tensor->dequantize(tensor->indices, values.size());
  const auto first = static_cast<size_t>(weight.dims.front()), last = static_cast<size_t>(weight.dims.back());
  std::vector<float> factors = channel_factors(unit, values, 1, values.size());
  if (factors.empty()) {
    tensor->scale_inner = values.size() / first;
    factors = channel_factors(unit, values, first, tensor->scale_inner);
  }
  if (factors.empty()) {
    tensor->scale_inner = 1;
    factors = channel_factors(unit, values, last, 1);
  }
  if (factors.empty() || *std::min_element(factors.begin(), factors.end()) < 0) {
    throw Error::make("{}: tensor '{}': no scale for each channel gives its values", model_.name, weight.name);
  }
  tensor->largest = std::max(*std::max_element(factors.begin(), factors.end()), std::numeric_limits<float>::min());
  if (factors.size() > 1) {
    for (const float factor : factors)
      tensor->scale_codes.push_back(container::code_from_scale(tensor->largest, factor));
  }
  coded_->methods[w] = TensorMethod::kCodebook;
  coded_->tensors.push_back(tensor.get());
  tensors_.push_back(std::move(tensor));
}

void CodedExport::add_small(size_t w) {
  const Weight& weight = model_.weights[w];
  if (weight.bytes() <= kInlineBytes) {
    coded_->methods[w] = TensorMethod::kInline;
    return;
  }
  if (!is_float_type(weight.dtype)) return;
  const std::vector<float> values = read_float(weight);
  double power = 0;
  for (const float value : values) power += static_cast<double>(value) * value;
  const double rms = std::sqrt(power / static_cast<double>(values.size()));
  if (!std::isfinite(rms) || rms < 1e-30) return;
  tensors_.push_back(
      std::make_unique<CodedTensor>(quantizer::round_to_grid(w, values, static_cast<float>(rms) * kSmallTensorStep)));
  coded_->methods[w] = TensorMethod::kGrid;
  coded_->tensors.push_back(tensors_.back().get());
}

}  // namespace quench::training
