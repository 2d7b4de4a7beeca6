// Steps that the plan puts in by itself: conversions of type and layout, and copies, of one input and one output; and
// those of control flow.
#pragma once

#include "runtime/contract/kernel.h"

namespace quench::rt {

extern const Kernel kConvertType;    // between float32 and float16, bfloat16, double
extern const Kernel kConvertLayout;  // rank 4, between row-major and channels-last
extern const Kernel kCopy;

// Where a region begins, input 0 being its condition, and where it ends: jumps, which are not run.
extern const Kernel kBegin;
extern const Kernel kEnd;
extern const Kernel kRefuse;  // its state is a Status, which it returns
// Inputs: the most rounds, a condition; both may be omitted. Outputs: the number of the round, which is 0 or one more than
// it was, and whether it takes place.
extern const Kernel kFirstRound;
extern const Kernel kNextRound;

// Place `round`, or the one that input 1 says, and those behind it, along an axis.
struct SliceState {
  int64_t outer = 1, inner_bytes = 1;  // before and behind the axis
  int64_t length = 1;
  int64_t round = 0;
  int64_t count = 1;  // of places
  bool backwards = false;
};
SliceState slice_state(const Tensor& whole, int axis, bool backwards);
Shape without_axis(const Shape& shape, int axis);
extern const Kernel kTakeSlice;  // from input 0, the whole
extern const Kernel kPutSlice;   // input 0, into the whole

// What kConvertLayout runs: `to` has the shape and type of `from` and another layout. Takes the planes [begin, end) of
// N.
void convert_layout(const Tensor& from, const Tensor& to, int64_t begin, int64_t end);

}  // namespace quench::rt
