// Functions of one float32 tensor: activations with parameters, plain mathematical functions, and those along an axis.

#include <cmath>
#include <limits>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/element_types.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

struct Parameters {
  float a = 0;
  float b = 0;
};

// Input and output have the same layout, so that their elements correspond one to one.
template <typename T, typename Result = T, typename Function>
Status map(RunContext& context, const Function& function) {
  const T* source = context.input(0)->as<T>();
  Result* target = context.output(0)->as<Result>();
  context.parallel_for(context.input(0)->elements(), kParallelGrain, [=](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) target[i] = function(source[i]);
  });
  return Status();
}

Status infer_plain(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  return context.set_output(0, ElementType::kFloat32, context.input(0)->shape);
}

template <float (*kFunction)(float)>
Status run_plain(RunContext& context) {
  return map<float>(context, kFunction);
}

template <float (*kFunction)(float)>
constexpr Kernel plain(const char* op, int since_version = 1) {
  return {.op = op,
          .since_version = since_version,
          .infer = infer_plain,
          .run = run_plain<kFunction>,
          .inplace_inputs = 1,
          .layout = LayoutRule::kFollows};
}

template <Activation::Kind kKind>
float activation_of(float x) {
  return activate({kKind, 0, 0}, x);
}

float square_root(float x) { return std::sqrt(x); }
float exponential(float x) { return std::exp(x); }
float logarithm(float x) { return std::log(x); }
float reciprocal(float x) { return 1.0f / x; }
float error_function(float x) { return std::erf(x); }
float round_down(float x) { return std::floor(x); }
float round_up(float x) { return std::ceil(x); }
float round_to_even(float x) { return std::nearbyint(x); }
// log(1 + exp(x)) without overflow for large x.
float softplus(float x) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }
float softsign(float x) { return x / (1 + std::fabs(x)); }
float mish(float x) { return x * std::tanh(softplus(x)); }

// Activations with parameters a and b: kNameA and kNameB are the attributes, in Parameters.
struct ParameterNames {
  const char* a;
  float default_a;
  const char* b;
  float default_b;
};
constexpr ParameterNames kLeakyRelu = {"alpha", 0.01f, "", 0};
constexpr ParameterNames kAlphaOfOne = {"alpha", 1, "", 0};
constexpr ParameterNames kSelu = {"alpha", 1.67326319217681884765625f, "gamma", 1.05070102214813232421875f};
constexpr ParameterNames kQuickGelu = {"alpha", 1.702f, "", 0};
constexpr ParameterNames kHardSigmoid = {"alpha", 0.2f, "beta", 0.5f};
constexpr ParameterNames kShrink = {"lambd", 0.5f, "bias", 0};

template <const ParameterNames& kNames>
Status infer_parametric(InferContext& context) {
  Parameters& parameters = context.state<Parameters>();
  parameters.a = context.attributes().get_float(kNames.a, kNames.default_a);
  parameters.b = context.attributes().get_float(kNames.b, kNames.default_b);
  return infer_plain(context);
}

float leaky_relu(Parameters p, float x) { return activate({Activation::kLeakyRelu, p.a, p.b}, x); }
float hard_sigmoid(Parameters p, float x) { return activate({Activation::kHardSigmoid, p.a, p.b}, x); }
float elu(Parameters p, float x) { return x < 0 ? p.a * std::expm1(x) : x; }
float thresholded_relu(Parameters p, float x) { return x > p.a ? x : 0; }
float celu(Parameters p, float x) { return x > 0 ? x : p.a * std::expm1(x / p.a); }
float shrink(Parameters p, float x) { return x < -p.a ? x + p.b : x > p.a ? x - p.b : 0; }
float quick_gelu(Parameters p, float x) { return x * activate({Activation::kSigmoid, 0, 0}, p.a * x); }
float selu(Parameters p, float x) { return p.b * (x > 0 ? x : p.a * std::expm1(x)); }

template <float (*kFunction)(Parameters, float)>
Status run_parametric(RunContext& context) {
  const Parameters parameters = context.state<Parameters>();
  return map<float>(context, [=](float x) { return kFunction(parameters, x); });
}

template <const ParameterNames& kNames, float (*kFunction)(Parameters, float)>
constexpr Kernel parametric(const char* op, const char* domain = "") {
  return {.op = op,
          .domain = domain,
          .infer = infer_parametric<kNames>,
          .run = run_parametric<kFunction>,
          .state_bytes = sizeof(Parameters),
          .inplace_inputs = 1,
          .layout = LayoutRule::kFollows};
}

// Gelu: x times the normal distribution's share below x, or, as Parameters::a says, an approximation of it.

Status infer_gelu(InferContext& context) {
  const std::string_view approximation = context.attributes().get_string("approximate", "none");
  if (approximation != "none" && approximation != "tanh") {
    return Status::error(StatusCode::kInvalidArgument, "approximate is neither none nor tanh");
  }
  context.state<Parameters>().a = approximation == "tanh" ? 1 : 0;
  return infer_plain(context);
}

float gelu(Parameters p, float x) {
  constexpr float kRootOfTwoByPi = 0.797884560802865f;
  constexpr float kRootOfHalf = 0.707106781186548f;
  if (p.a == 0) return 0.5f * x * (1 + std::erf(kRootOfHalf * x));
  return 0.5f * x * (1 + std::tanh(kRootOfTwoByPi * (x + 0.044715f * x * x * x)));
}

// BiasGelu and FastGelu: of the sum of input 0 and a bias for each place along the last axis. FastGelu takes the
// approximation, and its bias may be missing.

template <bool kFast>
Status infer_biased_gelu(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, kFast ? 1 : 2, 2, kFloatType));
  const Shape& x = context.input(0)->shape;
  if (context.input(1)) {
    QUENCH_RETURN_IF_ERROR(check_same_type(context, 1));
    if (x.rank < 1 || context.input(1)->shape != Shape{x[x.rank - 1]}) {
      return Status::error(StatusCode::kShape, "the bias does not fit the last axis of input 0");
    }
  }
  return context.set_output(0, ElementType::kFloat32, x);
}

template <bool kFast>
Status run_biased_gelu(RunContext& context) {
  const Tensor* bias = context.input(1);
  const float* x = context.input(0)->as<float>();
  float* y = context.output(0)->as<float>();
  context.parallel_for(context.output(0)->elements(), kParallelGrain, [=](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      y[i] = gelu({kFast ? 1.0f : 0.0f, 0}, x[i] + (bias ? bias->as<float>()[i % bias->shape[0]] : 0));
    }
  });
  return Status();
}

template <bool kFast>
constexpr Kernel biased_gelu(const char* op) {
  return {.op = op,
          .domain = kMicrosoft,
          .infer = infer_biased_gelu<kFast>,
          .run = run_biased_gelu<kFast>,
          .inplace_inputs = 1};
}

// IsNaN and IsInf

Status infer_test(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  return context.set_output(0, ElementType::kBool, context.input(0)->shape);
}

Status run_is_nan(RunContext& context) {
  return map<float, uint8_t>(context, [](float x) -> uint8_t { return std::isnan(x); });
}

Status run_is_inf(RunContext& context) {
  const bool negative = context.attributes().get_int("detect_negative", 1) != 0;
  const bool positive = context.attributes().get_int("detect_positive", 1) != 0;
  return map<float, uint8_t>(context,
                             [=](float x) -> uint8_t { return std::isinf(x) && (x < 0 ? negative : positive); });
}

// Functions of any number type.

constexpr TypeSet kSignedTypes = type_set(ElementType::kFloat32, ElementType::kInt32, ElementType::kInt64);

Status infer_signed(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kSignedTypes));
  return context.set_output(0, context.input(0)->type, context.input(0)->shape);
}

// Wraps around at the least integer, as NumPy does.
struct Negate {
  float operator()(float x) const { return -x; }
  int32_t operator()(int32_t x) const { return static_cast<int32_t>(0u - static_cast<uint32_t>(x)); }
  int64_t operator()(int64_t x) const { return static_cast<int64_t>(uint64_t{0} - static_cast<uint64_t>(x)); }
};

struct Absolute {
  float operator()(float x) const { return std::fabs(x); }
  int32_t operator()(int32_t x) const { return x < 0 ? Negate()(x) : x; }
  int64_t operator()(int64_t x) const { return x < 0 ? Negate()(x) : x; }
};

struct Sign {
  template <typename T>
  T operator()(T x) const {
    if (x != x) return x;  // NaN
    return static_cast<T>(x > 0 ? 1 : x < 0 ? -1 : 0);
  }
};

template <typename Function>
Status run_signed(RunContext& context) {
  switch (context.input(0)->type) {
    case ElementType::kInt32:
      return map<int32_t>(context, Function());
    case ElementType::kInt64:
      return map<int64_t>(context, Function());
    default:
      return map<float>(context, Function());
  }
}

template <typename Function>
constexpr Kernel signed_function(const char* op) {
  return {.op = op,
          .infer = infer_signed,
          .run = run_signed<Function>,
          .inplace_inputs = 1,
          .layout = LayoutRule::kFollows};
}

// Clip: the limits are attributes before version 11 and scalar inputs, possibly computed ones, since then.

constexpr TypeSet kClipTypes =
    type_set(ElementType::kFloat32, ElementType::kInt32, ElementType::kInt64, ElementType::kUint8, ElementType::kInt8);

Status infer_clip_attributes(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  Parameters& limits = context.state<Parameters>();
  limits.a = context.attributes().get_float("min", std::numeric_limits<float>::lowest());
  limits.b = context.attributes().get_float("max", std::numeric_limits<float>::max());
  return context.set_output(0, ElementType::kFloat32, context.input(0)->shape);
}

float clip(Parameters p, float x) { return activate({Activation::kClip, p.a, p.b}, x); }

Status infer_clip(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 3, kClipTypes));
  for (int index = 1; index < 3; ++index) {
    if (!context.input(index)) continue;
    QUENCH_RETURN_IF_ERROR(check_same_type(context, index));
    if (context.input(index)->elements() != 1) {
      return Status::error(StatusCode::kShape, "input %d is no scalar", index);
    }
  }
  return context.set_output(0, context.input(0)->type, context.input(0)->shape);
}

template <typename T>
Status clip_elements(RunContext& context) {
  const Tensor* low = context.input(1);
  const Tensor* high = context.input(2);
  const T a = low ? *low->as<T>() : std::numeric_limits<T>::lowest();
  const T b = high ? *high->as<T>() : std::numeric_limits<T>::max();
  return map<T>(context, [=](T x) {
    const T raised = x < a ? a : x;
    return raised > b ? b : raised;
  });
}

Status run_clip(RunContext& context) {
  if (context.input(0)->type == ElementType::kInt8) return clip_elements<int8_t>(context);
  return with_number_type(context.input(0)->type,
                          [&](auto t) { return clip_elements<typename decltype(t)::type>(context); });
}

// Functions of lines of `count` values, `inner` steps apart. Before version 13 the input of Softmax and its kin counts as
// a matrix with everything from the axis on in a row.

struct LineState {
  int64_t outer;
  int64_t count;
  int64_t inner;
};

Status infer_lines(InferContext& context, bool flattens) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  const Shape& shape = context.input(0)->shape;
  const int64_t wanted = context.attributes().get_int("axis", flattens ? 1 : -1);
  int axis = 0;
  // A flattening axis may lie behind the last one: rows of one element.
  if (flattens && wanted == shape.rank) {
    axis = shape.rank;
  } else {
    QUENCH_RETURN_IF_ERROR(normalize_axis(wanted, shape.rank, &axis));
  }
  const int end = flattens ? shape.rank : axis + 1;
  context.state<LineState>() = {shape.elements(0, axis), shape.elements(axis, end), shape.elements(end, shape.rank)};
  return context.set_output(0, ElementType::kFloat32, shape);
}

Status infer_softmax(InferContext& context) { return infer_lines(context, context.opset() < 13); }

// A line is of `count` elements, `step` apart, at least one.
using LineFunction = void (*)(const float* x, float* y, int64_t count, int64_t step);

template <bool kLogarithm>
void softmax_line(const float* x, float* y, int64_t count, int64_t step) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < count; ++i) largest = x[i * step] > largest ? x[i * step] : largest;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float shifted = x[i * step] - largest;
    const float power = std::exp(shifted);
    sum += power;
    y[i * step] = kLogarithm ? shifted : power;
  }
  const auto scale = static_cast<float>(kLogarithm ? std::log(sum) : 1 / sum);
  for (int64_t i = 0; i < count; ++i) y[i * step] = kLogarithm ? y[i * step] - scale : y[i * step] * scale;
}

// 1 at the first of the largest values.
void hardmax_line(const float* x, float* y, int64_t count, int64_t step) {
  int64_t best = 0;
  for (int64_t i = 1; i < count; ++i) {
    if (x[i * step] > x[best * step]) best = i;
  }
  for (int64_t i = 0; i < count; ++i) y[i * step] = i == best ? 1 : 0;
}

// Divided by the sum of the magnitudes, or by the root of the sum of the squares. What is all zeros stays so.
template <bool kSquares>
void normalize_line(const float* x, float* y, int64_t count, int64_t step) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double value = x[i * step];
    sum += kSquares ? value * value : std::fabs(value);
  }
  const double norm = kSquares ? std::sqrt(sum) : sum;
  for (int64_t i = 0; i < count; ++i) y[i * step] = norm == 0 ? 0 : static_cast<float>(x[i * step] / norm);
}

Status run_lines(RunContext& context, LineFunction function) {
  const LineState state = context.state<LineState>();
  const float* source = context.input(0)->as<float>();
  float* target = context.output(0)->as<float>();
  if (state.count == 0) return Status();
  context.parallel_for(state.outer * state.inner, kParallelGrain / state.count + 1,
                       [=](int64_t begin, int64_t end, int) {
                         for (int64_t line = begin; line < end; ++line) {
                           const int64_t offset = line / state.inner * state.inner * state.count + line % state.inner;
                           function(source + offset, target + offset, state.count, state.inner);
                         }
                       });
  return Status();
}

template <LineFunction kFunction>
Status run_softmax(RunContext& context) {
  return run_lines(context, kFunction);
}

Status infer_lp_normalization(InferContext& context) {
  const int64_t p = context.attributes().get_int("p", 2);
  if (p != 1 && p != 2) return Status::error(StatusCode::kInvalidArgument, "p is neither 1 nor 2");
  return infer_lines(context, false);
}

Status run_lp_normalization(RunContext& context) {
  return run_lines(context, context.attributes().get_int("p", 2) == 1 ? normalize_line<false> : normalize_line<true>);
}

constexpr Kernel lines(const char* op, Status (*infer)(InferContext&), Status (*run)(RunContext&)) {
  return {.op = op, .infer = infer, .run = run, .state_bytes = sizeof(LineState), .inplace_inputs = 1};
}

constexpr Kernel kKernels[] = {
    plain<activation_of<Activation::kRelu>>("Relu"),
    plain<activation_of<Activation::kSigmoid>>("Sigmoid"),
    plain<activation_of<Activation::kTanh>>("Tanh"),
    plain<activation_of<Activation::kHardSwish>>("HardSwish"),
    plain<square_root>("Sqrt"),
    plain<exponential>("Exp"),
    plain<logarithm>("Log"),
    plain<reciprocal>("Reciprocal"),
    plain<error_function>("Erf"),
    plain<round_down>("Floor"),
    plain<round_up>("Ceil"),
    plain<round_to_even>("Round"),
    plain<sinf>("Sin"),
    plain<cosf>("Cos"),
    plain<tanf>("Tan"),
    plain<asinf>("Asin"),
    plain<acosf>("Acos"),
    plain<atanf>("Atan"),
    plain<sinhf>("Sinh"),
    plain<coshf>("Cosh"),
    plain<asinhf>("Asinh"),
    plain<acoshf>("Acosh"),
    plain<atanhf>("Atanh"),
    plain<mish>("Mish", 18),
    plain<softplus>("Softplus"),
    plain<softsign>("Softsign"),
    parametric<kLeakyRelu, leaky_relu>("LeakyRelu"),
    parametric<kHardSigmoid, hard_sigmoid>("HardSigmoid"),
    parametric<kAlphaOfOne, elu>("Elu"),
    parametric<kSelu, selu>("Selu"),
    parametric<kAlphaOfOne, thresholded_relu>("ThresholdedRelu"),
    parametric<kAlphaOfOne, celu>("Celu"),
    parametric<kShrink, shrink>("Shrink"),
    {.op = "Gelu",
     .domain = kMicrosoft,
     .infer = infer_gelu,
     .run = run_parametric<gelu>,
     .state_bytes = sizeof(Parameters),
     .inplace_inputs = 1,
     .layout = LayoutRule::kFollows},
    biased_gelu<false>("BiasGelu"),
    biased_gelu<true>("FastGelu"),
    parametric<kQuickGelu, quick_gelu>("QuickGelu", kMicrosoft),
    {.op = "Gelu",
     .since_version = 20,
     .infer = infer_gelu,
     .run = run_parametric<gelu>,
     .state_bytes = sizeof(Parameters),
     .inplace_inputs = 1,
     .layout = LayoutRule::kFollows},
    {.op = "IsNaN", .infer = infer_test, .run = run_is_nan, .layout = LayoutRule::kFollows},
    {.op = "IsInf", .infer = infer_test, .run = run_is_inf, .layout = LayoutRule::kFollows},
    signed_function<Negate>("Neg"),
    signed_function<Absolute>("Abs"),
    signed_function<Sign>("Sign"),
    {.op = "Clip",
     .until_version = 10,
     .infer = infer_clip_attributes,
     .run = run_parametric<clip>,
     .state_bytes = sizeof(Parameters),
     .inplace_inputs = 1,
     .layout = LayoutRule::kFollows},
    {.op = "Clip",
     .since_version = 11,
     .infer = infer_clip,
     .run = run_clip,
     .inplace_inputs = 1,
     .layout = LayoutRule::kFollows},
    lines("Softmax", infer_softmax, run_softmax<softmax_line<false>>),
    lines("LogSoftmax", infer_softmax, run_softmax<softmax_line<true>>),
    lines("Hardmax", infer_softmax, run_softmax<hardmax_line>),
    lines("LpNormalization", infer_lp_normalization, run_lp_normalization),
};

}  // namespace

std::span<const Kernel> activation_kernels() { return kKernels; }

}  // namespace quench::rt
