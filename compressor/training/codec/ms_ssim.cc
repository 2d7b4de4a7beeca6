#include "compressor/training/codec/ms_ssim.h"

#include <torch/torch.h>

#include <cmath>
#include <vector>

#include "compressor/measure/ms_ssim.h"

namespace quench::training {
namespace {

using measure::kSsimWindow;
using torch::Tensor;

constexpr double kLeastTerm = 1e-4;

// The Gaussian of each channel by itself, where it fits into the picture.
Tensor blur(const Tensor& maps) {
  const auto& window = measure::ssim_window();
  const int64_t channels = maps.size(1);
  const Tensor taps = torch::from_blob(const_cast<double*>(window.data()), {kSsimWindow}, torch::kFloat64)
                          .to(maps.options())
                          .view({1, 1, 1, kSsimWindow})
                          .expand({channels, 1, 1, kSsimWindow})
                          .contiguous();
  const auto along = [channels](const Tensor& of, const Tensor& weights) {
    return torch::conv2d(of, weights, Tensor(), {1, 1}, torch::IntArrayRef({0, 0}), {1, 1}, channels);
  };
  return along(along(maps, taps), taps.transpose(2, 3).contiguous());
}

// Means over each picture's channels, [N, C].
struct Terms {
  Tensor contrast, whole;
};

Terms terms_at(const Tensor& x, const Tensor& y) {
  const int64_t channels = x.size(1);
  const std::vector<Tensor> means =
      blur(torch::cat({x, y, x * x + y * y, x * y}, 1)).split(channels, 1);  // the variances are needed as a sum
  const Tensor product = means[0] * means[1], squares = means[0] * means[0] + means[1] * means[1];
  const Tensor contrast = (2 * (means[3] - product) + measure::kSsimC2) / (means[2] - squares + measure::kSsimC2);
  const Tensor luminance = (2 * product + measure::kSsimC1) / (squares + measure::kSsimC1);
  return {contrast.flatten(2).mean(-1), (luminance * contrast).flatten(2).mean(-1)};
}

Tensor halved(const Tensor& maps) { return torch::avg_pool2d(maps, 2, 2, {maps.size(2) % 2, maps.size(3) % 2}); }

}  // namespace

Tensor ms_ssim(const Tensor& x, const Tensor& y) {
  Tensor a = x, b = y, result;
  for (size_t scale = 0; scale < measure::kSsimWeights.size(); ++scale) {
    const bool is_last = scale + 1 == measure::kSsimWeights.size();
    const Terms terms = terms_at(a, b);
    const Tensor term =
        (is_last ? terms.whole : terms.contrast).clamp_min(kLeastTerm).pow(measure::kSsimWeights[scale]);
    result = scale == 0 ? term : result * term;
    if (!is_last) {
      a = halved(a);
      b = halved(b);
    }
  }
  return result.mean(1);
}

}  // namespace quench::training
