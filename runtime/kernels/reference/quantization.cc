// QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear.

#include "runtime/kernels/reference/integers.h"
#include "runtime/kernels/reference/quantized.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// Which scale an element has: the only one, that of its place along an axis, or that of its block along the axis.
struct ScaleMap {
  int64_t size;    // along the axis; 0: there is one scale
  int64_t inner;   // elements behind the axis
  int64_t block;   // elements of a block along the axis; 0: a scale for each place
  int64_t blocks;  // along the axis
};

// Elements in a row whose scales lie `step` apart, from number `scale` on.
struct Piece {
  int64_t count;
  int64_t scale;
  int64_t step;
};

Piece piece_at(const ScaleMap& map, int64_t element, int64_t most) {
  Piece piece = {most, 0, 0};
  if (map.size > 0) {
    const int64_t place = element / map.inner % map.size;
    const int64_t behind = element % map.inner;
    if (map.block > 0) {
      const int64_t block = element / map.inner / map.size * map.blocks + place / map.block;
      const int64_t left = map.block - place % map.block;
      piece = map.inner == 1 ? Piece{left < map.size - place ? left : map.size - place, block, 0}
                             : Piece{map.inner - behind, block * map.inner + behind, 1};
    } else {
      piece = map.inner == 1 ? Piece{map.size - place, place, 1} : Piece{map.inner - behind, place, 0};
    }
  }
  if (piece.count > most) piece.count = most;
  return piece;
}

Status infer_scales(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  const Shape& x = context.input(0)->shape;
  const Shape& scale = context.input(1)->shape;
  const Tensor* zero = context.input(2);
  if (zero && zero->shape != scale && !(zero->elements() == 1 && scale.elements() == 1)) {
    return Status::error(StatusCode::kShape, "scale and zero point have different shapes");
  }
  ScaleMap& map = context.state<ScaleMap>();
  const int64_t block = context.attributes().get_int("block_size", 0);
  if (block < 0) return Status::error(StatusCode::kInvalidArgument, "attribute 'block_size' is negative");
  if (block == 0 && scale.elements() == 1) return Status();
  context.set_layout(LayoutRule::kRowMajor);
  int axis = 0;
  QUENCH_RETURN_IF_ERROR(normalize_axis(context.attributes().get_int("axis", 1), x.rank, &axis));
  map = {x[axis], x.elements(axis + 1, x.rank), block, 0};
  Shape expected = {x[axis]};
  if (block > 0) {
    map.blocks = x[axis] / block + (x[axis] % block != 0);
    expected = x;
    expected[axis] = map.blocks;
  }
  if (scale == expected) return Status();
  return Status::error(StatusCode::kShape, "the scales do not fit axis %d of input 0", axis);
}

Status infer_quantize(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 3, kFloatType | type_set(ElementType::kInt32)));
  QUENCH_RETURN_IF_ERROR(infer_scales(context));
  const int64_t wanted = context.attributes().get_int("output_dtype", 0);
  auto type = wanted > 0 && wanted < 32 ? static_cast<ElementType>(wanted) : ElementType::kUint8;
  if (context.input(2)) type = context.input(2)->type;
  if (!contains(kQuantizedTypes, type)) {
    return Status::error(StatusCode::kUnsupportedType, "the output would have type %s", name_of(type));
  }
  return context.set_output(0, type, context.input(0)->shape);
}

Status infer_dequantize(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 3, kQuantizedTypes | type_set(ElementType::kInt32)));
  if (context.input(2)) QUENCH_RETURN_IF_ERROR(check_same_type(context, 2));
  QUENCH_RETURN_IF_ERROR(infer_scales(context));
  return context.set_output(0, ElementType::kFloat32, context.input(0)->shape);
}

// Calls function(first element, elements, scales, their step, zero points) piece by piece.
template <typename Function>
void for_each_piece(const RunContext& context, const Function& function) {
  const ScaleMap& map = context.state<ScaleMap>();
  context.parallel_for(context.input(0)->elements(), kParallelGrain, [&](int64_t begin, int64_t end, int) {
    int64_t zero_points[kBlock] = {};
    while (begin < end) {
      const Piece piece = piece_at(map, begin, end - begin < kBlock ? end - begin : kBlock);
      if (context.input(2)) load_integers(*context.input(2), piece.scale, piece.step, piece.count, zero_points);
      function(begin, piece.count, context.input(1)->as<float>() + piece.scale, piece.step, zero_points);
      begin += piece.count;
    }
  });
}

Status run_quantize(RunContext& context) {
  const Tensor& x = *context.input(0);
  const Tensor& y = *context.output(0);
  const Limits limits = limits_of(y.type);
  for_each_piece(context, [&](int64_t begin, int64_t count, const float* scales, int64_t step, const int64_t* zeros) {
    int64_t block[kBlock];
    if (x.type == ElementType::kInt32) load_integers(x, begin, 1, count, block);
    for (int64_t i = 0; i < count; ++i) {
      const float real = x.type == ElementType::kFloat32 ? x.as<float>()[begin + i] : static_cast<float>(block[i]);
      block[i] = quantize(real / scales[i * step], static_cast<int32_t>(zeros[i]), limits);
    }
    store_integers(block, y, begin, 1, count);
  });
  return Status();
}

Status run_dequantize(RunContext& context) {
  for_each_piece(context, [&](int64_t begin, int64_t count, const float* scales, int64_t step, const int64_t* zeros) {
    int64_t block[kBlock];
    load_integers(*context.input(0), begin, 1, count, block);
    float* y = context.output(0)->as<float>() + begin;
    for (int64_t i = 0; i < count; ++i) y[i] = static_cast<float>(block[i] - zeros[i]) * scales[i * step];
  });
  return Status();
}

Status infer_dynamic_quantize(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  QUENCH_RETURN_IF_ERROR(context.set_output(1, ElementType::kFloat32, {}));
  QUENCH_RETURN_IF_ERROR(context.set_output(2, ElementType::kUint8, {}));
  return context.set_output(0, ElementType::kUint8, context.input(0)->shape);
}

Status run_dynamic_quantize(RunContext& context) {
  const float* x = context.input(0)->as<float>();
  const Quantization quantization = measure_quantization(x, context.input(0)->elements());
  quantize(context, x, quantization, *context.output(0));
  if (const Tensor* scale = context.output(1)) *scale->as<float>() = quantization.scale;
  if (const Tensor* zero = context.output(2)) *zero->as<uint8_t>() = static_cast<uint8_t>(quantization.zero_point);
  return Status();
}

constexpr Kernel linear(const char* op, const char* domain, Status (*infer)(InferContext&),
                        Status (*run)(RunContext&)) {
  return {.op = op,
          .domain = domain,
          .since_version = *domain == '\0' ? 10 : 1,
          .infer = infer,
          .run = run,
          .state_bytes = sizeof(ScaleMap),
          .layout = LayoutRule::kFollows,
          .layout_inputs = 0b1};
}

// ONNX Runtime had those of 16 bits before ONNX.
constexpr Kernel kKernels[] = {
    linear("QuantizeLinear", "", infer_quantize, run_quantize),
    linear("QuantizeLinear", kMicrosoft, infer_quantize, run_quantize),
    linear("DequantizeLinear", "", infer_dequantize, run_dequantize),
    linear("DequantizeLinear", kMicrosoft, infer_dequantize, run_dequantize),
    {.op = "DynamicQuantizeLinear",
     .since_version = 11,
     .infer = infer_dynamic_quantize,
     .run = run_dynamic_quantize,
     .layout = LayoutRule::kFollows},
};

}  // namespace

std::span<const Kernel> quantization_kernels() { return kKernels; }

}  // namespace quench::rt
