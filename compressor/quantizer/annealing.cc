#include "compressor/quantizer/annealing.h"

#include <algorithm>
#include <cmath>

#include "compressor/quantizer/scalar_annealing.h"
#include "compressor/quantizer/vector_annealing.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

void check_options(const AnnealingOptions& options) {
  if (options.max_centers < 1 || options.max_centers > kMaxCenters) {
    throw Error::make("a codebook of {} centers: 1 to {} are possible", options.max_centers, kMaxCenters);
  }
  if (!(options.beta >= 0) || !std::isfinite(options.beta)) {
    throw Error::make("beta is {}; it must be finite and not negative", options.beta);
  }
  if (!(options.sigma_start > 0) || !(options.sigma_growth > 1) || !(options.sigma_end >= options.sigma_start) ||
      !std::isfinite(options.sigma_growth) || !std::isfinite(options.sigma_end)) {
    throw Error::make("sigma goes from {} to {} by factors of {}; it must begin above 0 and grow", options.sigma_start,
                      options.sigma_end, options.sigma_growth);
  }
}

}  // namespace

Codebook learn_codebook(std::span<const float> vectors, const AnnealingOptions& options) {
  check_options(options);
  check_vectors(vectors, options.dimension);
  if (vectors.empty()) return make_codebook(options.dimension, {}, {});
  Codebook codebook = options.dimension == 1 ? anneal_scalar(vectors, options) : anneal_vectors(vectors, options);
  if (options.progress) options.progress(1);
  return codebook;
}

}  // namespace quench::quantizer
