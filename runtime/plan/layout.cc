// Layouts. Convolutions and pools want rank-4 tensors channels-last, other kernels row-major, elementwise ones follow
// their inputs; the pass goes through the steps once, lets each value have the layout that its step makes, and converts
// where a reader wants the other one.
#include "runtime/plan/internal_kernels.h"
#include "runtime/plan/passes.h"

namespace quench::rt {
namespace {

class LayoutPass {
 public:
  explicit LayoutPass(Draft& draft)
      : draft_(draft), old_steps_(draft.steps), new_steps_(draft.pool), converted_(draft.pool) {}

  Status run();

 private:
  Status visit(DraftStep step);
  void enter_or_leave(const DraftStep& step);
  Layout choose(const DraftStep& step);
  Status convert(int& number, Layout layout);
  Status convert_constant(int number, int converted);
  Status finish_output(int& output);
  bool alias(const DraftStep& step);
  bool is_relabelling(const DraftStep& step, Layout* layout);
  static bool participates(const DraftStep& step, size_t input) {
    return input < 32 && (step.kernel->layout_inputs >> input & 1) != 0;
  }

  Draft& draft_;
  List<DraftStep> old_steps_;
  List<DraftStep> new_steps_;
  List<int> converted_;          // values that a step converts, in the regions where the pass is
  std::span<size_t> beginning_;  // of each region: how many there were before
};

Status LayoutPass::run() {
  draft_.steps = new_steps_;
  if (!draft_.pool.make(draft_.regions.size(), &beginning_)) return out_of_memory();
  for (const DraftStep& step : old_steps_) {
    draft_.region = step.region;
    QUENCH_RETURN_IF_ERROR(visit(step));
    enter_or_leave(step);
  }
  for (int& output : draft_.outputs) QUENCH_RETURN_IF_ERROR(finish_output(output));
  return Status();
}

// What is converted in a region may not have been when it is over.
void LayoutPass::enter_or_leave(const DraftStep& step) {
  if (step.begins >= 0) at(beginning_, step.begins) = converted_.size();
  if (step.ends < 0) return;
  for (; converted_.size() > at(beginning_, step.ends); converted_.truncate(converted_.size() - 1)) {
    draft_.value(converted_[converted_.size() - 1]).other_layout = -1;
  }
}

Status LayoutPass::visit(DraftStep step) {
  Layout relabelled = Layout::kRowMajor;
  if (is_relabelling(step, &relabelled)) {
    DraftValue& output = draft_.value(step.outputs[0]);
    output.alias_of = draft_.root(step.inputs[0]);
    output.tensor.layout = relabelled;
    return Status();
  }
  const Layout layout = choose(step);
  const bool free_first = step.layout == LayoutRule::kChannelsLast && (step.kernel->flags & kReadsRowMajor) != 0;
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    int& input = step.inputs[i];
    if (input < 0 || draft_.value(input).tensor.shape.rank != 4) continue;
    if (i == 0 && free_first) continue;
    QUENCH_RETURN_IF_ERROR(convert(input, participates(step, i) ? layout : Layout::kRowMajor));
  }
  for (int output : step.outputs) {
    if (output >= 0 && draft_.value(output).tensor.shape.rank == 4) draft_.value(output).tensor.layout = layout;
  }
  if (step.residual >= 0 && draft_.value(step.residual).tensor.shape.rank == 4) {
    QUENCH_RETURN_IF_ERROR(convert(step.residual, layout));
  }
  if (alias(step)) return Status();
  return draft_.add_step(step);
}

// For a kernel that follows: the layout that most bytes of its inputs are in.
Layout LayoutPass::choose(const DraftStep& step) {
  if (step.layout != LayoutRule::kFollows) {
    return step.layout == LayoutRule::kChannelsLast ? Layout::kChannelsLast : Layout::kRowMajor;
  }
  double channels_last = 0;
  double row_major = 0;
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] < 0 || !participates(step, i)) continue;
    const DraftValue& input = draft_.value(step.inputs[i]);
    if (input.kind == DraftValue::kConstant || layouts_coincide(input.tensor.shape)) continue;
    (input.tensor.layout == Layout::kChannelsLast ? channels_last : row_major) +=
        static_cast<double>(input.tensor.bytes());
  }
  return channels_last > 0 && channels_last >= row_major ? Layout::kChannelsLast : Layout::kRowMajor;
}

// Reshape and its like move no byte.
bool LayoutPass::alias(const DraftStep& step) {
  if ((step.kernel->flags & kAlias) == 0) return false;
  for (size_t i = 1; i < step.outputs.size(); ++i) {
    if (step.outputs[i] >= 0) return false;
  }
  draft_.value(step.outputs[0]).alias_of = draft_.root(step.inputs[0]);
  return true;
}

// A Transpose between N C H W and N H W C of a tensor that already lies that way.
bool LayoutPass::is_relabelling(const DraftStep& step, Layout* layout) {
  if (step.node < 0 || draft_.node_of(step).op != "Transpose" || !draft_.node_of(step).domain.empty()) return false;
  const Tensor& input = draft_.value(step.inputs[0]).tensor;
  const std::span<const int64_t> order = Attributes(draft_.node_of(step).attributes).get_ints("perm");
  if (input.shape.rank != 4 || order.size() != 4) return false;
  const auto is = [&](int64_t a, int64_t b, int64_t c, int64_t d) {
    return order[0] == a && order[1] == b && order[2] == c && order[3] == d;
  };
  if (input.layout == Layout::kChannelsLast && is(0, 2, 3, 1)) {
    *layout = Layout::kRowMajor;
    return true;
  }
  if (input.layout == Layout::kRowMajor && is(0, 3, 1, 2)) {
    *layout = Layout::kChannelsLast;
    return true;
  }
  return false;
}

Status LayoutPass::convert(int& number, Layout layout) {
  if (draft_.value(number).tensor.layout == layout) return Status();
  if (draft_.value(number).other_layout >= 0) {
    number = draft_.value(number).other_layout;
    return Status();
  }
  DraftValue made;
  made.kind = draft_.value(number).kind;
  made.tensor = draft_.value(number).tensor;
  made.tensor.layout = layout;
  made.tensor.data = nullptr;
  made.other_layout = number;
  const bool free = layouts_coincide(made.tensor.shape);
  if (free) {
    made.alias_of = draft_.root(number);
  } else if (made.kind == DraftValue::kInput) {
    made.kind = DraftValue::kComputed;
  }
  int converted = -1;
  QUENCH_RETURN_IF_ERROR(draft_.add_value(made, &converted));
  draft_.value(number).other_layout = converted;
  if (!free) {
    QUENCH_RETURN_IF_ERROR(made.kind == DraftValue::kConstant
                               ? convert_constant(number, converted)
                               : draft_.add_conversion(kConvertLayout, number, converted));
    if (made.kind != DraftValue::kConstant && !converted_.push(number)) return out_of_memory();
  }
  number = converted;
  return Status();
}

Status LayoutPass::convert_constant(int number, int converted) {
  QUENCH_RETURN_IF_ERROR(draft_.materialize(number));
  QUENCH_RETURN_IF_ERROR(draft_.own_constant(converted));
  convert_layout(draft_.value(number).tensor, draft_.value(converted).tensor, 0, draft_.value(number).tensor.shape[0]);
  return Status();
}

// The caller sees row-major tensors, and never its own input memory.
Status LayoutPass::finish_output(int& output) {
  QUENCH_RETURN_IF_ERROR(convert(output, Layout::kRowMajor));
  if (draft_.value(draft_.root(output)).kind == DraftValue::kInput) {
    DraftValue copy;
    copy.kind = DraftValue::kComputed;
    copy.tensor.type = draft_.value(output).tensor.type;
    copy.tensor.shape = draft_.value(output).tensor.shape;
    const int from = output;
    QUENCH_RETURN_IF_ERROR(draft_.add_value(copy, &output));
    QUENCH_RETURN_IF_ERROR(draft_.add_conversion(kCopy, from, output));
  }
  draft_.value(output).is_output = true;
  return draft_.value(output).kind == DraftValue::kConstant ? draft_.materialize(output) : Status();
}

}  // namespace

Status assign_layouts(Draft& draft) { return LayoutPass(draft).run(); }

}  // namespace quench::rt
