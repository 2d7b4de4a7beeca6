// MaxPool, AveragePool, LpPool and their global forms, in either layout; MaxUnpool.

#include "runtime/kernels/reference/pooling.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// Strides of a tensor of rank 3 to 5 as batch, channel, depth, height, width.
struct PlaneStrides {
  int64_t batch;
  int64_t channel;
  int64_t spatial[kSpatialAxes] = {0, 0, 0};

  explicit PlaneStrides(const Tensor& tensor) {
    int64_t strides[kMaxRank] = {};
    compute_strides(tensor.shape, tensor.layout, strides);
    batch = strides[0];
    channel = strides[1];
    for (int axis = 2; axis < tensor.shape.rank; ++axis) {
      spatial[kSpatialAxes - tensor.shape.rank + axis] = strides[axis];
    }
  }
};

Status infer_pool(InferContext& context, TypeSet types) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, types));
  const Shape& x = context.input(0)->shape;
  PoolState& state = context.state<PoolState>();
  QUENCH_RETURN_IF_ERROR(read_window(context, x, nullptr, &state.window));
  QUENCH_RETURN_IF_ERROR(place_windows(context.attributes().get_int("ceil_mode", 0) != 0, &state.window));
  state.includes_padding = context.attributes().get_int("count_include_pad", 0) != 0;
  state.column_major = context.attributes().get_int("storage_order", 0) != 0;
  const Shape shape = window_output_shape(state.window, x.rank, x[0], x[1]);
  if (context.output(1)) QUENCH_RETURN_IF_ERROR(context.set_output(1, ElementType::kInt64, shape));
  return context.set_output(0, context.input(0)->type, shape);
}

}  // namespace

Status infer_max_pool(InferContext& context) {
  return infer_pool(context, type_set(ElementType::kFloat32, ElementType::kInt8, ElementType::kUint8));
}

Status infer_average_pool(InferContext& context) {
  if (context.output(1)) return Status::error(StatusCode::kInvalidArgument, "has one output only");
  return infer_pool(context, kFloatType);
}

namespace {

// The taps of a window that lie inside the input, along each axis.
struct Taps {
  Range range[kSpatialAxes];

  Taps(const Window& window, const int64_t at[kSpatialAxes]) {
    for (int axis = 0; axis < kSpatialAxes; ++axis) {
      range[axis] = positions_inside(window.kernel[axis], window.dilation[axis], window.coordinate(axis, at[axis], 0),
                                     window.input[axis]);
    }
  }
};

// Calls function(batch and channel, output coordinates, output offset, input offset of the plane) for each output.
template <typename Function>
void for_each_window(const RunContext& context, const Window& window, const Function& function) {
  const Tensor& x = *context.input(0);
  const PlaneStrides from(x);
  const PlaneStrides to(*context.output(0));
  const int64_t channels = x.shape[1];
  context.parallel_for(x.shape[0] * channels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t batch = plane / channels;
      const int64_t channel = plane % channels;
      const int64_t source = batch * from.batch + channel * from.channel;
      const int64_t target = batch * to.batch + channel * to.channel;
      int64_t at[kSpatialAxes];
      for (at[0] = 0; at[0] < window.output[0]; ++at[0]) {
        for (at[1] = 0; at[1] < window.output[1]; ++at[1]) {
          for (at[2] = 0; at[2] < window.output[2]; ++at[2]) {
            const int64_t offset = at[0] * to.spatial[0] + at[1] * to.spatial[1] + at[2] * to.spatial[2];
            function(plane, at, target + offset, source);
          }
        }
      }
    }
  });
}

template <typename T>
Status pool_max(RunContext& context) {
  const PoolState& state = context.state<PoolState>();
  const Window& window = state.window;
  const PlaneStrides from(*context.input(0));
  const T* x = context.input(0)->as<T>();
  T* y = context.output(0)->as<T>();
  int64_t* indices = context.output(1) ? context.output(1)->as<int64_t>() : nullptr;
  // Indices count the elements of the row-major input, or of one with its spatial axes turned around.
  int64_t index_strides[kSpatialAxes] = {window.input[1] * window.input[2], window.input[2], 1};
  if (state.column_major) {
    index_strides[0] = 1;
    index_strides[1] = window.input[0];
    index_strides[2] = window.input[0] * window.input[1];
  }
  for_each_window(context, window, [&](int64_t plane, const int64_t* at, int64_t target, int64_t source) {
    const Taps taps(window, at);
    T best =
        std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
    int64_t best_index = -1;
    for (int64_t tap_z = taps.range[0].begin; tap_z < taps.range[0].end; ++tap_z) {
      const int64_t z = window.coordinate(0, at[0], tap_z);
      for (int64_t tap_y = taps.range[1].begin; tap_y < taps.range[1].end; ++tap_y) {
        const int64_t row = window.coordinate(1, at[1], tap_y);
        for (int64_t tap_x = taps.range[2].begin; tap_x < taps.range[2].end; ++tap_x) {
          const int64_t column = window.coordinate(2, at[2], tap_x);
          const T value = x[source + z * from.spatial[0] + row * from.spatial[1] + column * from.spatial[2]];
          if (best_index >= 0 && !(value > best)) continue;
          best = value;
          best_index = plane * window.input_elements() + z * index_strides[0] + row * index_strides[1] +
                       column * index_strides[2];
        }
      }
    }
    y[target] = best;
    if (indices) indices[target] = best_index;
  });
  return Status();
}

}  // namespace

Status run_max_pool(RunContext& context) {
  switch (context.input(0)->type) {
    case ElementType::kInt8:
      return pool_max<int8_t>(context);
    case ElementType::kUint8:
      return pool_max<uint8_t>(context);
    default:
      return pool_max<float>(context);
  }
}

namespace {

// The elements that an average is divided by: those inside the input, or inside the padded one.
double window_size(const PoolState& state, const Taps& taps, const int64_t* at) {
  double size = 1;
  for (int axis = 0; axis < kSpatialAxes; ++axis) {
    Range range = taps.range[axis];
    if (state.includes_padding) {
      const Window& window = state.window;
      range = positions_inside(window.kernel[axis], window.dilation[axis], at[axis] * window.stride[axis],
                               window.input[axis] + window.pad_begin[axis] + window.pad_end[axis]);
    }
    size *= static_cast<double>(range.end - range.begin);
  }
  return size;
}

// LpPool: (sum of |x|^p)^(1 / p), p a whole number since version 2.

Status read_p(const InferContext& context, double* p) {
  const Attribute* fraction = context.attributes().find("p", Attribute::kFloat);
  *p = fraction ? static_cast<double>(fraction->f) : static_cast<double>(context.attributes().get_int("p", 2));
  return *p > 0 ? Status() : Status::error(StatusCode::kInvalidArgument, "p is %g", *p);
}

double power_of(double x, double p) { return p == 2 ? x * x : std::pow(std::fabs(x), p); }

double root_of(double sum, double p) { return p == 2 ? std::sqrt(sum) : std::pow(sum, 1 / p); }

struct LpPoolState {
  PoolState pool;
  double p;
};

Status infer_lp_pool(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(read_p(context, &context.state<LpPoolState>().p));
  return infer_average_pool(context);
}

struct AverageOf {
  explicit AverageOf(const RunContext& context) : state(context.state<PoolState>()) {}
  double term(double x) const { return x; }
  double finish(double sum, const Taps& taps, const int64_t* at) const {
    const double size = window_size(state, taps, at);
    return size > 0 ? sum / size : 0;
  }
  const PoolState& state;
};

struct NormOf {
  explicit NormOf(const RunContext& context) : p(context.state<LpPoolState>().p) {}
  double term(double x) const { return power_of(x, p); }
  double finish(double sum, const Taps&, const int64_t*) const { return root_of(sum, p); }
  double p;
};

template <typename Function>
Status run_sum_pool(RunContext& context) {
  const Function function(context);
  const PoolState& state = context.state<PoolState>();
  const Window& window = state.window;
  const PlaneStrides from(*context.input(0));
  const float* x = context.input(0)->as<float>();
  float* y = context.output(0)->as<float>();
  for_each_window(context, window, [&](int64_t, const int64_t* at, int64_t target, int64_t source) {
    const Taps taps(window, at);
    double sum = 0;
    for (int64_t tap_z = taps.range[0].begin; tap_z < taps.range[0].end; ++tap_z) {
      const int64_t z = source + window.coordinate(0, at[0], tap_z) * from.spatial[0];
      for (int64_t tap_y = taps.range[1].begin; tap_y < taps.range[1].end; ++tap_y) {
        const int64_t row = z + window.coordinate(1, at[1], tap_y) * from.spatial[1];
        for (int64_t tap_x = taps.range[2].begin; tap_x < taps.range[2].end; ++tap_x) {
          sum += function.term(x[row + window.coordinate(2, at[2], tap_x) * from.spatial[2]]);
        }
      }
    }
    y[target] = static_cast<float>(function.finish(sum, taps, at));
  });
  return Status();
}

}  // namespace

Status infer_global_pool(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  Shape shape = context.input(0)->shape;
  if (shape.rank < 3) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 3 or more", shape.rank);
  if (shape.elements(2, shape.rank) == 0) return Status::error(StatusCode::kShape, "input 0 has no elements to pool");
  for (int axis = 2; axis < shape.rank; ++axis) shape[axis] = 1;
  return context.set_output(0, ElementType::kFloat32, shape);
}

namespace {

Status infer_global_lp_pool(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(read_p(context, &context.state<double>()));
  return infer_global_pool(context);
}

enum class GlobalPool { kAverage, kMax, kLp };

template <GlobalPool kPool>
Status run_global_pool(RunContext& context) {
  const double p = kPool == GlobalPool::kLp ? context.state<double>() : 1;
  const Tensor& x = *context.input(0);
  const int64_t channels = x.shape[1];
  const int64_t count = x.shape.elements(2, x.shape.rank);
  const bool channels_last = x.layout == Layout::kChannelsLast;
  const int64_t step = channels_last ? channels : 1;
  context.parallel_for(x.shape[0] * channels, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t first = channels_last ? plane / channels * channels * count + plane % channels : plane * count;
      const float* values = x.as<float>() + first;
      float largest = values[0];
      double sum = 0;
      for (int64_t i = 0; i < count; ++i) {
        const float value = values[i * step];
        if (value > largest) largest = value;
        sum += kPool == GlobalPool::kLp ? power_of(value, p) : value;
      }
      double result = sum / static_cast<double>(count);
      if (kPool == GlobalPool::kMax) result = largest;
      if (kPool == GlobalPool::kLp) result = root_of(sum, p);
      context.output(0)->as<float>()[plane] = static_cast<float>(result);
    }
  });
  return Status();
}

// MaxUnpool puts the maxima back to where MaxPool says that they were, in a tensor of zeros. Its places count in a tensor
// of the size that the window implies; an output_shape larger than that has more zeros behind each axis.

struct UnpoolState {
  Shape implied;
};

Status infer_max_unpool(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 3, kFloatType));
  QUENCH_RETURN_IF_ERROR(check_type(context, 1, type_set(ElementType::kInt64)));
  const Shape& x = context.input(0)->shape;
  Window window;
  QUENCH_RETURN_IF_ERROR(read_window(context, x, nullptr, &window));
  if (!(context.input(1)->shape == x)) return Status::error(StatusCode::kShape, "inputs 0 and 1 differ in shape");
  Shape& implied = context.state<UnpoolState>().implied;
  implied = x;
  for (int axis = 2; axis < x.rank; ++axis) {
    const int k = kSpatialAxes - x.rank + axis;
    int64_t size = 0;
    if (__builtin_mul_overflow(x[axis] - 1, window.stride[k], &size) ||
        __builtin_add_overflow(size, window.kernel[k] - window.pad_begin[k] - window.pad_end[k], &size)) {
      return Status::error(StatusCode::kShape, "the output is too large");
    }
    implied[axis] = size;
  }
  if (!implied.valid(sizeof(float))) return Status::error(StatusCode::kShape, "the window does not fit");
  Shape shape = implied;
  IntList sizes;
  QUENCH_RETURN_IF_ERROR(read_input(context, 2, &sizes));
  if (sizes.present && sizes.count != x.rank) return Status::error(StatusCode::kShape, "input 2 is of another rank");
  for (int axis = 0; axis < sizes.count; ++axis) {
    shape[axis] = sizes[axis];
    if (axis < 2 ? shape[axis] != x[axis] : shape[axis] < implied[axis]) {
      return Status::error(StatusCode::kShape, "output_shape is too small");
    }
  }
  return context.set_output(0, ElementType::kFloat32, shape);
}

Status run_max_unpool(RunContext& context) {
  const Shape& implied = context.state<UnpoolState>().implied;
  const Tensor& output = *context.output(0);
  int64_t strides[kMaxRank] = {};
  compute_strides(output.shape, Layout::kRowMajor, strides);
  if (output.bytes() > 0) memset(output.data, 0, output.size_bytes());
  for (int64_t i = 0, count = context.input(0)->elements(); i < count; ++i) {
    int64_t place = context.input(1)->as<int64_t>()[i];
    if (place < 0 || place >= implied.elements()) {
      return Status::error(StatusCode::kInvalidArgument, "place number %lld is outside the output",
                           static_cast<long long>(i));
    }
    int64_t offset = 0;
    for (int axis = implied.rank - 1; axis >= 0; --axis) {
      offset += place % implied[axis] * strides[axis];
      place /= implied[axis];
    }
    output.as<float>()[offset] = context.input(0)->as<float>()[i];
  }
  return Status();
}

constexpr Kernel kKernels[] = {
    {.op = "MaxPool",
     .infer = infer_max_pool,
     .run = run_max_pool,
     .state_bytes = sizeof(PoolState),
     .layout = LayoutRule::kFollows},
    {.op = "AveragePool",
     .infer = infer_average_pool,
     .run = run_sum_pool<AverageOf>,
     .state_bytes = sizeof(PoolState),
     .layout = LayoutRule::kFollows},
    {.op = "GlobalAveragePool",
     .infer = infer_global_pool,
     .run = run_global_pool<GlobalPool::kAverage>,
     .layout = LayoutRule::kFollows},
    {.op = "LpPool",
     .infer = infer_lp_pool,
     .run = run_sum_pool<NormOf>,
     .state_bytes = sizeof(LpPoolState),
     .layout = LayoutRule::kFollows},
    {.op = "GlobalLpPool",
     .infer = infer_global_lp_pool,
     .run = run_global_pool<GlobalPool::kLp>,
     .state_bytes = sizeof(double),
     .layout = LayoutRule::kFollows},
    {.op = "MaxUnpool", .infer = infer_max_unpool, .run = run_max_unpool, .state_bytes = sizeof(UnpoolState)},
    {.op = "GlobalMaxPool",
     .infer = infer_global_pool,
     .run = run_global_pool<GlobalPool::kMax>,
     .layout = LayoutRule::kFollows},
};

}  // namespace

std::span<const Kernel> pooling_kernels() { return kKernels; }

}  // namespace quench::rt
