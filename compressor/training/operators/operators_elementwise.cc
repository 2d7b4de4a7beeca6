// Functions of one element each of one or more tensors, which are broadcast.

#include <torch/torch.h>

#include "compressor/training/operators/operators_support.h"

namespace quench::training {
namespace {

using torch::Tensor;

template <Tensor (*kFunction)(const Tensor&)>
Tensors unary(const NodeView&, const Tensors& inputs) {
  return {kFunction(required(inputs, 0))};
}

Tensor softplus(const Tensor& x) { return at::softplus(x); }
// NaN stays NaN, which torch makes 0.
Tensor sign(const Tensor& x) {
  return at::isFloatingType(x.scalar_type()) ? at::where(at::isnan(x), x, at::sign(x)) : at::sign(x);
}
Tensor softsign(const Tensor& x) { return x / (1 + at::abs(x)); }

// Activations with parameters

Tensors elu(const NodeView& node, const Tensors& inputs) {
  return {at::elu(required(inputs, 0), real(node, "alpha", 1))};
}

Tensors selu(const NodeView& node, const Tensors& inputs) {
  return {at::elu(required(inputs, 0), real(node, "alpha", 1.67326319217681884765625),
                  real(node, "gamma", 1.05070102214813232421875))};
}

Tensors leaky_relu(const NodeView& node, const Tensors& inputs) {
  return {at::leaky_relu(required(inputs, 0), real(node, "alpha", 0.01))};
}

Tensors thresholded_relu(const NodeView& node, const Tensors& inputs) {
  return {at::threshold(required(inputs, 0), real(node, "alpha", 1), 0)};
}

Tensors hard_sigmoid(const NodeView& node, const Tensors& inputs) {
  return {at::clamp(required(inputs, 0) * real(node, "alpha", 0.2) + real(node, "beta", 0.5), 0, 1)};
}

Tensors prelu(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  Tensor slope = required(inputs, 1);
  if (node.opset < 7 && slope.dim() == 1 && x.dim() > 1) {  // a slope for each channel
    Integers sizes(static_cast<size_t>(x.dim()), 1);
    sizes[1] = slope.numel();
    slope = slope.reshape(sizes);
  }
  const Tensor below = slope * x;
  return {at::where(x > 0, x.to(below.scalar_type()), below)};
}

Tensors clip(const NodeView& node, const Tensors& inputs) {
  const Tensor& x = required(inputs, 0);
  Tensor y = x;
  if (node.opset < 11) {
    if (has(node, "min")) y = at::clamp_min(y, real(node, "min", 0));
    if (has(node, "max")) y = at::clamp_max(y, real(node, "max", 0));
    return {y};
  }
  const Tensor least = optional(inputs, 1);
  const Tensor most = optional(inputs, 2);
  // Reading a number from a device would wait for all that runs there.
  if (least.defined()) y = least.is_cpu() ? at::clamp_min(y, least.item()) : at::clamp_min(y, least);
  if (most.defined()) y = most.is_cpu() ? at::clamp_max(y, most.item()) : at::clamp_max(y, most);
  return {y};
}

// Functions of two tensors

// The two operands, on one device. Before version 7 the second one was laid along the axes of the first from `axis` on,
// instead of along the last ones.
Tensors operands(const NodeView& node, const Tensors& inputs) {
  Tensors pair = {required(inputs, 0), required(inputs, 1)};
  if (pair[0].device() != pair[1].device()) to_one_device(pair);
  if (node.opset < 7 && has(node, "axis")) {
    const int64_t behind = pair[0].dim() - axis_of(node, 0, pair[0].dim()) - pair[1].dim();
    for (int64_t i = 0; i < behind; ++i) pair[1] = pair[1].unsqueeze(-1);
  }
  return pair;
}

template <Tensor (*kFunction)(const Tensor&, const Tensor&)>
Tensors binary(const NodeView& node, const Tensors& inputs) {
  const Tensors pair = operands(node, inputs);
  return {kFunction(pair[0], pair[1])};
}

Tensor add(const Tensor& a, const Tensor& b) { return at::add(a, b); }
Tensor subtract(const Tensor& a, const Tensor& b) { return at::sub(a, b); }

Tensor divide(const Tensor& a, const Tensor& b) {
  return at::isFloatingType(a.scalar_type()) ? at::div(a, b) : at::div(a, b, "trunc");
}

// The result has the base's type.
Tensor power(const Tensor& base, const Tensor& exponent) {
  // A number as the exponent is much cheaper, and its derivative needs no logarithm.
  const bool is_number =
      exponent.is_cpu() && exponent.numel() == 1 && exponent.dim() <= base.dim() && !exponent.requires_grad();
  return (is_number ? at::pow(base, exponent.item()) : at::pow(base, exponent)).to(base.scalar_type());
}

Tensors modulo(const NodeView& node, const Tensors& inputs) {
  return integer(node, "fmod", 0) != 0 ? binary<at::fmod>(node, inputs) : binary<at::remainder>(node, inputs);
}

// Functions of any number of tensors

template <Tensor (*kFunction)(const Tensor&, const Tensor&)>
Tensor combine(const Tensors& inputs) {
  Tensors terms = inputs;
  to_one_device(terms);
  Tensor result = required(terms, 0);
  for (size_t i = 1; i < terms.size(); ++i) result = kFunction(result, required(terms, i));
  return result;
}

template <Tensor (*kFunction)(const Tensor&, const Tensor&)>
Tensors variadic(const NodeView&, const Tensors& inputs) {
  return {combine<kFunction>(inputs)};
}

Tensors mean(const NodeView&, const Tensors& inputs) {
  return {combine<add>(inputs) / static_cast<double>(inputs.size())};
}

Tensors where(const NodeView&, const Tensors& inputs) {
  Tensors terms = {required(inputs, 0), required(inputs, 1), required(inputs, 2)};
  to_one_device(terms);
  // Of two types only under autocast.
  const torch::ScalarType type = c10::promoteTypes(terms[1].scalar_type(), terms[2].scalar_type());
  return {at::where(terms[0], terms[1].to(type), terms[2].to(type))};
}

constexpr OperatorEntry kElementwiseOperators[] = {
    {"Abs", unary<at::abs>},
    {"Add", binary<add>},
    {"And", binary<at::logical_and>},
    {"Ceil", unary<at::ceil>},
    {"Clip", clip},
    {"Cos", unary<at::cos>},
    {"Div", binary<divide>},
    {"Elu", elu},
    {"Equal", binary<at::eq>},
    {"Erf", unary<at::erf>},
    {"Exp", unary<at::exp>},
    {"Floor", unary<at::floor>},
    {"Greater", binary<at::gt>},
    {"GreaterOrEqual", binary<at::ge>},
    {"HardSigmoid", hard_sigmoid},
    {"HardSwish", unary<at::hardswish>},
    {"LeakyRelu", leaky_relu},
    {"Less", binary<at::lt>},
    {"LessOrEqual", binary<at::le>},
    {"Log", unary<at::log>},
    {"Max", variadic<at::maximum>},
    {"Mean", mean},
    {"Min", variadic<at::minimum>},
    {"Mod", modulo},
    {"Mul", binary<at::mul>},
    {"Neg", unary<at::neg>},
    {"Not", unary<at::logical_not>},
    {"Or", binary<at::logical_or>},
    {"PRelu", prelu},
    {"Pow", binary<power>},
    {"Reciprocal", unary<at::reciprocal>},
    {"Relu", unary<at::relu>},
    {"Round", unary<at::round>},
    {"Selu", selu},
    {"Sigmoid", unary<at::sigmoid>},
    {"Sign", unary<sign>},
    {"Sin", unary<at::sin>},
    {"Softplus", unary<softplus>},
    {"Softsign", unary<softsign>},
    {"Sqrt", unary<at::sqrt>},
    {"Sub", binary<subtract>},
    {"Sum", variadic<add>},
    {"Tanh", unary<at::tanh>},
    {"ThresholdedRelu", thresholded_relu},
    {"Where", where},
    {"Xor", binary<at::logical_xor>},
};

}  // namespace

std::span<const OperatorEntry> elementwise_operators() { return kElementwiseOperators; }

}  // namespace quench::training
