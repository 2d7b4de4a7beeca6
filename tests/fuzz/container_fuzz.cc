// Fuzzes the container's reader: opens the bytes as a .quench file and decodes all that is in it, in every form.
//
// The first byte says whether the checksums are made to match before the file is opened; without that the fuzzer would
// stop at the header, and with it always the checks of the sums themselves would go untried.
#include <cstddef>
#include <cstdint>
#include <span>

#include "tests/formats/container/sample_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quench::container;
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  FileBytes file(bytes.begin(), bytes.end());
  if (data[0] != 0) reseal(file);
  static_cast<void>(decode_everything(file, small_limits()));
  return 0;
}
