#include "compressor/training/quantization/soft_codebook.h"

#include <torch/torch.h>

#include "compressor/quantizer/annealing.h"
#include "formats/error.h"

namespace quench::training {

using torch::Tensor;

namespace {

constexpr double kOwnShare = 0.75;  // of a tensor's own histogram in its code lengths; the rest is its codebook's
constexpr int64_t kLearnedVectors = int64_t{1} << 17;
constexpr float kFirstSlope = 0.1f;  // near that of the rate-distortion curve at high rate, ln(2) / 6

}  // namespace

SoftCodebook::SoftCodebook(const std::vector<Tensor>& samples, const SoftCodebookOptions& options) : options_(options) {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> all;
  for (const Tensor& values : samples) all.push_back(vectors_of(values).to(torch::kCPU));
  Tensor sample = torch::cat(all);
  const int64_t stride = (sample.size(0) + kLearnedVectors - 1) / kLearnedVectors;
  sample = sample.slice(0, 0, sample.size(0), stride).contiguous();

  quantizer::AnnealingOptions annealing;
  annealing.dimension = options.dimension;
  annealing.max_centers = options.centers;
  annealing.beta = kFirstSlope;
  annealing.seed = options.seed;
  annealing.threads = at::get_num_threads();
  const quantizer::Codebook codebook =
      quantizer::learn_codebook({sample.data_ptr<float>(), static_cast<size_t>(sample.numel())}, annealing);
  const torch::Device device = samples.front().device();
  centers_ = torch::tensor(codebook.centers, torch::kFloat32)
                 .view({static_cast<int64_t>(codebook.size()), options.dimension})
                 .to(device)
                 .set_requires_grad(true);
  first_lengths_ = torch::tensor(codebook.bits, torch::kFloat32).to(device);
}

void SoftCodebook::set_centers(const Tensor& centers) {
  if (centers.dim() != 2 || centers.size(0) == 0 || centers.size(1) != options_.dimension ||
      centers.scalar_type() != torch::kFloat32) {
    throw Error("the quantizer's state is not of this model and these options");
  }
  centers_.set_data(centers.detach().clone().to(centers_.device()));
}

CenterUse SoftCodebook::first_use(int64_t tensors) const {
  return {torch::zeros({tensors, size()}, first_lengths_.options().dtype(torch::kFloat64)),
          first_lengths_.unsqueeze(0).repeat({tensors, 1})};
}

Tensor SoftCodebook::vectors_of(const Tensor& values) const {
  Tensor flat = values.flatten();
  if (const int64_t rest = flat.numel() % options_.dimension; rest != 0) {
    flat = torch::constant_pad_nd(flat, {0, options_.dimension - rest});
  }
  return flat.view({-1, options_.dimension});
}

SoftQuantized SoftCodebook::quantize(const Tensor& values, CenterUse& use, const Hardness& hardness) const {
  const Tensor vectors = vectors_of(values);
  SoftQuantized quantized = quantize(vectors, Parts({vectors.size(0)}, vectors.device()), use, hardness);
  use.counts = quantized.counts;
  quantized.values = quantized.values.flatten().slice(0, 0, values.numel()).view(values.sizes());
  return quantized;
}

void SoftCodebook::precondition_gradient(const Tensor& weights) {
  torch::NoGradGuard no_grad;
  Tensor gradient = centers_.grad();
  if (!gradient.defined()) return;
  const Tensor floor = weights.sum() * 1e-4;  // rare centers move with care
  gradient.div_((weights + floor).clamp_min(1e-20).unsqueeze(1).to(torch::kFloat32));
}

void SoftCodebook::rearrange() {
  torch::NoGradGuard no_grad;
  centers_.index_fill_(0, centers_.square().sum(1).argmin().view({1}), 0);
  if (options_.dimension == 1) centers_.copy_(std::get<0>(centers_.sort(0)));
}

Tensor code_lengths(const Tensor& counts) {
  torch::NoGradGuard no_grad;
  // Half a count for each center: one that nobody uses stays within reach.
  const Tensor all = counts.sum(0) + 0.5;
  const Tensor share = kOwnShare * counts / counts.sum(1, true) + (1 - kOwnShare) * all / all.sum();
  return share.log2().neg().to(torch::kFloat32);
}

}  // namespace quench::training
