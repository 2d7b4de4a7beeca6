// Fuzzes the byte coder. The first two bytes are the decoded length, or 0: then the rest is compressed and must come
// back.
#include <cstdlib>
#include <vector>

#include "formats/entropy/bytes_decoder.h"
#include "formats/entropy/bytes_encoder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quench::entropy;
  alignas(64) static uint8_t scratch[kBytesScratch];
  if (size < 2) return 0;
  const size_t length = data[0] | size_t{data[1]} << 8;
  const std::vector<uint8_t> rest(data + 2, data + size);
  if (length != 0) {
    std::vector<uint8_t> out(length);
    static_cast<void>(decompress_bytes(rest, out, scratch));
    return 0;
  }
  const std::vector<uint8_t> coded = compress_bytes(rest);
  std::vector<uint8_t> out(rest.size());
  if (!decompress_bytes(coded, out, scratch).ok() || out != rest) std::abort();
  return 0;
}
