// What the quantized operators share: an integer stands for the real number (integer - zero point) * scale.
#pragma once

#include "runtime/kernels/reference/checks.h"

namespace quench::rt {

inline constexpr TypeSet kByteTypes = type_set(ElementType::kUint8, ElementType::kInt8);
inline constexpr TypeSet kQuantizedTypes = kByteTypes | type_set(ElementType::kUint16, ElementType::kInt16);

struct Quantization {
  float scale = 1;
  int64_t zero_point = 0;
};

// Input `scale` is one float32; input `zero_point`, if it is there, one integer of the type.
Status check_quantization(const InferContext& context, int scale, int zero_point, ElementType type);
Quantization read_quantization(const RunContext& context, int scale, int zero_point);

// What the integers of a type of kQuantizedTypes can be.
struct Limits {
  int64_t least;
  int64_t most;
};
Limits limits_of(ElementType type);

// The integer for a real number that has been divided by its scale: halves go to the even one, what is beyond the
// limits to the nearest inside, and NaN to the zero point.
int64_t quantize(float steps, int64_t zero_point, Limits limits);

// The whole tensor to real numbers, and back.
void dequantize(const RunContext& context, const Tensor& from, Quantization quantization, float* to);
void quantize(const RunContext& context, const float* from, Quantization quantization, const Tensor& to);

// Zero and all values lie in the range that uint8 covers.
Quantization measure_quantization(const float* x, int64_t count);

}  // namespace quench::rt
