// The tensors of a plan in the memory of one session: what kernels run on.
//
//     QUENCH_RETURN_IF_ERROR(binding.make(*plan, memory));
//     binding.bind_arena(arena);
//     binding.bind_input(0, pixels);
//     for (const Step& step : plan->steps()) { ... binding.inputs(step), binding.outputs(step) ... }
#pragma once

#include "runtime/plan/plan.h"

namespace quench::rt {

class Binding {
 public:
  // One block of `memory`; the plan must outlive the binding. Errors: kOutOfMemory.
  Status make(const Plan& plan, Memory& memory);
  void reset();

  // An arena of Plan::arena_bytes() bytes, aligned to kAlignment.
  void bind_arena(void* arena);
  // The caller's values, in their declared types, by the number of their shape (plan.h); nothing writes to them.
  void bind_inputs(std::span<const void* const> data);

  // Of a step; nullptr for one that is omitted.
  std::span<const Tensor* const> inputs(const Step& step) const {
    return {arguments_.data() + step.arguments, step.inputs};
  }
  std::span<Tensor* const> outputs(const Step& step) const {
    return arguments_.subspan(step.arguments + step.inputs, step.outputs);
  }
  const Tensor* residual(const Step& step) const { return step.residual < 0 ? nullptr : &at(tensors_, step.residual); }
  void* scratch(const Step& step) const { return step.scratch == Step::kNone ? nullptr : arena_ + step.scratch; }

  const PlanOutput& output(int index) const { return at(plan_->output_ranges(), index); }
  const Tensor& tensor(int number) const { return at(tensors_, at(plan_->outputs(), number)); }

 private:
  const Plan* plan_ = nullptr;
  Block block_;
  std::byte* arena_ = nullptr;
  std::span<Tensor> tensors_;     // of the plan
  std::span<Tensor*> arguments_;  // as Plan::arguments()
};

}  // namespace quench::rt
