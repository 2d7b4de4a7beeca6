#include "runtime/session/binding.h"

namespace quench::rt {

Status Binding::make(const Plan& plan, Memory& memory) {
  const std::span<const PlanTensor> planned = plan.tensors();
  const std::span<const int> numbers = plan.arguments();
  static_assert(sizeof(Tensor) % alignof(Tensor*) == 0);
  const uint64_t tensor_bytes = planned.size() * sizeof(Tensor);
  if (!block_.allocate(memory, tensor_bytes + numbers.size() * sizeof(void*))) return out_of_memory();
  plan_ = &plan;
  tensors_ = {static_cast<Tensor*>(block_.data()), planned.size()};
  arguments_ = {reinterpret_cast<Tensor**>(block_.span().data() + tensor_bytes), numbers.size()};
  for (size_t i = 0; i < planned.size(); ++i) {
    Tensor& tensor = *new (&tensors_[i]) Tensor();
    tensor.type = planned[i].type;
    tensor.layout = planned[i].layout;
    tensor.shape = planned[i].shape;
    if (planned[i].place == PlanTensor::kConstant) tensor.data = at(plan.constants(), planned[i].at).data;
  }
  for (size_t i = 0; i < numbers.size(); ++i) {
    new (&arguments_[i]) Tensor*(numbers[i] < 0 ? nullptr : &at(tensors_, numbers[i]));
  }
  return Status();
}

void Binding::reset() {
  block_.reset();
  plan_ = nullptr;
  arena_ = nullptr;
  tensors_ = {};
  arguments_ = {};
}

void Binding::bind_arena(void* arena) {
  arena_ = static_cast<std::byte*>(arena);
  const std::span<const PlanTensor> planned = plan_->tensors();
  for (size_t i = 0; i < planned.size(); ++i) {
    if (planned[i].place == PlanTensor::kArena) tensors_[i].data = arena_ + planned[i].at;
  }
}

void Binding::bind_inputs(std::span<const void* const> data) {
  const std::span<const PlanTensor> planned = plan_->tensors();
  for (size_t i = 0; i < planned.size(); ++i) {
    if (planned[i].place == PlanTensor::kInput) tensors_[i].data = const_cast<void*>(at(data, planned[i].at));
  }
}

}  // namespace quench::rt
