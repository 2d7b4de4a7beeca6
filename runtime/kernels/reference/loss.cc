// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: how improbable the classes are that input 1 names.

#include <cmath>
#include <limits>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

enum class LossReduction : int32_t { kNone, kSum, kMean };

struct LossState {
  LossReduction reduction;
};

Status read_reduction(const InferContext& context, LossReduction* reduction) {
  const std::string_view name = context.attributes().get_string("reduction", "mean");
  if (name == "none") {
    *reduction = LossReduction::kNone;
  } else if (name == "sum") {
    *reduction = LossReduction::kSum;
  } else if (name == "mean") {
    *reduction = LossReduction::kMean;
  } else {
    return Status::error(StatusCode::kInvalidArgument, "reduction is none of none, sum and mean");
  }
  return Status();
}

// Scores are batch x classes x places, of any number of axes; targets batch x places.
Status infer_loss(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 3, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, kIndexTypes));
  LossState& state = context.state<LossState>();
  QUENCH_RETURN_IF_ERROR(read_reduction(context, &state.reduction));
  const Shape& scores = context.input(0)->shape;
  const Shape& targets = context.input(1)->shape;
  bool fits = scores.rank >= 2 && targets.rank == scores.rank - 1;
  for (int axis = 0; fits && axis < targets.rank; ++axis) fits = targets[axis] == scores[axis == 0 ? 0 : axis + 1];
  if (!fits) return Status::error(StatusCode::kShape, "input 1 does not have input 0's shape without its axis 1");
  if (context.input(2)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, 2, kFloatType));
    const Shape& weights = context.input(2)->shape;
    if (weights.rank != 1 || weights[0] != scores[1]) {
      return Status::error(StatusCode::kShape, "input 2 does not have one weight for each class");
    }
  }
  QUENCH_RETURN_IF_ERROR(context.set_output(1, ElementType::kFloat32, scores));
  return context.set_output(0, ElementType::kFloat32, state.reduction == LossReduction::kNone ? targets : Shape());
}

// log(sum(exp(x))) of `count` values, `step` apart.
double log_sum_exp(const float* x, int64_t count, int64_t step) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < count; ++i) largest = x[i * step] > largest ? x[i * step] : largest;
  const double shift = std::isfinite(largest) ? largest : 0;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += std::exp(x[i * step] - shift);
  return std::log(sum) + shift;
}

// The scores are logarithms of probabilities, or with kSoftmax become such by a softmax over the classes; output 1 then
// is these.
template <bool kSoftmax>
Status run_loss(RunContext& context) {
  const Tensor& scores = *context.input(0);
  const Tensor& targets = *context.input(1);
  const LossReduction reduction = context.state<LossState>().reduction;
  const Attribute* ignored = context.attributes().find("ignore_index", Attribute::kInt);
  const int64_t classes = scores.shape[1];
  const int64_t places = scores.shape.elements(2, scores.shape.rank);
  float* y = context.output(0)->as<float>();
  double sum = 0;
  double weights = 0;
  for (int64_t i = 0, count = targets.elements(); i < count; ++i) {
    const int64_t first = i / places * classes * places + i % places;
    const float* line = scores.as<float>() + first;
    const double shift = kSoftmax ? log_sum_exp(line, classes, places) : 0;
    if (const Tensor* logarithms = context.output(1)) {
      float* to = logarithms->as<float>() + first;
      for (int64_t c = 0; c < classes; ++c) to[c * places] = static_cast<float>(line[c * places] - shift);
    }
    const int64_t target = targets.type == ElementType::kInt32 ? targets.as<int32_t>()[i] : targets.as<int64_t>()[i];
    const bool counts = !ignored || target != ignored->i;
    if (counts && (target < 0 || target >= classes)) {
      return Status::error(StatusCode::kInvalidArgument, "target number %lld is none of %lld classes",
                           static_cast<long long>(i), static_cast<long long>(classes));
    }
    const double weight = !counts ? 0 : context.input(2) ? context.input(2)->as<float>()[target] : 1;
    const double loss = counts ? (shift - line[target * places]) * weight : 0;
    if (reduction == LossReduction::kNone) y[i] = static_cast<float>(loss);
    sum += loss;
    weights += weight;
  }
  if (reduction == LossReduction::kSum) *y = static_cast<float>(sum);
  if (reduction == LossReduction::kMean) *y = static_cast<float>(sum / weights);
  return Status();
}

constexpr Kernel loss(const char* op, Status (*run)(RunContext&)) {
  return {.op = op, .infer = infer_loss, .run = run, .state_bytes = sizeof(LossState)};
}

constexpr Kernel kKernels[] = {
    loss("NegativeLogLikelihoodLoss", run_loss<false>),
    loss("SoftmaxCrossEntropyLoss", run_loss<true>),
};

}  // namespace

std::span<const Kernel> loss_kernels() { return kKernels; }

}  // namespace quench::rt
