#include "runtime/plan/passes.h"

namespace quench::rt {
namespace {

class Preparer {
 public:
  explicit Preparer(Plan& plan) : plan_(plan) {}

  Status run() {
    for (Step& step : plan_.steps_) {
      if (step.node < 0) continue;
      Status status = prepare(step);
      if (status.ok() && step.packs) status = pack(step);
      if (!status.ok()) return plan_.at_step(step, status);
    }
    return drop_constants();
  }

 private:
  // What the allocation hook of a PackContext works on.
  struct PackMemory {
    Preparer* preparer;
    const Step* step;
    bool shared;
    void* data;
  };

  bool can_pack(const Step& step) const;
  bool depends_on_shapes(const Step& step) const;
  bool is_packed_input(const Step& step, size_t input) const {
    return input < 32 && (step.kernel->packed_inputs >> input & 1) != 0;
  }
  Status prepare(Step& step);
  Status pack(Step& step);
  Status drop_constants();
  static void* allocate(void* user, int64_t bytes);

  Plan& plan_;
};

bool Preparer::can_pack(const Step& step) const {
  bool any = false;
  if (!step.kernel->pack) return false;
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] < 0 || !is_packed_input(step, i)) continue;
    if (plan_.value(step.inputs[i]).kind != PlanValue::kConstant) return false;
    any = true;
  }
  return any;
}

bool Preparer::depends_on_shapes(const Step& step) const {
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] >= 0 && is_packed_input(step, i) && plan_.value(step.inputs[i]).depends_on_shapes) return true;
  }
  return false;
}

Status Preparer::prepare(Step& step) {
  step.packs = can_pack(step);
  if (!step.kernel->prepare) return Status();
  PrepareContext context;
  QUENCH_RETURN_IF_ERROR(plan_.connect(step, false, context));
  context.epilogue_.activation = step.activation;
  Tensor residual;
  if (step.residual >= 0) {
    residual = plan_.value(step.residual).tensor;
    residual.data = nullptr;
    context.epilogue_.residual = &residual;
  }
  context.packs_ = step.packs;
  context.scratch_bytes_ = step.scratch_bytes;
  QUENCH_RETURN_IF_ERROR(step.kernel->prepare(context));
  if (context.scratch_bytes_ < 0) return Status::error(StatusCode::kLimit, "needs too much scratch memory");
  step.scratch_bytes = context.scratch_bytes_;
  step.variant = context.variant_;
  return Status();
}

void* Preparer::allocate(void* user, int64_t bytes) {
  auto& wanted = *static_cast<PackMemory*>(user);
  if (bytes < 0 || wanted.data) return nullptr;
  Plan& plan = wanted.preparer->plan_;
  if (wanted.shared) {
    wanted.data = plan.model_.allocate_packed(wanted.step->node, wanted.step->variant, bytes);
    return wanted.data;
  }
  void* data = plan.memory_.allocate(static_cast<uint64_t>(bytes));
  if (!data) return nullptr;
  if (!plan.own_packed_.push({data, static_cast<uint64_t>(bytes)})) {
    plan.memory_.release(data, static_cast<uint64_t>(bytes));
    return nullptr;
  }
  std::memset(data, 0, static_cast<size_t>(bytes));
  wanted.data = data;
  return data;
}

Status Preparer::pack(Step& step) {
  PackMemory memory{this, &step, !depends_on_shapes(step), nullptr};
  if (memory.shared) {
    step.packed = plan_.model_.packed(step.node, step.variant);
    if (step.packed) return Status();
  }
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] >= 0 && is_packed_input(step, i)) QUENCH_RETURN_IF_ERROR(plan_.materialize(step.inputs[i]));
  }
  PackContext context;
  QUENCH_RETURN_IF_ERROR(plan_.connect(step, true, context));
  context.variant_ = step.variant;
  context.allocate_user_ = &memory;
  context.allocate_function_ = allocate;
  const Status status = step.kernel->pack(context);
  if (!status.ok() && memory.shared && memory.data) plan_.model_.discard_packed(step.node, step.variant);
  QUENCH_RETURN_IF_ERROR(status);
  step.packed = memory.data;
  return Status();
}

// Keeps the constants that steps read when they run, and lets go of all others that were decoded on the way.
Status Preparer::drop_constants() {
  std::span<bool> needed;
  if (!plan_.pool_.make(plan_.values_.size(), &needed)) return out_of_memory();
  const auto need = [&](int number) -> Status {
    if (number < 0 || plan_.value(number).kind != PlanValue::kConstant) return Status();
    needed[static_cast<size_t>(plan_.root(number))] = true;
    return plan_.materialize(number);
  };
  for (const Step& step : plan_.steps_) {
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      if (step.packed && is_packed_input(step, i)) continue;
      QUENCH_RETURN_IF_ERROR(need(step.inputs[i]));
    }
    QUENCH_RETURN_IF_ERROR(need(step.residual));
  }
  for (int output : plan_.outputs_) QUENCH_RETURN_IF_ERROR(need(output));
  for (size_t i = 0; i < plan_.values_.size(); ++i) {
    if (!needed[i]) plan_.release_constant(static_cast<int>(i));
  }
  return Status();
}

}  // namespace

Status remove_dead_steps(Plan& plan) {
  std::span<bool> needed;
  if (!plan.pool_.make(plan.values_.size(), &needed)) return out_of_memory();
  const auto need = [&](int number) {
    for (; number >= 0 && !needed[static_cast<size_t>(number)]; number = plan.value(number).alias_of) {
      needed[static_cast<size_t>(number)] = true;
    }
  };
  for (int output : plan.outputs_) need(output);
  for (size_t s = plan.steps_.size(); s-- > 0;) {
    Step& step = plan.steps_[s];
    step.removed = true;
    for (int output : step.outputs) {
      if (output >= 0 && needed[static_cast<size_t>(output)]) step.removed = false;
    }
    if (step.removed) continue;
    for (int input : step.inputs) need(input);
    need(step.residual);
  }
  size_t kept = 0;
  for (size_t s = 0; s < plan.steps_.size(); ++s) {
    if (!plan.steps_[s].removed) plan.steps_[kept++] = plan.steps_[s];
  }
  plan.steps_.truncate(kept);
  return Status();
}

Status prepare_steps(Plan& plan) { return Preparer(plan).run(); }

}  // namespace quench::rt
