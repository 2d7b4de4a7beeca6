// The centers of a vector quantizer and what each costs to name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quench::quantizer {

// L centers of dimension d in normalised units: the caller divides a tensor by its scale, so that 1.0 is the natural
// spacing of centers. For d = 1 the centers ascend; for d > 1 they are sorted by norm, so that a symbol's number says
// how large its vector is. Every center is used by at least one vector of the data it was learned on.
struct Codebook {
  int dimension = 1;           // 1, 2, 4 or 8
  std::vector<float> centers;  // L x d, row-major
  std::vector<float> bits;     // L: -log2 of the share of vectors that each center has
  uint32_t zero_symbol = 0;    // the center of least norm

  size_t size() const { return bits.size(); }
  std::span<const float> center(size_t index) const {
    const size_t width = static_cast<size_t>(dimension);
    return {centers.data() + index * width, width};
  }
};

// A codebook from centers (L x d) and the number of vectors that chose each: drops centers with a count of 0, sorts the
// others as Codebook says and gives them their code lengths. All counts 0, or no centers: one center at 0 with 0 bits.
Codebook make_codebook(int dimension, std::span<const float> centers, std::span<const uint64_t> counts);

// The mean squared error per value and the order-0 entropy in bits per value of coding `vectors` by `indices`.
struct RateDistortion {
  double bits = 0;
  double mse = 0;
  double lagrangian(double beta) const { return mse + beta * bits; }
};
RateDistortion measure(const Codebook& codebook, std::span<const float> vectors, std::span<const uint32_t> indices);

inline constexpr uint32_t kMaxCenters = 65536;

// The largest normalised value that is quantized: beyond it a float32 does not resolve a spacing of 1.
inline constexpr float kMaxMagnitude = 16777216.0f;

// Throws quench::Error unless the dimension is 1, 2, 4 or 8, the values are whole vectors, and each is finite and at
// most kMaxMagnitude.
void check_vectors(std::span<const float> vectors, int dimension);

}  // namespace quench::quantizer
