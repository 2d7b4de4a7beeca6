// BatchNormalization, InstanceNormalization, GroupNormalization, LayerNormalization, RMSNormalization and LRN of float32,
// at inference.

#include <cmath>

#include "formats/operators/batch_normalization.h"
#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

Status check_per_channel(const InferContext& context, int index, int64_t channels) {
  QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
  const Shape& shape = context.input(index)->shape;
  if (shape.rank == 1 && shape[0] == channels) return Status();
  return Status::error(StatusCode::kShape, "input %d does not have one value for each of %lld channels", index,
                       static_cast<long long>(channels));
}

struct Epsilon {
  float value;
};

Status infer_batch_normalization(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 5, 5, kFloatType));
  const Shape& x = context.input(0)->shape;
  if (x.rank < 2) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 2 or more", x.rank);
  for (int index = 1; index < 5; ++index) QUENCH_RETURN_IF_ERROR(check_per_channel(context, index, x[1]));
  bool trains = !operators::is_inference(context.attributes().view(), context.opset(), context.outputs());
  for (int index = 1; index < context.outputs(); ++index) trains |= context.output(index) != nullptr;
  if (trains)
    return Status::error(StatusCode::kUnsupportedFeature, "is in training mode, or its attribute 'spatial' is 0");
  context.state<Epsilon>().value = operators::epsilon_of(context.attributes().view());
  context.set_scratch(2 * x[1] * static_cast<int64_t>(sizeof(float)));
  return context.set_output(0, ElementType::kFloat32, x);
}

Status run_batch_normalization(RunContext& context) {
  const int64_t channels = context.input(0)->shape[1];
  const float epsilon = context.state<Epsilon>().value;
  float* scales = static_cast<float*>(context.scratch());
  float* shifts = scales + channels;
  for (int64_t c = 0; c < channels; ++c) {
    const auto parameter = [&](int index) { return context.input(index)->as<float>()[c]; };
    const operators::BatchNormalization<float> channel{parameter(1), parameter(2), parameter(3), parameter(4), epsilon};
    scales[c] = channel.scale();
    shifts[c] = channel.shift();
  }
  // Per-channel values broadcast along all axes but the second.
  Tensor per_channel;
  per_channel.shape.rank = context.input(0)->shape.rank;
  for (int axis = 0; axis < per_channel.shape.rank; ++axis) per_channel.shape[axis] = axis == 1 ? channels : 1;
  const Tensor* output = context.output(0);
  const auto loop = broadcast_loop<3>(*output, {output, context.input(0), &per_channel});
  const float* x = context.input(0)->as<float>();
  float* y = output->as<float>();
  parallel_walk(context, loop, [=, &loop](const int64_t* at, int64_t count) {
    const float* from = x + at[1];
    float* to = y + at[0];
    const float* scale = scales + at[2];
    const float* shift = shifts + at[2];
    if (loop.step(0) == 1 && loop.step(1) == 1 && loop.step(2) == 0) {
      const float factor = *scale;
      const float term = *shift;
      for (int64_t i = 0; i < count; ++i) to[i] = from[i] * factor + term;
    } else {
      for (int64_t i = 0; i < count; ++i) {
        to[i * loop.step(0)] = from[i * loop.step(1)] * scale[i * loop.step(2)] + shift[i * loop.step(2)];
      }
    }
  });
  return Status();
}

// Mean and 1 / sqrt(variance + epsilon) of consecutive values; the mean counts as 0 if they are not centered.
struct Moments {
  double mean = 0;
  double inverse_deviation = 0;

  Moments(const float* x, int64_t count, float epsilon, bool centered = true) {
    for (int64_t i = 0; centered && i < count; ++i) mean += x[i];
    mean /= static_cast<double>(count);
    double variance = 0;
    for (int64_t i = 0; i < count; ++i) variance += (x[i] - mean) * (x[i] - mean);
    inverse_deviation = 1 / std::sqrt(variance / static_cast<double>(count) + epsilon);
  }

  float normalize(float x) const { return static_cast<float>((x - mean) * inverse_deviation); }
};

Status infer_instance_normalization(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 3, kFloatType));
  const Shape& x = context.input(0)->shape;
  if (x.rank < 3) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 3 or more", x.rank);
  QUENCH_RETURN_IF_ERROR(check_per_channel(context, 1, x[1]));
  QUENCH_RETURN_IF_ERROR(check_per_channel(context, 2, x[1]));
  context.state<Epsilon>().value = operators::epsilon_of(context.attributes().view());
  return context.set_output(0, ElementType::kFloat32, x);
}

Status run_instance_normalization(RunContext& context) {
  const Shape& shape = context.input(0)->shape;
  const int64_t count = shape.elements(2, shape.rank);
  const float epsilon = context.state<Epsilon>().value;
  context.parallel_for(shape[0] * shape[1], 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const float* x = context.input(0)->as<float>() + plane * count;
      float* y = context.output(0)->as<float>() + plane * count;
      const float scale = context.input(1)->as<float>()[plane % shape[1]];
      const float shift = context.input(2)->as<float>()[plane % shape[1]];
      const Moments moments(x, count, epsilon);
      for (int64_t i = 0; i < count; ++i) y[i] = moments.normalize(x[i]) * scale + shift;
    }
  });
  return Status();
}

// GroupNormalization: the same of the channels of a group together. Input 1 and 2 have a value for each channel, before
// version 21 one for each group.

struct GroupState {
  int64_t groups;
  float epsilon;
};

Status infer_group_normalization(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, 3, kFloatType));
  const Shape& x = context.input(0)->shape;
  if (x.rank < 2) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 2 or more", x.rank);
  GroupState& state = context.state<GroupState>();
  state = {context.attributes().get_int("num_groups", 0), operators::epsilon_of(context.attributes().view())};
  if (state.groups < 1 || x[1] % state.groups != 0) {
    return Status::error(StatusCode::kShape, "%lld channels in %lld groups", static_cast<long long>(x[1]),
                         static_cast<long long>(state.groups));
  }
  const int64_t parameters = context.opset() < 21 ? state.groups : x[1];
  QUENCH_RETURN_IF_ERROR(check_per_channel(context, 1, parameters));
  QUENCH_RETURN_IF_ERROR(check_per_channel(context, 2, parameters));
  return context.set_output(0, ElementType::kFloat32, x);
}

Status run_group_normalization(RunContext& context) {
  const GroupState& state = context.state<GroupState>();
  const Shape& shape = context.input(0)->shape;
  const int64_t plane = shape.elements(2, shape.rank);
  const int64_t count = shape[1] / state.groups * plane;
  if (count == 0) return Status();
  context.parallel_for(shape[0] * state.groups, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t number = begin; number < end; ++number) {
      const float* x = context.input(0)->as<float>() + number * count;
      float* y = context.output(0)->as<float>() + number * count;
      const Moments moments(x, count, state.epsilon);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t group = number % state.groups;
        const int64_t parameter = context.opset() < 21 ? group : (group * count + i) / plane;
        y[i] = moments.normalize(x[i]) * context.input(1)->as<float>()[parameter] +
               context.input(2)->as<float>()[parameter];
      }
    }
  });
  return Status();
}

struct LayerState {
  int64_t rows;
  int64_t count;
  float epsilon;
  bool repeats[3];  // scale and bias, by number: has the normalized axes' shape, the same for every row
};

// The element of a tensor of shape `from` that is broadcast to `element` of shape `to`.
int64_t broadcast_element(const Shape& to, const Shape& from, int64_t element) {
  int64_t found = 0;
  int64_t stride = 1;
  for (int axis = 1; axis <= from.rank; ++axis) {
    const int64_t size = to[to.rank - axis];
    if (from[from.rank - axis] > 1) found += element % size * stride;
    stride *= from[from.rank - axis];
    element /= size;
  }
  return found;
}

Status infer_layer_normalization(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 3, kFloatType));
  const Shape& x = context.input(0)->shape;
  int first = 0;
  QUENCH_RETURN_IF_ERROR(normalize_axis(context.attributes().get_int("axis", -1), x.rank, &first));
  LayerState& state = context.state<LayerState>();
  state = {x.elements(0, first), x.elements(first, x.rank), operators::epsilon_of(context.attributes().view()), {}};
  for (int index = 1; index < 3; ++index) {
    if (!context.input(index)) continue;
    QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
    const Shape& shape = context.input(index)->shape;
    Shape both;
    QUENCH_RETURN_IF_ERROR(broadcast_shapes(x, shape, &both));
    if (both != x) return Status::error(StatusCode::kShape, "input %d does not broadcast to input 0", index);
    state.repeats[index] = shape.elements() == state.count;
    for (int axis = 1; axis <= x.rank - first; ++axis) {
      state.repeats[index] &= axis <= shape.rank && shape[shape.rank - axis] == x[x.rank - axis];
    }
  }
  Shape reduced = x;
  for (int axis = first; axis < x.rank; ++axis) reduced[axis] = 1;
  QUENCH_RETURN_IF_ERROR(context.set_output(1, ElementType::kFloat32, reduced));
  QUENCH_RETURN_IF_ERROR(context.set_output(2, ElementType::kFloat32, reduced));
  return context.set_output(0, ElementType::kFloat32, x);
}

// SimplifiedLayerNormalization, ONNX Runtime's name for it in ONNX's domain, has outputs that only training wants.
Status infer_rms_normalization(InferContext& context) {
  if (context.inputs() > 2 || context.output(1) || context.output(2)) {
    return Status::error(StatusCode::kInvalidArgument, "takes 2 inputs and has 1 output");
  }
  return infer_layer_normalization(context);
}

// Outputs 1 and 2, if somebody wants them.
void store_moments(const RunContext& context, int64_t row, const Moments& moments) {
  if (Tensor* mean = context.output(1)) mean->as<float>()[row] = static_cast<float>(moments.mean);
  if (Tensor* inverse = context.output(2)) inverse->as<float>()[row] = static_cast<float>(moments.inverse_deviation);
}

template <bool kCentered>
Status run_layer_normalization(RunContext& context) {
  const LayerState& state = context.state<LayerState>();
  const float* scale = context.input(1)->as<float>();
  const float* shift = context.input(2) ? context.input(2)->as<float>() : nullptr;
  const bool repeat = state.repeats[1] && (!shift || state.repeats[2]);
  const auto parameter = [&](int index, int64_t element) {
    const Tensor* tensor = context.input(index);
    return tensor->as<float>()[broadcast_element(context.input(0)->shape, tensor->shape, element)];
  };
  context.parallel_for(state.rows, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = context.input(0)->as<float>() + row * state.count;
      float* y = context.output(0)->as<float>() + row * state.count;
      const Moments moments(x, state.count, state.epsilon, kCentered);
      for (int64_t i = 0; repeat && i < state.count; ++i) {
        y[i] = moments.normalize(x[i]) * scale[i] + (shift ? shift[i] : 0.0f);
      }
      for (int64_t i = 0; !repeat && i < state.count; ++i) {
        const int64_t element = row * state.count + i;
        y[i] = moments.normalize(x[i]) * parameter(1, element) + (shift ? parameter(2, element) : 0.0f);
      }
      store_moments(context, row, moments);
    }
  });
  return Status();
}

// SkipLayerNormalization: the same of the sum of two tensors and a bias, over the last axis. The second may lack the
// first's leading axes. Inputs: both, scale, shift (not of SkipSimplifiedLayerNormalization, which does not subtract the
// mean), bias. Outputs: the mean, the inverse deviation and the sum are the others.

struct SkipState {
  int64_t rows;
  int64_t count;
  float epsilon;
  bool centered;
};

Status infer_skip_layer_normalization(InferContext& context, bool centered) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 3, centered ? 5 : 4, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_same_type(context, 1));
  const Shape& x = context.input(0)->shape;
  if (x.rank < 1) return Status::error(StatusCode::kShape, "input 0 is a scalar");
  const int64_t count = x[x.rank - 1];
  for (int index = 2; index < context.inputs(); ++index) {
    if (context.input(index)) QUENCH_RETURN_IF_ERROR(check_per_channel(context, index, count));
  }
  const Shape& skip = context.input(1)->shape;
  int first = 0;
  while (first < skip.rank && skip[first] == 1) ++first;
  bool fits = skip.rank <= x.rank;
  for (int axis = first; fits && axis < skip.rank; ++axis) fits = skip[axis] == x[x.rank - skip.rank + axis];
  if (!fits || (first == skip.rank && count != 1)) {
    return Status::error(StatusCode::kShape, "input 1 is not the last axes of input 0");
  }
  const float epsilon = context.attributes().get_float("epsilon", 1e-12f);
  context.state<SkipState>() = {x.elements(0, x.rank - 1), count, epsilon, centered};
  if (count > (int64_t{1} << 40)) return Status::error(StatusCode::kShape, "the last axis is too large");
  context.set_scratch(context.threads() * count * static_cast<int64_t>(sizeof(float)));
  Shape reduced = x;
  reduced[x.rank - 1] = 1;
  QUENCH_RETURN_IF_ERROR(context.set_output(1, ElementType::kFloat32, reduced));
  QUENCH_RETURN_IF_ERROR(context.set_output(2, ElementType::kFloat32, reduced));
  QUENCH_RETURN_IF_ERROR(context.set_output(3, ElementType::kFloat32, x));
  return context.set_output(0, ElementType::kFloat32, x);
}

Status run_skip_layer_normalization(RunContext& context) {
  const SkipState& state = context.state<SkipState>();
  const auto list = [&](int index) { return context.input(index) ? context.input(index)->as<float>() : nullptr; };
  const float* scale = list(2);
  const float* shift = state.centered ? list(3) : nullptr;
  const float* bias = list(state.centered ? 4 : 3);
  if (context.input(0)->elements() == 0) return Status();
  context.parallel_for(state.rows, 16, [&](int64_t begin, int64_t end, int slot) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t offset = row * state.count;
      const float* x = context.input(0)->as<float>() + offset;
      const float* skip = context.input(1)->as<float>() + offset % context.input(1)->elements();
      float* y = context.output(0)->as<float>() + offset;
      float* sum = context.output(3) ? context.output(3)->as<float>() + offset
                                     : static_cast<float*>(context.scratch()) + slot * state.count;
      for (int64_t i = 0; i < state.count; ++i) sum[i] = x[i] + skip[i] + (bias ? bias[i] : 0);
      const Moments moments(sum, state.count, state.epsilon, state.centered);
      for (int64_t i = 0; i < state.count; ++i) y[i] = moments.normalize(sum[i]) * scale[i] + (shift ? shift[i] : 0);
      store_moments(context, row, moments);
    }
  });
  return Status();
}

template <bool kCentered>
constexpr Kernel skip_layer_normalization(const char* op) {
  return {.op = op,
          .domain = kMicrosoft,
          .infer = [](InferContext& context) { return infer_skip_layer_normalization(context, kCentered); },
          .run = run_skip_layer_normalization,
          .state_bytes = sizeof(SkipState),
          .inplace_inputs = 1};
}

// EmbedLayerNormalization: of the sum of rows of three tables. Inputs: numbers of words {batch, length} and of segments,
// tables of words, places and segments, scale, shift, a mask, and numbers of places if they do not just count. Outputs:
// how many words of each sequence the mask lets through, and the sum, are the others.

struct EmbedState {
  int64_t length;
  int64_t count;
  float epsilon;
};

// For words, places and segments: the input of the numbers and the input of the table.
constexpr int kEmbedded[3][2] = {{0, 2}, {8, 3}, {1, 4}};

Status infer_embed_layer_normalization(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 9, type_set(ElementType::kInt32)));
  const Shape& words = context.input(0)->shape;
  if (words.rank != 2) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 2", words.rank);
  QUENCH_RETURN_IF_ERROR(check_type(context, 2, kFloatType));
  const Shape& table = context.input(2)->shape;
  const int64_t count = table.rank == 2 ? table[1] : 0;
  for (const auto& [numbers, rows] : kEmbedded) {
    if (numbers == 1 && !context.input(1) && !context.input(4)) continue;
    QUENCH_RETURN_IF_ERROR(check_type(context, rows, kFloatType));
    const Shape& shape = context.input(rows)->shape;
    if (shape.rank != 2 || shape[1] != count || count == 0 || count > (int64_t{1} << 40)) {
      return Status::error(StatusCode::kShape, "input %d is no table of rows as long as those of input 2", rows);
    }
  }
  if (!context.input(8) && context.input(3)->shape[0] < words[1]) {
    return Status::error(StatusCode::kShape, "input 3 has fewer rows than a sequence has words");
  }
  for (const int index : {1, 7, 8}) {
    if (!context.input(index)) continue;
    QUENCH_RETURN_IF_ERROR(check_same_type(context, index));
    const Shape& shape = context.input(index)->shape;
    if (shape != words && (index != 8 || shape != Shape{1, words[1]})) {
      return Status::error(StatusCode::kShape, "input %d does not have the shape of input 0", index);
    }
  }
  if (context.input(4) && !context.input(1)) return Status::error(StatusCode::kInvalidArgument, "input 1 is missing");
  for (const int index : {5, 6}) QUENCH_RETURN_IF_ERROR(check_type(context, index, kFloatType));
  for (const int index : {5, 6}) QUENCH_RETURN_IF_ERROR(check_per_channel(context, index, count));
  context.state<EmbedState>() = {words[1], count, context.attributes().get_float("epsilon", 1e-12f)};
  context.set_scratch(count * static_cast<int64_t>(sizeof(float)));
  const Shape shape = {words[0], words[1], count};
  QUENCH_RETURN_IF_ERROR(context.set_output(1, ElementType::kInt32, {words[0]}));
  QUENCH_RETURN_IF_ERROR(context.set_output(2, ElementType::kFloat32, shape));
  return context.set_output(0, ElementType::kFloat32, shape);
}

// Adds to `sum` the row that word `word` of all names in a table; false if there is none.
bool add_row(const RunContext& context, int numbers, int rows, int64_t word, float* sum) {
  const auto& [length, count, epsilon] = context.state<EmbedState>();
  if (!context.input(rows)) return true;
  int64_t row = word % length;  // of places, which count if they are not named
  if (const Tensor* named = context.input(numbers)) row = named->as<int32_t>()[word % named->elements()];
  if (row < 0 || row >= context.input(rows)->shape[0]) return false;
  const float* from = context.input(rows)->as<float>() + row * count;
  for (int64_t i = 0; i < count; ++i) sum[i] += from[i];
  return true;
}

Status run_embed_layer_normalization(RunContext& context) {
  const auto& [length, count, epsilon] = context.state<EmbedState>();
  const float* scale = context.input(5)->as<float>();
  const float* shift = context.input(6)->as<float>();
  for (int64_t word = 0; word < context.input(0)->elements(); ++word) {
    float* sum =
        context.output(2) ? context.output(2)->as<float>() + word * count : static_cast<float*>(context.scratch());
    for (int64_t i = 0; i < count; ++i) sum[i] = 0;
    for (const auto& [numbers, rows] : kEmbedded) {
      if (!add_row(context, numbers, rows, word, sum)) {
        return Status::error(StatusCode::kInvalidArgument, "input %d names a row that input %d does not have", numbers,
                             rows);
      }
    }
    const Moments moments(sum, count, epsilon);
    float* y = context.output(0)->as<float>() + word * count;
    for (int64_t i = 0; i < count; ++i) y[i] = moments.normalize(sum[i]) * scale[i] + shift[i];
  }
  if (const Tensor* counts = context.output(1)) {
    const int32_t* mask = context.input(7) ? context.input(7)->as<int32_t>() : nullptr;
    for (int64_t batch = 0; batch < counts->elements(); ++batch) {
      int32_t marked = 0;
      for (int64_t i = 0; mask && i < length; ++i) marked += mask[batch * length + i] == 1;
      counts->as<int32_t>()[batch] = marked;
    }
  }
  return Status();
}

// Local response normalization: x / (bias + alpha / size * sum of squares over `size` neighbouring channels) ^ beta.
struct LrnState {
  int64_t size;
  float alpha;
  float beta;
  float bias;
};

Status infer_lrn(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  const Shape& x = context.input(0)->shape;
  if (x.rank < 2) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 2 or more", x.rank);
  const Attributes& attributes = context.attributes();
  LrnState& state = context.state<LrnState>();
  state = {attributes.get_int("size", 0), attributes.get_float("alpha", 0.0001f), attributes.get_float("beta", 0.75f),
           attributes.get_float("bias", 1)};
  if (state.size < 1) return Status::error(StatusCode::kInvalidArgument, "attribute 'size' is missing or below 1");
  return context.set_output(0, ElementType::kFloat32, x);
}

Status run_lrn(RunContext& context) {
  const LrnState& state = context.state<LrnState>();
  const Shape& shape = context.input(0)->shape;
  const int64_t channels = shape[1];
  const int64_t count = shape.elements(2, shape.rank);
  const int64_t before = (state.size - 1) / 2;
  const int64_t after = state.size - 1 - before;
  context.parallel_for(shape[0] * channels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t channel = plane % channels;
      const int64_t first = channel < before ? 0 : channel - before;
      const int64_t last = channels - 1 - channel < after ? channels - 1 : channel + after;
      const float* x = context.input(0)->as<float>() + plane * count;
      float* y = context.output(0)->as<float>() + plane * count;
      for (int64_t i = 0; i < count; ++i) {
        double sum = 0;
        for (int64_t c = first; c <= last; ++c) {
          const double value = x[(c - channel) * count + i];
          sum += value * value;
        }
        const double base = state.bias + state.alpha / static_cast<double>(state.size) * sum;
        y[i] = static_cast<float>(x[i] / std::pow(base, static_cast<double>(state.beta)));
      }
    }
  });
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "BatchNormalization",
     .infer = infer_batch_normalization,
     .run = run_batch_normalization,
     .state_bytes = sizeof(Epsilon),
     .inplace_inputs = 1,
     .layout = LayoutRule::kFollows},
    {.op = "InstanceNormalization",
     .infer = infer_instance_normalization,
     .run = run_instance_normalization,
     .state_bytes = sizeof(Epsilon),
     .inplace_inputs = 1},
    {.op = "LayerNormalization",
     .infer = infer_layer_normalization,
     .run = run_layer_normalization<true>,
     .state_bytes = sizeof(LayerState),
     .inplace_inputs = 1},
    {.op = "EmbedLayerNormalization",
     .domain = kMicrosoft,
     .infer = infer_embed_layer_normalization,
     .run = run_embed_layer_normalization,
     .state_bytes = sizeof(EmbedState)},
    skip_layer_normalization<true>("SkipLayerNormalization"),
    skip_layer_normalization<false>("SkipSimplifiedLayerNormalization"),
    {.op = "RMSNormalization",
     .since_version = 23,
     .infer = infer_rms_normalization,
     .run = run_layer_normalization<false>,
     .state_bytes = sizeof(LayerState),
     .inplace_inputs = 1},
    {.op = "SimplifiedLayerNormalization",
     .infer = infer_rms_normalization,
     .run = run_layer_normalization<false>,
     .state_bytes = sizeof(LayerState),
     .inplace_inputs = 1},
    {.op = "GroupNormalization",
     .since_version = 18,
     .infer = infer_group_normalization,
     .run = run_group_normalization,
     .state_bytes = sizeof(GroupState),
     .inplace_inputs = 1},
    {.op = "LRN", .infer = infer_lrn, .run = run_lrn, .state_bytes = sizeof(LrnState)},
};

}  // namespace

std::span<const Kernel> normalization_kernels() { return kKernels; }

}  // namespace quench::rt
