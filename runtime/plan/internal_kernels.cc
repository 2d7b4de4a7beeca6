#include "runtime/plan/internal_kernels.h"

#include <algorithm>
#include <cstring>

#include "formats/base/float16.h"

namespace quench::rt {
namespace {

constexpr int64_t kTile = 16;  // of a blocked transpose: two tiles fit the smallest cache

Status run_convert_type(RunContext& context) {
  const Tensor& from = *context.input(0);
  const Tensor& to = *context.output(0);
  const auto count = static_cast<size_t>(from.elements());
  if (to.type == ElementType::kFloat32) {
    return convert_to_float32({from.as<const std::byte>(), from.size_bytes()}, from.type, {to.as<float>(), count});
  }
  return convert_from_float32({from.as<const float>(), count}, to.type, {to.as<std::byte>(), to.size_bytes()});
}

Status run_copy(RunContext& context) {
  const Tensor& from = *context.input(0);
  std::memcpy(context.output(0)->data, from.data, from.size_bytes());
  return Status();
}

Status run_refuse(RunContext& context) { return context.state<Status>(); }

Status run_round(RunContext& context, int64_t round) {
  const Tensor* rounds = context.input(0);
  const Tensor* condition = context.input(1);
  *context.output(0)->as<int64_t>() = round;
  *context.output(1)->as<bool>() =
      (!rounds || round < *rounds->as<const int64_t>()) && (!condition || *condition->as<const uint8_t>() != 0);
  return Status();
}

Status run_first_round(RunContext& context) { return run_round(context, 0); }
Status run_next_round(RunContext& context) { return run_round(context, *context.output(0)->as<int64_t>() + 1); }

// Calls move(begin of the piece in the whole, begin in the slice, bytes).
template <typename Move>
void for_each_piece(const RunContext& context, const Move& move) {
  const SliceState& state = context.state<SliceState>();
  int64_t round = context.input(1) ? *context.input(1)->as<const int64_t>() : state.round;
  if (state.backwards) round = state.length - 1 - round;
  const int64_t bytes = state.count * state.inner_bytes;
  for (int64_t i = 0; i < state.outer; ++i) {
    move((i * state.length + round) * state.inner_bytes, i * bytes, static_cast<size_t>(bytes));
  }
}

Status run_take_slice(RunContext& context) {
  const auto* whole = context.input(0)->as<const std::byte>();
  auto* slice = context.output(0)->as<std::byte>();
  for_each_piece(context,
                 [&](int64_t there, int64_t here, size_t bytes) { std::memcpy(slice + here, whole + there, bytes); });
  return Status();
}

Status run_put_slice(RunContext& context) {
  const auto* slice = context.input(0)->as<const std::byte>();
  auto* whole = context.output(0)->as<std::byte>();
  for_each_piece(context,
                 [&](int64_t there, int64_t here, size_t bytes) { std::memcpy(whole + there, slice + here, bytes); });
  return Status();
}

// rows x columns to columns x rows.
template <typename T>
void transpose(const T* from, T* to, int64_t rows, int64_t columns) {
  for (int64_t row = 0; row < rows; row += kTile) {
    const int64_t row_end = std::min(row + kTile, rows);
    for (int64_t column = 0; column < columns; column += kTile) {
      const int64_t column_end = std::min(column + kTile, columns);
      for (int64_t c = column; c < column_end; ++c) {
        for (int64_t r = row; r < row_end; ++r) to[c * rows + r] = from[r * columns + c];
      }
    }
  }
}

template <typename T>
void convert_as(const Tensor& from, const Tensor& to, int64_t begin, int64_t end) {
  const int64_t channels = from.shape[1];
  const int64_t pixels = from.shape[2] * from.shape[3];
  const bool to_channels_last = to.layout == Layout::kChannelsLast;
  for (int64_t n = begin; n < end; ++n) {
    const int64_t offset = n * channels * pixels;
    transpose(from.as<const T>() + offset, to.as<T>() + offset, to_channels_last ? channels : pixels,
              to_channels_last ? pixels : channels);
  }
}

Status run_convert_layout(RunContext& context) {
  const Tensor& from = *context.input(0);
  const Tensor& to = *context.output(0);
  context.parallel_for(from.shape[0], 1,
                       [&](int64_t begin, int64_t end, int) { convert_layout(from, to, begin, end); });
  return Status();
}

}  // namespace

void convert_layout(const Tensor& from, const Tensor& to, int64_t begin, int64_t end) {
  switch (size_of(from.type)) {
    case 1:
      return convert_as<uint8_t>(from, to, begin, end);
    case 2:
      return convert_as<uint16_t>(from, to, begin, end);
    case 4:
      return convert_as<uint32_t>(from, to, begin, end);
    default:
      return convert_as<uint64_t>(from, to, begin, end);
  }
}

const Kernel kConvertType = {.op = "type conversion", .run = run_convert_type};
const Kernel kConvertLayout = {.op = "layout conversion", .run = run_convert_layout};
const Kernel kCopy = {.op = "copy", .run = run_copy};
const Kernel kBegin = {.op = "begin"};
const Kernel kEnd = {.op = "end"};
const Kernel kRefuse = {
    .op = "a branch that does not fit these inputs", .run = run_refuse, .state_bytes = sizeof(Status)};
const Kernel kFirstRound = {.op = "first round", .run = run_first_round};
const Kernel kNextRound = {.op = "next round", .run = run_next_round};
const Kernel kTakeSlice = {.op = "take slice", .run = run_take_slice, .state_bytes = sizeof(SliceState)};
const Kernel kPutSlice = {.op = "put slice", .run = run_put_slice, .state_bytes = sizeof(SliceState)};

Shape without_axis(const Shape& shape, int axis) {
  Shape result;
  for (int i = 0; i < shape.rank; ++i) {
    if (i != axis) result[result.rank++] = shape[i];
  }
  return result;
}

SliceState slice_state(const Tensor& whole, int axis, bool backwards) {
  SliceState state;
  state.outer = whole.shape.elements(0, axis);
  state.length = whole.shape[axis];
  state.inner_bytes = whole.shape.elements(axis + 1, whole.shape.rank) * size_of(whole.type);
  state.backwards = backwards;
  return state;
}

}  // namespace quench::rt
