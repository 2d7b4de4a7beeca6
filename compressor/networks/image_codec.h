// The two networks of an image codec as ONNX graphs: an encoder, whose latent values are moved to centers and coded, and
// a decoder (Agustsson et al., "Soft-to-Hard Vector Quantization for End-to-End Learning Compressible Representations",
// 2017, section 4).
//
//     networks::ImageCodec codec = networks::build(networks::ImageCodecOptions{.channels = 64});   // to be trained
//     networks::ImageCodec shipped = networks::build(options, tables);                             // to be filled
//     save("photo.encoder.onnx", networks::with_weights_of(std::move(shipped.encoder), trained));
//
// Encoder: convolutions of stride 2 to channels / 2 (5x5), channels and channels (3x3), residual blocks of two 3x3
// convolutions with a shortcut around all of them, and a 3x3 convolution to the latents, at an eighth of the resolution.
// Decoder: the mirror image, at channels, channels / 2 and channels / 4; to go up, a 3x3 convolution to four times as
// many channels, a quarter of which becomes each of four pixels (DepthToSpace). One residual block stands at a quarter
// of the resolution, too. Relu everywhere, no normalization. Beside each network stands a linear transform between
// 16 x 16 pixels and the latents in their middle, whose result is added to the network's: at first it is a lapped cosine
// transform of luma and chroma, with weights by what errors cost, and the network adds nothing. Codecs that began from random
// values alone were behind that after a thousand steps and more. At its borders an image is continued by its mirror image.
//
// One codec serves all qualities: latent channel k is multiplied by exp(g_k(q)) before it is quantized and by
// exp(h_k(q)) behind it, where g and h are learned at the qualities 1 to Q and linear between them. Before that, latents
// of places with much contrast are lessened, which the decoder undoes from what it has; after it values are moved a
// little towards 0, where indices cost less. Neither is done to the lowest frequency of luma and chroma, the means.
//
// What is trained: `image` float32 [N, 3, height, width] (RGB, 0 to 255; multiples of 8) and `quality` [N, 1] (1 to Q)
// become `latent` [N, latents, height/8, width/8]; `latent` and `quality` become `image`, neither clipped nor rounded.
// What ships has `indices` in the place of `latent`, uint8, of the nearest center, and both graphs have the constant
// output `prior`, and the metadata `codec.qualities`, Q, and `codec.zero`. Opset 13.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::networks {

struct ImageCodecOptions {
  int64_t channels = 64;  // a multiple of 4, 8 to 1024
  int64_t latents = 48;   // 1 to 192
  int blocks = 3;         // residual blocks on each side, 0 to 100
  int qualities = 8;      // Q, 1 to 64
  bool weighted = true;   // for MS-SSIM: weights by what errors cost, steps by contrast; false: for the mean square
  uint64_t seed = 1;      // same options, same bytes, on any machine
};

constexpr int64_t kImageCodecStride = 8;

struct ImageCodec {
  OnnxModel encoder, decoder;
};

// Throws quench::Error, with what to do, on options out of range.
ImageCodec build(const ImageCodecOptions& options);

// What is learned beside the weights.
struct ImageCodecTables {
  std::vector<float> centers;       // L, 2 to 255, ascending
  std::vector<int64_t> prior_dims;  // latents, rows, L - 1: what the coder of the indices expects; see formats/image
  std::vector<uint8_t> prior;
  int zero = 0;  // the index that stands for nothing, below L
};

// The codec as it ships: initial values, `tables` in both graphs.
ImageCodec build(const ImageCodecOptions& options, const ImageCodecTables& tables);

}  // namespace quench::networks
