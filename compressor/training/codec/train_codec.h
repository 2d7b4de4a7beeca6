// Trains the two networks of an image codec and the centers between them.
#pragma once

#include <filesystem>

#include "compressor/training/codec/codec_options.h"
#include "compressor/training/reports.h"

namespace quench::training {

// Writes `prefix`.encoder.onnx and `prefix`.decoder.onnx, as networks/image_codec.h describes them. Each step takes
// pieces of photographs, each at a quality q of its own, drawn evenly from 1 to Q, and lowers
//
//     D / sqrt(beta) + sqrt(beta) bits per pixel,   beta = coarsest^(1 - t) finest^t,   t = (q - 1) / (Q - 1)
//
// so that at each quality a bit per pixel is worth beta of the distortion D, and all qualities weigh alike. Throws
// quench::Error. The files appear complete or not at all.
CodecReport train_codec(const std::filesystem::path& prefix, const CodecOptions& options);

}  // namespace quench::training
