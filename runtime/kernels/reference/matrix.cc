// Gemm, MatMul and Det of float32.

#include "runtime/kernels/reference/matrix.h"

#include <cmath>
#include <utility>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// Rows of x times the matrix w. With w's rows contiguous they are added up, otherwise each value is a dot product.
void multiply_row(const Product& product, const float* x, const float* w, float* y) {
  if (product.w_column == 1) {
    for (int64_t j = 0; j < product.columns; ++j) y[j] = 0;
    for (int64_t k = 0; k < product.inner; ++k) {
      const float factor = x[k * product.x_inner];
      const float* row = w + k * product.w_inner;
      for (int64_t j = 0; j < product.columns; ++j) y[j] += factor * row[j];
    }
    return;
  }
  for (int64_t j = 0; j < product.columns; ++j) {
    double sum = 0;
    for (int64_t k = 0; k < product.inner; ++k) {
      sum += static_cast<double>(x[k * product.x_inner]) * w[k * product.w_inner + j * product.w_column];
    }
    y[j] = static_cast<float>(sum);
  }
}

}  // namespace

Status infer_gemm(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 3, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  const Shape& a = context.input(0)->shape;
  const Shape& b = context.input(1)->shape;
  if (a.rank != 2 || b.rank != 2) {
    return Status::error(StatusCode::kShape, "inputs have rank %d and %d, not 2", a.rank, b.rank);
  }
  const bool turn_a = context.attributes().get_int("transA", 0) != 0;
  const bool turn_b = context.attributes().get_int("transB", 0) != 0;
  GemmState& state = context.state<GemmState>();
  state.alpha = context.attributes().get_float("alpha", 1);
  state.beta = context.attributes().get_float("beta", 1);
  state.product = {a[turn_a ? 1 : 0], a[turn_a ? 0 : 1], b[turn_b ? 0 : 1], turn_a ? 1 : a[1],
                   turn_a ? a[1] : 1, turn_b ? 1 : b[1], turn_b ? b[1] : 1};
  if (state.product.inner != b[turn_b ? 1 : 0]) {
    return Status::error(StatusCode::kShape, "inner dimensions are %lld and %lld",
                         static_cast<long long>(state.product.inner), static_cast<long long>(b[turn_b ? 1 : 0]));
  }
  const Shape shape = {state.product.rows, state.product.columns};
  if (context.input(2)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, 2, kFloatType));
    Shape together;
    QUENCH_RETURN_IF_ERROR(broadcast_shapes(shape, context.input(2)->shape, &together));
    if (!(together == shape)) return Status::error(StatusCode::kShape, "input 2 does not broadcast to the output");
  }
  return context.set_output(0, ElementType::kFloat32, shape);
}

namespace {

Status run_gemm(RunContext& context) {
  const GemmState& state = context.state<GemmState>();
  const Product& product = state.product;
  int64_t c_strides[kMaxRank] = {};
  if (context.input(2)) broadcast_strides(*context.input(2), 2, c_strides);
  context.parallel_for(product.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      float* y = context.output(0)->as<float>() + i * product.columns;
      multiply_row(product, context.input(0)->as<float>() + i * product.x_row, context.input(1)->as<float>(), y);
      for (int64_t j = 0; j < product.columns; ++j) y[j] *= state.alpha;
      if (!context.input(2)) continue;
      const float* c = context.input(2)->as<float>() + i * c_strides[0];
      for (int64_t j = 0; j < product.columns; ++j) y[j] += state.beta * c[j * c_strides[1]];
    }
  });
  return Status();
}

// Strides of the leading axes in matrices, 0 where they repeat.
void batch_strides(const Shape& shape, int batch_rank, int64_t strides[kMaxRank]) {
  Tensor batch;
  batch.shape.rank = shape.rank > 2 ? shape.rank - 2 : 0;
  for (int axis = 0; axis < batch.shape.rank; ++axis) batch.shape[axis] = shape[axis];
  broadcast_strides(batch, batch_rank, strides);
}

}  // namespace

Status place_product(const Shape& a, const Shape& b, bool turn_a, bool turn_b, MatMulState* state, Shape* y) {
  if (a.rank < 1 || b.rank < 1) return Status::error(StatusCode::kShape, "an input is a scalar");
  const int64_t a_rows = a.rank == 1 ? 1 : a[a.rank - 2];
  const int64_t a_columns = a[a.rank - 1];
  const int64_t b_rows = b.rank == 1 ? b[0] : b[b.rank - 2];
  const int64_t b_columns = b.rank == 1 ? 1 : b[b.rank - 1];
  turn_a &= a.rank > 1;
  turn_b &= b.rank > 1;
  state->product = {turn_a ? a_columns : a_rows, turn_a ? a_rows : a_columns, turn_b ? b_rows : b_columns,
                    turn_a ? 1 : a_columns,      turn_a ? a_columns : 1,      turn_b ? 1 : b_columns,
                    turn_b ? b_columns : 1};
  const int64_t b_inner = turn_b ? b_columns : b_rows;
  if (state->product.inner != b_inner) {
    return Status::error(StatusCode::kShape, "inner dimensions are %lld and %lld",
                         static_cast<long long>(state->product.inner), static_cast<long long>(b_inner));
  }
  Shape lead_a = a;
  Shape lead_b = b;
  lead_a.rank = a.rank > 2 ? a.rank - 2 : 0;
  lead_b.rank = b.rank > 2 ? b.rank - 2 : 0;
  Shape shape;
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(lead_a, lead_b, &shape));
  *y = shape;
  if (a.rank > 1) (*y)[y->rank++] = state->product.rows;
  if (b.rank > 1) (*y)[y->rank++] = state->product.columns;
  if (!y->valid(sizeof(int32_t))) return Status::error(StatusCode::kShape, "the output is too large");
  int64_t a_strides[kMaxRank];
  int64_t b_strides[kMaxRank];
  batch_strides(a, shape.rank, a_strides);
  batch_strides(b, shape.rank, b_strides);
  int64_t y_strides[kMaxRank];
  compute_strides(shape, Layout::kRowMajor, y_strides);
  state->batches = StridedLoop<3>();
  for (int axis = 0; axis < shape.rank; ++axis) {
    state->batches.add_axis(shape[axis], {y_strides[axis], a_strides[axis], b_strides[axis]});
  }
  state->batches.finish();
  return Status();
}

Status infer_matmul(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  Shape y;
  QUENCH_RETURN_IF_ERROR(
      place_product(context.input(0)->shape, context.input(1)->shape, false, false, &context.state<MatMulState>(), &y));
  return context.set_output(0, ElementType::kFloat32, y);
}

namespace {

void multiply(const RunContext& context, const MatMulState& state, const float* a, const float* b, float* y) {
  const Product& product = state.product;
  walk(state.batches, [&](const int64_t* at, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const float* left = a + (at[1] + i * state.batches.step(1)) * product.rows * product.inner;
      const float* right = b + (at[2] + i * state.batches.step(2)) * product.inner * product.columns;
      float* target = y + (at[0] + i * state.batches.step(0)) * product.rows * product.columns;
      context.parallel_for(product.rows, 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t row = begin; row < end; ++row) {
          multiply_row(product, left + row * product.x_row, right, target + row * product.columns);
        }
      });
    }
  });
}

Status run_matmul(RunContext& context) {
  multiply(context, context.state<MatMulState>(), context.input(0)->as<float>(), context.input(1)->as<float>(),
           context.output(0)->as<float>());
  return Status();
}

// Det: of square matrices, by elimination with the largest pivot of each column.

Status infer_det(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  Shape shape = context.input(0)->shape;
  if (shape.rank < 2 || shape[shape.rank - 1] != shape[shape.rank - 2]) {
    return Status::error(StatusCode::kShape, "input 0 is no square matrices");
  }
  const int64_t size = shape[shape.rank - 1];
  if (size > (int64_t{1} << 24)) return Status::error(StatusCode::kLimit, "the matrices are too large");
  context.set_scratch(size * size * static_cast<int64_t>(sizeof(double)));
  shape.rank -= 2;
  return context.set_output(0, ElementType::kFloat32, shape);
}

double determinant(double* a, int64_t size) {
  double product = 1;
  for (int64_t k = 0; k < size; ++k) {
    int64_t pivot = k;
    for (int64_t row = k + 1; row < size; ++row) {
      if (std::fabs(a[row * size + k]) > std::fabs(a[pivot * size + k])) pivot = row;
    }
    if (pivot != k) product = -product;
    for (int64_t i = k; i < size; ++i) std::swap(a[k * size + i], a[pivot * size + i]);
    product *= a[k * size + k];
    if (product == 0) return 0;
    for (int64_t row = k + 1; row < size; ++row) {
      const double factor = a[row * size + k] / a[k * size + k];
      for (int64_t i = k; i < size; ++i) a[row * size + i] -= factor * a[k * size + i];
    }
  }
  return product;
}

Status run_det(RunContext& context) {
  const Tensor& x = *context.input(0);
  const int64_t size = x.shape[x.shape.rank - 1];
  double* matrix = static_cast<double*>(context.scratch());
  for (int64_t i = 0, count = context.output(0)->elements(); i < count; ++i) {
    for (int64_t k = 0; k < size * size; ++k) matrix[k] = x.as<float>()[i * size * size + k];
    context.output(0)->as<float>()[i] = static_cast<float>(determinant(matrix, size));
  }
  return Status();
}

// Det is not folded: it costs more than its bytes say.
// FusedMatMul: with operands that may be turned around, and a factor.

struct FusedState {
  MatMulState product;
  float alpha;
};

Status infer_fused_matmul(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kFloatType));
  const Attributes& attributes = context.attributes();
  if (attributes.get_int("transBatchA", 0) != 0 || attributes.get_int("transBatchB", 0) != 0) {
    return Status::error(StatusCode::kUnsupportedFeature, "attributes 'transBatchA' and 'transBatchB'");
  }
  FusedState& state = context.state<FusedState>();
  state.alpha = attributes.get_float("alpha", 1);
  Shape y;
  QUENCH_RETURN_IF_ERROR(place_product(context.input(0)->shape, context.input(1)->shape,
                                       attributes.get_int("transA", 0) != 0, attributes.get_int("transB", 0) != 0,
                                       &state.product, &y));
  return context.set_output(0, ElementType::kFloat32, y);
}

Status run_fused_matmul(RunContext& context) {
  const auto& [product, alpha] = context.state<FusedState>();
  float* y = context.output(0)->as<float>();
  multiply(context, product, context.input(0)->as<float>(), context.input(1)->as<float>(), y);
  for (int64_t i = 0; alpha != 1 && i < context.output(0)->elements(); ++i) y[i] *= alpha;
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "Det", .infer = infer_det, .run = run_det, .flags = kNotFolded},
    {.op = "Gemm", .infer = infer_gemm, .run = run_gemm, .state_bytes = sizeof(GemmState)},
    {.op = "MatMul", .infer = infer_matmul, .run = run_matmul, .state_bytes = sizeof(MatMulState)},
    {.op = "FusedMatMul",
     .domain = kMicrosoft,
     .infer = infer_fused_matmul,
     .run = run_fused_matmul,
     .state_bytes = sizeof(FusedState)},
};

}  // namespace

std::span<const Kernel> matrix_kernels() { return kKernels; }

}  // namespace quench::rt
