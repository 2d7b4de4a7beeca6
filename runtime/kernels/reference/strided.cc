#include "runtime/kernels/reference/strided.h"

namespace quench::rt {
namespace {

template <typename T>
void copy_elements(const RunContext& context, const StridedLoop<2>& loop, void* target, const void* source) {
  const int64_t target_step = loop.step(0);
  const int64_t source_step = loop.step(1);
  parallel_walk(context, loop, [=](const int64_t* at, int64_t count) {
    T* to = static_cast<T*>(target) + at[0];
    const T* from = static_cast<const T*>(source) + at[1];
    if (target_step == 1 && source_step == 1) {
      memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
      return;
    }
    for (int64_t i = 0; i < count; ++i) to[i * target_step] = from[i * source_step];
  });
}

}  // namespace

template <int N>
StridedLoop<N> broadcast_loop(const Tensor& over, const std::array<const Tensor*, N>& operands) {
  const int rank = over.shape.rank;
  int64_t strides[N][kMaxRank];
  for (int k = 0; k < N; ++k) broadcast_strides(*operands[k], rank, strides[k]);
  int order[kMaxRank];
  memory_order(over, order);
  StridedLoop<N> loop;
  for (int i = 0; i < rank; ++i) {
    std::array<int64_t, N> steps;
    for (int k = 0; k < N; ++k) steps[k] = strides[k][order[i]];
    loop.add_axis(over.shape[order[i]], steps);
  }
  loop.finish();
  return loop;
}

template <int N>
void walk_rows(const StridedLoop<N>& loop, int64_t begin, int64_t end, RowFunction function, const void* row) {
  if (begin >= end) return;
  const int last = loop.rank - 1;
  int64_t index[kMaxAxes];
  int64_t offsets[N] = {};
  int64_t rest = begin;
  for (int axis = last; axis >= 0; --axis) {
    index[axis] = rest % loop.dims[axis];
    rest /= loop.dims[axis];
    for (int k = 0; k < N; ++k) offsets[k] += index[axis] * loop.strides[k][axis];
  }
  while (true) {
    const int64_t left = loop.dims[last] - index[last];
    const int64_t count = left < end - begin ? left : end - begin;
    function(row, offsets, count);
    begin += count;
    if (begin >= end) return;
    for (int k = 0; k < N; ++k) offsets[k] -= index[last] * loop.strides[k][last];
    index[last] = 0;
    for (int axis = last - 1; axis >= 0; --axis) {
      for (int k = 0; k < N; ++k) offsets[k] += loop.strides[k][axis];
      if (++index[axis] < loop.dims[axis]) break;
      for (int k = 0; k < N; ++k) offsets[k] -= loop.dims[axis] * loop.strides[k][axis];
      index[axis] = 0;
    }
  }
}

template <int N>
void parallel_walk_rows(const RunContext& context, const StridedLoop<N>& loop, RowFunction function, const void* row) {
  context.parallel_for(loop.elements(), kParallelGrain,
                       [&](int64_t begin, int64_t end, int) { walk_rows<N>(loop, begin, end, function, row); });
}

#define QUENCH_STRIDED_LOOP(N)                                                                   \
  template StridedLoop<N> broadcast_loop<N>(const Tensor&, const std::array<const Tensor*, N>&); \
  template void walk_rows<N>(const StridedLoop<N>&, int64_t, int64_t, RowFunction, const void*); \
  template void parallel_walk_rows<N>(const RunContext&, const StridedLoop<N>&, RowFunction, const void*);
QUENCH_STRIDED_LOOP(1)
QUENCH_STRIDED_LOOP(2)
QUENCH_STRIDED_LOOP(3)
QUENCH_STRIDED_LOOP(4)
QUENCH_STRIDED_LOOP(7)
#undef QUENCH_STRIDED_LOOP

void copy_strided(const RunContext& context, const StridedLoop<2>& loop, int64_t element_bytes, void* target,
                  const void* source) {
  switch (element_bytes) {
    case 1:
      return copy_elements<uint8_t>(context, loop, target, source);
    case 2:
      return copy_elements<uint16_t>(context, loop, target, source);
    case 4:
      return copy_elements<uint32_t>(context, loop, target, source);
    default:
      return copy_elements<uint64_t>(context, loop, target, source);
  }
}

}  // namespace quench::rt
