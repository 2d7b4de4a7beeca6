#include "compressor/training/loop/drop_path.h"

#include "compressor/training/loop/counter_random.h"
#include "formats/onnx/columns.h"

namespace quench::training {
namespace {

constexpr uint64_t kStream = 0x64726F7070617468;  // apart from the streams of batches with the same seed

uint32_t keep_some(int joined, double rate, uint64_t key) {
  uint32_t kept = 0;
  for (int i = 0; i < joined; ++i) {
    if (unit(mix(key, static_cast<uint64_t>(i))) >= rate) kept |= uint32_t{1} << i;
  }
  return kept != 0 ? kept : uint32_t{1} << mix(key, static_cast<uint64_t>(joined)) % static_cast<uint64_t>(joined);
}

}  // namespace

std::vector<uint32_t> draw_paths(const std::vector<int>& joins, int columns, double rate, uint64_t seed, int64_t step) {
  const uint64_t key = mix(mix(seed, kStream), static_cast<uint64_t>(step));
  const uint64_t draw = mix(key, ~uint64_t{0});
  if (draw & 1) {
    return paths_of_column(joins, columns, 1 + static_cast<int>((draw >> 1) % static_cast<uint64_t>(columns)));
  }
  std::vector<uint32_t> paths;
  for (size_t i = 0; i < joins.size(); ++i) paths.push_back(keep_some(joins[i], rate, mix(key, i)));
  return paths;
}

std::vector<uint32_t> paths_of_column(const std::vector<int>& joins, int columns, int column) {
  std::vector<uint32_t> paths;
  for (const int joined : joins) paths.push_back(uint32_t{1} << input_of_column(column, joined, columns));
  return paths;
}

}  // namespace quench::training
