#include "compressor/training/quantization/weight_binding.h"

#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <set>

#include "formats/entropy/statistics.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

std::string name_of(const char* what, size_t scope) { return fmt::format("{}.{}", what, scope); }

std::vector<uint64_t> to_counts(const Tensor& counts) {
  const Tensor whole = counts.to(torch::kCPU, torch::kInt64).contiguous();
  return {whole.data_ptr<int64_t>(), whole.data_ptr<int64_t>() + whole.numel()};
}

// Bits of all symbols together, with a histogram of their own.
double total_bits(const std::vector<uint64_t>& counts) {
  const uint64_t symbols = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  return entropy::entropy_bits(counts) * static_cast<double>(symbols);
}

}  // namespace

WeightBinding::WeightBinding(const NamedTensors& parameters, const std::vector<std::string>& names,
                             const WeightBindingOptions& options)
    : options_(options) {
  torch::NoGradGuard no_grad;
  const std::set<std::string> sorted(names.begin(), names.end());
  for (const std::string& name : sorted) {
    const Tensor& weight = parameters.at(name);
    if (!torch::isfinite(weight).all().item<bool>()) {
      throw Error::make("tensor '{}' holds NaN or infinities", name);
    }
    if (scopes_.empty() || options.codebook == quantizer::CodebookScope::kTensor) scopes_.emplace_back();
    add(scopes_.back(), name, weight);
  }
  for (size_t scope = 0; scope < scopes_.size(); ++scope) learn_codebook(scopes_[scope], scope, parameters);
  flips_ = torch::zeros({}, scopes_.front().scale_part.options());
}

void WeightBinding::add(Scope& scope, const std::string& name, const Tensor& weight) {
  const int64_t d = options_.dimension;
  scope.names.push_back(name);
  scope.dims.push_back(weight.sizes().vec());
  scope.elements.push_back((weight.numel() + d - 1) / d * d);
  const auto factor = options_.tensor_steps.find(name);
  scope.steps.push_back(options_.step * (factor == options_.tensor_steps.end() ? 1 : factor->second));
  weight_count_ += weight.numel();
}

void WeightBinding::learn_codebook(Scope& scope, size_t number, const NamedTensors& parameters) {
  const torch::Device device = parameters.at(scope.names.front()).device();
  std::vector<int64_t> vectors, scale_part, scale_reach;
  const std::vector<int64_t> scale_counts = this->scale_counts(scope);
  for (size_t i = 0; i < scope.names.size(); ++i) {
    vectors.push_back(scope.elements[i] / options_.dimension);
    const int64_t numel = parameters.at(scope.names[i]).numel(), each = numel / scale_counts[i];
    scale_part.insert(scale_part.end(), static_cast<size_t>(scale_counts[i]), static_cast<int64_t>(i));
    scale_reach.insert(scale_reach.end(), static_cast<size_t>(scale_counts[i]), each);
    scale_reach.back() += scope.elements[i] - numel;  // what fills up the last vector
  }
  scope.parts.emplace(std::move(vectors), device);
  scope.scale_part = torch::tensor(scale_part, torch::kInt64).to(device);
  scope.scale_reach = torch::tensor(scale_reach, torch::kInt64).to(device);
  const Tensor scales = natural_scales(scope, parameters);
  if (options_.learn_scales) {
    const std::vector<Tensor> own = scales.split_with_sizes(scale_counts);
    for (size_t i = 0; i < scope.names.size(); ++i) {
      std::vector<int64_t> dims(scope.dims[i].size(), 1);
      dims[0] = scale_counts[i];
      learned_["scale." + scope.names[i]] = own[i].clone().view(dims).set_requires_grad(true);
    }
  } else {
    scope.scales = scales;
  }
  const Tensor sample = (flat(scope, parameters) / element_scales(scope)).view({-1, options_.dimension});
  scope.codebook.emplace(std::vector<Tensor>{sample},
                         SoftCodebookOptions{options_.dimension, options_.centers, options_.seed});
  learned_[name_of("centers", number)] = scope.codebook->centers();
  scope.use = scope.codebook->first_use(scope.parts->count());
}

// How many scales each tensor has.
std::vector<int64_t> WeightBinding::scale_counts(const Scope& scope) const {
  std::vector<int64_t> counts;
  for (const std::vector<int64_t>& dims : scope.dims) counts.push_back(options_.channel_scales ? dims[0] : 1);
  return counts;
}

// The root mean squares of tensors or channels, times the tensors' steps.
Tensor WeightBinding::natural_scales(const Scope& scope, const NamedTensors& parameters) const {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> rows;
  std::vector<float> units;
  const std::vector<int64_t> counts = scale_counts(scope);
  for (size_t i = 0; i < scope.names.size(); ++i) {
    const Tensor& weight = parameters.at(scope.names[i]);
    rows.push_back(weight.detach());
    const auto reach = static_cast<double>(weight.numel() / counts[i]);
    units.insert(units.end(), static_cast<size_t>(counts[i]), static_cast<float>(scope.steps[i] / std::sqrt(reach)));
  }
  Tensor norms;
  if (options_.channel_scales) {
    for (Tensor& row : rows) row = row.flatten(1).norm(2, 1);
    norms = torch::cat(rows);
  } else {
    norms = torch::stack(at::_foreach_norm(rows, 2));
  }
  return norms.mul_(torch::tensor(units, torch::kFloat32).to(norms.device())).clamp_min_(1e-12);
}

Tensor WeightBinding::scales_of(const Scope& scope) const {
  if (!options_.learn_scales) return scope.scales;
  std::vector<Tensor> scales;
  for (const std::string& name : scope.names) scales.push_back(learned_.at("scale." + name).flatten());
  return torch::cat(scales);
}

// What each element of flat() is divided by, to lie where the centers lie.
Tensor WeightBinding::element_scales(const Scope& scope) const {
  const int64_t elements = std::accumulate(scope.elements.begin(), scope.elements.end(), int64_t{0});
  return torch::repeat_interleave(scales_of(scope), scope.scale_reach, 0, elements);
}

// All elements of a scope, each tensor's filled up to whole vectors.
Tensor WeightBinding::flat(const Scope& scope, const NamedTensors& parameters) const {
  std::vector<Tensor> all;
  for (size_t i = 0; i < scope.names.size(); ++i) {
    const Tensor values = parameters.at(scope.names[i]).flatten();
    const int64_t rest = scope.elements[i] - values.numel();
    all.push_back(rest == 0 ? values : torch::constant_pad_nd(values, {0, rest}));
  }
  return torch::cat(all);
}

SoftQuantized WeightBinding::assign(const Scope& scope, const NamedTensors& parameters,
                                    const Hardness& hardness) const {
  const Tensor scales = element_scales(scope);
  SoftQuantized out = scope.codebook->quantize((flat(scope, parameters) / scales).view({-1, options_.dimension}),
                                               *scope.parts, scope.use, hardness);
  out.values = out.values.view({-1}) * scales;
  return out;
}

NamedTensors WeightBinding::split(const Scope& scope, const Tensor& values) const {
  const std::vector<Tensor> all = values.split_with_sizes(scope.elements);
  NamedTensors tensors;
  for (size_t i = 0; i < all.size(); ++i) {
    const std::vector<int64_t>& dims = scope.dims[i];
    const int64_t count = std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
    tensors[scope.names[i]] = (count == scope.elements[i] ? all[i] : all[i].slice(0, 0, count)).view(dims);
  }
  return tensors;
}

WeightBinding::Pass WeightBinding::quantize(const NamedTensors& parameters) {
  Pass pass;
  for (Scope& scope : scopes_) {
    if (!options_.learn_scales) scope.scales.copy_(natural_scales(scope, parameters));
    SoftQuantized quantized = assign(scope, parameters, hardness_);
    pass.weights.merge(split(scope, quantized.values));
    pass.rate = pass.rate.defined() ? pass.rate + quantized.bits : quantized.bits;
    if (scope.indices.defined()) flips_ += quantized.indices.ne(scope.indices).sum();
    scope.indices = std::move(quantized.indices);
    scope.use.counts = std::move(quantized.counts);
    if (!hardness_.hold_lengths) scope.use.lengths = code_lengths(scope.use.counts);
  }
  pass.rate = pass.rate / static_cast<double>(weight_count_);
  ++flip_passes_;
  return pass;
}

double WeightBinding::take_flips() {
  const double share = flips_.item<double>() / static_cast<double>(flip_passes_ * weight_count_ / options_.dimension);
  flips_.zero_();
  flip_passes_ = 0;
  return share;
}

double WeightBinding::entropy() const {
  double bits = 0;
  for (const Scope& scope : scopes_) bits += total_bits(to_counts(scope.use.counts.sum(0)));
  return bits / static_cast<double>(weight_count_);
}

std::map<std::string, double> WeightBinding::tensor_entropies() const {
  std::map<std::string, double> entropies;
  for (const Scope& scope : scopes_) {
    const Tensor counts = scope.use.counts.cpu();
    for (size_t i = 0; i < scope.names.size(); ++i) {
      entropies[scope.names[i]] =
          entropy::entropy_bits(to_counts(counts[static_cast<int64_t>(i)])) / options_.dimension;
    }
  }
  return entropies;
}

std::vector<int64_t> WeightBinding::histogram() const {
  const std::vector<uint64_t> counts = to_counts(scopes_.front().use.counts.sum(0));
  return {counts.begin(), counts.end()};
}

void WeightBinding::precondition_gradients() {
  torch::NoGradGuard no_grad;
  for (Scope& scope : scopes_) {
    // Sum over a center's values of the square of their scale.
    Tensor power = scales_of(scope).detach().square().to(torch::kFloat64);
    if (options_.channel_scales) {
      const Tensor ones = torch::ones_like(power), none = torch::zeros({scope.parts->count()}, power.options());
      power = none.index_add(0, scope.scale_part, power) / none.index_add(0, scope.scale_part, ones);
    }
    scope.codebook->precondition_gradient(power.matmul(scope.use.counts));
    if (!options_.learn_scales) continue;
    const Tensor totals =
        scope.use.counts.matmul(scope.codebook->centers().detach().square().sum(1).to(torch::kFloat64));
    for (size_t i = 0; i < scope.names.size(); ++i) {
      Tensor gradient = learned_.at("scale." + scope.names[i]).grad();
      if (!gradient.defined()) continue;
      const Tensor total = totals[static_cast<int64_t>(i)] / static_cast<double>(gradient.numel());
      gradient.div_(total.clamp_min(1.0).to(torch::kFloat32));
    }
  }
}

void WeightBinding::rearrange() {
  torch::NoGradGuard no_grad;
  for (Scope& scope : scopes_) scope.codebook->rearrange();
  if (!options_.learn_scales) return;
  for (Scope& scope : scopes_) {
    for (const std::string& name : scope.names) learned_.at("scale." + name).clamp_min_(1e-12);
  }
}

Hardness WeightBinding::without_bits(bool hard) const {
  Hardness hardness = hardness_;
  hardness.hard_values = hard;
  hardness.wants_bits = false;
  return hardness;
}

std::map<std::string, WeightBinding::HardTensor> WeightBinding::harden(const NamedTensors& parameters) const {
  torch::NoGradGuard no_grad;
  const Hardness hardness = without_bits(true);
  std::map<std::string, HardTensor> result;
  for (size_t number = 0; number < scopes_.size(); ++number) {
    const Scope& scope = scopes_[number];
    const SoftQuantized quantized = assign(scope, parameters, hardness);
    const std::vector<Tensor> indices =
        quantized.indices.to(torch::kCPU, torch::kInt64).split_with_sizes(scope.parts->sizes);
    const std::vector<Tensor> scales = scales_of(scope).detach().cpu().split_with_sizes(scale_counts(scope));
    for (size_t i = 0; i < scope.names.size(); ++i) {
      std::vector<int64_t> dims(scope.dims[i].size(), 1);
      dims[0] = scales[i].numel();
      const int64_t* first = indices[i].data_ptr<int64_t>();
      result[scope.names[i]] = {number, {first, first + indices[i].numel()}, scales[i].clone().view(dims)};
    }
  }
  return result;
}

NamedTensors WeightBinding::weights(const NamedTensors& parameters, bool hard) const {
  torch::NoGradGuard no_grad;
  const Hardness hardness = without_bits(hard);
  NamedTensors weights;
  for (const Scope& scope : scopes_) {
    const SoftQuantized quantized = assign(scope, parameters, hardness);
    weights.merge(split(scope, quantized.values));
  }
  return weights;
}

std::vector<float> WeightBinding::centers(size_t scope) const {
  const Tensor values = scopes_[scope].codebook->centers().detach().to(torch::kCPU).contiguous();
  return {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()};
}

NamedTensors WeightBinding::state() const {
  NamedTensors state;
  for (size_t number = 0; number < scopes_.size(); ++number) {
    const Scope& scope = scopes_[number];
    state[name_of("centers", number)] = scope.codebook->centers();
    state[name_of("steps", number)] = torch::tensor(scope.steps, torch::kFloat64);
    state[name_of("lengths", number)] = scope.use.lengths;
    state[name_of("counts", number)] = scope.use.counts;
    if (scope.scales.defined()) state[name_of("scales", number)] = scope.scales;
    if (scope.indices.defined()) state[name_of("indices", number)] = scope.indices;
  }
  for (const auto& [name, tensor] : learned_) state[name] = tensor;
  state["flips"] = torch::tensor({flips_.item<int64_t>(), flip_passes_}, torch::kInt64);
  state["hardness"] =
      torch::tensor({hardness_.sigma, hardness_.price, hardness_.hard_values ? 1.0 : 0.0}, torch::kFloat64);
  return state;
}

void WeightBinding::set_state(const NamedTensors& state) {
  torch::NoGradGuard no_grad;
  const auto taken = [&state](const std::string& name, const Tensor& like) {
    const Tensor& tensor = state.at(name);
    if (tensor.sizes() != like.sizes() || tensor.scalar_type() != like.scalar_type()) {
      throw Error("the quantizer's state is not of this model and these options");
    }
    return tensor.to(like.device(), like.scalar_type(), false, /*copy=*/true);
  };
  for (size_t number = 0; number < scopes_.size(); ++number) {
    Scope& scope = scopes_[number];
    // Learned with another number of threads, a codebook may have had another size.
    scope.codebook->set_centers(state.at(name_of("centers", number)));
    const Tensor counts = torch::empty({scope.parts->count(), scope.codebook->size()}, scope.use.counts.options());
    const Tensor lengths = torch::empty_like(counts, torch::kFloat32);
    scope.use = {taken(name_of("counts", number), counts), taken(name_of("lengths", number), lengths)};
    const Tensor steps = taken(name_of("steps", number), torch::tensor(scope.steps, torch::kFloat64));
    scope.steps = {steps.data_ptr<double>(), steps.data_ptr<double>() + steps.numel()};
    if (scope.scales.defined()) scope.scales = taken(name_of("scales", number), scope.scales);
    const int64_t vectors = std::accumulate(scope.parts->sizes.begin(), scope.parts->sizes.end(), int64_t{0});
    const Tensor none = torch::empty({vectors}, scope.scale_part.options().dtype(torch::kInt32));
    if (state.contains(name_of("indices", number))) scope.indices = taken(name_of("indices", number), none);
  }
  for (auto& [name, tensor] : learned_) {
    if (name.starts_with("scale.")) tensor.copy_(taken(name, tensor));
  }
  const Tensor flips = taken("flips", torch::zeros({2}, torch::kInt64));
  flips_.fill_(flips[0].item<int64_t>());
  flip_passes_ = flips[1].item<int64_t>();
  const Tensor hardness = taken("hardness", torch::zeros({3}, torch::kFloat64));
  hardness_ = {hardness[0].item<double>(), hardness[1].item<double>(), hardness[2].item<double>() != 0};
}

}  // namespace quench::training
