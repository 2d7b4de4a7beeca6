// Turns a finished draft into a plan: one block of the model's memory that holds the plan and all its arrays.
#include <cstring>

#include "runtime/plan/draft.h"

namespace quench::rt {
namespace {

constexpr uint64_t kStateAlignment = 16;  // see NodeContext::state

// Cuts arrays out of a block one after the other. Without a block it only measures.
class Cutter {
 public:
  Cutter(std::byte* block, uint64_t begin) : block_(block), end_(begin) {}

  std::byte* cut(uint64_t bytes, uint64_t alignment) {
    const uint64_t begin = (end_ + alignment - 1) / alignment * alignment;
    end_ = begin + bytes;
    return block_ ? block_ + begin : nullptr;
  }
  template <typename T>
  void cut(size_t count, std::span<T>* out) {
    std::byte* first = cut(count * sizeof(T), alignof(T));
    if (!first) return;
    T* elements = reinterpret_cast<T*>(first);
    for (size_t i = 0; i < count; ++i) new (elements + i) T();
    *out = {elements, count};
  }
  uint64_t end() const { return end_; }

 private:
  std::byte* block_;
  uint64_t end_;
};

template <typename Function>
void for_each_list(const StageRecord& from, StageRecord& to, const Function& function) {
  function(from.handed_over, to.handed_over);
  function(from.same, to.same);
  function(from.names, to.names);
  function(from.values, to.values);
  function(from.items, to.items);
  function(from.nodes, to.nodes);
  function(from.outputs, to.outputs);
}

}  // namespace

class Freezer {
 public:
  explicit Freezer(Draft& draft) : draft_(draft) {}

  Status run(Plan** plan);

 private:
  Status number_values();
  void number(int value);
  bool keeps(size_t number) const;
  uint64_t arrange(Plan& plan, std::byte* block) const;
  void fill(Plan& plan) const;
  void fill_step(const DraftStep& from, Plan& plan, size_t* argument, Step& step) const;
  PlanTensor tensor(const DraftValue& value) const;
  static uint64_t state_bytes(const DraftStep& step) {
    return step.state ? static_cast<uint64_t>(step.kernel->state_bytes) : 0;
  }
  int tensor_of(int value) const { return value < 0 ? -1 : at(tensors_, value); }

  Draft& draft_;
  std::span<int> tensors_;    // of each value: its number as a tensor of the plan, -1 for one that no step has
  std::span<int> constants_;  // of each value: its number as a constant of the plan, -1
  std::span<bool> read_;      // of each value: by a step, or as an output
  size_t tensor_count_ = 0;
  size_t constant_count_ = 0;
  size_t argument_count_ = 0;
};

Status Freezer::run(Plan** plan) {
  QUENCH_RETURN_IF_ERROR(number_values());
  Plan measured;
  const uint64_t bytes = arrange(measured, nullptr);
  void* block = draft_.model.allocate(bytes);
  if (!block) return out_of_memory();
  Plan* made = new (block) Plan();
  made->bytes_ = bytes;
  arrange(*made, static_cast<std::byte*>(block));
  fill(*made);
  *plan = made;
  return Status();
}

void Freezer::number(int value) {
  if (value >= 0 && at(tensors_, value) < 0) at(tensors_, value) = static_cast<int>(tensor_count_++);
}

// A constant that comes from the draft, or that an earlier stage keeps and a step reads, by this name or an alias.
bool Freezer::keeps(size_t number) const {
  const DraftValue& value = draft_.values[number];
  return value.acquired || value.owned_bytes > 0 || (value.borrowed && at(read_, number));
}

Status Freezer::number_values() {
  if (!draft_.pool.make(draft_.values.size(), &tensors_) || !draft_.pool.make(draft_.values.size(), &constants_) ||
      !draft_.pool.make(draft_.values.size(), &read_)) {
    return out_of_memory();
  }
  for (int& tensor : tensors_) tensor = -1;
  for (int& constant : constants_) constant = -1;
  for (const DraftStep& step : draft_.steps) {
    for (int input : step.inputs) number(input);
    for (int output : step.outputs) number(output);
    number(step.residual);
    argument_count_ += step.inputs.size() + step.outputs.size();
  }
  for (int output : draft_.outputs) number(output);
  for (int v = 0; v < draft_.values.count(); ++v) {
    if (at(tensors_, v) >= 0) at(read_, draft_.root(v)) = true;
  }
  for (size_t v = 0; v < draft_.values.size(); ++v) {
    if (keeps(v)) constants_[v] = static_cast<int>(constant_count_++);
  }
  return Status();
}

uint64_t Freezer::arrange(Plan& plan, std::byte* block) const {
  Cutter cutter(block, sizeof(Plan));
  cutter.cut(draft_.steps.size(), &plan.steps_);
  cutter.cut(tensor_count_, &plan.tensors_);
  cutter.cut(constant_count_, &plan.constants_);
  cutter.cut(draft_.shapes.size(), &plan.input_shapes_);
  cutter.cut(argument_count_, &plan.arguments_);
  cutter.cut(draft_.outputs.size(), &plan.outputs_);
  for_each_list(draft_.record, plan.record_, [&](const auto& from, auto& to) { cutter.cut(from.size(), &to); });
  cutter.cut(draft_.output_ranges.size(), &plan.output_ranges_);
  for (size_t s = 0; s < draft_.steps.size(); ++s) {
    std::byte* state = cutter.cut(state_bytes(draft_.steps[s]), kStateAlignment);
    if (block) plan.steps_[s].state = state;
  }
  return cutter.end();
}

PlanTensor Freezer::tensor(const DraftValue& value) const {
  PlanTensor made;
  made.type = value.tensor.type;
  made.layout = value.tensor.layout;
  made.shape = value.tensor.shape;
  const int owner = draft_.root(static_cast<int>(&value - draft_.values.begin()));
  const DraftValue& source = draft_.values[owner];
  if (source.kind == DraftValue::kInput) {
    made.place = PlanTensor::kInput;
    made.at = static_cast<uint64_t>(source.input);
  } else if (at(constants_, owner) >= 0) {
    made.place = PlanTensor::kConstant;
    made.at = static_cast<uint64_t>(at(constants_, owner));
  } else if (source.buffer >= 0) {
    made.place = PlanTensor::kArena;
    made.at = draft_.buffers[source.buffer].offset;
  }
  return made;
}

void Freezer::fill_step(const DraftStep& from, Plan& plan, size_t* argument, Step& step) const {
  step.kernel = from.kernel;
  step.node = from.node;
  step.arguments = *argument;
  step.inputs = from.inputs.size();
  step.outputs = from.outputs.size();
  for (int input : from.inputs) plan.arguments_[(*argument)++] = tensor_of(input);
  for (int output : from.outputs) plan.arguments_[(*argument)++] = tensor_of(output);
  step.residual = tensor_of(from.residual);
  step.activation = from.activation;
  step.packed = from.packed;
  step.in_loop = draft_.loop_between(from.region, 0) >= 0;
  step.round = from.round;
  if (from.begins >= 0) {
    step.jump = static_cast<uint64_t>(draft_.regions[from.begins].end) + 1;
    step.condition = !from.condition;
  }
  if (from.ends >= 0) {
    const Region& region = draft_.regions[from.ends];
    step.jump = static_cast<uint64_t>(region.loops ? region.begin : region.end + 1);
  }
  if (from.scratch_buffer >= 0) step.scratch = draft_.buffers[from.scratch_buffer].offset;
  if (from.state) std::memcpy(const_cast<void*>(step.state), from.state, static_cast<size_t>(state_bytes(from)));
}

// From here on the plan has what the draft had from the model.
void Freezer::fill(Plan& plan) const {
  plan.options_ = draft_.options;
  plan.arena_bytes_ = draft_.arena_bytes;
  std::copy(draft_.shapes.begin(), draft_.shapes.end(), plan.input_shapes_.begin());
  for (size_t v = 0; v < draft_.values.size(); ++v) {
    const DraftValue& value = draft_.values[v];
    if (tensors_[v] >= 0) at(plan.tensors_, tensors_[v]) = tensor(value);
    if (constants_[v] < 0) continue;
    at(plan.constants_, constants_[v]) = {value.tensor.data, value.acquired ? value.initializer : -1,
                                          value.owned_bytes};
  }
  for (size_t i = 0; i < draft_.outputs.size(); ++i) plan.outputs_[i] = tensor_of(draft_.outputs[i]);
  for_each_list(draft_.record, plan.record_,
                [](const auto& from, auto& to) { std::copy(from.begin(), from.end(), to.begin()); });
  std::copy(draft_.output_ranges.begin(), draft_.output_ranges.end(), plan.output_ranges_.begin());
  size_t argument = 0;
  for (size_t s = 0; s < draft_.steps.size(); ++s) fill_step(draft_.steps[s], plan, &argument, plan.steps_[s]);
}

Status Draft::freeze(Plan** plan) {
  QUENCH_RETURN_IF_ERROR(Freezer(*this).run(plan));
  values.truncate(0);
  steps.truncate(0);
  return Status();
}

}  // namespace quench::rt
