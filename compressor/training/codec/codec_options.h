// What a training of an image codec is asked for. No libtorch here.
#pragma once

#include <cstdint>

#include "compressor/networks/image_codec.h"
#include "compressor/training/loop/options.h"

namespace quench::training {

// Of a picture against its original, per picture.
//     kMsSsim   1 - MS-SSIM (ms_ssim.h)
//     kMse      the mean square of the difference, black to white being 1
enum class Distortion : uint8_t { kMsSsim, kMse };

inline constexpr Named<Distortion> kDistortions[] = {{"ms-ssim", Distortion::kMsSsim}, {"mse", Distortion::kMse}};

// How latent values become centers in the course of the training.
//     kHard       the nearest center forward, the gradients of the soft assignment (Mentzer et al. 2018)
//     kAnnealed   the soft assignment, whose sigma grows to hardness (Agustsson et al. 2017)
enum class Assignment : uint8_t { kHard, kAnnealed };

inline constexpr Named<Assignment> kAssignments[] = {{"hard", Assignment::kHard}, {"annealed", Assignment::kAnnealed}};

struct CodecOptions {
  networks::ImageCodecOptions network;  // `weighted` is as the distortion says
  // `data` and `test_data` are folders of pictures. `samples`: pieces of an epoch, 0: as many as the pictures have room
  // for. Teacher, labels, preprocessing, validation and what else is of classifiers are not looked at.
  LoopOptions loop;
  int centers = 255;  // 2 to 255
  Assignment assignment = Assignment::kHard;
  Distortion distortion = Distortion::kMsSsim;
  // The distortion that a bit per pixel costs, at the coarsest and at the finest quality; geometric between them.
  double coarsest_beta = 0, finest_beta = 0;  // 0: default_betas()
  int64_t crop = 192;                         // pixels, of the square pieces that are learned from; a multiple of 8
};

struct Betas {
  double coarsest, finest;
};
// For ms-ssim, such that photographs take about 0.07 to 0.9 bits per pixel; for mse, guessed from what a bit gains in other
// codecs.
Betas default_betas(Distortion distortion);

}  // namespace quench::training
