#include "compressor/training/quantization/soft_to_hard.h"

#include <torch/torch.h>

#include <cmath>

#include "compressor/quantizer/annealing.h"
#include "compressor/training/quantization/soft_quantize_function.h"
#include "formats/base/error.h"
#include "formats/entropy/statistics.h"

namespace quench::training {
namespace {

using torch::Tensor;

constexpr double kOwnShare = 0.75;  // of a tensor's own histogram in its code lengths; the rest is its codebook's
constexpr int64_t kLearnedVectors = int64_t{1} << 17;
constexpr float kFirstBeta = 0.1f;  // near the slope of the rate-distortion curve at high rate, ln(2) / 6

std::string centers_name(size_t scope) { return fmt::format("centers.{}", scope); }

std::vector<uint64_t> to_counts(const Tensor& counts) {
  const Tensor whole = counts.to(torch::kCPU, torch::kInt64).contiguous();
  return {whole.data_ptr<int64_t>(), whole.data_ptr<int64_t>() + whole.numel()};
}

Tensor bincount(const Tensor& indices, int64_t centers) {
  return torch::bincount(indices, {}, centers).to(torch::kFloat64);
}

}  // namespace

SoftToHard::SoftToHard(const NamedTensors& parameters, const std::vector<std::string>& names,
                       const SoftToHardOptions& options)
    : options_(options) {
  torch::NoGradGuard no_grad;
  const bool per_tensor = options.codebook == quantizer::CodebookScope::kTensor;
  for (const std::string& name : names) {
    const Tensor& weight = parameters.at(name);
    if (!torch::isfinite(weight).all().item<bool>()) {
      throw Error::make("tensor '{}' holds NaN or infinities", name);
    }
    Item item;
    item.scope = per_tensor ? tensors_.size() : 0;
    const auto factor = options.tensor_steps.find(name);
    item.step = options.step * (factor == options.tensor_steps.end() ? 1 : factor->second);
    item.scale = natural_scale(item, weight);
    if (options.learn_scales) learned_["scale." + name] = item.scale.set_requires_grad(true);
    weight_count_ += weight.numel();
    tensors_.emplace(name, std::move(item));
  }
  scopes_ = per_tensor ? tensors_.size() : 1;
  for (size_t scope = 0; scope < scopes_; ++scope) learn_codebook(scope, parameters);
}

Tensor SoftToHard::natural_scale(const Item& item, const Tensor& weight) const {
  Tensor power = weight.square();
  power = options_.channel_scales ? power.flatten(1).mean(1) : power.mean();
  std::vector<int64_t> dims(static_cast<size_t>(weight.dim()), 1);
  if (options_.channel_scales) dims[0] = weight.size(0);
  return power.sqrt().mul(item.step).clamp_min(1e-12).view(dims);
}

Tensor SoftToHard::normalize(const Item& item, const Tensor& weight) const {
  Tensor z = (weight / item.scale).flatten();
  if (const int64_t rest = z.numel() % options_.dimension; rest != 0) {
    z = torch::constant_pad_nd(z, {0, options_.dimension - rest});
  }
  return z.view({-1, options_.dimension});
}

Tensor SoftToHard::denormalize(const Item& item, const Tensor& values, const Tensor& weight) const {
  return values.flatten().slice(0, 0, weight.numel()).view(weight.sizes()) * item.scale;
}

void SoftToHard::learn_codebook(size_t scope, const NamedTensors& parameters) {
  std::vector<Tensor> all;
  torch::Device device = torch::kCPU;
  for (const auto& [name, item] : tensors_) {
    if (item.scope != scope) continue;
    device = parameters.at(name).device();
    all.push_back(normalize(item, parameters.at(name)).to(torch::kCPU));
  }
  Tensor sample = torch::cat(all);
  const int64_t stride = (sample.size(0) + kLearnedVectors - 1) / kLearnedVectors;
  sample = sample.slice(0, 0, sample.size(0), stride).contiguous();

  quantizer::AnnealingOptions annealing;
  annealing.dimension = options_.dimension;
  annealing.max_centers = options_.centers;
  annealing.beta = kFirstBeta;
  annealing.seed = options_.seed;
  annealing.threads = at::get_num_threads();
  const quantizer::Codebook codebook =
      quantizer::learn_codebook({sample.data_ptr<float>(), static_cast<size_t>(sample.numel())}, annealing);
  const auto count = static_cast<int64_t>(codebook.size());
  learned_[centers_name(scope)] = torch::tensor(codebook.centers, torch::kFloat32)
                                      .view({count, options_.dimension})
                                      .to(device)
                                      .set_requires_grad(true);
  const Tensor lengths = torch::tensor(codebook.bits, torch::kFloat32).to(device);
  for (auto& [name, item] : tensors_) {
    if (item.scope != scope) continue;
    item.lengths = lengths.clone();
    item.counts = torch::zeros({count}, lengths.options().dtype(torch::kFloat64));
  }
}

const Tensor& SoftToHard::scope_centers(size_t scope) const { return learned_.at(centers_name(scope)); }

SoftToHard::Pass SoftToHard::quantize(const NamedTensors& parameters) {
  Pass pass;
  for (auto& [name, item] : tensors_) {
    const Tensor& weight = parameters.at(name);
    if (!options_.learn_scales) {
      torch::NoGradGuard no_grad;
      item.scale.copy_(natural_scale(item, weight));
    }
    const Tensor& centers = scope_centers(item.scope);
    const SoftQuantized quantized = soft_quantize(normalize(item, weight), centers, item.lengths * hardness_.price,
                                                  hardness_.sigma, hardness_.hard_values);
    pass.weights[name] = denormalize(item, quantized.values, weight);
    const Tensor bits = (quantized.mass * item.lengths).sum();
    pass.rate = pass.rate.defined() ? pass.rate + bits : bits;
    item.counts = bincount(quantized.indices, centers.size(0));
  }
  pass.rate = pass.rate / static_cast<double>(weight_count_);
  if (!hardness_.hold_lengths) update_lengths();
  return pass;
}

void SoftToHard::update_lengths() {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> totals(scopes_);
  for (const auto& [name, item] : tensors_) {
    Tensor& total = totals[item.scope];
    total = total.defined() ? total + item.counts : item.counts;
  }
  for (auto& [name, item] : tensors_) {
    // Half a count for each center: one that nobody uses stays within reach.
    const Tensor all = totals[item.scope] + 0.5;
    const Tensor share = kOwnShare * item.counts / item.counts.sum() + (1 - kOwnShare) * all / all.sum();
    item.lengths = share.log2().neg().to(torch::kFloat32);
  }
}

double SoftToHard::entropy() const {
  std::vector<std::vector<uint64_t>> totals(scopes_);
  for (const auto& [name, item] : tensors_) {
    const std::vector<uint64_t> counts = to_counts(item.counts);
    totals[item.scope].resize(counts.size());
    for (size_t j = 0; j < counts.size(); ++j) totals[item.scope][j] += counts[j];
  }
  double bits = 0;
  for (const std::vector<uint64_t>& counts : totals) {
    uint64_t symbols = 0;
    for (const uint64_t count : counts) symbols += count;
    bits += entropy::entropy_bits(counts) * static_cast<double>(symbols);
  }
  return bits / static_cast<double>(weight_count_);
}

std::map<std::string, double> SoftToHard::tensor_entropies() const {
  std::map<std::string, double> entropies;
  for (const auto& [name, item] : tensors_) {
    entropies[name] = entropy::entropy_bits(to_counts(item.counts)) / options_.dimension;
  }
  return entropies;
}

std::vector<int64_t> SoftToHard::histogram() const {
  std::vector<int64_t> total;
  for (const auto& [name, item] : tensors_) {
    if (item.scope != 0) continue;
    const std::vector<uint64_t> counts = to_counts(item.counts);
    total.resize(counts.size());
    for (size_t j = 0; j < counts.size(); ++j) total[j] += static_cast<int64_t>(counts[j]);
  }
  return total;
}

void SoftToHard::precondition_gradients() {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> curvatures(scopes_);  // sum over a center's values of the square of their scale
  for (auto& [name, item] : tensors_) {
    const Tensor power = item.scale.square().mean().to(torch::kFloat64) * item.counts;
    Tensor& sum = curvatures[item.scope];
    sum = sum.defined() ? sum + power : power;
    if (Tensor gradient = item.scale.grad(); gradient.defined()) {
      const Tensor centers = scope_centers(item.scope).square().sum(1).to(torch::kFloat64);
      const double total = (item.counts * centers).sum().item<double>() / static_cast<double>(item.scale.numel());
      gradient.div_(std::max(total, 1.0));
    }
  }
  for (size_t scope = 0; scope < scopes_; ++scope) {
    Tensor gradient = scope_centers(scope).grad();
    if (!gradient.defined()) continue;
    const Tensor floor = curvatures[scope].sum() * 1e-4;  // rare centers move with care
    gradient.div_((curvatures[scope] + floor).clamp_min(1e-20).unsqueeze(1).to(torch::kFloat32));
  }
}

void SoftToHard::rearrange() {
  torch::NoGradGuard no_grad;
  for (auto& [name, value] : learned_) {
    if (name.starts_with("scale.")) {
      value.clamp_min_(1e-12);
      continue;
    }
    value.select(0, value.square().sum(1).argmin().item<int64_t>()).zero_();
    if (options_.dimension == 1) value.copy_(std::get<0>(value.sort(0)));
  }
}

std::map<std::string, SoftToHard::HardTensor> SoftToHard::harden(const NamedTensors& parameters) const {
  torch::NoGradGuard no_grad;
  std::map<std::string, HardTensor> result;
  for (const auto& [name, item] : tensors_) {
    const SoftQuantized quantized = soft_quantize(normalize(item, parameters.at(name)), scope_centers(item.scope),
                                                  item.lengths * hardness_.price, hardness_.sigma, true);
    const Tensor indices = quantized.indices.to(torch::kCPU).contiguous();
    result[name] = {item.scope,
                    {indices.data_ptr<int64_t>(), indices.data_ptr<int64_t>() + indices.numel()},
                    item.scale.detach().to(torch::kCPU).clone()};
  }
  return result;
}

NamedTensors SoftToHard::weights(const NamedTensors& parameters, bool hard) const {
  torch::NoGradGuard no_grad;
  NamedTensors weights;
  for (const auto& [name, item] : tensors_) {
    const Tensor& weight = parameters.at(name);
    const SoftQuantized quantized = soft_quantize(normalize(item, weight), scope_centers(item.scope),
                                                  item.lengths * hardness_.price, hardness_.sigma, hard);
    weights[name] = denormalize(item, quantized.values, weight);
  }
  return weights;
}

std::vector<float> SoftToHard::centers(size_t scope) const {
  const Tensor values = scope_centers(scope).detach().to(torch::kCPU).contiguous();
  return {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()};
}

NamedTensors SoftToHard::state() const {
  NamedTensors state;
  for (const auto& [name, item] : tensors_) {
    state["step." + name] = torch::tensor(item.step, torch::kFloat64);
    state["scale." + name] = item.scale;
    state["lengths." + name] = item.lengths;
    state["counts." + name] = item.counts;
  }
  for (size_t scope = 0; scope < scopes_; ++scope) state[centers_name(scope)] = scope_centers(scope);
  state["hardness"] =
      torch::tensor({hardness_.sigma, hardness_.price, hardness_.hard_values ? 1.0 : 0.0}, torch::kFloat64);
  return state;
}

void SoftToHard::set_state(const NamedTensors& state) {
  torch::NoGradGuard no_grad;
  const auto fits = [](bool good) {
    if (!good) throw Error("the quantizer's state is not of this model and these options");
  };
  for (size_t scope = 0; scope < scopes_; ++scope) {
    // Learned with another number of threads, the codebook may have had another size.
    Tensor centers = scope_centers(scope);
    const Tensor& saved = state.at(centers_name(scope));
    fits(saved.dim() == 2 && saved.size(0) > 0 && saved.size(1) == options_.dimension &&
         saved.scalar_type() == torch::kFloat32);
    centers.set_data(saved.detach().clone().to(centers.device()));
  }
  for (auto& [name, item] : tensors_) {
    const Tensor &scale = state.at("scale." + name), &lengths = state.at("lengths." + name);
    const Tensor& counts = state.at("counts." + name);
    const torch::IntArrayRef per_center(scope_centers(item.scope).sizes().data(), 1);
    fits(scale.sizes() == item.scale.sizes());
    fits(lengths.sizes() == per_center && lengths.scalar_type() == torch::kFloat32);
    fits(counts.sizes() == per_center && counts.scalar_type() == torch::kFloat64);
    item.step = state.at("step." + name).item<double>();
    item.scale.copy_(scale);
    item.lengths = lengths.to(item.scale.device());
    item.counts = counts.to(item.scale.device());
  }
  const Tensor& hardness = state.at("hardness");
  hardness_ = {hardness[0].item<double>(), hardness[1].item<double>(), hardness[2].item<double>() != 0};
}

}  // namespace quench::training
