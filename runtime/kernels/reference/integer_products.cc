// Products of bytes.
//
// Both operands lose their zero points, so that padding is zero, and become integers of 16 bits; then one becomes rows
// of pairs, the other, a tile of columns at a time, columns of pairs (the inputs under the windows of a tile of outputs,
// where it is convolved), and the sums of their products become what the operator makes of them: real numbers, or bytes
// again.

#include "runtime/kernels/reference/integer_products.h"

#include <cstddef>
#include <cstring>

#include "runtime/kernels/reference/integers.h"
#include "runtime/kernels/reference/quantized.h"

namespace quench::rt {
namespace {

// A parameter of a tensor of `rank` axes, as something that broadcasts to it: a list lies along `axis`.
Tensor spread(const Tensor& parameter, int axis, int rank) {
  Tensor spread = parameter;
  if (parameter.shape.elements() == 1) spread.shape = {};
  if (parameter.shape.elements() == 1 || parameter.shape.rank != 1 || axis < 0) return spread;
  spread.shape.rank = rank;
  for (int i = 0; i < rank; ++i) spread.shape[i] = i == axis ? parameter.shape[0] : 1;
  return spread;
}

Tensor one_number(ElementType type, const void* value) {
  return {type, Layout::kRowMajor, {}, const_cast<void*>(value)};
}

// Input `index`, if it is there, has the type, and is one number or broadcasts as `spread` says.
Status check_parameter(const InferContext& context, int index, TypeSet types, int axis, const Shape& to) {
  if (!context.input(index)) return Status();
  QUENCH_RETURN_IF_ERROR(check_type(context, index, types));
  Shape together;
  const Shape from = spread(*context.input(index), axis, to.rank).shape;
  if (from.rank > 0 && axis < 0) return Status::error(StatusCode::kShape, "input %d is not one number", index);
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(from, to, &together));
  if (together == to) return Status();
  return Status::error(StatusCode::kShape, "input %d does not broadcast to what it describes", index);
}

Status check_types(const InferContext& context, const IntegerOperands& operands) {
  QUENCH_RETURN_IF_ERROR(
      check_node(context, operands.required, operands.count, operands.is_dynamic ? kFloatType : kByteTypes));
  return check_type(context, operands.b, kByteTypes);
}

// Everything but the operands themselves, sums of `inner` products, and the output `y`.
Status check_rest(InferContext& context, const IntegerOperands& operands, const ParameterAxes& axes, int64_t inner,
                  const Shape& y) {
  const Tensor& a = *context.input(operands.a);
  const Tensor& b = *context.input(operands.b);
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.a_zero, type_set(a.type), axes.a, a.shape));
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.b_zero, type_set(b.type), axes.b, b.shape));
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.a_scale, kFloatType, axes.y_a, y));
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.b_scale, kFloatType, axes.y_b, y));
  QUENCH_RETURN_IF_ERROR(check_parameter(context, operands.addend, type_set(operands.addend_type), axes.y_b, y));
  auto type = operands.b_scale < 0 ? ElementType::kInt32 : ElementType::kFloat32;
  if (context.input(operands.y_zero)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, operands.y_zero, kByteTypes));
    type = context.input(operands.y_zero)->type;
    QUENCH_RETURN_IF_ERROR(check_quantization(context, operands.y_scale, operands.y_zero, type));
  }
  constexpr int64_t kLargest = int64_t{1} << 40;
  if (a.elements() > kLargest || b.elements() > kLargest || y.elements() > kLargest || inner > kLargest) {
    return Status::error(StatusCode::kShape, "an operand is too large");
  }
  return context.set_output(0, type, y);
}

// Rows of the left matrix that meet a tile of columns: so many that to gather the tile is little beside.
constexpr int64_t kUnitRows = 128;

int64_t pairs_of(int64_t inner) { return inner / 2 + inner % 2; }

// What lies where in the scratch memory.
struct Scratch {
  int16_t* a;      // without its zero points, as it lies
  int16_t* b;      // likewise
  Pair* rows;      // of the left operand
  Pair* columns;   // a tile of the right operand for each thread
  uint32_t* sums;  // null: the sums are the output
  int64_t bytes = 0;

  // The left operand has `left_rows` rows of `inner` integers.
  Scratch(const NodeContext& context, const IntegerOperands& operands, int64_t left_rows, int64_t inner,
          int64_t outputs, void* memory) {
    take(memory, context.input(operands.a)->elements(), &a);
    take(memory, context.input(operands.b)->elements(), &b);
    take(memory, left_rows * pairs_of(inner), &rows);
    take(memory, context.threads() * pairs_of(inner) * kPairColumns, &columns);
    take(memory, operands.b_scale < 0 ? 0 : outputs, &sums);
  }

 private:
  template <typename T>
  void take(void* memory, int64_t count, T** array) {
    *array = memory ? reinterpret_cast<T*>(static_cast<std::byte*>(memory) + bytes) : nullptr;
    bytes += (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
  }
};

template <typename From>
void subtract(const RunContext& context, const Tensor& from, int64_t zero, int16_t* to) {
  context.parallel_for(from.elements(), kParallelGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) to[i] = static_cast<int16_t>(from.as<From>()[i] - static_cast<int16_t>(zero));
  });
}

// The integers without their zero points.
void widen(const RunContext& context, const Tensor& from, const Tensor* zero, int axis, int16_t* to) {
  if (!zero || zero->elements() == 1) {
    const int64_t one = zero ? load_integer(*zero, 0) : 0;
    return from.type == ElementType::kUint8 ? subtract<uint8_t>(context, from, one, to)
                                            : subtract<int8_t>(context, from, one, to);
  }
  const Tensor zeros = spread(*zero, axis, from.shape.rank);
  const auto loop = broadcast_loop<2>(from, {&from, &zeros});
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    int64_t values[kBlock];
    int64_t offsets[kBlock];
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t size = count - begin < kBlock ? count - begin : kBlock;
      load_integers(from, at[0] + begin, 1, size, values);
      load_integers(zeros, at[1] + begin * loop.step(1), loop.step(1), size, offsets);
      for (int64_t i = 0; i < size; ++i) to[at[0] + begin + i] = static_cast<int16_t>(values[i] - offsets[i]);
    }
  });
}

// The nearest integers without their zero point; the scale of them.
float widen_reals(const Tensor& from, int16_t* to) {
  const float* x = from.as<float>();
  const Quantization quantization = measure_quantization(x, from.elements());
  const Limits limits = limits_of(ElementType::kUint8);
  for (int64_t i = 0; i < from.elements(); ++i) {
    const int32_t integer = quantize(x[i] / quantization.scale, quantization.zero_point, limits);
    to[i] = static_cast<int16_t>(integer - quantization.zero_point);
  }
  return quantization.scale;
}

Pair pair_of(int16_t first, int16_t second) {
  return static_cast<Pair>(static_cast<uint16_t>(second)) << 16 | static_cast<uint16_t>(first);
}

// The row `from`, `step` apart, as pairs; a zero fills up the last.
void pack_row(const int16_t* from, int64_t step, int64_t inner, Pair* to) {
  for (int64_t k = 0; k + 1 < inner; k += 2) *to++ = pair_of(from[k * step], from[(k + 1) * step]);
  if (inner % 2 == 1) *to = pair_of(from[(inner - 1) * step], 0);
}

void pack_rows(const RunContext& context, const Product& product, int64_t rows, const Scratch& scratch) {
  const int64_t pairs = pairs_of(product.inner);
  context.parallel_for(rows, kUnitRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t matrix = row / product.rows * product.rows * product.inner;
      pack_row(scratch.a + matrix + row % product.rows * product.x_row, product.x_inner, product.inner,
               scratch.rows + row * pairs);
    }
  });
}

// Two lines of a tile.
struct LinePair {
  int16_t lines[2][kPairColumns] = {};

  void pack(Pair* to) const {
    for (int64_t i = 0; i < kPairColumns; ++i) to[i] = pair_of(lines[0][i], lines[1][i]);
  }
};

// What the operator makes of the sums, for a row of outputs.
class Finish {
 public:
  // `dynamic_scale`: in place of the scale of `a`, which the operator does not have.
  Finish(const RunContext& context, const IntegerOperands& operands, const ParameterAxes& axes,
         const float* dynamic_scale)
      : y_(*context.output(0)),
        a_scale_(parameter(context, operands.a_scale, axes.y_a, ElementType::kFloat32, dynamic_scale)),
        b_scale_(parameter(context, operands.b_scale, axes.y_b, ElementType::kFloat32, nullptr)),
        addend_(parameter(context, operands.addend, axes.y_b, ElementType::kInt32, &kNone)),
        alpha_(operands.is_gemm ? context.attributes().get_float("alpha", 1) : 1),
        limits_(limits_of(y_.type)) {
    if (y_.type != ElementType::kFloat32) {
      quantization_ = read_quantization(context, operands.y_scale, operands.y_zero);
    }
  }

  void run(const RunContext& context, const uint32_t* sums) const {
    const auto loop = broadcast_loop<4>(y_, {&y_, &a_scale_, &b_scale_, &addend_});
    const int64_t steps[] = {loop.step(1), loop.step(2), loop.step(3)};
    parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
      float reals[kBlock];
      for (int64_t begin = 0; begin < count; begin += kBlock) {
        const int64_t size = count - begin < kBlock ? count - begin : kBlock;
        const int64_t to = at[0] + begin;
        const int64_t from[] = {at[1] + begin * steps[0], at[2] + begin * steps[1], at[3] + begin * steps[2]};
        float* target = y_.type == ElementType::kFloat32 ? y_.as<float>() + to : reals;
        scale(sums + to, from, steps, size, target);
        if (target == reals) store(reals, size, y_.as<uint8_t>() + to);
      }
    });
  }

 private:
  static constexpr int32_t kNone = 0;

  Tensor parameter(const RunContext& context, int index, int axis, ElementType type, const void* otherwise) const {
    const Tensor* given = context.input(index);
    return given ? spread(*given, axis, y_.shape.rank) : one_number(type, otherwise);
  }

  float scale_at(int64_t a, int64_t b) const {
    return alpha_ * a_scale_.as<float>()[a] * b_scale_.as<float>()[b] / quantization_.scale;
  }

  void scale(const uint32_t* sums, const int64_t* from, const int64_t* steps, int64_t count, float* to) const {
    const auto real = [](uint32_t sum, float scale) { return static_cast<float>(static_cast<int32_t>(sum)) * scale; };
    if (addend_.type == ElementType::kFloat32) {
      const float* addend = addend_.as<float>() + from[2];
      for (int64_t i = 0; i < count; ++i) {
        to[i] = real(sums[i], scale_at(from[0] + i * steps[0], from[1] + i * steps[1])) + addend[i * steps[2]];
      }
      return;
    }
    const uint32_t* addend = addend_.as<uint32_t>() + from[2];
    if (steps[0] == 0 && steps[1] == 0 && steps[2] == 0) {
      const float scale = scale_at(from[0], from[1]);
      for (int64_t i = 0; i < count; ++i) to[i] = real(sums[i] + addend[0], scale);
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      to[i] = real(sums[i] + addend[i * steps[2]], scale_at(from[0] + i * steps[0], from[1] + i * steps[1]));
    }
  }

  void store(const float* reals, int64_t count, uint8_t* to) const {
    for (int64_t i = 0; i < count; ++i) {
      to[i] = static_cast<uint8_t>(quantize(reals[i], quantization_.zero_point, limits_));
    }
  }

  const Tensor& y_;
  Tensor a_scale_;
  Tensor b_scale_;
  Tensor addend_;
  float alpha_;
  Quantization quantization_;
  Limits limits_;
};

// Parameters of the weights are for each output channel.
constexpr ParameterAxes kConvolutionAxes = {.a = -1, .b = 0, .y_a = -1, .y_b = 1};

Scratch convolution_scratch(const NodeContext& context, const IntegerOperands& operands, int64_t outputs,
                            void* memory) {
  const Shape& w = context.input(operands.b)->shape;
  return {context, operands, w[0], w.elements(1, w.rank), outputs, memory};
}

bool is_within(int64_t place, int64_t size) { return place >= 0 && place < size; }

// Where an output, or a tap of the kernel, is.
struct Place {
  int64_t at[kSpatialAxes] = {};

  // Behind the last place comes the first again.
  void next(const int64_t* sizes) {
    if (++at[2] == sizes[2]) next_line(sizes);
  }
  void next_line(const int64_t* sizes) {
    at[2] = 0;
    if (++at[1] < sizes[1]) return;
    at[1] = 0;
    if (++at[0] == sizes[0]) at[0] = 0;
  }
};

// What one tap of the kernel meets in the plane `x`, for `count` outputs from `first` on. Where it meets padding, `to`
// stays as it is.
void gather_tap(const Window& window, const Place& tap, const int16_t* x, Place first, int64_t count, int16_t* to) {
  const int64_t left = window.coordinate(2, 0, tap.at[2]);
  const int64_t stride = window.stride[2];
  const Range inside = positions_inside(window.output[2], stride, left, window.input[2]);
  while (count > 0) {
    const int64_t rest = window.output[2] - first.at[2];
    const int64_t size = rest < count ? rest : count;
    const int64_t plane = window.coordinate(0, first.at[0], tap.at[0]);
    const int64_t line = window.coordinate(1, first.at[1], tap.at[1]);
    if (is_within(plane, window.input[0]) && is_within(line, window.input[1])) {
      const int64_t from = (plane * window.input[1] + line) * window.input[2] + left;
      const int64_t begin = first.at[2] > inside.begin ? first.at[2] : inside.begin;
      const int64_t end = first.at[2] + size < inside.end ? first.at[2] + size : inside.end;
      for (int64_t i = begin; i < end; ++i) to[i - first.at[2]] = x[from + i * stride];
    }
    to += size;
    count -= size;
    first.next_line(window.output);
  }
}

// Whether each output's window is the input at the same place.
bool is_pointwise(const Window& window) {
  bool is_pointwise = true;
  for (int axis = 0; axis < kSpatialAxes; ++axis) {
    is_pointwise &= window.kernel[axis] == 1 && window.stride[axis] == 1 && window.pad_begin[axis] == 0 &&
                    window.output[axis] == window.input[axis];
  }
  return is_pointwise;
}

// The inputs under the windows of `count` outputs from `begin` on, as columns; `x` are the planes of a group.
void gather_columns(const Window& window, int64_t channels, const int16_t* x, int64_t begin, int64_t count, Pair* to) {
  const bool is_copy = is_pointwise(window);
  const int64_t line = begin / window.output[2];
  const Place first = {{line / window.output[1], line % window.output[1], begin % window.output[2]}};
  const int64_t taps = window.kernel_elements();
  int64_t left = channels * taps;
  Place tap;
  for (int64_t taps_left = taps; left > 0; to += kPairColumns) {
    LinePair pair;
    for (int i = 0; i < 2 && left > 0; ++i, --left) {
      if (is_copy) {
        memcpy(pair.lines[i], x + begin, static_cast<size_t>(count) * sizeof(int16_t));
      } else {
        gather_tap(window, tap, x, first, count, pair.lines[i]);
        tap.next(window.kernel);
      }
      if (--taps_left > 0) continue;
      taps_left = taps;
      x += window.input_elements();
    }
    pair.pack(to);
  }
}

void convolve(const RunContext& context, const ConvolutionState& state, const Shape& x, const Shape& w,
              const Scratch& scratch, MultiplyPairs multiply, uint32_t* sums) {
  const Window& window = state.window;
  const int64_t channels = w[1];
  const int64_t inner = channels * window.kernel_elements();
  const int64_t pairs = pairs_of(inner);
  const int64_t of_group = w[0] / state.groups;
  const int64_t outputs = window.output_elements();
  const int64_t tiles = (outputs + kPairColumns - 1) / kPairColumns;
  for (int64_t row = 0; row < w[0]; ++row) pack_row(scratch.b + row * inner, 1, inner, scratch.rows + row * pairs);
  context.parallel_for(x[0] * state.groups * tiles, 1, [&](int64_t first, int64_t last, int slot) {
    Pair* columns = scratch.columns + slot * pairs * kPairColumns;
    for (int64_t item = first; item < last; ++item) {
      const int64_t group = item / tiles;  // of all samples, one after the other
      const int64_t begin = item % tiles * kPairColumns;
      const int64_t count = outputs - begin < kPairColumns ? outputs - begin : kPairColumns;
      gather_columns(window, channels, scratch.a + group * channels * window.input_elements(), begin, count, columns);
      multiply({scratch.rows + group % state.groups * of_group * pairs, columns, of_group, pairs, count,
                sums + group * of_group * outputs + begin, outputs});
    }
  });
}

// Of all left matrices.
int64_t left_rows(const NodeContext& context, const IntegerOperands& operands, const Product& product) {
  return product.inner > 0 ? context.input(operands.a)->elements() / product.inner : 0;
}

Scratch matmul_scratch(const NodeContext& context, const IntegerOperands& operands, const Product& product,
                       int64_t outputs, void* memory) {
  return {context, operands, left_rows(context, operands, product), product.inner, outputs, memory};
}

// Columns of the matrix `w` from `begin` on.
void copy_columns(const Product& product, const int16_t* w, int64_t begin, int64_t count, Pair* to) {
  for (int64_t k = 0; k < product.inner; to += kPairColumns) {
    LinePair pair;
    for (int i = 0; i < 2 && k < product.inner; ++i, ++k) {
      const int16_t* from = w + k * product.w_inner + begin * product.w_column;
      for (int64_t j = 0; j < count; ++j) pair.lines[i][j] = from[j * product.w_column];
    }
    pair.pack(to);
  }
}

void multiply_matrices(const RunContext& context, const MatMulState& state, const Scratch& scratch,
                       MultiplyPairs multiply, uint32_t* sums) {
  const Product& product = state.product;
  const int64_t pairs = pairs_of(product.inner);
  const int64_t tiles = (product.columns + kPairColumns - 1) / kPairColumns;
  const int64_t blocks = (product.rows + kUnitRows - 1) / kUnitRows;
  walk(state.batches, [&](const int64_t* at, int64_t matrices) {
    for (int64_t i = 0; i < matrices; ++i) {
      const Pair* left = scratch.rows + (at[1] + i * state.batches.step(1)) * product.rows * pairs;
      const int16_t* right = scratch.b + (at[2] + i * state.batches.step(2)) * product.inner * product.columns;
      uint32_t* target = sums + (at[0] + i * state.batches.step(0)) * product.rows * product.columns;
      context.parallel_for(tiles * blocks, 1, [&](int64_t first, int64_t last, int slot) {
        Pair* columns = scratch.columns + slot * pairs * kPairColumns;
        for (int64_t unit = first; unit < last; ++unit) {
          const int64_t row = unit % blocks * kUnitRows;
          const int64_t rows = product.rows - row < kUnitRows ? product.rows - row : kUnitRows;
          const int64_t begin = unit / blocks * kPairColumns;
          const int64_t count = product.columns - begin < kPairColumns ? product.columns - begin : kPairColumns;
          if (unit == first || row == 0) copy_columns(product, right, begin, count, columns);
          multiply({left + row * pairs, columns, rows, pairs, count, target + row * product.columns + begin,
                    product.columns});
        }
      });
    }
  });
}

}  // namespace

Status infer_integer_convolution(InferContext& context, const IntegerOperands& operands) {
  QUENCH_RETURN_IF_ERROR(check_types(context, operands));
  const Shape& w = context.input(operands.b)->shape;
  Shape y;
  QUENCH_RETURN_IF_ERROR(
      place_convolution(context, context.input(operands.a)->shape, w, &context.state<ConvolutionState>(), &y));
  QUENCH_RETURN_IF_ERROR(check_rest(context, operands, kConvolutionAxes, w.elements(1, w.rank), y));
  context.set_scratch(convolution_scratch(context, operands, y.elements(), nullptr).bytes);
  return Status();
}

Status run_integer_convolution(const RunContext& context, const IntegerOperands& operands, MultiplyPairs multiply) {
  const Tensor& a = *context.input(operands.a);
  const Tensor& b = *context.input(operands.b);
  const Tensor& y = *context.output(0);
  const Scratch scratch = convolution_scratch(context, operands, y.elements(), context.scratch());
  const bool is_done = operands.b_scale < 0;
  widen(context, a, context.input(operands.a_zero), kConvolutionAxes.a, scratch.a);
  widen(context, b, context.input(operands.b_zero), kConvolutionAxes.b, scratch.b);
  convolve(context, context.state<ConvolutionState>(), a.shape, b.shape, scratch, multiply,
           is_done ? y.as<uint32_t>() : scratch.sums);
  if (!is_done) Finish(context, operands, kConvolutionAxes, nullptr).run(context, scratch.sums);
  return Status();
}

// Parameters of the left matrix are for each row, of the right one for each column.
Status infer_integer_matmul(InferContext& context, const IntegerOperands& operands) {
  QUENCH_RETURN_IF_ERROR(check_types(context, operands));
  const Shape& a = context.input(operands.a)->shape;
  const Shape& b = context.input(operands.b)->shape;
  const bool turn_a = operands.is_gemm && context.attributes().get_int("transA", 0) != 0;
  const bool turn_b = operands.is_gemm && context.attributes().get_int("transB", 0) != 0;
  if (operands.is_gemm && (a.rank != 2 || b.rank != 2)) {
    return Status::error(StatusCode::kShape, "operands have rank %d and %d, not 2", a.rank, b.rank);
  }
  auto& [product, axes] = context.state<IntegerMatMulState>();
  Shape y;
  QUENCH_RETURN_IF_ERROR(place_product(a, b, turn_a, turn_b, &product, &y));
  axes = {};
  if (a.rank > 1) {
    axes.a = a.rank - (turn_a ? 1 : 2);
    axes.y_a = y.rank - (b.rank > 1 ? 2 : 1);
  }
  if (b.rank > 1) {
    axes.b = b.rank - (turn_b ? 2 : 1);
    axes.y_b = y.rank - 1;
  }
  QUENCH_RETURN_IF_ERROR(check_rest(context, operands, axes, product.product.inner, y));
  context.set_scratch(matmul_scratch(context, operands, product.product, y.elements(), nullptr).bytes);
  return Status();
}

Status run_integer_matmul(const RunContext& context, const IntegerOperands& operands, MultiplyPairs multiply) {
  const auto& [product, axes] = context.state<IntegerMatMulState>();
  const Tensor& a = *context.input(operands.a);
  const Tensor& y = *context.output(0);
  const Scratch scratch = matmul_scratch(context, operands, product.product, y.elements(), context.scratch());
  const bool is_done = operands.b_scale < 0;
  float dynamic_scale = 1;
  if (operands.is_dynamic) {
    dynamic_scale = widen_reals(a, scratch.a);
  } else {
    widen(context, a, context.input(operands.a_zero), axes.a, scratch.a);
  }
  widen(context, *context.input(operands.b), context.input(operands.b_zero), axes.b, scratch.b);
  pack_rows(context, product.product, left_rows(context, operands, product.product), scratch);
  multiply_matrices(context, product, scratch, multiply, is_done ? y.as<uint32_t>() : scratch.sums);
  if (!is_done) Finish(context, operands, axes, &dynamic_scale).run(context, scratch.sums);
  return Status();
}

namespace {

void multiply_pairs(const PairProduct& product) {
  for (int64_t row = 0; row < product.rows; ++row) {
    uint32_t sums[kPairColumns] = {};
    for (int64_t p = 0; p < product.pairs; ++p) {
      const Pair a = product.a[row * product.pairs + p];
      const Pair* b = product.b + p * kPairColumns;
      for (int64_t j = 0; j < kPairColumns; ++j)
        sums[j] += first_of(a) * first_of(b[j]) + second_of(a) * second_of(b[j]);
    }
    memcpy(product.sums + row * product.sums_row, sums, static_cast<size_t>(product.columns) * sizeof(uint32_t));
  }
}

}  // namespace

std::span<const Kernel> integer_product_kernels() { return kIntegerProducts<multiply_pairs>; }

}  // namespace quench::rt
