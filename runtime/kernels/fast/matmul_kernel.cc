// Gemm and MatMul.
#include <algorithm>

#include "runtime/kernels/fast/blocking.h"
#include "runtime/kernels/fast/elementwise.h"
#include "runtime/kernels/fast/matmul.h"
#include "runtime/kernels/fast/tables.h"
#include "runtime/kernels/reference/matrix.h"

namespace quench::rt {
namespace {

using fast::MatMulData;
using fast::MatMulPlan;
using fast::MatMulShape;

constexpr int64_t kGrain = 200'000;  // products that are worth a thread of their own
constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kFloatsOfLine = kAlignment / kFloat;

// Empty products are left to the reference.
bool are_floats(InferContext& context) {
  const Tensor* a = context.input(0);
  const Tensor* b = context.input(1);
  return a && b && a->type == ElementType::kFloat32 && b->type == ElementType::kFloat32 && a->elements() > 0 &&
         b->elements() > 0;
}

// Runs the product `count` times, with what differs set by set_matrix(index, data).
template <typename SetMatrix>
void run_all(const RunContext& context, const MatMulPlan& plan, int64_t count, float* slots, const MatMulData& common,
             const SetMatrix& set_matrix) {
  if (plan.units == 0 || count == 0) return;
  const double products = static_cast<double>(plan.shape.rows) * static_cast<double>(plan.shape.columns) *
                          static_cast<double>(plan.shape.inner) / static_cast<double>(plan.units);
  const auto grain = static_cast<int64_t>(kGrain / std::max(products, 1.0));
  context.parallel_for(plan.units * count, grain, [&](int64_t begin, int64_t end, int slot) {
    MatMulData data = common;
    while (begin < end) {
      const int64_t index = begin / plan.units;
      const int64_t first = begin % plan.units;
      const int64_t last = std::min(plan.units, first + end - begin);
      set_matrix(index, data);
      fast::run_matmul(plan, data, first, last, slots + slot * plan.scratch_floats);
      begin += last - first;
    }
  });
}

void set_slots(PrepareContext& context, MatMulPlan& plan) {
  plan.scratch_floats = fast::round_up(plan.scratch_floats, kFloatsOfLine);
  context.set_scratch(plan.scratch_floats * context.threads() * kFloat);
}

// Gemm: alpha * A * B + beta * C.

struct Gemm {
  GemmState common;
  MatMulPlan plan;
};

bool is_row(const Tensor& c, int64_t columns) {
  const Shape& shape = c.shape;
  return shape.elements() == columns && (shape.rank == 0 || shape[shape.rank - 1] == columns);
}

// Without packed weights there is no place to apply alpha.
bool accepts_gemm(InferContext& context) {
  const bool packs = context.is_constant(1) && (!context.input(2) || context.is_constant(2));
  return are_floats(context) && (packs || context.attributes().get_float("alpha", 1) == 1);
}

Status prepare_gemm(PrepareContext& context) {
  Gemm& gemm = context.state<Gemm>();
  const Product& p = gemm.common.product;
  gemm.plan = fast::plan_matmul({p.rows, p.inner, p.columns}, context.packs(), context.threads());
  context.set_variant(gemm.plan.variant());
  set_slots(context, gemm.plan);
  return Status();
}

int64_t packed_weights(const MatMulPlan& plan) { return fast::round_up(fast::packed_floats(plan), kFloatsOfLine); }

// The packed block: the weights, with C as their bias where it is the same for all rows, or else with C behind them.
Status pack_gemm(PackContext& context) {
  const Gemm& gemm = context.state<Gemm>();
  const Product& p = gemm.common.product;
  const Tensor* c = context.input(2);
  const int64_t weights = packed_weights(gemm.plan);
  auto* packed = static_cast<float*>(context.allocate((weights + (c ? c->elements() : 0)) * kFloat));
  if (!packed) return Status(StatusCode::kOutOfMemory);
  fast::pack_matmul(gemm.plan, {context.input(1)->as<float>(), p.w_inner, p.w_column}, gemm.common.alpha, nullptr,
                    packed);
  float* target = c && is_row(*c, p.columns) ? packed : packed + weights;
  for (int64_t i = 0; c && i < c->elements(); ++i) target[i] = gemm.common.beta * c->as<float>()[i];
  return Status();
}

// output = scale * c + residual, c repeated as its shape says.
void start_with(const RunContext& context, const Product& product, const Tensor& c, const float* values, float scale) {
  int64_t strides[kMaxRank] = {};
  broadcast_strides(c, 2, strides);
  const Tensor* residual = context.epilogue().residual;
  float* output = context.output(0)->as<float>();
  for (int64_t i = 0; i < product.rows; ++i) {
    for (int64_t j = 0; j < product.columns; ++j) {
      const float value = scale * values[i * strides[0] + j * strides[1]];
      const int64_t at = i * product.columns + j;
      output[at] = residual ? value + residual->as<float>()[at] : value;
    }
  }
}

Status run_gemm(RunContext& context) {
  const Gemm& gemm = context.state<Gemm>();
  const Product& p = gemm.common.product;
  const Tensor* c = context.input(2);
  const auto* packed = static_cast<const float*>(context.packed());
  MatMulData data;
  data.x = {context.input(0)->as<float>(), p.x_row, p.x_inner};
  data.packed = packed;
  if (!packed) data.weights = {context.input(1)->as<float>(), p.w_inner, p.w_column};
  data.output = context.output(0)->as<float>();
  data.activation = context.epilogue().activation;
  if (c && !(packed && is_row(*c, p.columns))) {
    start_with(context, p, *c, packed ? packed + packed_weights(gemm.plan) : c->as<float>(),
               packed ? 1.0f : gemm.common.beta);
    data.accumulate = true;
  } else if (context.epilogue().residual) {
    data.residual = context.epilogue().residual->as<float>();
  }
  run_all(context, gemm.plan, 1, static_cast<float*>(context.scratch()), data, [](int64_t, MatMulData&) {});
  return Status();
}

// MatMul.

struct MatMul {
  MatMulState common;
  MatMulPlan plan;
  int64_t products;  // of `plan`, over the leading axes
};

bool accepts_matmul(InferContext& context) { return are_floats(context); }

Status prepare_matmul(PrepareContext& context) {
  MatMul& matmul = context.state<MatMul>();
  const Product& p = matmul.common.product;
  MatMulShape shape = {p.rows, p.inner, p.columns};
  matmul.products = matmul.common.batches.elements();
  // One right-hand matrix for all: the left-hand ones are one tall matrix.
  if (context.input(1)->shape.rank <= 2) {
    shape.rows *= matmul.products;
    matmul.products = 1;
  }
  matmul.plan = fast::plan_matmul(shape, context.packs(), context.threads());
  context.set_variant(matmul.plan.variant());
  set_slots(context, matmul.plan);
  return Status();
}

Status pack_matmul(PackContext& context) {
  const MatMul& matmul = context.state<MatMul>();
  const Product& p = matmul.common.product;
  const Shape& shape = context.input(1)->shape;
  const int64_t matrices = shape.elements(0, std::max(shape.rank - 2, 0));
  const int64_t each = packed_weights(matmul.plan);
  auto* packed = static_cast<float*>(context.allocate(each * matrices * kFloat));
  if (!packed) return Status(StatusCode::kOutOfMemory);
  for (int64_t i = 0; i < matrices; ++i) {
    const float* weights = context.input(1)->as<float>() + i * p.inner * p.columns;
    fast::pack_matmul(matmul.plan, {weights, p.w_inner, p.w_column}, 1.0f, nullptr, packed + i * each);
  }
  return Status();
}

Status run_matmul(RunContext& context) {
  const MatMul& matmul = context.state<MatMul>();
  const Product& p = matmul.common.product;
  const auto* packed = static_cast<const float*>(context.packed());
  const float* left = context.input(0)->as<float>();
  const float* right = packed ? nullptr : context.input(1)->as<float>();
  float* output = context.output(0)->as<float>();
  const Tensor* residual = context.epilogue().residual;
  MatMulData common;
  common.activation = context.epilogue().activation;
  const auto set_matrix = [&](int64_t index, MatMulData& data) {
    int64_t at[3] = {};  // output, left, right, in matrices
    if (matmul.products > 1) {
      walk(matmul.common.batches, index, index + 1, [&](const int64_t* offsets, int64_t) {
        for (int k = 0; k < 3; ++k) at[k] = offsets[k];
      });
    }
    const int64_t results = matmul.plan.shape.rows * p.columns;
    data.x = {left + at[1] * p.rows * p.inner, p.x_row, p.x_inner};
    if (packed) {
      data.packed = packed + at[2] * packed_weights(matmul.plan);
    } else {
      data.weights = {right + at[2] * p.inner * p.columns, p.w_inner, p.w_column};
    }
    data.output = output + at[0] * results;
    data.residual = residual ? residual->as<float>() + at[0] * results : nullptr;
  };
  run_all(context, matmul.plan, matmul.products, static_cast<float*>(context.scratch()), common, set_matrix);
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "Gemm",
     .infer = infer_gemm,
     .prepare = prepare_gemm,
     .pack = pack_gemm,
     .run = run_gemm,
     .accepts = accepts_gemm,
     .state_bytes = sizeof(Gemm),
     .flags = kFusesResidual,
     .packed_inputs = 1u << 1 | 1u << 2,
     .activations = fast::kActivatedValues},
    {.op = "MatMul",
     .infer = infer_matmul,
     .prepare = prepare_matmul,
     .pack = pack_matmul,
     .run = run_matmul,
     .accepts = accepts_matmul,
     .state_bytes = sizeof(MatMul),
     .flags = kFusesResidual,
     .packed_inputs = 1u << 1,
     .activations = fast::kActivatedValues},
};

}  // namespace

std::span<const Kernel> fast_matrix_kernels() { return kKernels; }

}  // namespace quench::rt
