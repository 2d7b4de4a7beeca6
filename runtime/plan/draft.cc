#include "runtime/plan/draft.h"

#include <algorithm>

#include "runtime/plan/internal_kernels.h"
#include "runtime/plan/passes.h"

namespace quench::rt {

Draft::Draft(const Model& of_this, Memory& of_planning, const PlanOptions& with, const Cancellation& unless)
    : model(of_this),
      memory(of_planning),
      options(with),
      cancellation(unless),
      pool(memory),
      values(pool),
      steps(pool),
      regions(pool),
      buffers(pool),
      outputs(pool) {}

Draft::~Draft() {
  for (int v = 0; v < values.count(); ++v) release_constant(v);
  for (const DraftStep& step : steps) release_packed(model, step.node, step.packed);
}

Status Draft::build(std::span<const Shape> input_shapes, std::span<const EarlierStage> stages) {
  shapes = input_shapes;
  earlier = stages;
  if (!regions.push(Region())) return out_of_memory();
  QUENCH_RETURN_IF_ERROR(walk_graph(*this));
  QUENCH_RETURN_IF_ERROR(remove_dead_steps(*this));
  if (options.fuse) QUENCH_RETURN_IF_ERROR(fuse_steps(*this));
  QUENCH_RETURN_IF_ERROR(assign_layouts(*this));
  QUENCH_RETURN_IF_ERROR(remove_dead_steps(*this));
  QUENCH_RETURN_IF_ERROR(prepare_steps(*this));
  return place_values(*this);
}

int Draft::root(int number) const {
  while (values[number].alias_of >= 0) number = values[number].alias_of;
  return number;
}

Status Draft::add_value(const DraftValue& added, int* number) {
  *number = values.count();
  if (!values.push(added)) return out_of_memory();
  value(*number).region = region;
  return Status();
}

Status Draft::add_step(DraftStep step) {
  step.region = region;
  return steps.push(step) ? Status() : out_of_memory();
}

Status Draft::begin_region(bool loops, int value, bool condition) {
  DraftStep step;
  step.kernel = &kBegin;
  step.begins = regions.count();
  step.stays = true;
  step.condition = condition;
  if (!pool.make(1, &step.inputs)) return out_of_memory();
  step.inputs[0] = value;
  QUENCH_RETURN_IF_ERROR(add_step(step));
  Region begun;
  begun.around = region;
  begun.loops = loops;
  region = step.begins;
  return regions.push(begun) ? Status() : out_of_memory();
}

Status Draft::end_region() {
  DraftStep step;
  step.kernel = &kEnd;
  step.ends = region;
  step.stays = true;
  region = regions[region].around;
  return add_step(step);
}

int Draft::loop_between(int inner, int outer) const {
  int loop = -1;
  for (; inner > outer; inner = regions[inner].around) {
    if (regions[inner].loops) loop = inner;
  }
  return loop;
}

void Draft::rewind(const Mark& mark) {
  for (int v = mark.values; v < values.count(); ++v) release_constant(v);
  values.truncate(static_cast<size_t>(mark.values));
  steps.truncate(static_cast<size_t>(mark.steps));
  regions.truncate(static_cast<size_t>(mark.regions));
  region = mark.region;
}

Status Draft::add_conversion(const Kernel& kernel, int from, int to) {
  DraftStep step;
  step.kernel = &kernel;
  if (!pool.make(1, &step.inputs) || !pool.make(1, &step.outputs)) return out_of_memory();
  step.inputs[0] = from;
  step.outputs[0] = to;
  return add_step(step);
}

void Draft::drop_removed_steps() {
  size_t kept = 0;
  for (const DraftStep& step : steps) {
    if (!step.removed) steps[kept++] = step;
  }
  steps.truncate(kept);
}

Status Draft::materialize(int number) {
  DraftValue& source = value(root(number));
  if (!source.tensor.data) {
    if (source.initializer < 0) return Status::error(StatusCode::kCorrupt, "a constant has no value");
    QUENCH_RETURN_IF_ERROR(model.acquire(source.initializer, &source.tensor.data));
    source.acquired = true;
  }
  value(number).tensor.data = source.tensor.data;
  return Status();
}

Status Draft::own_constant(int number) {
  DraftValue& made = value(number);
  const auto bytes = static_cast<uint64_t>(std::max<int64_t>(made.tensor.bytes(), 1));
  made.tensor.data = model.allocate(bytes);
  if (!made.tensor.data) return out_of_memory();
  made.owned_bytes = bytes;
  made.kind = DraftValue::kConstant;
  return Status();
}

void Draft::release_constant(int number) {
  DraftValue& constant = value(number);
  if (!constant.acquired && constant.owned_bytes == 0) return;
  if (constant.acquired) {
    model.release(constant.initializer);
  } else {
    model.free(constant.tensor.data, constant.owned_bytes);
  }
  constant.tensor.data = nullptr;
  constant.acquired = false;
  constant.owned_bytes = 0;
}

Status Draft::connect(const DraftStep& step, bool with_data, NodeContext& context) {
  std::span<const Tensor*> step_inputs;
  std::span<Tensor*> step_outputs;
  std::span<Tensor> copies;
  if (!pool.make(step.inputs.size(), &step_inputs) || !pool.make(step.outputs.size(), &step_outputs) ||
      !pool.make(step.inputs.size(), &copies)) {
    return out_of_memory();
  }
  for (size_t i = 0; i < step_inputs.size(); ++i) {
    if (step.inputs[i] < 0) continue;
    copies[i] = value(step.inputs[i]).tensor;
    if (!with_data) copies[i].data = nullptr;
    step_inputs[i] = &copies[i];
  }
  for (size_t i = 0; i < step_outputs.size(); ++i) {
    if (step.outputs[i] >= 0) step_outputs[i] = &value(step.outputs[i]).tensor;
  }
  if (step.node >= 0) {
    context.attributes_ = Attributes(node_of(step).attributes);
    context.opset_ = node_of(step).opset;
  }
  context.node_ = step.node;
  context.threads_ = options.threads;
  context.inputs_ = step_inputs;
  context.outputs_ = step_outputs;
  context.state_ = step.state;
  return Status();
}

}  // namespace quench::rt
