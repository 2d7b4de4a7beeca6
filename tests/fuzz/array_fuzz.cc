// Fuzzes the readers of NumPy's files: the bytes as a .npy file, and as a .npz archive.
#include <cstddef>
#include <cstdint>
#include <span>

#include "compressor/data/npy.h"
#include "formats/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quench;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    static_cast<void>(data::parse_npy(bytes, "fuzz.npy").to_float());
  } catch (const Error&) {
  }
  try {
    static_cast<void>(data::parse_npz(bytes, "fuzz.npz"));
  } catch (const Error&) {
  }
  return 0;
}
