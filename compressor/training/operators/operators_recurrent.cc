// LSTM, GRU and RNN, in one or both directions: a step of plain torch functions for each step in time.

#include <torch/torch.h>

#include "compressor/graph/graph_index.h"
#include "compressor/training/operators/operators_support.h"
#include "formats/error.h"
#include "formats/operators/recurrent.h"

namespace quench::training {
namespace {

using torch::Tensor;

using operators::Cell;
using operators::CellActivation;
using operators::CellFunction;
using operators::gates_of;

using In = operators::RecurrentInput;

// A NaN stays a NaN, as in operators::evaluate.
Tensor apply(const CellActivation& activation, const Tensor& x) {
  const double alpha = activation.alpha;
  const double beta = activation.beta;
  switch (activation.function) {
    case CellFunction::kSigmoid:
      return at::sigmoid(x);
    case CellFunction::kRelu:
      return at::relu(x);
    case CellFunction::kAffine:
      return x * alpha + beta;
    case CellFunction::kLeakyRelu:
      return at::leaky_relu(x, alpha);
    case CellFunction::kThresholdedRelu:
      return at::threshold(x, alpha, 0);
    case CellFunction::kScaledTanh:
      return at::tanh(x * beta) * alpha;
    case CellFunction::kHardSigmoid:
      return at::clamp(x * alpha + beta, 0, 1);
    case CellFunction::kElu:
      return at::elu(x, alpha);
    case CellFunction::kSoftsign:
      return x / (1 + at::abs(x));
    case CellFunction::kSoftplus:
      return at::softplus(x);
    case CellFunction::kTanh:
      break;
  }
  return at::tanh(x);
}

// The activations of one direction, in ONNX's order f, g, h.
std::vector<CellActivation> functions(const NodeView& node, Cell cell, int64_t direction) {
  CellActivation read[operators::kMaxCellFunctions];
  const Status status =
      operators::read_functions(graph::attributes_of(node.proto), cell, static_cast<int>(direction), read);
  if (!status.ok()) throw Error(status.detail());
  return {read, read + operators::functions_of(cell)};
}

// Two tensors by a condition, of one type also under autocast.
Tensor choose(const Tensor& condition, const Tensor& a, const Tensor& b) {
  const torch::ScalarType type = c10::promoteTypes(a.scalar_type(), b.scalar_type());
  return at::where(condition, a.to(type), b.to(type));
}

// What a step hands to the next: batch x hidden each; `cell` for LSTM only.
struct State {
  Tensor hidden;
  Tensor cell;
};

// One direction of one node.
class Layer {
 public:
  Layer(const NodeView& node, const Tensors& inputs, Cell cell, int64_t direction)
      : cell_(cell),
        functions_(functions(node, cell, direction)),
        w_(required(inputs, In::kW).select(0, direction)),
        r_(required(inputs, In::kR).select(0, direction)),
        hidden_(r_.size(1)),
        clip_(real(node, "clip", 0)),
        reset_last_(integer(node, "linear_before_reset", 0) != 0),
        couples_forget_(integer(node, "input_forget", 0) != 0) {
    if (w_.size(0) != gates_of(cell) * hidden_ || r_.size(0) != w_.size(0)) {
      throw Error::make("inputs 1 and 2 have {} and {} rows where {} units need {}", w_.size(0), r_.size(0), hidden_,
                        gates_of(cell) * hidden_);
    }
    if (const Tensor bias = optional(inputs, In::kBias); bias.defined()) {
      const Tensor both = bias.select(0, direction);
      w_bias_ = both.slice(0, 0, w_.size(0));
      r_bias_ = both.slice(0, w_.size(0));
    }
    if (const Tensor peepholes = optional(inputs, In::kPeepholes); cell == Cell::kLstm && peepholes.defined()) {
      peepholes_ = peepholes.select(0, direction).chunk(3);
    }
  }

  // Goes through `x`, steps x batch x inputs, from `state` on, and leaves the last one there. The result has the
  // hidden states of all steps. `lengths`, if defined, are those of the sequences.
  Tensor run(const Tensor& x, const Tensor& lengths, bool backward, State& state) const {
    const int64_t steps = x.size(0);
    const Tensor from_input = at::linear(x, w_, input_bias());
    Tensors hidden(static_cast<size_t>(steps));
    for (int64_t i = 0; i < steps; ++i) {
      const int64_t step = backward ? steps - 1 - i : i;
      State next = advance(from_input.select(0, step), state);
      Tensor& output = hidden[static_cast<size_t>(step)];
      output = next.hidden;
      if (lengths.defined()) {
        const Tensor is_inside = (lengths > step).unsqueeze(1);
        output = choose(is_inside, next.hidden, at::zeros_like(next.hidden));
        next.hidden = choose(is_inside, next.hidden, state.hidden);
        if (next.cell.defined()) next.cell = choose(is_inside, next.cell, state.cell);
      }
      state = next;
    }
    // A sequence of no steps has no last state, not even the one that it was to begin with.
    if (lengths.defined()) {
      const Tensor has_steps = (lengths > 0).unsqueeze(1);
      state.hidden = choose(has_steps, state.hidden, at::zeros_like(state.hidden));
      if (state.cell.defined()) state.cell = choose(has_steps, state.cell, at::zeros_like(state.cell));
    }
    return at::stack(hidden);
  }

 private:
  bool has_inner_bias() const { return cell_ == Cell::kGru && reset_last_; }

  // Both biases together, except for GRU's that the reset gate acts on.
  Tensor input_bias() const {
    if (!w_bias_.defined()) return Tensor();
    if (!has_inner_bias()) return w_bias_ + r_bias_;
    return w_bias_ + at::cat({r_bias_.slice(0, 0, 2 * hidden_), at::zeros_like(r_bias_.slice(0, 2 * hidden_))});
  }

  Tensor activate(size_t function, const Tensor& x) const {
    return apply(functions_[function], clip_ > 0 ? at::clamp(x, -clip_, clip_) : x);
  }

  State advance(const Tensor& from_input, const State& state) const {
    switch (cell_) {
      case Cell::kLstm:
        return advance_lstm(from_input, state);
      case Cell::kGru:
        return advance_gru(from_input, state);
      default:
        return {activate(0, from_input + at::linear(state.hidden, r_)), Tensor()};
    }
  }

  // Gates in the order input, output, forget, cell; peepholes input, output, forget.
  State advance_lstm(const Tensor& from_input, const State& state) const {
    const Tensors gates = (from_input + at::linear(state.hidden, r_)).chunk(4, 1);
    const auto gate = [&](size_t index, const Tensor& cell) {
      return activate(0, peepholes_.empty() ? gates[index] : gates[index] + peepholes_[index] * cell);
    };
    const Tensor in = gate(0, state.cell);
    const Tensor keep = couples_forget_ ? 1 - in : gate(2, state.cell);
    const Tensor cell = keep * state.cell + in * activate(1, gates[3]);
    return {gate(1, cell) * apply(functions_[2], cell), cell};
  }

  // Gates in the order update, reset, hidden.
  State advance_gru(const Tensor& from_input, const State& state) const {
    const Tensor r_gates = r_.slice(0, 0, 2 * hidden_);
    const Tensor r_candidate = r_.slice(0, 2 * hidden_);
    const Tensors gates =
        activate(0, from_input.slice(1, 0, 2 * hidden_) + at::linear(state.hidden, r_gates)).chunk(2, 1);
    const Tensor& update = gates[0];
    const Tensor& reset = gates[1];
    const Tensor inner_bias = r_bias_.defined() ? r_bias_.slice(0, 2 * hidden_) : Tensor();
    const Tensor from_hidden = reset_last_ ? reset * at::linear(state.hidden, r_candidate, inner_bias)
                                           : at::linear(reset * state.hidden, r_candidate);
    const Tensor candidate = activate(1, from_input.slice(1, 2 * hidden_) + from_hidden);
    return {(1 - update) * candidate + update * state.hidden, Tensor()};
  }

  const Cell cell_;
  const std::vector<CellActivation> functions_;
  const Tensor w_;  // gates x inputs
  const Tensor r_;  // gates x hidden
  const int64_t hidden_;
  const double clip_;
  const bool reset_last_;      // GRU: the reset gate acts behind the product with R
  const bool couples_forget_;  // LSTM: the forget gate is 1 - the input gate
  Tensor w_bias_;
  Tensor r_bias_;
  Tensors peepholes_;
};

template <Cell kCell>
Tensors recurrent(const NodeView& node, const Tensors& inputs) {
  const bool batch_first = integer(node, "layout", 0) != 0;
  const Tensor x = batch_first ? required(inputs, In::kX).transpose(0, 1) : required(inputs, In::kX);
  const std::string_view name = text(node, "direction", "forward");
  if (name != "forward" && name != "reverse" && name != "bidirectional") {
    throw Error::make("direction is '{}', which ONNX does not have", name);
  }
  const int64_t directions = name == "bidirectional" ? 2 : 1;
  Tensor lengths = optional(inputs, In::kLengths);
  if (lengths.defined()) lengths = lengths.to(x.device());
  const auto initial = [&](size_t index, int64_t direction) {
    const Tensor all = optional(inputs, index);
    if (all.defined()) return all.to(x.device()).select(batch_first ? 1 : 0, direction);
    return at::zeros({x.size(1), required(inputs, In::kR).size(2)}, x.options().requires_grad(false));
  };
  Tensors hidden;
  Tensors last_hidden;
  Tensors last_cell;
  for (int64_t direction = 0; direction < directions; ++direction) {
    State state = {initial(In::kInitialHidden, direction), Tensor()};
    if (kCell == Cell::kLstm) state.cell = initial(In::kInitialCell, direction);
    const bool backward = direction == 1 || name == "reverse";
    hidden.push_back(Layer(node, inputs, kCell, direction).run(x, lengths, backward, state));
    last_hidden.push_back(state.hidden);
    last_cell.push_back(state.cell);
  }
  // Steps x directions x batch x hidden, or batch x steps x directions x hidden.
  const int64_t axis = batch_first ? 1 : 0;
  const Tensor all = at::stack(hidden, 1);
  Tensors outputs = {batch_first ? all.permute({2, 0, 1, 3}) : all, at::stack(last_hidden, axis)};
  if (kCell == Cell::kLstm) outputs.push_back(at::stack(last_cell, axis));
  return outputs;
}

constexpr OperatorEntry kRecurrentOperators[] = {
    {"GRU", recurrent<Cell::kGru>},
    {"LSTM", recurrent<Cell::kLstm>},
    {"RNN", recurrent<Cell::kRnn>},
};

}  // namespace

std::span<const OperatorEntry> recurrent_operators() { return kRecurrentOperators; }

}  // namespace quench::training
