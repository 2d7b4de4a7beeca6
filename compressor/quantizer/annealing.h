// Learns a codebook by soft-to-hard annealing under a rate constraint, on weights alone (Agustsson et al. 2017;
// deterministic annealing, Rose 1998; entropy-constrained vector quantization, Chou et al. 1989).
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "compressor/quantizer/codebook.h"

namespace quench::quantizer {

struct AnnealingOptions {
  int dimension = 1;          // d: 1, 2, 4 or 8
  uint32_t max_centers = 75;  // L at most, 1 to 65536; centers that no vector uses are dropped
  float beta = 0.1f;          // squared distance per bit, at least 0; 0.1155 suits a spacing of 1 at high rate
  float sigma_start = 4;      // hardness at first, in 1 / squared normalised distance
  float sigma_growth = 1.5f;  // factor per step, above 1
  float sigma_end = 128;      // where the assignment counts as hard
  uint64_t seed = 1;
  int threads = 1;
  std::function<void(double)> progress;  // called with the share that is done, 0 to 1, on the calling thread
};

// vectors: n x d normalised values, row-major; a caller whose data is not a multiple of d long pads it (with zeros).
// Minimises ||z - c||^2 + beta * bits summed over the vectors. For d = 1 the result's Lagrangian on the data is never
// above that of learn_uniform_grid with a step of 1 and the same beta and number of centers. Where vectors choose 0, a
// center is at exactly 0; for d = 1 it may move when no value is 0 and that saves more than 1 % of the Lagrangian. The
// result depends on neither threads nor timing. No vectors: one center at 0. Throws quench::Error as check_vectors
// does, and on options outside their range.
Codebook learn_codebook(std::span<const float> vectors, const AnnealingOptions& options);

}  // namespace quench::quantizer
