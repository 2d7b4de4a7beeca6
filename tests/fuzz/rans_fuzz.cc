#include "tests/fuzz/stream_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quench::entropy;
  return testing::fuzz_stream(Coder::kRans, data, size);
}
