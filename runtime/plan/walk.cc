// The walk over the graph: a node whose inputs are all known is run right then and becomes a constant, for others shapes
// are inferred.
#include <algorithm>

#include "runtime/plan/passes.h"
#include "runtime/plan/walker.h"

namespace quench::rt {
namespace {

// What folding may cost, in values that the reference kernels read and write, about 1 ns each, and what inferring shapes
// may, in values that these depend on. A node whose folding would exceed it stays a step, which a fast kernel runs when the session does. Shape arithmetic, which must be folded, is below
// kSmallWork and free.
constexpr uint64_t kFoldingBudget = uint64_t{1} << 28;
constexpr uint64_t kSmallWork = uint64_t{1} << 12;
constexpr uint64_t kToldWork = uint64_t{1} << 14;  // some microseconds, as one step more takes

// Nodes that are walked once more because a loop is unrolled.
constexpr uint64_t kMaxRepeats = uint64_t{1} << 16;

}  // namespace

Walker::Walker(Draft& draft)
    : draft_(draft),
      graph_(draft.model.graph()),
      folding_left_(kFoldingBudget),
      looking_left_(kFoldingBudget),
      visits_left_(draft.model.graph().nodes.size() + kMaxRepeats),
      held_(draft.pool),
      kept_(draft.pool),
      begun_nodes_(draft.pool),
      node_outputs_(draft.pool) {}

Status Walker::run() {
  if (!draft_.values.reserve(graph_.values.size() * 2) || !draft_.pool.make(graph_.values.size(), &numbers_) ||
      !draft_.pool.make(graph_.values.size(), &varies_)) {
    return out_of_memory();
  }
  QUENCH_RETURN_IF_ERROR(add_values());
  handed_ = static_cast<int>(draft_.shapes.size());
  const Status status = walk(graph_.main);
  if (stopped_) return Status();
  QUENCH_RETURN_IF_ERROR(status);
  return add_outputs();
}

Status Walker::walk(const Subgraph& part) {
  Frame frame = {frames_, &part, part.first};
  frames_ = &frame;
  Status status;
  for (; status.ok() && frame.node < part.first + part.count; ++frame.node) {
    if (graph_.nodes[frame.node].live) status = visit(frame.node);
  }
  frames_ = frame.around;
  return status;
}

Status Walker::visit(int number) {
  const Node& node = graph_.nodes[number];
  QUENCH_RETURN_IF_ERROR(draft_.cancellation.check());
  if (visits_left_ == 0) return too_long();
  --visits_left_;
  const Status status = (node.kernel->flags & kControl) != 0 ? add_control(number) : add_node(number);
  if (status.ok() || named_ || stopped_) return status;
  named_ = true;
  return at_node(graph_, node, status);
}

Status Walker::add_values() {
  for (int v = 0; v < graph_.values.count(); ++v) {
    at(numbers_, v) = -1;
    const int number = graph_.values[v].initializer;
    if (number < 0) continue;
    const Initializer& initializer = graph_.initializers[number];
    DraftValue added;
    added.kind = DraftValue::kConstant;
    added.initializer = number;
    added.tensor.type = initializer.type;
    added.tensor.shape = initializer.shape;
    QUENCH_RETURN_IF_ERROR(draft_.add_value(added, &at(numbers_, v)));
  }
  int item = graph_.inputs.count();  // the next one's shape
  for (int i = 0; i < graph_.inputs.count(); ++i) {
    const Shape& shape = at(draft_.shapes, i);
    if (shape == kDefaultInput) continue;  // the initializer of its name
    const ValueInfo& info = graph_.inputs[i];
    int* number = &at(numbers_, info.value);
    if (shape == kNoInput) {
      QUENCH_RETURN_IF_ERROR(add_nothing(number));
    } else if (info.is_sequence) {
      QUENCH_RETURN_IF_ERROR(add_input_list(info, shape[1], item, number));
      item += static_cast<int>(shape[1]);
    } else {
      QUENCH_RETURN_IF_ERROR(add_input(info, i, number));
    }
  }
  return Status();
}

Status Walker::add_input(const ValueInfo& info, int shape, int* number) {
  DraftValue given;
  given.kind = DraftValue::kInput;
  given.input = shape;
  given.tensor.type = info.type;
  given.tensor.shape = at(draft_.shapes, shape);
  QUENCH_RETURN_IF_ERROR(draft_.add_value(given, number));
  if (compute_type(info.type) == info.type) return Status();
  DraftValue computed;
  computed.kind = DraftValue::kComputed;
  computed.tensor.type = compute_type(info.type);
  computed.tensor.shape = given.tensor.shape;
  const int before = *number;
  QUENCH_RETURN_IF_ERROR(draft_.add_value(computed, number));
  return draft_.add_conversion(kConvertType, before, *number);
}

void Walker::set_number(int graph_value, int number, bool varies) {
  if (graph_value < 0) return;
  at(numbers_, graph_value) = number;
  at(varies_, graph_value) = varies;
}

// An Identity leaves an alias of the same shape behind, which nobody needs to see.
int Walker::before_identities(int value) {
  for (int before = draft_.value(value).alias_of;
       before >= 0 && draft_.value(before).tensor.shape == draft_.value(value).tensor.shape;
       before = draft_.value(value).alias_of) {
    value = before;
  }
  return value;
}

Status Walker::add_node(int number) {
  for (;;) {
    bool taken = false;
    QUENCH_RETURN_IF_ERROR(take_recorded(number, &taken));
    if (taken) return Status();
    const int entry = begin_node(number);
    const Draft::Mark before = draft_.mark();
    int unknown = -1;
    const Status status = add_node(number, unknown);
    if (status.ok()) return end_node(number, entry);
    if (unknown < 0 || !may_know(status)) return status;
    draft_.rewind(before);
    QUENCH_RETURN_IF_ERROR(know(unknown));
  }
}

// `unknown`: the input whose value it would need.
Status Walker::add_node(int number, int& unknown) {
  const Node& node = graph_.nodes[number];
  DraftStep step;
  step.node = number;
  step.round = round_;
  if (!draft_.pool.make(node.inputs.size(), &step.inputs) || !draft_.pool.make(node.outputs.size(), &step.outputs)) {
    return out_of_memory();
  }
  bool constant = true;
  bool any_varies = (node.kernel->flags & kShapeOnly) != 0;
  bool told = false;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    step.inputs[i] = number_of(node.inputs[i]);
    if (node.inputs[i] < 0) continue;
    if (!is_tensor(step.inputs[i])) {
      if (node.op != "Identity" || node.outputs.size() != 1) {
        return Status::error(StatusCode::kUnsupportedType, "input %zu is not a tensor", i);
      }
      set_number(node.outputs[0], step.inputs[i], true);
      return Status();
    }
    step.inputs[i] = before_identities(step.inputs[i]);
    const DraftValue& input = draft_.value(step.inputs[i]);
    constant = constant && input.kind == DraftValue::kConstant;
    any_varies = any_varies || varies(node.inputs[i]);
    told = told || input.told;
    if (i < 32 && varies(node.inputs[i])) step.varying_inputs |= 1u << i;
  }
  if (node.outputs.empty()) return Status::error(StatusCode::kCorrupt, "has no outputs");
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    step.outputs[i] = -1;
    if (i > 0 && !wanted(node.outputs[i])) continue;
    QUENCH_RETURN_IF_ERROR(draft_.add_value(DraftValue(), &step.outputs[i]));
  }

  constant = (constant || (node.kernel->flags & kShapeOnly) != 0) && (node.kernel->flags & kNotFolded) == 0;
  const Kernel* kernel = node.kernel;
  if (constant) kernel = find_kernel(node.domain, node.op, node.opset, KernelSet::kReference);
  QUENCH_RETURN_IF_ERROR(infer(number, kernel, constant, told, step, unknown));
  if (constant && !affordable(step, told)) {
    constant = false;
    kernel = node.kernel;
    QUENCH_RETURN_IF_ERROR(infer(number, kernel, constant, told, step, unknown));
  }
  const bool may_become_alias = (kernel->flags & kAlias) != 0 || node.op == "Transpose";
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    set_number(node.outputs[i], step.outputs[i], any_varies);
    if (step.outputs[i] < 0) continue;
    draft_.value(step.outputs[i]).may_become_alias = may_become_alias;
    draft_.value(step.outputs[i]).told = constant && told;
  }
  bool only_first = true;
  for (size_t i = 1; i < step.outputs.size(); ++i) only_first = only_first && step.outputs[i] < 0;
  if ((kernel->flags & kAlias) != 0 && only_first) return alias(step);
  if (constant) return fold(step);
  return draft_.add_step(step);
}

Status Walker::infer(int number, const Kernel*& kernel, bool constant, bool told, DraftStep& step, int& unknown) {
  const Node& node = graph_.nodes[number];
  InferContext context;
  QUENCH_RETURN_IF_ERROR(draft_.connect(step, false, context));
  for (size_t i = 0; i < step.inputs.size() && i < 32; ++i) {
    if (step.inputs[i] >= 0 && draft_.value(step.inputs[i]).kind == DraftValue::kConstant) {
      context.constant_inputs_ |= 1u << i;
    }
  }
  ValueRequest request{this, step.inputs, Status()};
  context.value_user_ = &request;
  context.value_function_ = [](void* user, int index) -> const Tensor* {
    auto& asked = *static_cast<ValueRequest*>(user);
    if (index < 0 || static_cast<size_t>(index) >= asked.inputs.size()) return nullptr;
    const int input = at(asked.inputs, index);
    Draft& draft = asked.walker->draft_;
    if (input < 0 || draft.value(input).kind != DraftValue::kConstant) return nullptr;
    if (asked.status.ok()) asked.status = draft.materialize(input);
    return asked.status.ok() ? &draft.value(input).tensor : nullptr;
  };
  if (kernel->accepts && !kernel->accepts(context)) {
    QUENCH_RETURN_IF_ERROR(request.status);
    kernel = find_kernel(node.domain, node.op, node.opset, KernelSet::kReference);
    if (!kernel) return Status::error(StatusCode::kUnsupportedOperator, "the runtime has no kernel for this case");
  }
  step.kernel = kernel;
  step.state = draft_.pool.allocate(static_cast<uint64_t>(std::max(kernel->state_bytes, 1)), 16);
  if (!step.state) return out_of_memory();
  context.state_ = step.state;
  context.layout_ = kernel->layout;
  context.budget_ = told ? &looking_left_ : &folding_left_;
  if (constant) context.threads_ = 1;
  const Status status = kernel->infer(context);
  QUENCH_RETURN_IF_ERROR(request.status);
  if (context.needed_ >= 0) unknown = at(step.inputs, context.needed_);
  QUENCH_RETURN_IF_ERROR(status);
  if (context.scratch_bytes_ < 0) return Status::error(StatusCode::kLimit, "needs too much scratch memory");
  step.scratch_bytes = context.scratch_bytes_;
  step.layout = context.layout_;
  for (int output : step.outputs) {
    if (output < 0) continue;
    DraftValue& made = draft_.value(output);
    if (size_of(made.tensor.type) == 0) {
      return Status::error(StatusCode::kUnsupportedType,
                           "an output has an element type that the runtime does not have");
    }
    if (static_cast<uint64_t>(made.tensor.elements()) > draft_.model.options().limits.max_tensor_elements) {
      return Status::error(StatusCode::kLimit, "an output has more elements than the limit allows");
    }
    made.kind = DraftValue::kComputed;
  }
  return Status();
}

Status Walker::alias(DraftStep& step) {
  const int input = step.inputs.empty() ? -1 : step.inputs[0];
  if (input < 0) return Status::error(StatusCode::kCorrupt, "has no input");
  DraftValue& output = draft_.value(step.outputs[0]);
  const DraftValue& source = draft_.value(input);
  if (source.tensor.type != output.tensor.type || source.tensor.elements() != output.tensor.elements()) {
    return Status::error(StatusCode::kShape, "the output has another number of elements than the input");
  }
  if (source.kind != DraftValue::kConstant && !(source.tensor.shape == output.tensor.shape)) {
    return draft_.add_step(step);  // the layout pass makes it an alias
  }
  output.alias_of = draft_.root(input);
  output.kind = source.kind;
  return Status();
}

bool Walker::is_tensor(int number) {
  if (number < 0) return false;
  const DraftValue::Kind kind = draft_.value(number).kind;
  return kind != DraftValue::kSequence && kind != DraftValue::kNothing && kind != DraftValue::kUnset;
}

uint64_t Walker::elements(int value) {
  return value < 0 ? 0 : static_cast<uint64_t>(draft_.value(value).tensor.elements());
}

// Most values that the operator reads for each one that it writes, of `read` in all; 0 for those that read each value
// once (or a few times), however many they write.
uint64_t Walker::reads_per_output(const DraftStep& step, uint64_t read) {
  const operators::Operator* op = *step.kernel->domain == '\0' ? operators::find(step.kernel->op) : nullptr;
  if (op && op->weight != operators::WeightForm::kNone && step.inputs.size() > 1 && step.inputs[1] >= 0) {
    const Shape& weight = draft_.value(step.inputs[1]).tensor.shape;
    const Shape& output = draft_.value(step.outputs[0]).tensor.shape;
    int64_t channels = output.rank > 0 ? output[output.rank - 1] : 1;
    if (op->weight == operators::WeightForm::kKernel) channels = weight[0];
    if (op->weight == operators::WeightForm::kTransposedKernel) channels = weight[1];
    return static_cast<uint64_t>(weight.elements() / std::max<int64_t>(channels, 1)) + 1;
  }
  const bool combines = !op || op->is(operators::kWindowed) || op->name == "LRN" ||
                        (op->first(operators::Role::kWeight) >= 0 && !op->is(operators::kElementwise));
  return combines ? read : 0;
}

// Whether the step may be folded, and if so, takes its cost from the budget. What follows from values that a run has told is
// folded again for each run: so only where it is little.
bool Walker::affordable(const DraftStep& step, bool told) {
  if ((step.kernel->flags & (kShapeOnly | kAlias)) != 0) return true;
  uint64_t read = 0;
  uint64_t written = 0;
  for (int input : step.inputs) read += elements(input);
  for (int output : step.outputs) written += elements(output);
  const uint64_t each = reads_per_output(step, read);
  uint64_t work = read + written;
  if (each > 0) work = written > UINT64_MAX / each ? UINT64_MAX : written * each;
  if (told) return work <= kToldWork;
  if (work <= kSmallWork) return true;
  if (work > folding_left_) return false;
  folding_left_ -= work;
  return true;
}

Status Walker::fold(DraftStep& step) {
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] < 0 || (step.kernel->flags & kShapeOnly) != 0) continue;
    QUENCH_RETURN_IF_ERROR(draft_.materialize(step.inputs[i]));
  }
  if (step.kernel->prepare) {
    PrepareContext prepare;
    QUENCH_RETURN_IF_ERROR(draft_.connect(step, false, prepare));
    prepare.threads_ = 1;
    prepare.scratch_bytes_ = step.scratch_bytes;
    QUENCH_RETURN_IF_ERROR(step.kernel->prepare(prepare));
    step.scratch_bytes = prepare.scratch_bytes_;
  }
  for (int output : step.outputs) {
    if (output >= 0) QUENCH_RETURN_IF_ERROR(draft_.own_constant(output));
  }
  Block scratch;
  if (step.scratch_bytes > 0 && !scratch.allocate(draft_.memory, static_cast<uint64_t>(step.scratch_bytes))) {
    return out_of_memory();
  }
  RunContext run;
  QUENCH_RETURN_IF_ERROR(draft_.connect(step, true, run));
  run.threads_ = 1;
  run.scratch_ = scratch.data();
  return step.kernel->run(run);
}

// Outputs are in their declared type where that is a floating-point type.
Status Walker::add_outputs() {
  if (!draft_.pool.make(graph_.outputs.size(), &draft_.output_ranges)) return out_of_memory();
  for (size_t i = 0; i < graph_.outputs.size(); ++i) {
    const Status status = add_output(graph_.outputs[i], draft_.output_ranges[i]);
    if (status.ok()) continue;
    return Status::error(status.code(), "output %zu of the model %s", i, status.detail());
  }
  return Status();
}

Status Walker::add_output(const ValueInfo& info, PlanOutput& range) {
  const int number = number_of(info.value);
  range.first = draft_.outputs.count();
  if (number >= 0 && draft_.value(number).kind == DraftValue::kNothing && info.is_optional) {
    range.count = -1;
    return Status();
  }
  const bool is_list = number >= 0 && draft_.value(number).kind == DraftValue::kSequence;
  if (is_list != info.is_sequence || !(is_list || is_tensor(number))) {
    return Status::error(StatusCode::kUnsupportedType, "is not a %s", info.is_sequence ? "sequence" : "tensor");
  }
  const std::span<const int> items = is_list ? draft_.value(number).items : std::span(&number, 1);
  range.count = static_cast<int>(items.size());
  range.is_sequence = is_list;
  for (const int item : items) {
    int output = before_identities(item);
    QUENCH_RETURN_IF_ERROR(convert_output(info, output));
    for (int value = output; value >= 0; value = draft_.value(value).alias_of) draft_.value(value).is_output = true;
    if (!draft_.outputs.push(output)) return out_of_memory();
  }
  return Status();
}

Status Walker::convert_output(const ValueInfo& info, int& output) {
  const DraftValue& computed = draft_.value(output);
  if (size_of(info.type) == 0 || info.type == computed.tensor.type || compute_type(info.type) != computed.tensor.type) {
    return Status();
  }
  DraftValue converted;
  converted.kind = DraftValue::kComputed;
  converted.tensor.type = info.type;
  converted.tensor.shape = computed.tensor.shape;
  const int from = output;
  QUENCH_RETURN_IF_ERROR(draft_.add_value(converted, &output));
  return draft_.add_conversion(kConvertType, from, output);
}

Status walk_graph(Draft& draft) { return Walker(draft).run(); }

}  // namespace quench::rt
