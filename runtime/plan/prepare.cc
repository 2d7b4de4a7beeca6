#include <algorithm>

#include "runtime/plan/passes.h"

namespace quench::rt {
namespace {

class Preparer {
 public:
  explicit Preparer(Draft& draft) : draft_(draft) {}

  Status run() {
    for (DraftStep& step : draft_.steps) {
      if (step.node < 0) continue;
      QUENCH_RETURN_IF_ERROR(draft_.cancellation.check());
      Status status = prepare(step);
      if (status.ok() && step.packs) status = pack(step);
      if (!status.ok()) return at_step(draft_.model.graph(), *step.kernel, step.node, status);
    }
    return drop_constants();
  }

 private:
  // What the allocation hook of a PackContext works on.
  struct PackMemory {
    Preparer* preparer;
    DraftStep* step;
    bool shared;
    void* data;
  };

  bool can_pack(const DraftStep& step) const;
  bool is_packed_input(const DraftStep& step, size_t input) const {
    return input < 32 && (step.kernel->packed_inputs >> input & 1) != 0;
  }
  Status prepare(DraftStep& step);
  Status pack(DraftStep& step);
  Status drop_constants();
  static void* allocate(void* user, int64_t bytes);

  Draft& draft_;
};

bool Preparer::can_pack(const DraftStep& step) const {
  bool any = false;
  if (!step.kernel->pack) return false;
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] < 0 || !is_packed_input(step, i)) continue;
    if (draft_.value(step.inputs[i]).kind != DraftValue::kConstant) return false;
    any = true;
  }
  return any;
}

Status Preparer::prepare(DraftStep& step) {
  step.packs = can_pack(step);
  if (!step.kernel->prepare) return Status();
  PrepareContext context;
  QUENCH_RETURN_IF_ERROR(draft_.connect(step, false, context));
  context.epilogue_.activation = step.activation;
  Tensor residual;
  if (step.residual >= 0) {
    residual = draft_.value(step.residual).tensor;
    residual.data = nullptr;
    context.epilogue_.residual = &residual;
  }
  context.packs_ = step.packs;
  context.scratch_bytes_ = step.scratch_bytes;
  QUENCH_RETURN_IF_ERROR(step.kernel->prepare(context));
  if (context.scratch_bytes_ < 0) return Status::error(StatusCode::kLimit, "needs too much scratch memory");
  step.scratch_bytes = context.scratch_bytes_;
  step.packed.variant = context.variant_;
  return Status();
}

void* Preparer::allocate(void* user, int64_t wanted) {
  auto& memory = *static_cast<PackMemory*>(user);
  PackedWeights& packed = memory.step->packed;
  if (wanted < 0 || memory.data) return nullptr;
  const auto bytes = static_cast<uint64_t>(std::max<int64_t>(wanted, 1));
  const Model& model = memory.preparer->draft_.model;
  memory.data = memory.shared ? model.allocate_packed(memory.step->node, packed.variant, bytes) : model.allocate(bytes);
  if (!memory.data || memory.shared) return memory.data;
  packed.data = memory.data;
  packed.own_bytes = bytes;
  std::memset(memory.data, 0, static_cast<size_t>(bytes));
  return memory.data;
}

Status Preparer::pack(DraftStep& step) {
  PackMemory memory{this, &step, (step.varying_inputs & step.kernel->packed_inputs) == 0, nullptr};
  if (memory.shared) {
    step.packed.data = draft_.model.acquire_packed(step.node, step.packed.variant);
    if (step.packed.data) return Status();
  }
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] >= 0 && is_packed_input(step, i)) QUENCH_RETURN_IF_ERROR(draft_.materialize(step.inputs[i]));
  }
  PackContext context;
  QUENCH_RETURN_IF_ERROR(draft_.connect(step, true, context));
  context.variant_ = step.packed.variant;
  context.allocate_user_ = &memory;
  context.allocate_function_ = allocate;
  const Status status = step.kernel->pack(context);
  if (!status.ok() && memory.shared && memory.data) draft_.model.discard_packed(step.node, step.packed.variant);
  QUENCH_RETURN_IF_ERROR(status);
  step.packed.data = memory.data;
  return Status();
}

// Keeps the constants that steps read when they run, and lets go of all others that were decoded on the way.
Status Preparer::drop_constants() {
  std::span<bool> needed;
  if (!draft_.pool.make(draft_.values.size(), &needed)) return out_of_memory();
  const auto need = [&](int number) -> Status {
    if (number < 0 || draft_.value(number).kind != DraftValue::kConstant) return Status();
    at(needed, draft_.root(number)) = true;
    return draft_.materialize(number);
  };
  for (const DraftStep& step : draft_.steps) {
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      if (step.packed.data && is_packed_input(step, i)) continue;
      QUENCH_RETURN_IF_ERROR(need(step.inputs[i]));
    }
    QUENCH_RETURN_IF_ERROR(need(step.residual));
  }
  for (int output : draft_.outputs) QUENCH_RETURN_IF_ERROR(need(output));
  for (int v = 0; v < draft_.values.count(); ++v) {
    if (!at(needed, v) && !draft_.value(v).stays) draft_.release_constant(v);
  }
  return Status();
}

}  // namespace

Status remove_dead_steps(Draft& draft) {
  std::span<bool> needed;
  if (!draft.pool.make(draft.values.size(), &needed)) return out_of_memory();
  const auto need = [&](int number) {
    for (; number >= 0 && !at(needed, number); number = draft.value(number).alias_of) {
      at(needed, number) = true;
    }
  };
  for (int output : draft.outputs) need(output);
  for (size_t s = draft.steps.size(); s-- > 0;) {
    DraftStep& step = draft.steps[s];
    step.removed = !step.stays;
    for (int output : step.outputs) {
      if (output < 0) continue;
      // What a loop keeps for its next round was perhaps read before.
      if (at(needed, output) || draft.loop_between(step.region, draft.value(output).region) >= 0) step.removed = false;
    }
    if (step.removed) continue;
    for (int input : step.inputs) need(input);
    need(step.residual);
  }
  draft.drop_removed_steps();
  return Status();
}

Status prepare_steps(Draft& draft) { return Preparer(draft).run(); }

}  // namespace quench::rt
