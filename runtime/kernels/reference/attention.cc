// Attention and RotaryEmbedding, of tensors batch x heads x positions x features or batch x positions x (heads * features).

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// How a tensor splits into heads.
struct Heads {
  int64_t batches = 0;
  int64_t heads = 0;
  int64_t positions = 0;
  int64_t features = 0;
  bool is_inside = false;  // heads lie within a position

  // The features of a head at a position.
  int64_t offset(int64_t batch, int64_t head, int64_t position) const {
    return (is_inside ? (batch * positions + position) * heads + head : (batch * heads + head) * positions + position) *
           features;
  }
};

// Of input `index`; `heads` is what the attribute says, which a tensor of rank 3 needs.
Status read_heads(const InferContext& context, int index, int64_t heads, Heads* result) {
  QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
  const Shape& x = context.input(index)->shape;
  if (x.rank == 4) {
    *result = {x[0], x[1], x[2], x[3], false};
    return Status();
  }
  if (x.rank != 3 || heads < 1 || x[2] % heads != 0) {
    return Status::error(StatusCode::kShape, "input %d does not split into %lld heads", index,
                         static_cast<long long>(heads));
  }
  *result = {x[0], heads, x[1], x[2] / heads, true};
  return Status();
}

struct AttentionState {
  Heads query;
  Heads key;
  Heads value;
  Heads output;
  int64_t past;   // positions before those of keys and values
  int64_t total;  // and all of them
  float scale;
  float softcap;
  int64_t mode;  // of output 3
  bool is_causal;
};

// Past keys or values are batch x heads x positions x features.
Status check_past(const InferContext& context, int index, const Heads& present, int64_t past) {
  QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
  if (context.input(index)->shape == Shape{present.batches, present.heads, past, present.features}) return Status();
  return Status::error(StatusCode::kShape, "input %d does not fit what it comes before", index);
}

// A mask is broadcast to batch x heads x queries x keys; keys that it does not reach are masked.
Status check_mask(const InferContext& context, const AttentionState& state) {
  QUENCH_RETURN_IF_ERROR(check_type(context, 3, kFloatType | kBoolType));
  const Shape& mask = context.input(3)->shape;
  const int64_t sizes[4] = {state.query.batches, state.query.heads, state.query.positions, state.total};
  bool fits = mask.rank >= 2 && mask.rank <= 4;
  for (int i = 1; fits && i <= mask.rank; ++i) {
    const int64_t size = mask[mask.rank - i];
    fits = i == 1 ? size <= sizes[3] : size == 1 || size == sizes[4 - i];
  }
  return fits ? Status() : Status::error(StatusCode::kShape, "input 3 is no mask of queries and keys");
}

Status infer_attention(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 6, kFloatType));
  const Attributes& attributes = context.attributes();
  AttentionState& state = context.state<AttentionState>();
  const int64_t key_heads = attributes.get_int("kv_num_heads", 0);
  QUENCH_RETURN_IF_ERROR(read_heads(context, 0, attributes.get_int("q_num_heads", 0), &state.query));
  QUENCH_RETURN_IF_ERROR(read_heads(context, 1, key_heads, &state.key));
  QUENCH_RETURN_IF_ERROR(read_heads(context, 2, key_heads, &state.value));
  const Heads& query = state.query;
  const Heads& key = state.key;
  const Heads& value = state.value;
  if (key.batches != query.batches || value.batches != query.batches || key.features != query.features ||
      key.heads != value.heads || key.positions != value.positions || key.heads < 1 || query.heads % key.heads != 0) {
    return Status::error(StatusCode::kShape, "queries, keys and values do not fit each other");
  }
  state.past = 0;
  if (context.input(4) || context.input(5)) {
    if (context.input(4) && context.input(4)->shape.rank == 4) state.past = context.input(4)->shape[2];
    QUENCH_RETURN_IF_ERROR(check_past(context, 4, key, state.past));
    QUENCH_RETURN_IF_ERROR(check_past(context, 5, value, state.past));
  }
  state.total = state.past + key.positions;
  if (context.input(3)) QUENCH_RETURN_IF_ERROR(check_mask(context, state));
  state.is_causal = attributes.get_int("is_causal", 0) != 0;
  state.scale = attributes.get_float("scale", 1 / std::sqrt(static_cast<float>(query.features)));
  state.softcap = attributes.get_float("softcap", 0);
  state.mode = attributes.get_int("qk_matmul_output_mode", 0);
  if (state.mode < 0 || state.mode > 3) {
    return Status::error(StatusCode::kInvalidArgument, "qk_matmul_output_mode is not from 0 to 3");
  }
  state.output = query;
  state.output.features = value.features;
  const Shape scores = {query.batches, query.heads, query.positions, state.total};
  const ElementType type = ElementType::kFloat32;
  QUENCH_RETURN_IF_ERROR(context.set_output(1, type, {key.batches, key.heads, state.total, key.features}));
  QUENCH_RETURN_IF_ERROR(context.set_output(2, type, {key.batches, key.heads, state.total, value.features}));
  QUENCH_RETURN_IF_ERROR(context.set_output(3, type, scores));
  Shape shape = {query.batches, query.heads, query.positions, value.features};
  if (query.is_inside) shape = {query.batches, query.positions, query.heads * value.features};
  if (state.total > (int64_t{1} << 40) || value.features > (int64_t{1} << 40)) {
    return Status::error(StatusCode::kLimit, "there are too many keys");
  }
  context.set_scratch((state.total + value.features) * context.threads() * static_cast<int64_t>(sizeof(double)));
  return context.set_output(0, type, shape);
}

// The features of keys (input 1, past ones input 4) or values (2 and 5) at a position that counts the past.
const float* features_at(const RunContext& context, int index, const Heads& heads, int64_t batch, int64_t head,
                         int64_t position) {
  const int64_t past = context.state<AttentionState>().past;
  if (position >= past) return context.input(index)->as<float>() + heads.offset(batch, head, position - past);
  return context.input(index + 3)->as<float>() + ((batch * heads.heads + head) * past + position) * heads.features;
}

// What a mask adds to the score of a query and a key.
double bias_of(const RunContext& context, int64_t batch, int64_t head, int64_t query, int64_t key) {
  const AttentionState& state = context.state<AttentionState>();
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  if (state.is_causal && key > query + state.past) return kNever;
  const Tensor* mask = context.input(3);
  if (!mask) return 0;
  const Shape& shape = mask->shape;
  if (key >= shape[shape.rank - 1]) return kNever;
  const int64_t at[4] = {batch, head, query, key};
  int64_t offset = 0;
  for (int axis = 0; axis < shape.rank; ++axis) {
    const bool repeats = shape[axis] == 1 && axis < shape.rank - 1;
    offset = offset * shape[axis] + (repeats ? 0 : at[4 - shape.rank + axis]);
  }
  if (mask->type == ElementType::kBool) return mask->as<uint8_t>()[offset] != 0 ? 0 : kNever;
  return mask->as<float>()[offset];
}

void softmax(double* x, int64_t count) {
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, x[i]);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i] = std::exp(x[i] - largest);
  for (int64_t i = 0; i < count; ++i) x[i] /= sum;
}

// One query: scores[] of all keys become their weights, and y their weighted values.
void attend(const RunContext& context, int64_t batch, int64_t head, int64_t query, double* scores, double* sums) {
  const AttentionState& state = context.state<AttentionState>();
  const int64_t group = head / (state.query.heads / state.key.heads);
  const float* q = context.input(0)->as<float>() + state.query.offset(batch, head, query);
  float* shown = context.output(3) ? context.output(3)->as<float>() : nullptr;
  if (shown) shown += ((batch * state.query.heads + head) * state.query.positions + query) * state.total;
  const auto show = [&](int64_t mode) {
    for (int64_t key = 0; shown && state.mode == mode && key < state.total; ++key) {
      shown[key] = static_cast<float>(scores[key]);
    }
  };
  for (int64_t key = 0; key < state.total; ++key) {
    const float* k = features_at(context, 1, state.key, batch, group, key);
    double sum = 0;
    for (int64_t i = 0; i < state.query.features; ++i) sum += static_cast<double>(q[i]) * k[i];
    scores[key] = sum * static_cast<double>(state.scale);
  }
  show(0);
  const double cap = state.softcap;
  for (int64_t key = 0; cap > 0 && key < state.total; ++key) scores[key] = std::tanh(scores[key] / cap) * cap;
  show(1);
  for (int64_t key = 0; key < state.total; ++key) scores[key] += bias_of(context, batch, head, query, key);
  show(2);
  softmax(scores, state.total);
  show(3);
  const int64_t features = state.value.features;
  for (int64_t i = 0; i < features; ++i) sums[i] = 0;
  for (int64_t key = 0; key < state.total; ++key) {
    const float* v = features_at(context, 2, state.value, batch, group, key);
    // What is masked has no part in it, whatever it is.
    for (int64_t i = 0; scores[key] != 0 && i < features; ++i) sums[i] += scores[key] * v[i];
  }
  float* y = context.output(0)->as<float>() + state.output.offset(batch, head, query);
  for (int64_t i = 0; i < features; ++i) y[i] = static_cast<float>(sums[i]);
}

// Output 1 or 2: the past and what is new.
void store_present(const RunContext& context, int index, const Heads& heads) {
  const Tensor* output = context.output(index);
  const int64_t total = context.state<AttentionState>().total;
  for (int64_t i = 0; output && heads.features > 0 && i < heads.batches * heads.heads * total; ++i) {
    const int64_t plane = i / total;
    const float* from = features_at(context, index, heads, plane / heads.heads, plane % heads.heads, i % total);
    memcpy(output->as<float>() + i * heads.features, from, static_cast<size_t>(heads.features) * sizeof(float));
  }
}

Status run_attention(RunContext& context) {
  const AttentionState& state = context.state<AttentionState>();
  const Heads& query = state.query;
  store_present(context, 1, state.key);
  store_present(context, 2, state.value);
  context.parallel_for(query.batches * query.heads * query.positions, 1, [&](int64_t begin, int64_t end, int slot) {
    double* scores = static_cast<double*>(context.scratch()) + slot * (state.total + state.value.features);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t plane = i / query.positions;
      attend(context, plane / query.heads, plane % query.heads, i % query.positions, scores, scores + state.total);
    }
  });
  return Status();
}

// RotaryEmbedding turns pairs of features by angles that a position has, whose cosines and sines are given.

struct RotaryState {
  Heads heads;
  int64_t pairs;  // the first features, or every second one if they are interleaved
};

Status infer_rotary(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 4, kFloatType));
  RotaryState& state = context.state<RotaryState>();
  const Attributes& attributes = context.attributes();
  QUENCH_RETURN_IF_ERROR(read_heads(context, 0, attributes.get_int("num_heads", 0), &state.heads));
  const int64_t wanted = attributes.get_int("rotary_embedding_dim", 0);
  const int64_t turned = wanted == 0 ? state.heads.features : wanted;
  if (turned < 0 || turned > state.heads.features || turned % 2 != 0) {
    return Status::error(StatusCode::kShape, "%lld features do not make pairs", static_cast<long long>(turned));
  }
  state.pairs = turned / 2;
  const Shape positions = {state.heads.batches, state.heads.positions};
  Shape each = {positions[0], positions[1], state.pairs};
  if (context.input(3)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, 3, kIndexTypes));
    if (!(context.input(3)->shape == positions)) return Status::error(StatusCode::kShape, "input 3 is no positions");
    each = {context.input(1)->shape[0], state.pairs};
  }
  for (int index = 1; index < 3; ++index) {
    QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
    if (context.input(index)->shape == each) continue;
    return Status::error(StatusCode::kShape, "input %d has not one value for each position and pair", index);
  }
  return context.set_output(0, ElementType::kFloat32, context.input(0)->shape);
}

void turn_pairs(const float* x, float* y, const float* cosines, const float* sines, int64_t pairs, bool interleaved) {
  for (int64_t i = 0; i < pairs; ++i) {
    const int64_t first = interleaved ? 2 * i : i;
    const int64_t second = interleaved ? 2 * i + 1 : i + pairs;
    const float a = x[first];
    const float b = x[second];
    y[first] = cosines[i] * a - sines[i] * b;
    y[second] = sines[i] * a + cosines[i] * b;
  }
}

Status run_rotary(RunContext& context) {
  const RotaryState& state = context.state<RotaryState>();
  const Heads& heads = state.heads;
  const bool interleaved = context.attributes().get_int("interleaved", 0) != 0;
  const Tensor* ids = context.input(3);
  for (int64_t place = 0; place < heads.batches * heads.positions; ++place) {
    int64_t row = place;
    if (ids) {
      row = ids->type == ElementType::kInt32 ? ids->as<int32_t>()[place] : ids->as<int64_t>()[place];
      if (row < 0 || row >= context.input(1)->shape[0]) {
        return Status::error(StatusCode::kInvalidArgument, "position number %lld has no angle",
                             static_cast<long long>(place));
      }
    }
    for (int64_t head = 0; head < heads.heads; ++head) {
      const int64_t offset = heads.offset(place / heads.positions, head, place % heads.positions);
      const float* x = context.input(0)->as<float>() + offset;
      float* y = context.output(0)->as<float>() + offset;
      for (int64_t i = 2 * state.pairs; i < heads.features; ++i) y[i] = x[i];
      turn_pairs(x, y, context.input(1)->as<float>() + row * state.pairs,
                 context.input(2)->as<float>() + row * state.pairs, state.pairs, interleaved);
    }
  }
  return Status();
}

// Attention is not folded: it costs more than its bytes say.
constexpr Kernel kKernels[] = {
    {.op = "Attention",
     .since_version = 23,
     .infer = infer_attention,
     .run = run_attention,
     .state_bytes = sizeof(AttentionState),
     .flags = kNotFolded},
    {.op = "RotaryEmbedding",
     .since_version = 23,
     .infer = infer_rotary,
     .run = run_rotary,
     .state_bytes = sizeof(RotaryState),
     .inplace_inputs = 1},
};

}  // namespace

std::span<const Kernel> attention_kernels() { return kKernels; }

}  // namespace quench::rt
