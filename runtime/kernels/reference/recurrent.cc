// LSTM, GRU and RNN of float32, in one or both directions, as the ONNX specification defines them.

#include "formats/operators/recurrent.h"

#include <cmath>
#include <cstring>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

using operators::Cell;
using operators::CellActivation;
using operators::gates_of;

struct RecurrentState {
  int64_t steps;
  int64_t batch;
  int64_t inputs;
  int64_t hidden;
  int directions;
  bool backward;                                              // the only direction there is
  bool batch_first;                                           // layout = 1
  bool reset_last;                                            // GRU: the reset gate acts behind the product with R
  bool couples_forget;                                        // LSTM: the forget gate is 1 - the input gate
  float clip;                                                 // of what goes into an activation; 0 for none
  CellActivation functions[2][operators::kMaxCellFunctions];  // of each direction
};

using In = operators::RecurrentInput;

Status check_shape(const InferContext& context, int index, const Shape& expected) {
  if (!context.input(index)) return Status();
  QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
  if (context.input(index)->shape == expected) return Status();
  return Status::error(StatusCode::kShape, "input %d does not have the shape that the others ask for", index);
}

Status read_direction(const InferContext& context, RecurrentState* state) {
  const std::string_view direction = context.attributes().get_string("direction", "forward");
  state->backward = direction == "reverse";
  state->directions = direction == "bidirectional" ? 2 : 1;
  if (state->backward || state->directions == 2 || direction == "forward") return Status();
  return Status::error(StatusCode::kInvalidArgument, "direction is '%.*s'", static_cast<int>(direction.size()),
                       direction.data());
}

template <Cell kCell>
Status infer_recurrent(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, kCell == Cell::kLstm ? 8 : 6, kFloatType));
  const Attributes& attributes = context.attributes();
  const Shape& x = context.input(In::kX)->shape;
  const Shape& r = context.input(In::kR)->shape;
  if (x.rank != 3 || r.rank != 3) return Status::error(StatusCode::kShape, "inputs 0 and 2 must have rank 3");
  RecurrentState& state = context.state<RecurrentState>();
  QUENCH_RETURN_IF_ERROR(read_direction(context, &state));
  for (int direction = 0; direction < state.directions; ++direction) {
    QUENCH_RETURN_IF_ERROR(operators::read_functions(attributes.view(), kCell, direction, state.functions[direction]));
  }
  state.batch_first = attributes.get_int("layout", 0) != 0;
  state.reset_last = attributes.get_int("linear_before_reset", 0) != 0;
  state.couples_forget = attributes.get_int("input_forget", 0) != 0;
  state.clip = attributes.get_float("clip", 0);
  state.steps = x[state.batch_first ? 1 : 0];
  state.batch = x[state.batch_first ? 0 : 1];
  state.inputs = x[2];
  state.hidden = r[2];
  if (attributes.get_int("hidden_size", state.hidden) != state.hidden || state.hidden > (int64_t{1} << 30)) {
    return Status::error(StatusCode::kShape, "hidden_size does not agree with the weights");
  }
  const int64_t directions = state.directions;
  const int64_t rows = gates_of(kCell) * state.hidden;
  QUENCH_RETURN_IF_ERROR(check_shape(context, In::kW, {directions, rows, state.inputs}));
  QUENCH_RETURN_IF_ERROR(check_shape(context, In::kR, {directions, rows, state.hidden}));
  QUENCH_RETURN_IF_ERROR(check_shape(context, In::kBias, {directions, 2 * rows}));
  if (context.input(In::kLengths)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, In::kLengths, type_set(ElementType::kInt32)));
    if (!(context.input(In::kLengths)->shape == Shape{state.batch})) {
      return Status::error(StatusCode::kShape, "input 4 does not have one length per sequence");
    }
  }
  const Shape last =
      state.batch_first ? Shape{state.batch, directions, state.hidden} : Shape{directions, state.batch, state.hidden};
  QUENCH_RETURN_IF_ERROR(check_shape(context, In::kInitialHidden, last));
  QUENCH_RETURN_IF_ERROR(check_shape(context, In::kInitialCell, last));
  QUENCH_RETURN_IF_ERROR(check_shape(context, In::kPeepholes, {directions, 3 * state.hidden}));
  const Shape all = state.batch_first ? Shape{state.batch, state.steps, directions, state.hidden}
                                      : Shape{state.steps, directions, state.batch, state.hidden};
  QUENCH_RETURN_IF_ERROR(context.set_output(0, ElementType::kFloat32, all));
  QUENCH_RETURN_IF_ERROR(context.set_output(1, ElementType::kFloat32, last));
  // The hidden state, the cell's, and the gates, of one sequence.
  context.set_scratch((2 + gates_of(kCell)) * state.hidden * static_cast<int64_t>(sizeof(float)));
  return kCell == Cell::kLstm ? context.set_output(2, ElementType::kFloat32, last) : Status();
}

// Eight sums side by side, which a compiler turns into vectors.
float dot(const float* a, const float* b, int64_t count) {
  constexpr int kLanes = 8;
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  float sum = 0;
  for (; i < count; ++i) sum += a[i] * b[i];
  for (float part : sums) sum += part;
  return sum;
}

// One direction of one node.
class Layer {
 public:
  Layer(const RunContext& context, Cell cell, int direction)
      : context_(context),
        state_(context.state<RecurrentState>()),
        gates_(gates_of(cell)),
        direction_(direction),
        backward_(direction == 1 || state_.backward),
        functions_(state_.functions[direction]),
        w_(context.input(In::kW)->as<float>() + direction * gates_ * state_.hidden * state_.inputs),
        r_(context.input(In::kR)->as<float>() + direction * gates_ * state_.hidden * state_.hidden),
        bias_(per_direction(In::kBias, 2 * gates_ * state_.hidden)),
        peepholes_(cell == Cell::kLstm ? per_direction(In::kPeepholes, 3 * state_.hidden) : nullptr),
        hidden_(static_cast<float*>(context.scratch())),
        cell_(hidden_ + state_.hidden),
        gate_(cell_ + state_.hidden) {}

  template <Cell kCell>
  Status run() {
    for (int64_t sequence = 0; sequence < state_.batch; ++sequence) {
      int64_t steps = state_.steps;
      if (const Tensor* lengths = context_.input(In::kLengths)) {
        steps = lengths->as<int32_t>()[sequence];
        if (steps < 0 || steps > state_.steps) {
          return Status::error(StatusCode::kInvalidArgument, "a sequence has %lld steps of %lld",
                               static_cast<long long>(steps), static_cast<long long>(state_.steps));
        }
      }
      begin(sequence);
      for (int64_t i = 0; i < steps; ++i) {
        const int64_t step = backward_ ? steps - 1 - i : i;
        advance<kCell>(input(sequence, step));
        memcpy(output(sequence, step), hidden_, hidden_bytes());
      }
      for (int64_t step = steps; step < state_.steps; ++step) memset(output(sequence, step), 0, hidden_bytes());
      // A sequence of no steps has no last state, not even the one that it was to begin with: zeros, as in ONNX Runtime.
      if (steps == 0) memset(hidden_, 0, 2 * hidden_bytes());
      if (Tensor* last = context_.output(1)) memcpy(last->as<float>() + last_offset(sequence), hidden_, hidden_bytes());
      Tensor* last_cell = kCell == Cell::kLstm ? context_.output(2) : nullptr;
      if (last_cell) memcpy(last_cell->as<float>() + last_offset(sequence), cell_, hidden_bytes());
    }
    return Status();
  }

 private:
  const float* per_direction(int index, int64_t count) const {
    const Tensor* tensor = context_.input(index);
    return tensor ? tensor->as<float>() + direction_ * count : nullptr;
  }
  size_t hidden_bytes() const { return static_cast<size_t>(state_.hidden) * sizeof(float); }
  const float* input(int64_t sequence, int64_t step) const {
    const int64_t row = state_.batch_first ? sequence * state_.steps + step : step * state_.batch + sequence;
    return context_.input(In::kX)->as<float>() + row * state_.inputs;
  }
  float* output(int64_t sequence, int64_t step) const {
    const int64_t row = state_.batch_first ? (sequence * state_.steps + step) * state_.directions + direction_
                                           : (step * state_.directions + direction_) * state_.batch + sequence;
    return context_.output(0)->as<float>() + row * state_.hidden;
  }
  int64_t last_offset(int64_t sequence) const {
    const int64_t row =
        state_.batch_first ? sequence * state_.directions + direction_ : direction_ * state_.batch + sequence;
    return row * state_.hidden;
  }

  void begin(int64_t sequence) {
    const Tensor* hidden = context_.input(In::kInitialHidden);
    const Tensor* cell = context_.input(In::kInitialCell);
    for (int64_t i = 0; i < state_.hidden; ++i) {
      hidden_[i] = hidden ? hidden->as<float>()[last_offset(sequence) + i] : 0;
      cell_[i] = cell ? cell->as<float>()[last_offset(sequence) + i] : 0;
    }
  }

  float from_input(const float* x, int64_t row) const {
    return dot(w_ + row * state_.inputs, x, state_.inputs) + (bias_ ? bias_[row] : 0);
  }
  float from_hidden(const float* hidden, int64_t row) const {
    return dot(r_ + row * state_.hidden, hidden, state_.hidden) + (bias_ ? bias_[gates_ * state_.hidden + row] : 0);
  }
  float limit(float x) const {
    return state_.clip > 0 ? activate({Activation::kClip, -state_.clip, state_.clip}, x) : x;
  }
  // Function f, g or h, by number.
  float function(int number, float x) const { return operators::evaluate(functions_[number], x); }
  float f(float x) const { return function(0, limit(x)); }
  float g(float x) const { return function(1, limit(x)); }
  float h(float x) const { return function(2, x); }
  float peephole(int64_t which, int64_t i) const { return peepholes_ ? peepholes_[which * state_.hidden + i] : 0; }

  template <Cell kCell>
  void advance(const float* x) {
    if constexpr (kCell == Cell::kLstm) {
      advance_lstm(x);
    } else if constexpr (kCell == Cell::kGru) {
      advance_gru(x);
    } else {
      const int64_t size = state_.hidden;
      for (int64_t i = 0; i < size; ++i) gate_[i] = f(from_input(x, i) + from_hidden(hidden_, i));
      memcpy(hidden_, gate_, hidden_bytes());
    }
  }

  // Gates in the order input, output, forget, cell; peepholes input, output, forget.
  void advance_lstm(const float* x) {
    const int64_t size = state_.hidden;
    for (int64_t row = 0; row < 4 * size; ++row) gate_[row] = from_input(x, row) + from_hidden(hidden_, row);
    for (int64_t i = 0; i < size; ++i) {
      const float in = f(gate_[i] + peephole(0, i) * cell_[i]);
      const float keep = state_.couples_forget ? 1 - in : f(gate_[2 * size + i] + peephole(2, i) * cell_[i]);
      cell_[i] = keep * cell_[i] + in * g(gate_[3 * size + i]);
      const float out = f(gate_[size + i] + peephole(1, i) * cell_[i]);
      hidden_[i] = out * h(cell_[i]);
    }
  }

  // Gates in the order update, reset, hidden.
  void advance_gru(const float* x) {
    const int64_t size = state_.hidden;
    float* update = gate_;
    float* reset = gate_ + size;
    float* candidate = gate_ + 2 * size;
    for (int64_t row = 0; row < 2 * size; ++row) gate_[row] = f(from_input(x, row) + from_hidden(hidden_, row));
    if (state_.reset_last) {
      for (int64_t i = 0; i < size; ++i) {
        candidate[i] = g(from_input(x, 2 * size + i) + reset[i] * from_hidden(hidden_, 2 * size + i));
      }
    } else {
      for (int64_t i = 0; i < size; ++i) reset[i] *= hidden_[i];
      for (int64_t i = 0; i < size; ++i) {
        candidate[i] = g(from_input(x, 2 * size + i) + from_hidden(reset, 2 * size + i));
      }
    }
    for (int64_t i = 0; i < size; ++i) hidden_[i] = (1 - update[i]) * candidate[i] + update[i] * hidden_[i];
  }

  const RunContext& context_;
  const RecurrentState& state_;
  const int64_t gates_;
  const int direction_;
  const bool backward_;
  const CellActivation* const functions_;  // f, g and h of ONNX
  const float* const w_;
  const float* const r_;
  const float* const bias_;
  const float* const peepholes_;
  float* const hidden_;
  float* const cell_;
  float* const gate_;
};

template <Cell kCell>
Status run_recurrent(RunContext& context) {
  if (context.state<RecurrentState>().hidden == 0) return Status();
  for (int direction = 0; direction < context.state<RecurrentState>().directions; ++direction) {
    QUENCH_RETURN_IF_ERROR(Layer(context, kCell, direction).template run<kCell>());
  }
  return Status();
}

template <Cell kCell>
constexpr Kernel recurrent(const char* op) {
  return {.op = op,
          .since_version = 7,
          .infer = infer_recurrent<kCell>,
          .run = run_recurrent<kCell>,
          .state_bytes = sizeof(RecurrentState)};
}

constexpr Kernel kKernels[] = {
    recurrent<Cell::kRnn>("RNN"),
    recurrent<Cell::kGru>("GRU"),
    recurrent<Cell::kLstm>("LSTM"),
};

}  // namespace

std::span<const Kernel> recurrent_kernels() { return kKernels; }

}  // namespace quench::rt
