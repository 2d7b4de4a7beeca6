#include "compressor/training/quantization/coded_export.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "compressor/compress/weight_use.h"
#include "compressor/graph/graph_index.h"
#include "compressor/graph/learned.h"
#include "compressor/graph/simplify.h"
#include "formats/base/float16.h"
#include "formats/operators/batch_normalization.h"

namespace quench::training {
namespace {

using quantizer::Codebook;
using quantizer::CodedModel;
using quantizer::CodedTensor;
using quantizer::TensorMethod;
using torch::Tensor;

// In units of a tensor's root mean square: 35 dB for small weights and biases; 71 dB for constants that are
// no weights, an anchor grid say.
constexpr float kSmallTensorStep = 1.0f / 16;
constexpr float kFineStep = 1.0f / 1024;
constexpr uint64_t kLargeElements = 1024;
constexpr double kScaleTolerance = 5e-3;  // relative, of what a scale for each channel explains

// The factor of each channel that turns `from` into `to`, where `inner` elements of a channel lie together; empty if
// there is none.
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

// What the codes of scales count from: of the eight numbers of three bits behind the leading one from the largest scale
// on, the one that gives the scales best, so that those which have been snapped to such a grid stay there.
float origin_of(std::span<const float> scales) {
  const float largest = *std::max_element(scales.begin(), scales.end());
  float best = quantizer::scale_origin(largest);
  double best_error = std::numeric_limits<double>::infinity();
  for (float origin = best; origin < 2 * largest; origin = quantizer::scale_origin(std::nextafter(origin, INFINITY))) {
    double error = 0;
    for (const float scale : scales) {
      if (scale <= 0) continue;
      const double coded = coded::scale_from_code(origin, coded::code_from_scale(origin, scale));
      error += (coded / scale - 1) * (coded / scale - 1);
    }
    if (error >= best_error) continue;
    best_error = error;
    best = origin;
  }
  return best;
}

Tensor along_axis(const Tensor& values, const Tensor& like, int64_t axis) {
  std::vector<int64_t> dims(static_cast<size_t>(like.dim()), 1);
  dims[static_cast<size_t>(axis)] = values.numel();
  return values.view(dims);
}

// The axis of a node's weight along which its output channels lie, if a BatchNormalization behind the node can be folded
// into weight and bias; else -1.
int64_t channel_axis(const onnx::NodeProto& node, const graph::GraphIndex& index) {
  const operators::Operator* op = graph::operator_of(node);
  if (!op || !op->is_linear() || op->bias_input() < 0) return -1;
  const onnx::TensorProto* weight = graph::has_input(node, 1) ? index.initializer(node.input(1)) : nullptr;
  if (!weight) return -1;
  const std::vector<int64_t> dims(weight->dims().begin(), weight->dims().end());
  return operators::channel_map(*op, graph::attributes_of(node), dims).axis;
}

// To what a file can hold of scales, with their signs.
void round_to_codes(std::vector<double>& scale) {
  std::vector<float> sizes;
  for (const double value : scale) sizes.push_back(static_cast<float>(std::abs(value)));
  const float largest = origin_of(sizes);
  for (size_t c = 0; c < scale.size(); ++c) {
    const uint8_t code = coded::code_from_scale(largest, sizes[c]);
    scale[c] = std::copysign(static_cast<double>(coded::scale_from_code(largest, code)), scale[c]);
  }
}

}  // namespace

std::vector<NormalizedWeight> find_normalized_weights(const OnnxModel& model) {
  OnnxModel copy = model.clone();
  const graph::GraphIndex index(*copy.proto.mutable_graph());
  std::vector<NormalizedWeight> found;
  for (const onnx::NodeProto& norm : copy.proto.graph().node()) {
    if (!graph::is_op(norm, "BatchNormalization") || norm.input_size() != 5) continue;
    const onnx::NodeProto* node = index.producer(norm.input(0));
    if (!node || channel_axis(*node, index) < 0 || index.uses(norm.input(0)) != 1) continue;
    NormalizedWeight each{node->input(1),
                          norm.input(1),
                          norm.input(3),
                          norm.input(4),
                          graph::has_input(*node, 2) ? node->input(2) : "",
                          operators::epsilon_of(graph::attributes_of(norm)),
                          channel_axis(*node, index)};
    const auto is_own = [&](const std::string& name) {
      return index.initializer(name) != nullptr && index.uses(name) == 1;
    };
    if (!is_own(each.weight) || !is_own(each.scale) || !is_own(each.mean) || !is_own(each.variance)) continue;
    const auto channels = [&](const std::string& name, int64_t axis) {
      const onnx::TensorProto& tensor = *index.initializer(name);
      return axis < tensor.dims_size() ? tensor.dims(static_cast<int>(axis)) : -1;
    };
    if (channels(each.weight, each.axis) != channels(each.scale, 0)) continue;
    if (!each.bias.empty() && (!is_own(each.bias) || channels(each.bias, 0) != channels(each.scale, 0))) continue;
    found.push_back(std::move(each));
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
    weight.mul_(along_axis(sign, weight, each.axis));
    module.buffers().at(each.mean).mul_(sign);
    if (!each.bias.empty()) module.parameters().at(each.bias).mul_(sign);
  }
}

void keep_positive(GraphModule& module, const std::vector<NormalizedWeight>& normalized) {
  torch::NoGradGuard no_grad;
  for (const NormalizedWeight& each : normalized) module.parameters().at(each.scale).clamp_min_(1e-4);
}

void snap_scales(GraphModule& module, const WeightBinding& quantizer, const std::vector<NormalizedWeight>& normalized) {
  torch::NoGradGuard no_grad;
  const auto hard = quantizer.harden(module.parameters());
  for (const NormalizedWeight& each : normalized) {
    const auto found = hard.find(each.weight);
    if (found == hard.end() || (each.axis != 0 && found->second.scale.numel() != 1)) continue;
    Tensor& gamma = module.parameters().at(each.scale);
    const Tensor deviation = (module.buffers().at(each.variance) + each.epsilon).sqrt();
    const Tensor unit = found->second.scale.flatten().to(gamma.device()).expand_as(gamma) / deviation;
    const Tensor folded = (gamma * unit).to(torch::kCPU, torch::kFloat32).contiguous();
    Tensor snapped = folded.clone();
    float* values = snapped.data_ptr<float>();
    const float largest = origin_of({values, static_cast<size_t>(snapped.numel())});
    for (int64_t c = 0; c < snapped.numel(); ++c) {
      values[c] = coded::scale_from_code(largest, coded::code_from_scale(largest, values[c]));
    }
    gamma.copy_(snapped.to(gamma.device()) / unit);
  }
}

uint64_t stored_weights(const OnnxModel& model) {
  OnnxModel copy = model.clone();
  graph::simplify(copy);
  return quantizer::real_weights(copy);
}

CodedExport::CodedExport(const GraphModule& module, const WeightBinding& quantizer,
                         const quantizer::StoragePolicy& policy, entropy::Coder coder,
                         const quantizer::FileNotes::Pairs& metadata) {
  const auto hard = quantizer.harden(module.parameters());
  model_ = module.to_onnx(quantizer.hard_weights(module.parameters()));
  graph::Options kept;
  kept.is_kept = [&policy](const Weight& weight) { return !quantizer::may_change(weight, policy); };
  std::set<std::string> factors;  // scales of BatchNormalizations that could not be folded
  kept.round_scale = [&factors](const std::string& name, std::vector<double>& scale) {
    float largest = 0;
    for (const double value : scale) largest = std::max(largest, static_cast<float>(std::abs(value)));
    if (!(largest > 0) || !std::isfinite(largest)) return;
    round_to_codes(scale);
    if (!name.empty()) factors.insert(name);
  };
  graph::simplify(model_, kept);
  is_learned_ = graph::learned_weights(model_);
  weights_.emplace(model_);
  coded_ = std::make_unique<CodedModel>(*weights_);
  coded_->coder = coder;
  coded_->metadata = metadata;
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
    for (float& value : centers) value = float32_from_float16(float16_from_float32(value));
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
  for (const quantizer::WeightUse& use : quantizer::find_weight_uses(model_)) {
    if (model_.weights[use.weight].elements() < kLargeElements) coarse_.insert(use.weight);
    if (use.bias) coarse_.insert(*use.bias);
  }
  for (size_t w = 0; w < model_.weights.size(); ++w) {
    const auto found = hard.find(model_.weights[w].name);
    if (found != hard.end() && add_tensor(w, found->second)) continue;
    factors.contains(model_.weights[w].name) ? add_factors(w) : add_small(w, policy);
  }
}

void CodedExport::add(std::unique_ptr<CodedTensor> tensor, TensorMethod method) {
  coded_->methods[tensor->weight] = method;
  coded_->tensors.push_back(tensor.get());
  tensors_.push_back(std::move(tensor));
}

// False where no scales for slices give the weight's values.
bool CodedExport::add_tensor(size_t w, const WeightBinding::HardTensor& hard) {
  const Weight& weight = model_.weights[w];
  const std::vector<float>& values = *weights_->values(w);
  auto tensor = std::make_unique<CodedTensor>();
  tensor->weight = w;
  tensor->scope = hard.scope;
  tensor->codebook = coded_->codebooks[hard.scope];
  for (const int64_t index : hard.indices) {
    tensor->indices.push_back(renumbered_[hard.scope][static_cast<size_t>(index)]);
  }
  tensor->largest = 1;
  const std::vector<float> unit = tensor->dequantize(tensor->indices, weight);
  std::vector<float> factors = channel_factors(unit, values, 1, values.size());
  tensor->scale_inner = values.size();
  for (size_t axis = 0; axis < weight.dims.size() && factors.empty(); ++axis) {
    const auto channels = static_cast<size_t>(weight.dims[axis]);
    tensor->scale_inner /= channels;
    factors = channel_factors(unit, values, channels, tensor->scale_inner);
  }
  if (factors.empty() || *std::min_element(factors.begin(), factors.end()) < 0) return false;
  tensor->largest = std::max(*std::max_element(factors.begin(), factors.end()), std::numeric_limits<float>::min());
  if (factors.size() > 1) {
    tensor->largest = std::max(origin_of(factors), std::numeric_limits<float>::min());
    for (const float factor : factors) tensor->scale_codes.push_back(coded::code_from_scale(tensor->largest, factor));
  }
  add(std::move(tensor), TensorMethod::kCodebook);
  return true;
}

// As signs and a scale for each.
void CodedExport::add_factors(size_t w) {
  const std::vector<float> values = read_float(model_.weights[w]);
  auto tensor = std::make_unique<CodedTensor>();
  tensor->weight = w;
  tensor->grid = true;
  std::vector<float> sizes;
  for (const float value : values) sizes.push_back(std::abs(value));
  tensor->largest = origin_of(sizes);
  for (const float value : values) {
    tensor->indices.push_back(static_cast<uint16_t>(value < 0 ? quantizer::kGridZero - 1 : quantizer::kGridZero + 1));
    tensor->scale_codes.push_back(coded::code_from_scale(tensor->largest, std::abs(value)));
  }
  add(std::move(tensor), TensorMethod::kGrid);
}

// What was not trained onto centers.
void CodedExport::add_small(size_t w, const quantizer::StoragePolicy& policy) {
  const Weight& weight = model_.weights[w];
  const TensorMethod method = quantizer::choose_method(weight, is_learned_[w], policy);
  if (method == TensorMethod::kInline || method == TensorMethod::kLossless) {
    coded_->methods[w] = method;
    return;
  }
  const std::vector<float> values = read_float(weight);
  double power = 0;
  for (const float value : values) power += static_cast<double>(value) * value;
  const double rms = std::sqrt(power / static_cast<double>(values.size()));
  if (!std::isfinite(rms) || rms < 1e-30) return;
  const float step = coarse_.contains(w) ? kSmallTensorStep : kFineStep;
  add(std::make_unique<CodedTensor>(quantizer::round_to_grid(w, values, static_cast<float>(rms) * step)),
      TensorMethod::kGrid);
}

}  // namespace quench::training
