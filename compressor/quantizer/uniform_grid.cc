#include "compressor/quantizer/uniform_grid.h"

#include <cmath>

#include "compressor/quantizer/scalar_lloyd.h"
#include "formats/error.h"

namespace quench::quantizer {

Codebook learn_uniform_grid(std::span<const float> values, const UniformGridOptions& options) {
  if (options.max_centers < 1 || options.max_centers > kMaxCenters || !(options.beta >= 0) ||
      !std::isfinite(options.beta) || !(options.step > 0) || !std::isfinite(options.step)) {
    throw Error::make("a uniform grid needs 1 to {} centers, beta not negative and a positive step, not {}, {} and {}",
                      kMaxCenters, options.max_centers, options.beta, options.step);
  }
  check_vectors(values, 1);
  const SortedValues data(values);
  const ScalarState state = grid_state(data, options.step, options.beta, options.max_centers);
  return make_codebook(1, state.centers, state.counts);
}

}  // namespace quench::quantizer
