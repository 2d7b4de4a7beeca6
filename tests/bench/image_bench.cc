// Size and speed of the coder of image files' indices, on one thread.
//
//     image_bench --levels L --zero Z [--prior PRIOR.npy] INDICES.npy...
//
// Each file holds what a codec's encoder makes of one image: uint8 [channels, height, width] or with a 1 before. The
// prior is uint8 [channels, rows, L - 1]; without it, it is fitted to the files with odd numbers where even ones
// are coded, and the other way round. Sizes are over the order-0 entropy of each channel of each file, for which no
// table is counted; times are of the processor.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "compressor/data/npy.h"
#include "formats/entropy/statistics.h"
#include "formats/error.h"
#include "formats/image/prior_fitter.h"
#include "formats/image/tiles.h"
#include "tests/formats/image/vector_sink.h"

namespace quench::image {
namespace {

struct Picture {
  uint32_t channels = 0, height = 0, width = 0;
  std::vector<uint8_t> indices;
};

std::vector<uint8_t> bytes_of(const data::Array& array) {
  const auto* first = reinterpret_cast<const uint8_t*>(array.bytes.data());
  return {first, first + array.bytes.size()};
}

Picture read_picture(const std::string& path) {
  const data::Array array = data::read_npy(path);
  const size_t rank = array.dims.size();
  if (array.type != ElementType::kUint8 || rank < 3) throw Error(path + ": uint8 [channels, height, width] is needed");
  const auto side = [&](size_t from_end) { return static_cast<uint32_t>(array.dims[rank - from_end]); };
  return {side(3), side(2), side(1), bytes_of(array)};
}

double order0_bytes(const Picture& picture) {
  const size_t plane = size_t{picture.height} * picture.width;
  double bits = 0;
  for (size_t channel = 0; channel < picture.channels; ++channel) {
    uint64_t counts[kMaxLevels] = {};
    for (size_t i = 0; i < plane; ++i) ++counts[picture.indices[channel * plane + i]];
    bits += entropy::entropy_bits(counts) * static_cast<double>(plane);
  }
  return bits / 8;
}

struct Totals {
  double symbols = 0, order0 = 0, coded = 0, encode_seconds = 0, decode_seconds = 0;
};

void measure(const Picture& picture, uint32_t levels, uint32_t zero, const std::vector<uint8_t>& prior,
             Totals& totals) {
  const auto seconds = [](std::clock_t from) { return static_cast<double>(std::clock() - from) / CLOCKS_PER_SEC; };
  for (uint32_t number = 0; number < tile_count(picture.height, picture.width); ++number) {
    const TileArea area = tile_area(picture.height, picture.width, number);
    const IndexLayout layout{picture.channels, levels, zero, area.height, area.width};
    const std::vector<uint8_t> tile = cut_tile(area, picture.channels, picture.height, picture.width, picture.indices);
    const auto begun = std::clock();
    const std::vector<uint8_t> coded = testing::encoded_indices(layout, prior, tile);
    totals.encode_seconds += seconds(begun);
    std::vector<uint8_t> decoded(tile.size());
    const auto again = std::clock();
    const Status status = decode_indices(layout, prior, coded, decoded, testing::index_scratch());
    totals.decode_seconds += seconds(again);
    if (!status.ok() || decoded != tile) throw Error(std::string("the indices do not come back: ") + status.detail());
    totals.coded += static_cast<double>(coded.size());
  }
  totals.order0 += order0_bytes(picture);
  totals.symbols += static_cast<double>(picture.indices.size());
}

void run(const std::vector<std::string>& paths, uint32_t levels, uint32_t zero, const std::string& prior_path) {
  std::vector<Picture> pictures;
  for (const std::string& path : paths) pictures.push_back(read_picture(path));
  Totals totals;
  for (size_t half = 0; half < 2; ++half) {
    std::vector<uint8_t> prior;
    if (prior_path.empty()) {
      PriorFitter fitter(pictures[0].channels, levels, zero);
      for (size_t i = 1 - half; i < pictures.size(); i += 2) {
        fitter.add(pictures[i].height, pictures[i].width, pictures[i].indices);
      }
      prior = fitter.finish();
    } else {
      prior = bytes_of(data::read_npy(prior_path));
    }
    for (size_t i = half; i < pictures.size(); i += 2) measure(pictures[i], levels, zero, prior, totals);
  }
  std::printf(
      "%zu files, %.0f symbols; order 0 %.0f bytes, coded %.0f (%.4f); encode %.0f ns, decode %.0f ns a symbol\n",
      pictures.size(), totals.symbols, totals.order0, totals.coded, totals.coded / totals.order0,
      1e9 * totals.encode_seconds / totals.symbols, 1e9 * totals.decode_seconds / totals.symbols);
}

}  // namespace
}  // namespace quench::image

int main(int count, char** arguments) {
  std::vector<std::string> paths;
  uint32_t levels = 0, zero = 0;
  std::string prior;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    const bool has_value = i + 1 < count;
    if (argument == "--levels" && has_value) {
      levels = static_cast<uint32_t>(std::atoi(arguments[++i]));
    } else if (argument == "--zero" && has_value) {
      zero = static_cast<uint32_t>(std::atoi(arguments[++i]));
    } else if (argument == "--prior" && has_value) {
      prior = arguments[++i];
    } else {
      paths.push_back(argument);
    }
  }
  try {
    if (paths.empty() || levels == 0)
      throw quench::Error("image_bench --levels L --zero Z [--prior P.npy] FILE.npy...");
    quench::image::run(paths, levels, zero, prior);
  } catch (const quench::Error& error) {
    std::fprintf(stderr, "image_bench: error: %s\n", error.what());
    return 1;
  }
}
