#include "runtime/plan/plan.h"

#include <algorithm>

#include "runtime/plan/draft.h"

namespace quench::rt {
namespace {

bool serves(const Plan& plan, std::span<const Shape> shapes, const PlanOptions& options) {
  return plan.is_first() && plan.options() == options &&
         std::equal(shapes.begin(), shapes.end(), plan.input_shapes().begin(), plan.input_shapes().end());
}

}  // namespace

Status acquire_plan(const Model& model, std::span<const Shape> shapes, std::span<const EarlierStage> earlier,
                    const PlanOptions& options, Memory& memory, const Cancellation& cancellation, const Plan** plan) {
  LockGuard guard(model.lock());
  Plan* found = earlier.empty() ? model.plans() : nullptr;
  while (found && !serves(*found, shapes, options)) found = found->next_;
  if (!found) {
    Draft draft(model, memory, options, cancellation);
    QUENCH_RETURN_IF_ERROR(draft.build(shapes, earlier));
    QUENCH_RETURN_IF_ERROR(draft.freeze(&found));
    found->is_first_ = earlier.empty();
    found->next_ = model.plans();
    model.plans() = found;
  }
  ++found->users_;
  *plan = found;
  return Status();
}

void release_plan(const Model& model, const Plan* plan) {
  if (!plan) return;
  LockGuard guard(model.lock());
  if (--plan->users_ > 0) return;
  Plan** at = &model.plans();
  while (*at != plan) at = &(*at)->next_;
  Plan* last = *at;
  *at = last->next_;
  last->release(model);
}

// Gives back what the plan has from the model, and itself.
void Plan::release(const Model& model) {
  for (const PlanConstant& constant : constants_) {
    if (constant.initializer >= 0) {
      model.release(constant.initializer);
    } else if (constant.bytes > 0) {
      model.free(constant.data, constant.bytes);
    }
  }
  for (const Step& step : steps_) release_packed(model, step.node, step.packed);
  const uint64_t bytes = bytes_;
  this->~Plan();
  model.free(this, bytes);
}

void release_packed(const Model& model, int node, const PackedWeights& packed) {
  if (packed.own_bytes > 0) {
    model.free(const_cast<void*>(packed.data), packed.own_bytes);
  } else if (packed.data) {
    model.release_packed(node, packed.variant);
  }
}

Status at_step(const Graph& graph, const Kernel& kernel, int node, const Status& status) {
  if (node < 0) return Status::error(status.code(), "%s: %s", kernel.op, status.detail());
  return at_node(graph, graph.nodes[node], status);
}

}  // namespace quench::rt
