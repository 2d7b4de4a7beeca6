// Activations, arithmetic with broadcasting, and softmax.
#include <algorithm>
#include <limits>

#include "runtime/kernels/fast/elementwise.h"
#include "runtime/kernels/fast/tables.h"
#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/strided.h"

namespace quench::rt {
namespace {

bool is_float(InferContext& context) { return context.input(0) && context.input(0)->type == ElementType::kFloat32; }

Status infer_same(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  return context.set_output(0, ElementType::kFloat32, context.input(0)->shape);
}

// Input and output have the same layout, so that their elements correspond one to one.
template <typename Function>
void for_each_piece(const RunContext& context, const Function& function) {
  const float* from = context.input(0)->as<float>();
  float* to = context.output(0)->as<float>();
  context.parallel_for(context.input(0)->elements(), kParallelGrain,
                       [&](int64_t begin, int64_t end, int) { function(from + begin, to + begin, end - begin); });
}

// The attributes of an activation, and what they are if the node has none.
struct Parameters {
  Activation::Kind kind;
  const char* a = "";
  float default_a = 0;
  const char* b = "";
  float default_b = 0;
};
constexpr Parameters kRelu = {Activation::kRelu};
constexpr Parameters kSigmoid = {Activation::kSigmoid};
constexpr Parameters kTanh = {Activation::kTanh};
constexpr Parameters kHardSwish = {Activation::kHardSwish};
constexpr Parameters kLeakyRelu = {Activation::kLeakyRelu, "alpha", 0.01f};
constexpr Parameters kHardSigmoid = {Activation::kHardSigmoid, "alpha", 0.2f, "beta", 0.5f};
constexpr Parameters kClip = {Activation::kClip, "min", std::numeric_limits<float>::lowest(), "max",
                              std::numeric_limits<float>::max()};

template <const Parameters& kParameters>
Status run_activation(RunContext& context) {
  const Activation activation = {kParameters.kind, context.attributes().get_float(kParameters.a, kParameters.default_a),
                                 context.attributes().get_float(kParameters.b, kParameters.default_b)};
  for_each_piece(context, [&](const float* from, float* to, int64_t count) {
    fast::activate_values(activation, from, to, count);
  });
  return Status();
}

template <const Parameters& kParameters>
constexpr Kernel activation(const char* op, int until_version = Kernel().until_version) {
  return {.op = op,
          .until_version = until_version,
          .infer = infer_same,
          .run = run_activation<kParameters>,
          .accepts = is_float,
          .inplace_inputs = 1,
          .layout = LayoutRule::kFollows};
}

// Clip since version 11: the limits are inputs.

Status infer_clip(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 3, kFloatType));
  for (int index = 1; index < 3; ++index) {
    if (!context.input(index)) continue;
    QUENCH_RETURN_IF_ERROR(check_same_type(context, index));
    if (context.input(index)->elements() != 1) {
      return Status::error(StatusCode::kShape, "input %d is no scalar", index);
    }
  }
  return context.set_output(0, ElementType::kFloat32, context.input(0)->shape);
}

Status run_clip(RunContext& context) {
  const Tensor* low = context.input(1);
  const Tensor* high = context.input(2);
  const Activation clip = {Activation::kClip, low ? *low->as<float>() : kClip.default_a,
                           high ? *high->as<float>() : kClip.default_b};
  for_each_piece(context,
                 [&](const float* from, float* to, int64_t count) { fast::activate_values(clip, from, to, count); });
  return Status();
}

template <fast::Unary kFunction>
Status run_unary(RunContext& context) {
  for_each_piece(context,
                 [](const float* from, float* to, int64_t count) { fast::map_values(kFunction, from, to, count); });
  return Status();
}

template <fast::Unary kFunction>
constexpr Kernel unary(const char* op) {
  return {.op = op,
          .infer = infer_same,
          .run = run_unary<kFunction>,
          .accepts = is_float,
          .inplace_inputs = 1,
          .layout = LayoutRule::kFollows};
}

// Functions of two tensors. Before version 7 (8 for Min and Max) an attribute could place the axes of the second.

bool accepts_two(InferContext& context) {
  return is_float(context) && context.inputs() == 2 && context.input(1) &&
         context.input(1)->type == ElementType::kFloat32;
}

Status infer_binary(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 2, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_same_type(context, 1));
  Shape shape;
  QUENCH_RETURN_IF_ERROR(broadcast_shapes(context.input(0)->shape, context.input(1)->shape, &shape));
  return context.set_output(0, ElementType::kFloat32, shape);
}

// Operands whose elements do not lie side by side, a stretch at a time.
void combine_strided(fast::Binary function, const float* a, int64_t a_step, const float* b, int64_t b_step, float* y,
                     int64_t y_step, int64_t count) {
  constexpr int64_t kStretch = 256;
  float left[kStretch];
  float right[kStretch];
  for (int64_t i = 0; i < count; i += kStretch) {
    const int64_t stretch = std::min(kStretch, count - i);
    for (int64_t k = 0; k < stretch; ++k) left[k] = a[(i + k) * a_step];
    for (int64_t k = 0; k < stretch; ++k) right[k] = b[(i + k) * b_step];
    fast::combine_values(function, left, 1, right, 1, left, stretch);
    for (int64_t k = 0; k < stretch; ++k) y[(i + k) * y_step] = left[k];
  }
}

template <fast::Binary kFunction>
Status run_binary(RunContext& context) {
  const Tensor* output = context.output(0);
  const auto loop = broadcast_loop<3>(*output, {output, context.input(0), context.input(1)});
  const float* a = context.input(0)->as<float>();
  const float* b = context.input(1)->as<float>();
  float* y = output->as<float>();
  const bool unit_steps = loop.step(1) <= 1 && loop.step(2) <= 1;
  // The loop runs over the output in the order of memory.
  parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
    if (unit_steps) {
      fast::combine_values(kFunction, a + at[1], loop.step(1), b + at[2], loop.step(2), y + at[0], count);
    } else {
      combine_strided(kFunction, a + at[1], loop.step(1), b + at[2], loop.step(2), y + at[0], loop.step(0), count);
    }
    fast::activate_values(context.epilogue().activation, y + at[0], y + at[0], count);
  });
  return Status();
}

template <fast::Binary kFunction>
constexpr Kernel binary(const char* op, int since_version) {
  return {.op = op,
          .since_version = since_version,
          .infer = infer_binary,
          .run = run_binary<kFunction>,
          .accepts = accepts_two,
          .inplace_inputs = 0b11,
          .activations = fast::kActivatedValues,
          .layout = LayoutRule::kFollows};
}

// Softmax over contiguous elements: the last axis, or before version 13 everything from an axis on.

struct SoftmaxState {
  int64_t rows;
  int64_t count;
};

bool accepts_softmax(InferContext& context) {
  if (!is_float(context)) return false;
  const int rank = context.input(0)->shape.rank;
  int axis = 0;
  const int64_t wanted = context.attributes().get_int("axis", context.opset() < 13 ? 1 : -1);
  if (!normalize_axis(wanted, rank, &axis).ok()) return false;
  // A short row is not worth the setting up of vectors.
  const int64_t count = context.input(0)->shape.elements(axis, rank);
  return count >= 8 && (context.opset() < 13 || axis == rank - 1);
}

Status infer_softmax(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(infer_same(context));
  const Shape& shape = context.input(0)->shape;
  int axis = 0;
  const int64_t wanted = context.attributes().get_int("axis", context.opset() < 13 ? 1 : -1);
  QUENCH_RETURN_IF_ERROR(normalize_axis(wanted, shape.rank, &axis));
  context.state<SoftmaxState>() = {shape.elements(0, axis), shape.elements(axis, shape.rank)};
  return Status();
}

Status run_softmax(RunContext& context) {
  const int64_t rows = context.state<SoftmaxState>().rows;
  const int64_t count = context.state<SoftmaxState>().count;
  const float* from = context.input(0)->as<float>();
  float* to = context.output(0)->as<float>();
  context.parallel_for(rows, kParallelGrain / (count + 1) + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) fast::softmax_values(from + row * count, to + row * count, count);
  });
  return Status();
}

constexpr Kernel kKernels[] = {
    activation<kRelu>("Relu"),
    activation<kSigmoid>("Sigmoid"),
    activation<kTanh>("Tanh"),
    activation<kHardSwish>("HardSwish"),
    activation<kLeakyRelu>("LeakyRelu"),
    activation<kHardSigmoid>("HardSigmoid"),
    activation<kClip>("Clip", 10),
    {.op = "Clip",
     .since_version = 11,
     .infer = infer_clip,
     .run = run_clip,
     .accepts = is_float,
     .inplace_inputs = 1,
     .layout = LayoutRule::kFollows},
    unary<fast::Unary::kExp>("Exp"),
    unary<fast::Unary::kErf>("Erf"),
    unary<fast::Unary::kSqrt>("Sqrt"),
    binary<fast::Binary::kAdd>("Add", 7),
    binary<fast::Binary::kSub>("Sub", 7),
    binary<fast::Binary::kMul>("Mul", 7),
    binary<fast::Binary::kDiv>("Div", 7),
    binary<fast::Binary::kMin>("Min", 8),
    binary<fast::Binary::kMax>("Max", 8),
    {.op = "Softmax",
     .infer = infer_softmax,
     .run = run_softmax,
     .accepts = accepts_softmax,
     .state_bytes = sizeof(SoftmaxState),
     .inplace_inputs = 1},
};

}  // namespace

std::span<const Kernel> fast_elementwise_kernels() { return kKernels; }

}  // namespace quench::rt
