#include "formats/container/layout.h"

#include <bit>
#include <cmath>

namespace quench::container {
namespace {

// 2^(-k / 16), each rounded to the nearest float32.
constexpr float kScaleSteps[16] = {0x1p0f,         0x1.ea4afap-1f, 0x1.d5818ep-1f, 0x1.c199bep-1f,
                                   0x1.ae89fap-1f, 0x1.9c4918p-1f, 0x1.8ace54p-1f, 0x1.7a1148p-1f,
                                   0x1.6a09e6p-1f, 0x1.5ab07ep-1f, 0x1.4bfdaep-1f, 0x1.3dea64p-1f,
                                   0x1.306fep-1f,  0x1.2387a6p-1f, 0x1.172b84p-1f, 0x1.0b5586p-1f};

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

}  // namespace quench::container
