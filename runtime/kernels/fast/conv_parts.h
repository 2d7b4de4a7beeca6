// What the files of the convolution share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/kernels/fast/conv.h"
#include "runtime/kernels/fast/tile.h"

namespace quench::rt::fast {

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// [0, count) cut into the fewest pieces of at most `most`, as even as possible.
struct Pieces {
  Pieces(int64_t total, int64_t most) : count(divide_up(total, most)), total_(total) {}
  int64_t begin(int64_t piece) const { return total_ * piece / count; }
  int64_t size(int64_t piece) const { return begin(piece + 1) - begin(piece); }

  int64_t count;

 private:
  int64_t total_;
};

void plan_direct(ConvPlan& plan, int threads);
void pack_direct(const ConvPlan& plan, const float* weights, const float* bias, float* packed);
void run_direct(const ConvPlan& plan, const ConvData& data, int64_t begin, int64_t end, float* scratch);
int64_t packed_floats_direct(const ConvPlan& plan);

void plan_winograd(ConvPlan& plan, int threads);
void pack_winograd(const ConvPlan& plan, const float* weights, const float* bias, float* packed);
void run_winograd(const ConvPlan& plan, const ConvData& data, int64_t begin, int64_t end, float* scratch);
int64_t packed_floats_winograd(const ConvPlan& plan);

void plan_depthwise(ConvPlan& plan, int threads);
void pack_depthwise(const ConvPlan& plan, const float* weights, const float* bias, float* packed);
void run_depthwise(const ConvPlan& plan, const ConvData& data, int64_t begin, int64_t end, float* scratch);
int64_t packed_floats_depthwise(const ConvPlan& plan);

// Copies the rows [top, top + height) and columns [left, left + width) of image `image` to `to`, channels-last with
// `pixel` floats from one pixel to the next, zeros where they lie outside of the image.
void copy_window(const ConvShape& shape, const float* input, int64_t image, int64_t top, int64_t height, int64_t left,
                 int64_t width, float* to, int64_t pixel);

}  // namespace quench::rt::fast
