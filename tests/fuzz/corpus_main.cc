// Runs a fuzz target over the files of a folder as an ordinary test, with any compiler: each file, each of its prefixes
// (of long files, a thousand of them) and a thousand copies with a few bytes changed.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t kVariants = 1000;

// In memory of exactly its size, so that a sanitizer sees every step beyond it.
void run(std::vector<uint8_t> input) {
  input.shrink_to_fit();
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

void run_with_variants(const std::vector<uint8_t>& input) {
  run(input);
  const size_t step = input.size() / kVariants + 1;
  for (size_t size = 0; size < input.size(); size += step) {
    run({input.begin(), input.begin() + static_cast<ptrdiff_t>(size)});
  }
  std::mt19937 random(1);
  for (size_t i = 0; i < kVariants && !input.empty(); ++i) {
    std::vector<uint8_t> damaged = input;
    for (uint32_t changes = 1 + random() % 4; changes > 0; --changes) {
      damaged[random() % damaged.size()] = static_cast<uint8_t>(random());
    }
    run(damaged);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::ifstream stream(entry.path(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    run_with_variants({bytes.begin(), bytes.end()});
    ++files;
  }
  std::printf("%d files\n", files);
  return files > 0 ? 0 : 1;
}
