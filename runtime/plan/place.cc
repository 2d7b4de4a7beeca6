#include <climits>

#include "runtime/plan/passes.h"

namespace quench::rt {
namespace {

class Placement {
 public:
  explicit Placement(Plan& plan) : plan_(plan) {}

  Status run();

 private:
  void find_lifetimes();
  void run_in_place(const Step& step, int number);
  bool may_overwrite(const Step& step, int number, int candidate, size_t input);
  void read(int value, int step);
  Status add_buffers();
  Status add_scratch();
  Status connect_steps();

  Plan& plan_;
  std::span<int> first_, last_;  // of each value that is nobody's alias
};

Status Placement::run() {
  if (!plan_.pool_.make(plan_.values_.size(), &first_) || !plan_.pool_.make(plan_.values_.size(), &last_)) {
    return out_of_memory();
  }
  find_lifetimes();
  if (plan_.options_.reuse) {
    for (size_t s = 0; s < plan_.steps_.size(); ++s) run_in_place(plan_.steps_[s], static_cast<int>(s));
  }
  QUENCH_RETURN_IF_ERROR(add_buffers());
  QUENCH_RETURN_IF_ERROR(add_scratch());
  QUENCH_RETURN_IF_ERROR(place_buffers(plan_.buffers_.span(), plan_.options_.reuse,
                                       plan_.model_.options().limits.max_memory_bytes, plan_.pool_,
                                       &plan_.arena_bytes_));
  return connect_steps();
}

void Placement::read(int value, int step) {
  if (value < 0) return;
  int& last = last_[static_cast<size_t>(plan_.root(value))];
  if (last < step) last = step;
}

void Placement::find_lifetimes() {
  for (int& first : first_) first = -1;
  for (int& last : last_) last = -1;
  for (size_t s = 0; s < plan_.steps_.size(); ++s) {
    const int number = static_cast<int>(s);
    const Step& step = plan_.steps_[s];
    for (int input : step.inputs) read(input, number);
    read(step.residual, number);
    for (int output : step.outputs) {
      if (output < 0) continue;
      first_[static_cast<size_t>(output)] = number;
      read(output, number);
    }
  }
  for (int output : plan_.outputs_) read(output, INT_MAX);
}

// Output 0 takes the memory of an input, or of the residual, that nobody reads later.
void Placement::run_in_place(const Step& step, int number) {
  if (step.outputs.empty() || step.outputs[0] < 0) return;
  int chosen = -1;
  for (size_t i = 0; i < step.inputs.size() && i < 32 && chosen < 0; ++i) {
    if ((step.kernel->inplace_inputs >> i & 1) != 0 && may_overwrite(step, number, step.inputs[i], i)) {
      chosen = step.inputs[i];
    }
  }
  if (chosen < 0 && step.residual >= 0 && may_overwrite(step, number, step.residual, SIZE_MAX)) chosen = step.residual;
  if (chosen < 0) return;
  const int output = step.outputs[0];
  const int owner = plan_.root(chosen);
  last_[static_cast<size_t>(owner)] = last_[static_cast<size_t>(output)];
  plan_.value(output).alias_of = owner;
}

bool Placement::may_overwrite(const Step& step, int number, int candidate, size_t input) {
  if (candidate < 0) return false;
  const Tensor& from = plan_.value(candidate).tensor;
  const Tensor& to = plan_.value(step.outputs[0]).tensor;
  if (from.type != to.type || from.layout != to.layout || !(from.shape == to.shape)) return false;
  const int owner = plan_.root(candidate);
  const PlanValue& owned = plan_.value(owner);
  if (owned.kind != PlanValue::kComputed || last_[static_cast<size_t>(owner)] != number) return false;
  // The other inputs must not lie there too, unless they are the same tensor and read in step with the output as well.
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (i == input || step.inputs[i] < 0 || plan_.root(step.inputs[i]) != owner) continue;
    const bool in_step = i < 32 && (step.kernel->inplace_inputs >> i & 1) != 0;
    if (!in_step || plan_.value(step.inputs[i]).tensor.layout != to.layout ||
        !(plan_.value(step.inputs[i]).tensor.shape == to.shape)) {
      return false;
    }
  }
  return input == SIZE_MAX || step.residual < 0 || plan_.root(step.residual) != owner;
}

Status Placement::add_buffers() {
  for (size_t v = 0; v < plan_.values_.size(); ++v) {
    PlanValue& value = plan_.values_[v];
    if (value.kind != PlanValue::kComputed || value.alias_of >= 0 || first_[v] < 0) continue;
    Buffer buffer;
    buffer.bytes = static_cast<uint64_t>(value.tensor.bytes());
    buffer.first = first_[v];
    buffer.last = last_[v];
    value.buffer = static_cast<int>(plan_.buffers_.size());
    if (!plan_.buffers_.push(buffer)) return out_of_memory();
  }
  return Status();
}

Status Placement::add_scratch() {
  for (size_t s = 0; s < plan_.steps_.size(); ++s) {
    Step& step = plan_.steps_[s];
    if (step.scratch_bytes == 0) continue;
    Buffer buffer;
    buffer.bytes = static_cast<uint64_t>(step.scratch_bytes);
    buffer.first = buffer.last = static_cast<int>(s);
    step.scratch_buffer = static_cast<int>(plan_.buffers_.size());
    if (!plan_.buffers_.push(buffer)) return out_of_memory();
  }
  return Status();
}

// From here on the list of values does not grow, so steps may point at their tensors.
Status Placement::connect_steps() {
  for (Step& step : plan_.steps_) {
    if (!plan_.pool_.make(step.inputs.size(), &step.input_tensors) ||
        !plan_.pool_.make(step.outputs.size(), &step.output_tensors)) {
      return out_of_memory();
    }
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      if (step.inputs[i] >= 0) step.input_tensors[i] = &plan_.value(step.inputs[i]).tensor;
    }
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      if (step.outputs[i] >= 0) step.output_tensors[i] = &plan_.value(step.outputs[i]).tensor;
    }
    if (step.residual >= 0) step.residual_tensor = &plan_.value(step.residual).tensor;
  }
  return Status();
}

}  // namespace

Status place_values(Plan& plan) { return Placement(plan).run(); }

}  // namespace quench::rt
