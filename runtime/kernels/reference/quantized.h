// What the quantized operators share: an integer stands for the real number (integer - zero point) * scale.
#pragma once

#include "runtime/kernels/reference/checks.h"

namespace quench::rt {

inline constexpr TypeSet kByteTypes = type_set(ElementType::kUint8, ElementType::kInt8);
inline constexpr TypeSet kQuantizedTypes = kByteTypes | type_set(ElementType::kUint16, ElementType::kInt16);

struct Quantization {
  float scale = 1;
  int32_t zero_point = 0;
};

// Input `scale` is one float32; input `zero_point`, if it is there, one integer of the type.
Status check_quantization(const InferContext& context, int scale, int zero_point, ElementType type);
Quantization read_quantization(const RunContext& context, int scale, int zero_point);

// What the integers of a type of kQuantizedTypes, or of int32, can be.
struct Limits {
  int32_t least;
  int32_t most;
};
Limits limits_of(ElementType type);

// The integer for a real number that has been divided by its scale: halves go to the even one, what is beyond the
// limits to the nearest inside, and NaN to the zero point, which is one of the integers. Without branches and calls, so
// that compilers make vectors of it: what is added and taken away again is so large that floats around it are integers.
inline int32_t quantize(float steps, int32_t zero_point, Limits limits) {
  constexpr float kIntegersFrom = 12582912;  // 1.5 * 2^23
  const auto least = static_cast<float>(limits.least - zero_point);
  const auto most = static_cast<float>(limits.most - zero_point);
  float inside = steps == steps ? steps : 0;
  inside = inside < least ? least : inside;
  inside = inside > most ? most : inside;
  return static_cast<int32_t>((inside + kIntegersFrom) - kIntegersFrom) + zero_point;
}

// The whole tensor to real numbers, and back.
void dequantize(const RunContext& context, const Tensor& from, Quantization quantization, float* to);
void quantize(const RunContext& context, const float* from, Quantization quantization, const Tensor& to);

// Zero and all values lie in the range that uint8 covers.
Quantization measure_quantization(const float* x, int64_t count);

}  // namespace quench::rt
