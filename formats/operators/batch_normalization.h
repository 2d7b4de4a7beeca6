// BatchNormalization at inference, of one channel: y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, which is
// the affine map y = scale * x + shift. Ioffe and Szegedy, "Batch Normalization", 2015.
//
//     const BatchNormalization<double> channel{gamma[c], beta[c], mean[c], variance[c], epsilon};
//     weight *= channel.scale(), bias = channel(bias);
//
// In the precision of T, so that each user keeps its own.
#pragma once

#include <cmath>
#include <cstdint>

#include "formats/operators/attributes.h"

namespace quench::operators {

inline constexpr float kDefaultEpsilon = 1e-5f;

template <typename T>
struct BatchNormalization {
  T gamma, beta, mean, variance, epsilon;

  T scale() const { return gamma / std::sqrt(variance + epsilon); }
  T shift() const { return shift(scale()); }
  // With a scale that was rounded meanwhile.
  T shift(T rounded_scale) const { return beta - mean * rounded_scale; }
  T operator()(T x) const { return (x - mean) * scale() + beta; }
};

// The epsilon of a node that normalizes.
inline float epsilon_of(const AttributeView& attributes) { return attributes.get_float("epsilon", kDefaultEpsilon); }

// True where the node normalizes by its inputs 3 and 4, over axis 1; false in training mode, where it takes the
// statistics of its batch, and for the element by element form that operator sets before 9 had. From 7 to 13 a node with
// more `outputs` than the first is in training mode, whether anything reads them or not.
inline bool is_inference(const AttributeView& attributes, int64_t opset, int outputs) {
  if (opset >= 7 && opset < 14 && outputs > 1) return false;
  if (opset < 7 && attributes.get_int("is_test", 0) == 0) return false;
  return attributes.get_int("spatial", 1) != 0 && attributes.get_int("training_mode", 0) == 0;
}

}  // namespace quench::operators
