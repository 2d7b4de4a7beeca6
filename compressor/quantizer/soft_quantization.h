// The soft-to-hard quantizer as a differentiable function of weights and centers, one pass each way. The memory that it
// takes is that of its arguments: no assignment phi (n x L) is kept, the backward pass computes it again.
//
//     SoftQuantization q{.dimension = 1, .centers = c, .penalties = p, .sigma = 2};
//     soft_quantize(q, z, {.soft = soft, .hard = hard, .indices = indices, .mass = mass}, threads);
//     soft_quantize_backward(q, z, grad_values, grad_mass, grad_z, grad_centers, threads);
//
// With phi_ij the soft assignment of vector i to center j (soft_assignment.h; its exponent holds the price of the bits
// too), value_i = sum_j phi_ij c_j and mass_j = sum_i phi_ij. The hard assignment is the center of largest phi, which
// is argmin_j ||z - c_j||^2 + penalty_j. The gradients are those of the soft values: to use hard values forward and
// soft gradients backward (Mentzer et al. 2018), take `hard` for the values and call the same backward pass.
//
// Work is n x L exponentials each way (none forward where neither soft values nor mass are wanted), in the widest
// registers that the processor has, a vector in each lane. Results do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <span>

namespace quench::quantizer {

struct SoftQuantization {
  int dimension = 1;                 // d: 1, 2, 4 or 8
  std::span<const float> centers;    // L x d, row-major; ascending where d = 1; finite
  std::span<const float> penalties;  // L, at least 0, in squared distance
  float sigma = 1;                   // hardness, above 0, in 1 / squared distance
};

// Each may be empty: not wanted.
struct SoftQuantizationOutputs {
  std::span<float> soft;        // n x d
  std::span<float> hard;        // n x d
  std::span<uint16_t> indices;  // n, of the hard assignment
  std::span<double> mass;       // L, of the soft assignment; sums to n
};

// z: n x d finite values.
void soft_quantize(const SoftQuantization& quantization, std::span<const float> z,
                   const SoftQuantizationOutputs& outputs, int threads);

// grad_values (n x d) and grad_mass (L): of the loss with respect to soft and mass. grad_z (n x d) and grad_centers
// (L x d) are overwritten; the penalties are taken as constant.
void soft_quantize_backward(const SoftQuantization& quantization, std::span<const float> z,
                            std::span<const float> grad_values, std::span<const float> grad_mass,
                            std::span<float> grad_z, std::span<float> grad_centers, int threads);

}  // namespace quench::quantizer
