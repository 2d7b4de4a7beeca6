// The two networks of an image codec as .quench files that are as small as what they cost in pictures allows.
//
//     const CompressedCodec small = compress_codec({"photo.encoder.onnx", "photo.decoder.onnx"}, photographs,
//                                                  {.max_loss = 0.0004, .folder = scratch});
//
// The loss is of MS-SSIM at the same rates, the mean over qualities from the lowest to the highest, on the middles of a
// few pictures. The encoder goes first; either network is calibrated on what it meets in the middles of pictures, at all
// qualities.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

namespace quench::quantizer {

struct CodecModels {
  std::filesystem::path encoder, decoder;  // .onnx
};

struct CodecCompressOptions {
  double max_loss = 0.001;  // by each network
  int threads = 1;
  std::filesystem::path folder;  // exists; for what is written on the way, and stays there
  std::function<void(std::string_view stage, double share)> progress;  // share 0 to 1 of the stage
};

struct CompressedCodec {
  std::vector<std::byte> encoder, decoder;  // .quench files
  double loss = 0;                          // by both
};

// `pictures`: PNG or JPEG, one at least, with sides of 192 pixels and more. The result does not depend on the number of
// threads. Throws quench::Error.
CompressedCodec compress_codec(const CodecModels& models, const std::vector<std::filesystem::path>& pictures,
                               const CodecCompressOptions& options);

// A network's .onnx file as a .quench file, without loss; `folder` as above. Throws quench::Error.
std::vector<std::byte> lossless_network(const std::filesystem::path& model, const std::filesystem::path& folder);

}  // namespace quench::quantizer
