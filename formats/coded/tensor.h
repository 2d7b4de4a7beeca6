// What a compressed tensor is, from the quantizer to the writer and from the reader to the kernels: plain values that
// borrow their data, and the only arithmetic that turns them back into weights.
//
//     coded::Tensor tensor = ...;                                        // described by the reader, or by the quantizer
//     coded::dequantize(tensor, codebook, indices, 0, 0, values);        // values[e] of its elements, as float32
//
// How the parts lie in a file is formats/container/FORMAT.md's subject. No heap, no exceptions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/element_type.h"
#include "formats/entropy/coder.h"

namespace quench::coded {

// The numbers of these three are part of the file format.
enum class Encoding : uint8_t {
  kRaw = 0,          // the element bytes as they are
  kPlanes = 1,       // bit-exact: bytes of equal significance together, each such plane entropy coded
  kDeltaPlanes = 2,  // as kPlanes, of the wrapping differences of neighbouring integers
  kQuantized = 3,    // indices into a codebook, with scales
};

enum class ScaleKind : uint8_t { kNone = 0, kTensor = 1, kChannel = 2 };

enum class CodebookKind : uint8_t {
  kUniform = 0,       // center j = step * (j - zero)
  kTableFloat32 = 1,  // centers as float32
  kTableFloat16 = 2,  // centers as float16, widened exactly
};

// The scale of a channel from its 8-bit code: largest * 2^(-code / 16). The result is the same to the bit on any
// machine: one float32 product of `largest` with a literal, then an exact power of two.
float scale_from_code(float largest, uint8_t code);

// The code whose scale is nearest to `scale` on the logarithmic grid; 0 where scale >= largest, 255 where it is tiny or
// not positive. `largest` must be positive and finite.
uint8_t code_from_scale(float largest, float scale);

// Center j of a uniform codebook: one float32 product.
inline float uniform_center(float step, uint32_t zero, uint32_t j) {
  return step * static_cast<float>(static_cast<int32_t>(j) - static_cast<int32_t>(zero));
}

// L = entries centers of `dimension` values, center j at [j * dimension, (j + 1) * dimension).
struct Codebook {
  CodebookKind kind = CodebookKind::kUniform;
  uint32_t entries = 0;            // 1 to 65536
  uint32_t dimension = 1;          // 1, 2, 4 or 8
  uint32_t zero_symbol = 0;        // the index whose center is (closest to) zero
  float step = 0;                  // of a uniform codebook
  std::span<const float> centers;  // may be empty for a uniform one, whose centers follow from step and zero_symbol
};

// Element e of a tensor belongs to channel (e / inner) % channels. With kNone and kTensor there is one channel.
struct Scales {
  ScaleKind kind = ScaleKind::kNone;
  uint64_t channels = 1;
  uint64_t inner = 1;                  // elements of a channel that lie together
  float largest = 1;                   // kTensor: the scale; kChannel: what the codes count from
  std::span<const uint8_t> codes;      // kChannel: of each channel
  std::span<const float> values = {};  // of each channel, where they have been worked out already

  float at(uint64_t channel) const {
    if (!values.empty()) return values[channel];
    return kind == ScaleKind::kNone ? 1.0f : codes.empty() ? largest : scale_from_code(largest, codes[channel]);
  }
};

struct Tensor {
  ElementType type = ElementType::kFloat32;  // as declared in the graph
  Encoding encoding = Encoding::kRaw;
  uint64_t element_count = 0;

  // The rest is for quantized tensors.

  uint32_t codebook = 0;       // numbers in the file
  uint32_t entropy_model = 0;  // which also says the coder
  // The layout that the coder's contexts see: a filter's rows, input channels, kernel positions. There are
  // ceil(element_count / dimension) = rows * channels * inner indices.
  uint64_t rows = 1;
  uint64_t channels = 1;
  uint64_t inner = 1;
  entropy::Trellis trellis = entropy::Trellis::kNone;  // what the indices follow
  Scales scales;
  std::span<const uint16_t> indices;  // all of them, where they are at hand
};

// Elements [first, first + out.size()) of a quantized tensor: element e = d * i + k is
//
//     scale(e) * center(indices[i])[k], one float32 product, rounded to the tensor's declared type
//
// and given as float32, exactly. So a float16 tensor has the same values whoever asks: the runtime that computes in
// float32, a model unpacked to float16, and the quantizer that measures its errors. indices[0] is the index number
// `first_index` of the tensor; those of all elements asked for must be there and below codebook.entries.
void dequantize(const Tensor& tensor, const Codebook& codebook, std::span<const uint8_t> indices, uint64_t first_index,
                uint64_t first, std::span<float> out);
void dequantize(const Tensor& tensor, const Codebook& codebook, std::span<const uint16_t> indices, uint64_t first_index,
                uint64_t first, std::span<float> out);

}  // namespace quench::coded
