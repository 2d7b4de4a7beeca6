#include "formats/coded/tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "formats/base/float16.h"

namespace quench::coded {
namespace {

// 2^(-k / 16), each rounded to the nearest float32.
constexpr float kScaleSteps[16] = {0x1p0f,         0x1.ea4afap-1f, 0x1.d5818ep-1f, 0x1.c199bep-1f,
                                   0x1.ae89fap-1f, 0x1.9c4918p-1f, 0x1.8ace54p-1f, 0x1.7a1148p-1f,
                                   0x1.6a09e6p-1f, 0x1.5ab07ep-1f, 0x1.4bfdaep-1f, 0x1.3dea64p-1f,
                                   0x1.306fep-1f,  0x1.2387a6p-1f, 0x1.172b84p-1f, 0x1.0b5586p-1f};

// Values of consecutive elements before they are rounded; `first_element` is the first that indices[0] stands for.
template <typename Index>
class Dequantizer {
 public:
  Dequantizer(const Tensor& tensor, const Codebook& codebook, const Index* indices, uint64_t first_index)
      : scales_(tensor.scales),
        codebook_(codebook),
        shift_(static_cast<unsigned>(std::countr_zero(codebook.dimension))),
        indices_(indices),
        first_element_(first_index << shift_) {}

  void run(uint64_t first, std::span<float> out) const {
    if (scales_.kind == ScaleKind::kNone) return fill(first, out, [](size_t) { return 1.0f; });
    while (!out.empty()) {
      const uint64_t channel = first / scales_.inner % scales_.channels;
      const bool element_wise = scales_.inner == 1;
      const uint64_t run = element_wise ? scales_.channels - channel : scales_.inner - first % scales_.inner;
      const auto part = out.first(static_cast<size_t>(std::min<uint64_t>(run, out.size())));
      if (element_wise) {
        fill(first, part, [this, channel](size_t i) { return scales_.at(channel + i); });
      } else {
        fill(first, part, [value = scales_.at(channel)](size_t) { return value; });
      }
      first += part.size();
      out = out.subspan(part.size());
    }
  }

 private:
  template <typename Scale>
  void fill(uint64_t first, std::span<float> out, Scale scale) const {
    const Index* indices = indices_ + ((first - first_element_) >> shift_);
    if (codebook_.centers.empty()) {
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] = scale(i) * uniform_center(codebook_.step, codebook_.zero_symbol, indices[i]);
      }
      return;
    }
    const float* centers = codebook_.centers.data();
    if (shift_ == 0) {
      for (size_t i = 0; i < out.size(); ++i) out[i] = scale(i) * centers[indices[i]];
      return;
    }
    const uint64_t mask = (uint64_t{1} << shift_) - 1;
    const uint64_t within = first & mask;
    for (size_t i = 0; i < out.size(); ++i) {
      const uint64_t element = within + i;
      out[i] = scale(i) * centers[(uint64_t{indices[element >> shift_]} << shift_) + (element & mask)];
    }
  }

  const Scales& scales_;
  const Codebook& codebook_;
  unsigned shift_;
  const Index* indices_;
  uint64_t first_element_;
};

void round_to(ElementType type, std::span<float> values) {
  if (type == ElementType::kFloat16) {
    for (float& value : values) value = float32_from_float16(float16_from_float32(value));
  } else if (type == ElementType::kBfloat16) {
    for (float& value : values) value = float32_from_bfloat16(bfloat16_from_float32(value));
  }
}

}  // namespace

float scale_from_code(float largest, uint8_t code) {
  const float power = std::bit_cast<float>(uint32_t{127u - code / 16u} << 23);
  return largest * kScaleSteps[code % 16] * power;
}

uint8_t code_from_scale(float largest, float scale) {
  if (!(scale > 0)) return 255;
  const double code = std::nearbyint(16 * std::log2(static_cast<double>(largest) / static_cast<double>(scale)));
  if (!(code > 0)) return 0;
  return code < 255 ? static_cast<uint8_t>(code) : 255;
}

void dequantize(const Tensor& tensor, const Codebook& codebook, std::span<const uint8_t> indices, uint64_t first_index,
                uint64_t first, std::span<float> out) {
  Dequantizer(tensor, codebook, indices.data(), first_index).run(first, out);
  round_to(tensor.type, out);
}

void dequantize(const Tensor& tensor, const Codebook& codebook, std::span<const uint16_t> indices, uint64_t first_index,
                uint64_t first, std::span<float> out) {
  Dequantizer(tensor, codebook, indices.data(), first_index).run(first, out);
  round_to(tensor.type, out);
}

}  // namespace quench::coded
