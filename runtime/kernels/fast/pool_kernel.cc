// MaxPool, AveragePool and their global forms, of rank 4.
#include "runtime/kernels/fast/pool.h"
#include "runtime/kernels/fast/tables.h"
#include "runtime/kernels/reference/pooling.h"

namespace quench::rt {
namespace {

constexpr int64_t kGrain = 16384;  // values read that are worth a thread of their own

bool accepts(InferContext& context) {
  const Tensor* x = context.input(0);
  return x && x->type == ElementType::kFloat32 && x->shape.rank == 4;
}

fast::PoolShape shape_of(const NodeContext& context, bool is_max) {
  const auto& [window, includes_padding, column_major] = context.state<PoolState>();
  fast::PoolShape shape;
  shape.batch = context.input(0)->shape[0];
  shape.channels = context.input(0)->shape[1];
  shape.in_height = window.input[1];
  shape.in_width = window.input[2];
  shape.out_height = window.output[1];
  shape.out_width = window.output[2];
  shape.kernel_height = window.kernel[1];
  shape.kernel_width = window.kernel[2];
  shape.stride_height = window.stride[1];
  shape.stride_width = window.stride[2];
  shape.dilation_height = window.dilation[1];
  shape.dilation_width = window.dilation[2];
  shape.pad_top = window.pad_begin[1];
  shape.pad_left = window.pad_begin[2];
  if (includes_padding) {
    shape.divisor_height = window.input[1] + window.pad_begin[1] + window.pad_end[1];
    shape.divisor_width = window.input[2] + window.pad_begin[2] + window.pad_end[2];
  }
  shape.is_max = is_max;
  return shape;
}

template <bool kMax>
Status run_pool(RunContext& context) {
  // Where the maxima lie is asked for by few.
  if (context.output(1)) return run_max_pool(context);
  const fast::PoolShape shape = shape_of(context, kMax);
  if (shape.channels == 0) return Status();
  const int64_t row_values = shape.out_width * shape.kernel_height * shape.kernel_width * shape.channels;
  context.parallel_for(
      shape.batch * shape.out_height, kGrain / (row_values + 1) + 1, [&](int64_t begin, int64_t end, int) {
        fast::pool_rows(shape, context.input(0)->as<float>(), context.output(0)->as<float>(), begin, end);
      });
  return Status();
}

template <bool kMax>
Status run_global(RunContext& context) {
  const Tensor& x = *context.input(0);
  const int64_t channels = x.shape[1];
  const int64_t pixels = x.shape[2] * x.shape[3];
  // Whole cache lines of channels.
  constexpr int64_t kStep = kAlignment / sizeof(float);
  const int64_t groups = (channels + kStep - 1) / kStep;
  context.parallel_for(x.shape[0] * groups, kGrain / (pixels * kStep) + 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / groups;
      const int64_t first = i % groups * kStep;
      const int64_t last = first + kStep < channels ? first + kStep : channels;
      fast::pool_image(kMax, x.as<float>() + image * pixels * channels, pixels, channels, first, last,
                       context.output(0)->as<float>() + image * channels);
    }
  });
  return Status();
}

constexpr Kernel pool(const char* op, Status (*infer)(InferContext&), Status (*run)(RunContext&), int state_bytes) {
  return {.op = op,
          .infer = infer,
          .run = run,
          .accepts = accepts,
          .state_bytes = state_bytes,
          .layout = LayoutRule::kChannelsLast};
}

constexpr Kernel kKernels[] = {
    pool("MaxPool", infer_max_pool, run_pool<true>, sizeof(PoolState)),
    pool("AveragePool", infer_average_pool, run_pool<false>, sizeof(PoolState)),
    pool("GlobalMaxPool", infer_global_pool, run_global<true>, 0),
    pool("GlobalAveragePool", infer_global_pool, run_global<false>, 0),
};

}  // namespace

std::span<const Kernel> fast_pooling_kernels() { return kKernels; }

}  // namespace quench::rt
