// Fuzzes the reader of .qim files: the bytes as a file, with a checksum that is put right, so that what lies behind it is
// reached. Whatever is decoded must be within the header's bounds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "tests/formats/image/sample_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace image = quench::image;
  constexpr uint64_t kMostSymbols = 1 << 16, kMostPixels = 1 << 21;  // that a run may take
  std::vector<uint8_t> file(data, data + size);
  image::testing::fix_checksum(file);
  const quench::Result<image::Reader> reader = image::Reader::open(file);
  if (!reader.ok()) return 0;
  const image::ImageHeader& header = reader->header();
  const uint64_t symbols = uint64_t{header.channels} * header.latent_height() * header.latent_width();
  if (symbols > kMostSymbols || uint64_t{header.width} * header.height > kMostPixels) return 0;
  // A prior from the file itself: weights of any kind.
  const std::vector<uint8_t> prior(file.begin(), file.end());
  const quench::Status status = image::testing::decode_all(file, prior);
  if (status.code() == quench::StatusCode::kInvalidArgument) std::abort();
  return 0;
}
