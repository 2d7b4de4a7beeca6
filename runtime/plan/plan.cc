#include "runtime/plan/plan.h"

#include <algorithm>

#include "runtime/plan/internal_kernels.h"
#include "runtime/plan/passes.h"

namespace quench::rt {

Plan::Plan(const Model& model, Memory& memory, const PlanOptions& options)
    : model_(model),
      memory_(memory),
      options_(options),
      pool_(memory),
      values_(pool_),
      steps_(pool_),
      buffers_(pool_),
      own_packed_(pool_) {}

Plan::~Plan() {
  LockGuard guard(model_.lock());
  for (size_t i = 0; i < values_.size(); ++i) release_constant(static_cast<int>(i));
  for (const OwnPacked& packed : own_packed_) memory_.release(packed.data, packed.bytes);
}

int Plan::root(int number) const {
  while (values_[static_cast<size_t>(number)].alias_of >= 0) number = values_[static_cast<size_t>(number)].alias_of;
  return number;
}

bool Plan::add_value(const PlanValue& added, int* number) {
  *number = static_cast<int>(values_.size());
  return values_.push(added);
}

Status Plan::materialize(int number) {
  const int owner = root(number);
  PlanValue& source = value(owner);
  if (!source.tensor.data) {
    if (source.initializer < 0) return Status::error(StatusCode::kCorrupt, "a constant has no value");
    QUENCH_RETURN_IF_ERROR(model_.acquire(source.initializer, &source.tensor.data));
    source.acquired = true;
  }
  value(number).tensor.data = source.tensor.data;
  return Status();
}

Status Plan::own_constant(int number) {
  PlanValue& made = value(number);
  const auto bytes = static_cast<uint64_t>(made.tensor.bytes());
  made.tensor.data = memory_.allocate(bytes);
  if (!made.tensor.data) return out_of_memory();
  made.owned_bytes = std::max<uint64_t>(bytes, 1);
  made.kind = PlanValue::kConstant;
  constant_bytes_ += made.owned_bytes;
  return Status();
}

void Plan::release_constant(int number) {
  PlanValue& constant = value(number);
  if (constant.acquired) {
    model_.release(constant.initializer);
    constant.tensor.data = nullptr;
  }
  if (constant.owned_bytes > 0) {
    memory_.release(constant.tensor.data, constant.owned_bytes);
    constant_bytes_ -= constant.owned_bytes;
    constant.tensor.data = nullptr;
  }
  constant.acquired = false;
  constant.owned_bytes = 0;
}

Status Plan::add_conversion(const Kernel& kernel, int from, int to) {
  Step step;
  step.kernel = &kernel;
  if (!pool_.make(1, &step.inputs) || !pool_.make(1, &step.outputs)) return out_of_memory();
  step.inputs[0] = from;
  step.outputs[0] = to;
  return steps_.push(step) ? Status() : out_of_memory();
}

Status Plan::at_step(const Step& step, const Status& status) const {
  if (step.node < 0) return Status::error(status.code(), "%s: %s", step.kernel->op, status.detail());
  return at_node(model_.graph(), node_of(step), status);
}

Status Plan::connect(const Step& step, bool with_data, NodeContext& context) {
  std::span<const Tensor*> inputs;
  std::span<Tensor*> outputs;
  std::span<Tensor> copies;
  if (!pool_.make(step.inputs.size(), &inputs) || !pool_.make(step.outputs.size(), &outputs) ||
      !pool_.make(step.inputs.size(), &copies)) {
    return out_of_memory();
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (step.inputs[i] < 0) continue;
    copies[i] = value(step.inputs[i]).tensor;
    if (!with_data) copies[i].data = nullptr;
    inputs[i] = &copies[i];
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (step.outputs[i] >= 0) outputs[i] = &value(step.outputs[i]).tensor;
  }
  if (step.node >= 0) {
    context.attributes_ = Attributes(node_of(step).attributes);
    context.opset_ = node_of(step).opset;
  }
  context.threads_ = options_.threads;
  context.inputs_ = inputs;
  context.outputs_ = outputs;
  context.state_ = step.state;
  return Status();
}

void Plan::bind_arena(void* arena) {
  for (PlanValue& bound : values_.span()) {
    if (bound.kind == PlanValue::kComputed && bound.alias_of < 0 && bound.buffer >= 0) {
      bound.tensor.data = static_cast<std::byte*>(arena) + buffers_[static_cast<size_t>(bound.buffer)].offset;
    }
  }
  for (size_t i = 0; i < values_.size(); ++i) {
    if (values_[i].alias_of >= 0) values_[i].tensor.data = value(root(static_cast<int>(i))).tensor.data;
  }
}

void Plan::bind_input(int index, void* data) {
  const int owner = inputs_[static_cast<size_t>(index)];
  if (value(owner).tensor.data == data) return;
  value(owner).tensor.data = data;
  for (size_t i = 0; i < values_.size(); ++i) {
    if (values_[i].alias_of >= 0 && root(static_cast<int>(i)) == owner) values_[i].tensor.data = data;
  }
}

// The walk over the graph.
class Builder {
 public:
  explicit Builder(Plan& plan) : plan_(plan), graph_(plan.model_.graph()) {}

  Status run(std::span<const Shape> shapes) {
    if (!plan_.values_.reserve(graph_.values.size() * 2)) return out_of_memory();
    QUENCH_RETURN_IF_ERROR(add_values(shapes));
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (!graph_.nodes[n].live) continue;
      const Status status = add_node(static_cast<int>(n));
      if (!status.ok()) return at_node(graph_, graph_.nodes[n], status);
    }
    return add_outputs();
  }

 private:
  struct ValueRequest {
    Builder* builder;
    std::span<const int> inputs;
    Status status;
  };

  Status add_values(std::span<const Shape> shapes);
  Status add_input(const ValueInfo& info, int index, const Shape& shape);
  Status add_node(int number);
  Status infer(int number, const Kernel*& kernel, bool constant, Step& step);
  Status fold(Step& step);
  Status alias(Step& step);
  Status add_outputs();
  Status convert_output(const ValueInfo& info, int& output);
  bool wanted(int value) const;
  int before_identities(int value);

  Plan& plan_;
  const Graph& graph_;
};

Status Builder::add_values(std::span<const Shape> shapes) {
  for (const Value& value : graph_.values) {
    PlanValue added;
    if (value.initializer >= 0) {
      const Initializer& initializer = graph_.initializers[static_cast<size_t>(value.initializer)];
      added.kind = PlanValue::kConstant;
      added.initializer = value.initializer;
      added.tensor.type = initializer.type;
      added.tensor.shape = initializer.shape;
    }
    if (!plan_.values_.push(added)) return out_of_memory();
  }
  if (!plan_.pool_.make(graph_.inputs.size(), &plan_.inputs_)) return out_of_memory();
  for (size_t i = 0; i < graph_.inputs.size(); ++i) {
    QUENCH_RETURN_IF_ERROR(add_input(graph_.inputs[i], static_cast<int>(i), shapes[i]));
  }
  return Status();
}

Status Builder::add_input(const ValueInfo& info, int index, const Shape& shape) {
  PlanValue given;
  given.kind = PlanValue::kInput;
  given.input = index;
  given.tensor.type = info.type;
  given.tensor.shape = shape;
  int& number = plan_.inputs_[static_cast<size_t>(index)];
  if (compute_type(info.type) == info.type) {
    number = info.value;
    plan_.value(number) = given;
    return Status();
  }
  if (!plan_.add_value(given, &number)) return out_of_memory();
  PlanValue& computed = plan_.value(info.value);
  computed.kind = PlanValue::kComputed;
  computed.tensor.type = compute_type(info.type);
  computed.tensor.shape = shape;
  return plan_.add_conversion(kConvertType, number, info.value);
}

// An Identity leaves an alias of the same shape behind, which nobody needs to see.
int Builder::before_identities(int value) {
  for (int before = plan_.value(value).alias_of;
       before >= 0 && plan_.value(before).tensor.shape == plan_.value(value).tensor.shape;
       before = plan_.value(value).alias_of) {
    value = before;
  }
  return value;
}

bool Builder::wanted(int value) const { return value >= 0 && graph_.values[static_cast<size_t>(value)].uses > 0; }

Status Builder::add_node(int number) {
  const Node& node = graph_.nodes[static_cast<size_t>(number)];
  Step step;
  step.node = number;
  step.inputs = {};
  if (!plan_.pool_.make(node.inputs.size(), &step.inputs) || !plan_.pool_.make(node.outputs.size(), &step.outputs)) {
    return out_of_memory();
  }
  bool constant = true;
  bool depends_on_shapes = (node.kernel->flags & kShapeOnly) != 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    step.inputs[i] = node.inputs[i];
    if (node.inputs[i] < 0) continue;
    step.inputs[i] = before_identities(step.inputs[i]);
    const PlanValue& input = plan_.value(step.inputs[i]);
    constant = constant && input.kind == PlanValue::kConstant;
    depends_on_shapes = depends_on_shapes || input.depends_on_shapes;
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    step.outputs[i] = wanted(node.outputs[i]) ? node.outputs[i] : -1;
  }
  if (node.outputs.empty()) return Status::error(StatusCode::kCorrupt, "has no outputs");
  if (step.outputs[0] < 0 && !plan_.add_value(PlanValue(), &step.outputs[0])) return out_of_memory();

  constant = (constant || (node.kernel->flags & kShapeOnly) != 0) && (node.kernel->flags & kNotFolded) == 0;
  const Kernel* kernel = node.kernel;
  if (constant) kernel = find_kernel(node.domain, node.op, node.opset, KernelSet::kReference);
  QUENCH_RETURN_IF_ERROR(infer(number, kernel, constant, step));
  for (int output : step.outputs) {
    if (output >= 0) plan_.value(output).depends_on_shapes = constant && depends_on_shapes;
  }
  bool only_first = true;
  for (size_t i = 1; i < step.outputs.size(); ++i) only_first = only_first && step.outputs[i] < 0;
  if ((kernel->flags & kAlias) != 0 && only_first) return alias(step);
  if (constant) return fold(step);
  return plan_.steps_.push(step) ? Status() : out_of_memory();
}

Status Builder::infer(int number, const Kernel*& kernel, bool constant, Step& step) {
  const Node& node = graph_.nodes[static_cast<size_t>(number)];
  InferContext context;
  QUENCH_RETURN_IF_ERROR(plan_.connect(step, false, context));
  for (size_t i = 0; i < step.inputs.size() && i < 32; ++i) {
    if (step.inputs[i] >= 0 && plan_.value(step.inputs[i]).kind == PlanValue::kConstant) {
      context.constant_inputs_ |= 1u << i;
    }
  }
  ValueRequest request{this, step.inputs, Status()};
  context.value_user_ = &request;
  context.value_function_ = [](void* user, int index) -> const Tensor* {
    auto& asked = *static_cast<ValueRequest*>(user);
    if (index < 0 || static_cast<size_t>(index) >= asked.inputs.size()) return nullptr;
    const int input = asked.inputs[static_cast<size_t>(index)];
    Plan& plan = asked.builder->plan_;
    if (input < 0 || plan.value(input).kind != PlanValue::kConstant) return nullptr;
    if (asked.status.ok()) asked.status = plan.materialize(input);
    return asked.status.ok() ? &plan.value(input).tensor : nullptr;
  };
  if (kernel->accepts && !kernel->accepts(context)) {
    QUENCH_RETURN_IF_ERROR(request.status);
    kernel = find_kernel(node.domain, node.op, node.opset, KernelSet::kReference);
    if (!kernel) return Status::error(StatusCode::kUnsupportedOperator, "the runtime has no kernel for this case");
  }
  step.kernel = kernel;
  step.state = plan_.pool_.allocate(static_cast<uint64_t>(std::max(kernel->state_bytes, 1)), 16);
  if (!step.state) return out_of_memory();
  context.state_ = step.state;
  context.layout_ = kernel->layout;
  if (constant) context.threads_ = 1;
  const Status status = kernel->infer(context);
  QUENCH_RETURN_IF_ERROR(request.status);
  QUENCH_RETURN_IF_ERROR(status);
  if (context.scratch_bytes_ < 0) return Status::error(StatusCode::kLimit, "needs too much scratch memory");
  step.scratch_bytes = context.scratch_bytes_;
  step.layout = context.layout_;
  for (int output : step.outputs) {
    if (output < 0) continue;
    PlanValue& made = plan_.value(output);
    if (size_of(made.tensor.type) == 0) {
      return Status::error(StatusCode::kUnsupportedType,
                           "an output has an element type that the runtime does not have");
    }
    if (static_cast<uint64_t>(made.tensor.elements()) > plan_.model_.options().limits.max_tensor_elements) {
      return Status::error(StatusCode::kLimit, "an output has more elements than the limit allows");
    }
    made.kind = PlanValue::kComputed;
  }
  return Status();
}

Status Builder::alias(Step& step) {
  const int input = step.inputs.empty() ? -1 : step.inputs[0];
  if (input < 0) return Status::error(StatusCode::kCorrupt, "has no input");
  PlanValue& output = plan_.value(step.outputs[0]);
  const PlanValue& source = plan_.value(input);
  if (source.tensor.type != output.tensor.type || source.tensor.elements() != output.tensor.elements()) {
    return Status::error(StatusCode::kShape, "the output has another number of elements than the input");
  }
  if (source.kind != PlanValue::kConstant && !(source.tensor.shape == output.tensor.shape)) {
    return plan_.steps_.push(step) ? Status() : out_of_memory();  // the layout pass makes it an alias
  }
  output.alias_of = plan_.root(input);
  output.kind = source.kind;
  output.depends_on_shapes = source.depends_on_shapes;
  return Status();
}

Status Builder::fold(Step& step) {
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] < 0 || (step.kernel->flags & kShapeOnly) != 0) continue;
    QUENCH_RETURN_IF_ERROR(plan_.materialize(step.inputs[i]));
  }
  if (step.kernel->prepare) {
    PrepareContext prepare;
    QUENCH_RETURN_IF_ERROR(plan_.connect(step, false, prepare));
    prepare.threads_ = 1;
    prepare.scratch_bytes_ = step.scratch_bytes;
    QUENCH_RETURN_IF_ERROR(step.kernel->prepare(prepare));
    step.scratch_bytes = prepare.scratch_bytes_;
  }
  for (int output : step.outputs) {
    if (output >= 0) QUENCH_RETURN_IF_ERROR(plan_.own_constant(output));
  }
  Block scratch;
  if (step.scratch_bytes > 0 && !scratch.allocate(plan_.memory_, static_cast<uint64_t>(step.scratch_bytes))) {
    return out_of_memory();
  }
  RunContext run;
  QUENCH_RETURN_IF_ERROR(plan_.connect(step, true, run));
  run.threads_ = 1;
  run.scratch_ = scratch.data();
  return step.kernel->run(run);
}

// Outputs are in their declared type where that is a floating-point type.
Status Builder::add_outputs() {
  if (!plan_.pool_.make(graph_.outputs.size(), &plan_.outputs_)) return out_of_memory();
  for (size_t i = 0; i < graph_.outputs.size(); ++i) {
    int& output = plan_.outputs_[i];
    output = before_identities(graph_.outputs[i].value);
    QUENCH_RETURN_IF_ERROR(convert_output(graph_.outputs[i], output));
    for (int value = output; value >= 0; value = plan_.value(value).alias_of) plan_.value(value).is_output = true;
  }
  return Status();
}

Status Builder::convert_output(const ValueInfo& info, int& output) {
  const PlanValue& computed = plan_.value(output);
  if (size_of(info.type) == 0 || info.type == computed.tensor.type || compute_type(info.type) != computed.tensor.type) {
    return Status();
  }
  PlanValue converted;
  converted.kind = PlanValue::kComputed;
  converted.tensor.type = info.type;
  converted.tensor.shape = computed.tensor.shape;
  const int from = output;
  if (!plan_.add_value(converted, &output)) return out_of_memory();
  return plan_.add_conversion(kConvertType, from, output);
}

Status Plan::build(std::span<const Shape> shapes) {
  LockGuard guard(model_.lock());
  QUENCH_RETURN_IF_ERROR(Builder(*this).run(shapes));
  QUENCH_RETURN_IF_ERROR(remove_dead_steps(*this));
  if (options_.fuse) QUENCH_RETURN_IF_ERROR(fuse_steps(*this));
  QUENCH_RETURN_IF_ERROR(assign_layouts(*this));
  QUENCH_RETURN_IF_ERROR(remove_dead_steps(*this));
  QUENCH_RETURN_IF_ERROR(prepare_steps(*this));
  return place_values(*this);
}

}  // namespace quench::rt
