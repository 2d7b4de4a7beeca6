// The soft assignment of a vector to centers: the one home of the formula (Agustsson et al. 2017, section 3.1, with the
// entropy constraint of Chou, Lookabaugh and Gray 1989 inside the exponent).
//
//     phi_j = exp(-sigma (||z - c_j||^2 + beta bits_j)) / sum_k exp(-sigma (||z - c_k||^2 + beta bits_k))
//
// sigma (hardness, 1 / squared distance) -> infinity makes it the hard assignment of HardAssigner.
#pragma once

#include <Eigen/Core>

namespace quench::quantizer {

// centers: L x d, column-major, so that a coordinate of all centers is contiguous. penalties: L values beta * bits_j.
// phi (L) receives the assignment, which sums to 1. Does not allocate. sigma > 0; all inputs finite.
inline void soft_assign(const float* z, const Eigen::Ref<const Eigen::ArrayXXf>& centers,
                        const Eigen::Ref<const Eigen::ArrayXf>& penalties, float sigma,
                        Eigen::Ref<Eigen::ArrayXf> phi) {
  phi = penalties;
  for (Eigen::Index k = 0; k < centers.cols(); ++k) phi += (centers.col(k) - z[k]).square();
  const float least = phi.minCoeff();  // the largest exponent becomes 0: nothing overflows, the sum is at least 1
  phi = ((least - phi) * sigma).exp();
  phi /= phi.sum();
}

// sum_j phi_j c_j into value (d).
inline void soft_value(const Eigen::Ref<const Eigen::ArrayXf>& phi, const Eigen::Ref<const Eigen::ArrayXXf>& centers,
                       float* value) {
  for (Eigen::Index k = 0; k < centers.cols(); ++k) value[k] = (phi * centers.col(k)).sum();
}

}  // namespace quench::quantizer
