// The multiscale structural similarity of pictures, as a loss that can be differentiated.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace quench::training {

// Pixels of the smaller side from which on the window of 11 pixels fits into the last of five scales without padding.
constexpr int64_t kMsSsimLeast = 176;

// Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003; compressor/measure/
// ms_ssim.h has it for pictures alone, with the constants. x and y: float32 [N, C, H, W], 0 to 255. [N], the mean over the
// channels. A term below 1e-4 counts as that, and has no gradient.
torch::Tensor ms_ssim(const torch::Tensor& x, const torch::Tensor& y);

}  // namespace quench::training
