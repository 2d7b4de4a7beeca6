// What the files of the convolution share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/kernels/fast/blocking.h"
#include "runtime/kernels/fast/conv.h"
#include "runtime/kernels/fast/tile.h"

namespace quench::rt::fast {

void plan_direct(ConvPlan& plan, int threads);
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
