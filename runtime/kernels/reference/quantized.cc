#include "runtime/kernels/reference/quantized.h"

#include "runtime/kernels/reference/integers.h"
#include "runtime/kernels/reference/strided.h"

namespace quench::rt {

Status check_quantization(const InferContext& context, int scale, int zero_point, ElementType type) {
  QUENCH_RETURN_IF_ERROR(check_type(context, scale, kFloatType));
  const Tensor* zero = context.input(zero_point);
  if (context.input(scale)->elements() != 1 || (zero && zero->elements() != 1)) {
    return Status::error(StatusCode::kShape, "the scale or the zero point of input %d is not one number", scale);
  }
  if (zero && zero->type != type) {
    return Status::error(StatusCode::kUnsupportedType, "input %d has type %s, not %s", zero_point, name_of(zero->type),
                         name_of(type));
  }
  return Status();
}

Quantization read_quantization(const RunContext& context, int scale, int zero_point) {
  const Tensor* zero = context.input(zero_point);
  return {*context.input(scale)->as<float>(), zero ? static_cast<int32_t>(load_integer(*zero, 0)) : 0};
}

Limits limits_of(ElementType type) {
  const int64_t count = int64_t{1} << (8 * size_of(type));
  const bool is_signed = type == ElementType::kInt8 || type == ElementType::kInt16 || type == ElementType::kInt32;
  const int64_t least = is_signed ? -count / 2 : 0;
  return {static_cast<int32_t>(least), static_cast<int32_t>(least + count - 1)};
}

void dequantize(const RunContext& context, const Tensor& from, Quantization quantization, float* to) {
  context.parallel_for(from.elements(), kParallelGrain, [&](int64_t begin, int64_t end, int) {
    int64_t block[kBlock];
    for (; begin < end; begin += kBlock) {
      const int64_t count = end - begin < kBlock ? end - begin : kBlock;
      load_integers(from, begin, 1, count, block);
      for (int64_t i = 0; i < count; ++i) {
        to[begin + i] = static_cast<float>(block[i] - quantization.zero_point) * quantization.scale;
      }
    }
  });
}

void quantize(const RunContext& context, const float* from, Quantization quantization, const Tensor& to) {
  const Limits limits = limits_of(to.type);
  context.parallel_for(to.elements(), kParallelGrain, [&](int64_t begin, int64_t end, int) {
    int64_t block[kBlock];
    for (; begin < end; begin += kBlock) {
      const int64_t count = end - begin < kBlock ? end - begin : kBlock;
      for (int64_t i = 0; i < count; ++i) {
        block[i] = quantize(from[begin + i] / quantization.scale, quantization.zero_point, limits);
      }
      store_integers(block, to, begin, 1, count);
    }
  });
}

Quantization measure_quantization(const float* x, int64_t count) {
  float least = 0;
  float most = 0;
  for (int64_t i = 0; i < count; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
  }
  if (least == most) return {};
  const float scale = (most - least) / 255;
  return {scale, quantize(-least / scale, 0, limits_of(ElementType::kUint8))};
}

}  // namespace quench::rt
