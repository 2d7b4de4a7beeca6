// Fuzzes the decoders of images: the bytes as a PNG or a JPEG file, whichever they begin like.
#include <cstddef>
#include <cstdint>
#include <span>

#include "compressor/data/image.h"
#include "formats/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    static_cast<void>(quench::data::decode_image(std::as_bytes(std::span(data, size)), "fuzz.png"));
  } catch (const quench::Error&) {
  }
  return 0;
}
