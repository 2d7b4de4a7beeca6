// What a training of an image codec is asked for. No libtorch here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "compressor/data/image.h"
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

// A value for the coarsest and one for the finest quality; geometric between them.
struct QualityRange {
  double coarsest = 0, finest = 0;
};

// The middle of a test picture, as it was and as it is decoded at each quality that is measured.
struct DecodedMiddle {
  struct Decoded {
    TrainingRecord::RatePoint measured;  // of the whole picture
    data::Picture pixels;
  };
  std::string file;  // without folders
  data::Picture original;
  std::vector<Decoded> decoded;
};
inline constexpr int kDecodedSide = 176;   // pixels of a middle
inline constexpr size_t kMostDecoded = 3;  // test pictures, from the first

struct CodecOptions {
  networks::ImageCodecOptions network;  // `weighted` is as the distortion says
  // `data` and `test_data` are folders of pictures. `samples`: pieces of an epoch, 0: as many as the pictures have room
  // for. Teacher, labels, preprocessing, validation and what else is of classifiers are not looked at.
  LoopOptions loop;
  int centers = 255;  // 2 to 255
  Assignment assignment = Assignment::kHard;
  Distortion distortion = Distortion::kMsSsim;
  QualityRange betas;           // the distortion that a bit per pixel costs; 0: default_betas()
  QualityRange bits_per_pixel;  // of the pieces that are learned from: the betas are steered to it; 0: they stay
  int64_t crop = 192;           // pixels, of the square pieces that are learned from; a multiple of 8
  // Called before loop.on_epoch, in the first process, where there are test pictures.
  std::function<void(const std::vector<DecodedMiddle>&)> on_pictures;
};

// For ms-ssim, such that photographs take about 0.07 to 0.9 bits per pixel; for mse, guessed from what a bit gains in other
// codecs.
QualityRange default_betas(Distortion distortion);

}  // namespace quench::training
