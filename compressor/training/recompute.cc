#include "compressor/training/recompute.h"

#include <torch/torch.h>

#include <memory>
#include <utility>

#include "compressor/training/autocast.h"

namespace quench::training {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What a backward pass calls, with the arithmetic of the forward pass.
struct Call {
  Rerun run;                          // of checkpointed
  std::vector<ReversibleStep> steps;  // of reversible
  size_t state = 0;                   // how many of the inputs are the state
  torch::DeviceType device = torch::kCPU;
  bool autocasts = false;
};

struct Holder : torch::CustomClassHolder {
  explicit Holder(std::shared_ptr<const Call> of) : call(std::move(of)) {}
  std::shared_ptr<const Call> call;
};

void keep(AutogradContext* context, const std::shared_ptr<const Call>& call) {
  context->saved_data["call"] = torch::IValue::make_capsule(c10::make_intrusive<Holder>(call));
  context->set_materialize_grads(false);
}

std::shared_ptr<const Call> kept(AutogradContext* context) {
  return c10::static_intrusive_pointer_cast<Holder>(context->saved_data["call"].toCapsule())->call;
}

void mark_integers(AutogradContext* context, const Tensors& outputs) {
  variable_list integers;
  for (const Tensor& output : outputs) {
    if (!output.is_floating_point()) integers.push_back(output);
  }
  context->mark_non_differentiable(integers);
}

Tensor leaf_of(const Tensor& tensor, bool needs_gradient) {
  Tensor leaf = tensor.detach();
  if (needs_gradient) leaf.requires_grad_(true);
  return leaf;
}

// Of `outputs` by `leaves`, undefined where there is none.
variable_list gradients_of(const Tensors& outputs, const Tensors& leaves, const variable_list& gradients) {
  variable_list reached, slopes, wanted;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
    reached.push_back(outputs[i]);
    slopes.push_back(gradients[i].to(outputs[i].scalar_type()));
  }
  for (const Tensor& leaf : leaves) {
    if (leaf.defined() && leaf.requires_grad()) wanted.push_back(leaf);
  }
  variable_list result(leaves.size());
  if (reached.empty() || wanted.empty()) return result;
  const variable_list found = torch::autograd::grad(reached, wanted, slopes, false, false, /*allow_unused=*/true);
  size_t next = 0;
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (leaves[i].defined() && leaves[i].requires_grad()) result[i] = found[next++];
  }
  return result;
}

void add_to(Tensor& sum, const Tensor& gradient) {
  if (gradient.defined()) sum = sum.defined() ? sum + gradient : gradient;
}

struct CheckpointFunction : torch::autograd::Function<CheckpointFunction> {
  static variable_list forward(AutogradContext* context, at::TensorList inputs,
                               const std::shared_ptr<const Call>& call) {
    keep(context, call);
    context->save_for_backward(inputs.vec());
    const Tensors outputs = call->run(inputs.vec(), false);
    mark_integers(context, outputs);
    return outputs;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const std::shared_ptr<const Call> call = kept(context);
    Tensors leaves;
    for (const Tensor& input : context->get_saved_variables()) leaves.push_back(leaf_of(input, input.requires_grad()));
    Tensors outputs;
    {
      const torch::AutoGradMode with_grad(true);
      const Autocast autocast(call->device, call->autocasts);
      outputs = call->run(leaves, true);
    }
    variable_list result = gradients_of(outputs, leaves, gradients);
    result.emplace_back();  // of the call
    return result;
  }
};

Tensors chosen(const Tensors& all, const std::vector<size_t>& which) {
  Tensors result;
  for (const size_t i : which) result.push_back(all[i]);
  return result;
}

Tensor residual_of(const ReversibleStep& step, Tensors state, const Tensors& parameters, bool again) {
  state[step.target] = Tensor();
  return step.residual(state, chosen(parameters, step.parameters), again);
}

Tensor widened(const Tensor& tensor) {
  const bool is_narrow = tensor.scalar_type() == torch::kBFloat16 || tensor.scalar_type() == torch::kHalf;
  return is_narrow ? tensor.to(torch::kFloat) : tensor;
}

Tensors run_steps(const std::vector<ReversibleStep>& steps, Tensors state, const Tensors& parameters) {
  for (const ReversibleStep& step : steps) {
    state[step.target] = widened(state[step.target]) + residual_of(step, state, parameters, false);
  }
  return state;
}

std::vector<bool> changed_by(const std::vector<ReversibleStep>& steps, size_t state) {
  std::vector<bool> changed(state);
  for (const ReversibleStep& step : steps) changed[step.target] = true;
  return changed;
}

// Goes back by one step: `state` becomes that before it, and `slopes` the gradients by that. Adds to those by the
// parameters.
void step_back(const ReversibleStep& step, const Call& call, const Tensors& parameters, Tensors& state,
               variable_list& slopes, variable_list& parameter_slopes) {
  Tensors leaves;
  for (size_t i = 0; i < state.size(); ++i) {
    leaves.push_back(i == step.target ? Tensor() : leaf_of(state[i], state[i].is_floating_point()));
  }
  Tensors own;
  for (const Tensor& parameter : chosen(parameters, step.parameters)) {
    own.push_back(leaf_of(parameter, parameter.requires_grad()));
  }
  Tensor residual;
  {
    const torch::AutoGradMode with_grad(true);
    const Autocast autocast(call.device, call.autocasts);
    residual = step.residual(leaves, own, true);
  }
  state[step.target] = state[step.target] - residual.detach();
  if (!slopes[step.target].defined()) return;
  const size_t values = leaves.size();
  leaves.insert(leaves.end(), own.begin(), own.end());
  const Tensor slope = slopes[step.target].sum_to_size(residual.sizes());
  const variable_list found = gradients_of({residual}, leaves, {slope});
  for (size_t i = 0; i < values; ++i) add_to(slopes[i], found[i]);
  for (size_t i = 0; i < own.size(); ++i) add_to(parameter_slopes[step.parameters[i]], found[values + i]);
}

// `inputs`: the state and the parameters. The outputs are the values that a step changes.
struct ReversibleFunction : torch::autograd::Function<ReversibleFunction> {
  static variable_list forward(AutogradContext* context, at::TensorList inputs,
                               const std::shared_ptr<const Call>& call) {
    keep(context, call);
    const auto begin = inputs.begin(), middle = begin + static_cast<std::ptrdiff_t>(call->state);
    Tensors state = run_steps(call->steps, Tensors(begin, middle), Tensors(middle, inputs.end()));
    variable_list outputs;
    const std::vector<bool> changed = changed_by(call->steps, call->state);
    for (size_t i = 0; i < state.size(); ++i) {
      if (changed[i]) outputs.push_back(state[i]);
    }
    state.insert(state.end(), middle, inputs.end());
    context->save_for_backward(state);
    return outputs;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const std::shared_ptr<const Call> call = kept(context);
    const variable_list saved = context->get_saved_variables();
    const auto middle = saved.begin() + static_cast<std::ptrdiff_t>(call->state);
    Tensors state(saved.begin(), middle);
    const Tensors parameters(middle, saved.end());
    variable_list slopes(state.size()), parameter_slopes(parameters.size());
    const std::vector<bool> changed = changed_by(call->steps, call->state);
    for (size_t i = 0, next = 0; i < state.size(); ++i) {
      state[i] = state[i].detach();
      if (changed[i]) slopes[i] = gradients[next++];
    }
    for (size_t i = call->steps.size(); i-- > 0;) {
      step_back(call->steps[i], *call, parameters, state, slopes, parameter_slopes);
    }
    variable_list result = std::move(slopes);
    result.insert(result.end(), parameter_slopes.begin(), parameter_slopes.end());
    result.emplace_back();  // of the call
    return result;
  }
};

std::shared_ptr<Call> call_of(const Tensors& inputs) {
  auto call = std::make_shared<Call>();
  if (!inputs.empty()) call->device = inputs.front().device().type();
  call->autocasts = Autocast::is_on(call->device);
  return call;
}

}  // namespace

Tensors checkpointed(const Rerun& run, const Tensors& inputs) {
  const std::shared_ptr<Call> call = call_of(inputs);
  call->run = run;
  return CheckpointFunction::apply(at::TensorList(inputs), std::shared_ptr<const Call>(call));
}

Tensors reversible(std::vector<ReversibleStep> steps, const Tensors& state, const Tensors& parameters) {
  const std::shared_ptr<Call> call = call_of(state);
  call->state = state.size();
  const std::vector<bool> changed = changed_by(steps, state.size());
  call->steps = std::move(steps);
  Tensors inputs = state;
  inputs.insert(inputs.end(), parameters.begin(), parameters.end());
  const variable_list outputs = ReversibleFunction::apply(at::TensorList(inputs), std::shared_ptr<const Call>(call));
  Tensors after = state;
  for (size_t i = 0, next = 0; i < after.size(); ++i) {
    if (changed[i]) after[i] = outputs[next++];
  }
  return after;
}

Tensors reversed(const std::vector<ReversibleStep>& steps, Tensors state, const Tensors& parameters) {
  const torch::NoGradGuard no_grad;
  for (size_t i = steps.size(); i-- > 0;) {
    Tensor& target = state[steps[i].target];
    target = target - residual_of(steps[i], state, parameters, true);
  }
  return state;
}

}  // namespace quench::training
