// Pools over channels-last float32 images.
#pragma once

#include <cstdint>

namespace quench::rt::fast {

// `divisor_*`: sizes of the padded input where an average counts its padding, 0 where it does not.
struct PoolShape {
  int64_t batch = 0, channels = 0;
  int64_t in_height = 0, in_width = 0;
  int64_t out_height = 0, out_width = 0;
  int64_t kernel_height = 1, kernel_width = 1;
  int64_t stride_height = 1, stride_width = 1;
  int64_t dilation_height = 1, dilation_width = 1;
  int64_t pad_top = 0, pad_left = 0;
  int64_t divisor_height = 0, divisor_width = 0;
  bool is_max = false;
};

// Rows [begin, end) of the batch * out_height rows of outputs. A window without a place inside the input gives
// -infinity as maximum and 0 as average.
void pool_rows(const PoolShape& shape, const float* input, float* output, int64_t begin, int64_t end);

// Maximum or average of all pixels, for channels [begin, end) of one image of `pixels` pixels (at least 1).
void pool_image(bool is_max, const float* image, int64_t pixels, int64_t channels, int64_t begin, int64_t end,
                float* output);

}  // namespace quench::rt::fast
