#include "compressor/training/quantization/weight_binding.h"

#include <torch/torch.h>

#include <cmath>

#include "formats/entropy/statistics.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

std::string centers_name(size_t scope) { return fmt::format("centers.{}", scope); }

std::vector<uint64_t> to_counts(const Tensor& counts) {
  const Tensor whole = counts.to(torch::kCPU, torch::kInt64).contiguous();
  return {whole.data_ptr<int64_t>(), whole.data_ptr<int64_t>() + whole.numel()};
}

}  // namespace

WeightBinding::WeightBinding(const NamedTensors& parameters, const std::vector<std::string>& names,
                             const WeightBindingOptions& options)
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
  learn_codebooks(per_tensor ? tensors_.size() : 1, parameters);
}

Tensor WeightBinding::natural_scale(const Item& item, const Tensor& weight) const {
  Tensor power = weight.square();
  power = options_.channel_scales ? power.flatten(1).mean(1) : power.mean();
  std::vector<int64_t> dims(static_cast<size_t>(weight.dim()), 1);
  if (options_.channel_scales) dims[0] = weight.size(0);
  return power.sqrt().mul(item.step).clamp_min(1e-12).view(dims);
}

void WeightBinding::learn_codebooks(size_t scopes, const NamedTensors& parameters) {
  for (size_t scope = 0; scope < scopes; ++scope) {
    std::vector<Tensor> samples;
    for (const auto& [name, item] : tensors_) {
      if (item.scope == scope) samples.push_back(parameters.at(name) / item.scale);
    }
    codebooks_.emplace_back(samples, SoftCodebookOptions{options_.dimension, options_.centers, options_.seed});
    learned_[centers_name(scope)] = codebooks_.back().centers();
  }
  for (auto& [name, item] : tensors_) item.use = codebooks_[item.scope].first_use();
}

WeightBinding::Pass WeightBinding::quantize(const NamedTensors& parameters) {
  Pass pass;
  for (auto& [name, item] : tensors_) {
    const Tensor& weight = parameters.at(name);
    if (!options_.learn_scales) {
      torch::NoGradGuard no_grad;
      item.scale.copy_(natural_scale(item, weight));
    }
    const SoftCodebook::Pass quantized = codebooks_[item.scope].quantize(weight / item.scale, item.use, hardness_);
    pass.weights[name] = quantized.values * item.scale;
    pass.rate = pass.rate.defined() ? pass.rate + quantized.bits : quantized.bits;
  }
  pass.rate = pass.rate / static_cast<double>(weight_count_);
  if (!hardness_.hold_lengths) update_lengths();
  return pass;
}

void WeightBinding::update_lengths() {
  std::vector<Tensor> totals(scopes());
  for (const auto& [name, item] : tensors_) {
    Tensor& total = totals[item.scope];
    total = total.defined() ? total + item.use.counts : item.use.counts;
  }
  for (auto& [name, item] : tensors_) item.use.lengths = code_lengths(item.use.counts, totals[item.scope]);
}

double WeightBinding::entropy() const {
  std::vector<std::vector<uint64_t>> totals(scopes());
  for (const auto& [name, item] : tensors_) {
    const std::vector<uint64_t> counts = to_counts(item.use.counts);
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

std::map<std::string, double> WeightBinding::tensor_entropies() const {
  std::map<std::string, double> entropies;
  for (const auto& [name, item] : tensors_) {
    entropies[name] = entropy::entropy_bits(to_counts(item.use.counts)) / options_.dimension;
  }
  return entropies;
}

std::vector<int64_t> WeightBinding::histogram() const {
  std::vector<int64_t> total;
  for (const auto& [name, item] : tensors_) {
    if (item.scope != 0) continue;
    const std::vector<uint64_t> counts = to_counts(item.use.counts);
    total.resize(counts.size());
    for (size_t j = 0; j < counts.size(); ++j) total[j] += static_cast<int64_t>(counts[j]);
  }
  return total;
}

void WeightBinding::precondition_gradients() {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> curvatures(scopes());  // sum over a center's values of the square of their scale
  for (auto& [name, item] : tensors_) {
    const Tensor power = item.scale.square().mean().to(torch::kFloat64) * item.use.counts;
    Tensor& sum = curvatures[item.scope];
    sum = sum.defined() ? sum + power : power;
    if (Tensor gradient = item.scale.grad(); gradient.defined()) {
      const Tensor centers = codebooks_[item.scope].centers().square().sum(1).to(torch::kFloat64);
      const double total = (item.use.counts * centers).sum().item<double>() / static_cast<double>(item.scale.numel());
      gradient.div_(std::max(total, 1.0));
    }
  }
  for (size_t scope = 0; scope < scopes(); ++scope) codebooks_[scope].precondition_gradient(curvatures[scope]);
}

void WeightBinding::rearrange() {
  torch::NoGradGuard no_grad;
  for (SoftCodebook& codebook : codebooks_) codebook.rearrange();
  for (auto& [name, item] : tensors_) {
    if (options_.learn_scales) item.scale.clamp_min_(1e-12);
  }
}

std::map<std::string, WeightBinding::HardTensor> WeightBinding::harden(const NamedTensors& parameters) const {
  torch::NoGradGuard no_grad;
  std::map<std::string, HardTensor> result;
  for (const auto& [name, item] : tensors_) {
    const SoftQuantized quantized = assign(item, parameters.at(name), true);
    const Tensor indices = quantized.indices.to(torch::kCPU).contiguous();
    result[name] = {item.scope,
                    {indices.data_ptr<int64_t>(), indices.data_ptr<int64_t>() + indices.numel()},
                    item.scale.detach().to(torch::kCPU).clone()};
  }
  return result;
}

NamedTensors WeightBinding::weights(const NamedTensors& parameters, bool hard) const {
  torch::NoGradGuard no_grad;
  NamedTensors weights;
  for (const auto& [name, item] : tensors_) {
    weights[name] = assign(item, parameters.at(name), hard).values * item.scale;
  }
  return weights;
}

// In units of its scale.
SoftQuantized WeightBinding::assign(const Item& item, const Tensor& weight, bool hard) const {
  Hardness hardness = hardness_;
  hardness.hard_values = hard;
  return codebooks_[item.scope].assign(weight / item.scale, item.use, hardness);
}

std::vector<float> WeightBinding::centers(size_t scope) const {
  const Tensor values = codebooks_[scope].centers().detach().to(torch::kCPU).contiguous();
  return {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()};
}

NamedTensors WeightBinding::state() const {
  NamedTensors state;
  for (const auto& [name, item] : tensors_) {
    state["step." + name] = torch::tensor(item.step, torch::kFloat64);
    state["scale." + name] = item.scale;
    state["lengths." + name] = item.use.lengths;
    state["counts." + name] = item.use.counts;
  }
  for (size_t scope = 0; scope < scopes(); ++scope) state[centers_name(scope)] = codebooks_[scope].centers();
  state["hardness"] =
      torch::tensor({hardness_.sigma, hardness_.price, hardness_.hard_values ? 1.0 : 0.0}, torch::kFloat64);
  return state;
}

void WeightBinding::set_state(const NamedTensors& state) {
  torch::NoGradGuard no_grad;
  const auto fits = [](bool good) {
    if (!good) throw Error("the quantizer's state is not of this model and these options");
  };
  // Learned with another number of threads, a codebook may have had another size.
  for (size_t scope = 0; scope < scopes(); ++scope) codebooks_[scope].set_centers(state.at(centers_name(scope)));
  for (auto& [name, item] : tensors_) {
    const Tensor &scale = state.at("scale." + name), &lengths = state.at("lengths." + name);
    const Tensor& counts = state.at("counts." + name);
    const torch::IntArrayRef per_center(codebooks_[item.scope].centers().sizes().data(), 1);
    fits(scale.sizes() == item.scale.sizes());
    fits(lengths.sizes() == per_center && lengths.scalar_type() == torch::kFloat32);
    fits(counts.sizes() == per_center && counts.scalar_type() == torch::kFloat64);
    item.step = state.at("step." + name).item<double>();
    item.scale.copy_(scale);
    item.use.lengths = lengths.to(item.scale.device());
    item.use.counts = counts.to(item.scale.device());
  }
  const Tensor& hardness = state.at("hardness");
  hardness_ = {hardness[0].item<double>(), hardness[1].item<double>(), hardness[2].item<double>() != 0};
}

}  // namespace quench::training
