#include "runtime/plan/passes.h"

namespace quench::rt {
namespace {

class Placement {
 public:
  explicit Placement(Draft& draft) : draft_(draft) {}

  Status run();

 private:
  void find_regions();
  void find_lifetimes();
  void run_in_place(const DraftStep& step, int number);
  bool may_overwrite(const DraftStep& step, int number, int candidate, size_t input);
  void touch(int value, int step, int region);
  Status add_buffers();
  Status add_scratch();

  Draft& draft_;
  std::span<int> first_, last_;  // of each value that is nobody's alias
};

Status Placement::run() {
  if (!draft_.pool.make(draft_.values.size(), &first_) || !draft_.pool.make(draft_.values.size(), &last_)) {
    return out_of_memory();
  }
  find_regions();
  find_lifetimes();
  if (draft_.options.reuse) {
    for (int s = 0; s < draft_.steps.count(); ++s) run_in_place(draft_.steps[s], s);
  }
  QUENCH_RETURN_IF_ERROR(add_buffers());
  QUENCH_RETURN_IF_ERROR(add_scratch());
  return place_buffers(draft_.buffers.span(), draft_.options.reuse, draft_.memory.limit(), draft_.pool,
                       &draft_.arena_bytes);
}

void Placement::find_regions() {
  for (int number = 0; number < draft_.steps.count(); ++number) {
    const DraftStep& step = draft_.steps[number];
    if (step.begins >= 0) draft_.regions[step.begins].begin = number;
    if (step.ends >= 0) draft_.regions[step.ends].end = number;
  }
}

// A step in `region` reads or writes the value. What comes from outside of a loop is there for all of it: its steps are
// run again.
void Placement::touch(int value, int step, int region) {
  if (value < 0) return;
  const int owner = draft_.root(value);
  const int loop = draft_.loop_between(region, draft_.value(owner).region);
  const int begin = loop < 0 ? step : draft_.regions[loop].begin;
  const int end = loop < 0 ? step : draft_.regions[loop].end;
  int& first = at(first_, owner);
  if (first < 0 || first > begin) first = begin;
  int& last = at(last_, owner);
  if (last < end) last = end;
}

void Placement::find_lifetimes() {
  for (int& first : first_) first = -1;
  for (int& last : last_) last = -1;
  for (int number = 0; number < draft_.steps.count(); ++number) {
    const DraftStep& step = draft_.steps[number];
    for (int input : step.inputs) touch(input, number, step.region);
    touch(step.residual, number, step.region);
    for (int output : step.outputs) touch(output, number, step.region);
  }
  for (int output : draft_.outputs) touch(output, INT_MAX, 0);
}

// Output 0 takes the memory of an input, or of the residual, that nobody reads later.
void Placement::run_in_place(const DraftStep& step, int number) {
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
  const int owner = draft_.root(chosen);
  at(last_, owner) = at(last_, output);
  draft_.value(output).alias_of = owner;
}

bool Placement::may_overwrite(const DraftStep& step, int number, int candidate, size_t input) {
  if (candidate < 0) return false;
  const Tensor& from = draft_.value(candidate).tensor;
  const Tensor& to = draft_.value(step.outputs[0]).tensor;
  if (from.type != to.type || from.layout != to.layout || !(from.shape == to.shape)) return false;
  const int owner = draft_.root(candidate);
  const DraftValue& owned = draft_.value(owner);
  if (owned.kind != DraftValue::kComputed || at(last_, owner) != number) return false;
  // The other inputs must not lie there too, unless they are the same tensor and read in step with the output as well.
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (i == input || step.inputs[i] < 0 || draft_.root(step.inputs[i]) != owner) continue;
    const bool in_step = i < 32 && (step.kernel->inplace_inputs >> i & 1) != 0;
    if (!in_step || draft_.value(step.inputs[i]).tensor.layout != to.layout ||
        !(draft_.value(step.inputs[i]).tensor.shape == to.shape)) {
      return false;
    }
  }
  return input == SIZE_MAX || step.residual < 0 || draft_.root(step.residual) != owner;
}

Status Placement::add_buffers() {
  for (size_t v = 0; v < draft_.values.size(); ++v) {
    DraftValue& value = draft_.values[v];
    if (value.kind != DraftValue::kComputed || value.alias_of >= 0 || first_[v] < 0) continue;
    Buffer buffer;
    buffer.bytes = static_cast<uint64_t>(value.tensor.bytes());
    buffer.first = first_[v];
    buffer.last = last_[v];
    value.buffer = draft_.buffers.count();
    if (!draft_.buffers.push(buffer)) return out_of_memory();
  }
  return Status();
}

Status Placement::add_scratch() {
  for (int s = 0; s < draft_.steps.count(); ++s) {
    DraftStep& step = draft_.steps[s];
    if (step.scratch_bytes == 0) continue;
    Buffer buffer;
    buffer.bytes = static_cast<uint64_t>(step.scratch_bytes);
    buffer.first = buffer.last = s;
    step.scratch_buffer = draft_.buffers.count();
    if (!draft_.buffers.push(buffer)) return out_of_memory();
  }
  return Status();
}

}  // namespace

Status place_values(Draft& draft) { return Placement(draft).run(); }

}  // namespace quench::rt
