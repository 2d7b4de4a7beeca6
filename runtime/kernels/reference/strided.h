// Walks over several tensors in step, each with its own strides: broadcasting, slices, permutations and both layouts
// are all the same to it.
//
//     const auto loop = broadcast_loop<3>(output, {&output, &a, &b});
//     parallel_walk(context, loop, [&](const int64_t* at, int64_t count) {
//       // `count` elements; operand k begins at element at[k] and goes on in steps of loop.step(k)
//     });
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "runtime/contract/kernel.h"

namespace quench::rt {

// Axes that a loop can have before neighbours are merged; twice the rank, for Tile and DepthToSpace.
inline constexpr int kMaxAxes = 2 * kMaxRank;

template <int N>
struct StridedLoop {
  int rank = 0;  // at least 1 once made
  int64_t dims[kMaxAxes] = {};
  int64_t strides[N][kMaxAxes] = {};

  // Appends an axis inside the present ones; merges it with its neighbour where every operand allows that.
  void add_axis(int64_t size, const std::array<int64_t, N>& steps) {
    if (size == 1) return;
    bool merges = rank > 0 && size > 0;
    for (int k = 0; merges && k < N; ++k) merges = strides[k][rank - 1] == steps[k] * size;
    if (!merges) ++rank;
    dims[rank - 1] = merges ? dims[rank - 1] * size : size;
    for (int k = 0; k < N; ++k) strides[k][rank - 1] = steps[k];
  }
  // To be called after the last add_axis: a loop over a single element has one axis too.
  void finish() {
    if (rank > 0) return;
    rank = 1;
    dims[0] = 1;
    for (int k = 0; k < N; ++k) strides[k][0] = 1;
  }

  int64_t step(int operand) const { return strides[operand][rank - 1]; }
  int64_t elements() const {
    int64_t product = 1;
    for (int axis = 0; axis < rank; ++axis) product *= dims[axis];
    return product;
  }
};

// The axes of a tensor in the order in which they lie in memory, outermost first.
inline void memory_order(const Tensor& tensor, int order[kMaxRank]) {
  static constexpr int kChannelsLastOrder[4] = {0, 2, 3, 1};
  const bool channels_last = tensor.layout == Layout::kChannelsLast && tensor.shape.rank == 4;
  for (int i = 0; i < tensor.shape.rank; ++i) order[i] = channels_last ? kChannelsLastOrder[i] : i;
}

// The strides of `tensor` seen as broadcast to `rank` axes: 0 where it repeats.
inline void broadcast_strides(const Tensor& tensor, int rank, int64_t strides[kMaxRank]) {
  int64_t own[kMaxRank];
  compute_strides(tensor.shape, tensor.layout, own);
  for (int axis = 0; axis < rank; ++axis) {
    const int from = axis - (rank - tensor.shape.rank);
    strides[axis] = from < 0 || tensor.shape[from] == 1 ? 0 : own[from];
  }
}

// A loop over the shape of `over` in its memory order; each operand has that shape or broadcasts to it.
template <int N>
StridedLoop<N> broadcast_loop(const Tensor& over, const std::array<const Tensor*, N>& operands);

// The loops themselves are compiled once for each N (strided.cc); what they call is erased to a pointer.
using RowFunction = void (*)(const void* row, const int64_t* offsets, int64_t count);

template <int N>
void walk_rows(const StridedLoop<N>& loop, int64_t begin, int64_t end, RowFunction function, const void* row);
template <int N>
void parallel_walk_rows(const RunContext& context, const StridedLoop<N>& loop, RowFunction function, const void* row);

template <typename Row>
void call_row(const void* row, const int64_t* offsets, int64_t count) {
  (*static_cast<const Row*>(row))(offsets, count);
}

// Calls row(offsets, count) for consecutive pieces of the elements [begin, end) of the loop.
template <int N, typename Row>
void walk(const StridedLoop<N>& loop, int64_t begin, int64_t end, const Row& row) {
  walk_rows<N>(loop, begin, end, call_row<Row>, &row);
}

template <int N, typename Row>
void walk(const StridedLoop<N>& loop, const Row& row) {
  walk_rows<N>(loop, 0, loop.elements(), call_row<Row>, &row);
}

// Elements that are worth a thread of their own.
inline constexpr int64_t kParallelGrain = 16384;

// The same over all elements, on several threads.
template <int N, typename Row>
void parallel_walk(const RunContext& context, const StridedLoop<N>& loop, const Row& row) {
  parallel_walk_rows<N>(context, loop, call_row<Row>, &row);
}

// Copies operand 1 to operand 0, elements of `element_bytes` (1, 2, 4 or 8) each. The pointers are those of offset 0;
// offsets may be negative.
void copy_strided(const RunContext& context, const StridedLoop<2>& loop, int64_t element_bytes, void* target,
                  const void* source);

}  // namespace quench::rt
