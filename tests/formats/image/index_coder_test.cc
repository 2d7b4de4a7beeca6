// The index coder: what comes back, what is refused, what it costs, and its bytes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>

#include "formats/image/prior_fitter.h"
#include "formats/image/tiles.h"
#include "tests/formats/image/sample_indices.h"
#include "tests/formats/image/vector_sink.h"
#include "tests/formats/plain_crc32c.h"

namespace quench::image::testing {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes flat_prior(const IndexLayout& layout) { return Bytes(layout.prior_size(), 128); }

Status decode(const IndexLayout& layout, const Bytes& prior, std::span<const uint8_t> coded, Bytes& indices) {
  indices.assign(layout.symbols(), 0xee);
  return decode_indices(layout, prior, coded, indices, index_scratch());
}

void expect_round_trip(const IndexLayout& layout, const Bytes& prior, const Bytes& indices) {
  SCOPED_TRACE(::testing::Message() << layout.channels << " channels, " << layout.levels << " levels, zero "
                                    << layout.zero << ", " << layout.height << " x " << layout.width);
  const Bytes coded = encoded_indices(layout, prior, indices);
  Bytes decoded;
  const Status status = decode(layout, prior, coded, decoded);
  ASSERT_TRUE(status.ok()) << status.detail();
  EXPECT_EQ(decoded, indices);
  EXPECT_EQ(encoded_indices(layout, prior, indices), coded);
}

// Some numbers of levels, and zeros of each.
const uint32_t kSomeLevels[] = {2, 3, 4, 5, 6, 7, 16, 17, 63, 64, 128, kMaxLevels};

std::set<uint32_t> some_zeros(uint32_t levels) {
  const uint32_t least = levels - 1 - std::min(levels - 1, kMaxLevel);
  return {least, levels / 2, std::min(levels - 1, kMaxLevel)};
}

TEST(IndexTree, TellsAllIndicesApartByAllNodes) {
  for (uint32_t levels = kMinLevels; levels <= 64; ++levels) {
    for (uint32_t zero = 0; zero < levels; ++zero) {
      const IndexTree tree(levels, zero);
      std::set<std::vector<std::pair<uint32_t, bool>>> paths;
      std::set<uint32_t> nodes;
      for (uint32_t index = 0; index < levels; ++index) {
        std::vector<std::pair<uint32_t, bool>> path;
        const uint8_t found = tree.walk(static_cast<uint8_t>(index), 0, [&](uint32_t node, bool bit) {
          path.emplace_back(node, bit);
          nodes.insert(node);
          return bit;
        });
        EXPECT_EQ(found, index);
        paths.insert(path);
        EXPECT_EQ(path.front().first, 0u);
      }
      EXPECT_EQ(paths.size(), levels);
      EXPECT_EQ(nodes.size(), levels - 1);
      EXPECT_EQ(*nodes.rbegin(), levels - 2);
    }
  }
}

TEST(IndexTree, TellsAllIndicesApartFromAnyCenter) {
  for (const uint32_t levels : {5u, 6u, 9u, 64u, kMaxLevels}) {
    for (const uint32_t zero : {2u, levels / 2, std::min(levels - 3, kMaxLevel)}) {
      if (levels - 1 - zero > kMaxLevel) continue;
      const IndexTree tree(levels, zero);
      ASSERT_TRUE(tree.can_move());
      for (uint32_t center = 0; center < levels; ++center) {
        std::set<std::vector<bool>> paths;
        for (uint32_t index = 0; index < levels; ++index) {
          std::vector<bool> path;
          const auto level = static_cast<int32_t>(center) - static_cast<int32_t>(zero);
          const uint8_t found = tree.walk(static_cast<uint8_t>(index), level, [&](uint32_t node, bool bit) {
            EXPECT_LT(node, levels - 1);
            path.push_back(bit);
            return bit;
          });
          EXPECT_EQ(found, index);
          paths.insert(path);
        }
        EXPECT_EQ(paths.size(), levels);
      }
    }
  }
  for (const auto& [levels, zero] : {std::pair{3u, 1u}, {4u, 1u}, {9u, 0u}, {9u, 7u}}) {
    EXPECT_FALSE(IndexTree(levels, zero).can_move());
  }
}

TEST(IndexCoder, EverythingComesBack) {
  const uint32_t sides[][2] = {{1, 1}, {1, 128}, {128, 1}, {5, 7}, {16, 17}};
  uint64_t seed = 1;
  for (const uint32_t levels : kSomeLevels) {
    for (const uint32_t zero : some_zeros(levels)) {
      for (const auto& side : sides) {
        const IndexLayout layout{1 + static_cast<uint32_t>(seed % 5), levels, zero, side[0], side[1]};
        const Bytes prior = random_bytes(layout.prior_size(), 256, seed);
        expect_round_trip(layout, flat_prior(layout), picture(layout, ++seed));
        expect_round_trip(layout, prior, noise(layout, ++seed));
        expect_round_trip(layout, prior, Bytes(layout.symbols(), static_cast<uint8_t>(zero)));
        expect_round_trip(layout, Bytes(layout.prior_size(), 0), Bytes(layout.symbols(), static_cast<uint8_t>(zero)));
        expect_round_trip(layout, Bytes(layout.prior_size(), 255), noise(layout, ++seed));
      }
    }
  }
}

TEST(IndexCoder, LargestTileComesBack) {
  const IndexLayout layout{3, 16, 8, kTileSide, kTileSide};
  expect_round_trip(layout, flat_prior(layout), picture(layout, 1));
  expect_round_trip(layout, flat_prior(layout), Bytes(layout.symbols(), 15));
  const IndexLayout deep{kMaxChannels, 16, 0, 3, 2};
  expect_round_trip(deep, flat_prior(deep), Bytes(deep.symbols(), 15));
  expect_round_trip(deep, flat_prior(deep), noise(deep, 2));
}

// A string that is cut short may be that of other indices (an empty one: of zeros only), but mostly it is none's; which
// is why a file has lengths and a checksum.
TEST(IndexCoder, RefusesMostPrefixes) {
  const IndexLayout layout{4, 7, 3, 20, 20};
  const Bytes prior = flat_prior(layout), indices = picture(layout, 3);
  const Bytes coded = encoded_indices(layout, prior, indices);
  ASSERT_GT(coded.size(), 200u);
  Bytes decoded;
  size_t refused = 0;
  for (size_t size = 0; size < coded.size(); ++size) {
    if (!decode(layout, prior, std::span(coded).first(size), decoded).ok()) ++refused;
    EXPECT_NE(decoded, indices);
  }
  EXPECT_GE(refused, coded.size() - 8);
  Bytes longer = coded;
  longer.push_back(1);
  EXPECT_FALSE(decode(layout, prior, longer, decoded).ok());
}

TEST(IndexCoder, DamageIsAnErrorOrOtherIndices) {
  const IndexLayout layout{4, 7, 3, 20, 20};
  const Bytes prior = flat_prior(layout), indices = picture(layout, 4);
  const Bytes coded = encoded_indices(layout, prior, indices);
  Bytes decoded;
  size_t refused = 0, flips = 0;
  for (size_t bit = 0; bit < coded.size() * 8; ++bit, ++flips) {
    Bytes damaged = coded;
    damaged[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    if (decode(layout, prior, damaged, decoded).ok()) {
      EXPECT_NE(decoded, indices);
      for (const uint8_t index : decoded) ASSERT_LT(index, layout.levels);
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, flips / 2);
}

TEST(IndexCoder, FewBytesForManyIndicesEndSoon) {
  const IndexLayout layout{kMaxChannels, 16, 0, kTileSide, kTileSide};
  Bytes decoded;
  EXPECT_EQ(decode(layout, flat_prior(layout), {}, decoded).code(), StatusCode::kTruncated);
  EXPECT_EQ(decoded.back(), 0xee);
}

TEST(IndexCoder, RefusesWhatIsNoTile) {
  const IndexLayout good{2, 5, 2, 4, 4};
  EXPECT_TRUE(check_index_layout(good).ok());
  const auto refused = [&](auto change) {
    IndexLayout layout = good;
    change(layout);
    return check_index_layout(layout).code() == StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](IndexLayout& l) { l.channels = 0; }));
  EXPECT_TRUE(refused([](IndexLayout& l) { l.channels = kMaxChannels + 1; }));
  EXPECT_TRUE(refused([](IndexLayout& l) { l.levels = 1; }));
  EXPECT_TRUE(refused([](IndexLayout& l) { l.levels = kMaxLevels + 1; }));
  EXPECT_TRUE(refused([](IndexLayout& l) { l.zero = l.levels; }));
  EXPECT_TRUE(refused([](IndexLayout& l) { l = {1, 130, 1, 4, 4}; }));
  EXPECT_TRUE(refused([](IndexLayout& l) { l = {1, 130, 128, 4, 4}; }));
  EXPECT_TRUE(refused([](IndexLayout& l) { l.height = 0; }));
  EXPECT_TRUE(refused([](IndexLayout& l) { l.width = kTileSide + 1; }));

  alignas(64) static uint8_t scratch[index_scratch_size(kMaxChannels) + 64];
  Bytes indices(good.symbols()), prior = flat_prior(good);
  const Bytes coded = encoded_indices(good, prior, indices);
  const auto code = [&](std::span<const uint8_t> p, std::span<uint8_t> out, std::span<uint8_t> memory) {
    return decode_indices(good, p, coded, out, memory).code();
  };
  const std::span<uint8_t> memory = scratch;
  EXPECT_EQ(code(prior, indices, memory), StatusCode::kOk);
  EXPECT_EQ(code(std::span(prior).first(prior.size() - 1), indices, memory), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(prior, std::span(indices).first(indices.size() - 1), memory), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(prior, indices, memory.first(index_scratch_size(good.channels) - 1)), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(prior, indices, memory.subspan(1)), StatusCode::kInvalidArgument);
}

TEST(IndexCoder, RefusesIndicesBeyondTheLevels) {
  const IndexLayout layout{1, 3, 1, 2, 2};
  VectorSink sink;
  const Bytes prior = flat_prior(layout), indices = {0, 1, 2, 3};
  EXPECT_EQ(encode_indices(layout, prior, indices, index_scratch(), sink).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(sink.size, 0u);
}

TEST(IndexCoder, NeighboursSaveBits) {
  const IndexLayout layout{8, 7, 3, 64, 64};
  const Bytes indices = picture(layout, 5);
  double bits = 0;
  for (size_t channel = 0; channel < layout.channels; ++channel) {
    double counts[kMaxLevels] = {};
    const double plane = 64 * 64;
    for (size_t i = 0; i < 64 * 64; ++i) counts[indices[channel * 64 * 64 + i]] += 1;
    for (const double count : counts) bits -= count > 0 ? count * std::log2(count / plane) : 0;
  }
  const Bytes coded = encoded_indices(layout, flat_prior(layout), indices);
  EXPECT_LT(static_cast<double>(coded.size()), 0.93 * bits / 8);
}

TEST(Prior, IsTheLogitOfWhatWasCounted) {
  // One channel, two levels: a single decision. Alone in its picture, a symbol has no neighbours: activity 0.
  PriorFitter fitter(1, 2, 0);
  const auto add = [&](uint8_t index, int times) {
    for (int i = 0; i < times; ++i) fitter.add(1, 1, std::span(&index, 1));
  };
  add(0, 300);  // the decision "is it zero" falls as 1
  add(1, 100);
  const std::vector<uint8_t> prior = fitter.finish();
  ASSERT_EQ(prior.size(), size_t{prior_rows(1, 2)});
  // Where nothing was counted, the mean of all activities, which is the same here.
  for (uint32_t i = 0; i < kActivities; ++i) EXPECT_EQ(prior[i], 128 + std::lround(16 * std::log(3.0)));
  // Without neighbours the mean magnitude is all there is to predict: of every fourth symbol, 25 in 100, and 20 more that
  // hold it near 0.
  EXPECT_EQ(prior[kActivities], 9);
  EXPECT_EQ(prior[kActivities + 2], 128);  // counted from zero
  EXPECT_EQ(prior[kActivities + 3] - 128, std::lround(512 * 25.0 / 120));
  for (uint32_t i = 4; i < kFixedWeights; ++i) EXPECT_EQ(prior[kActivities + i], 128);
}

// All but one index of forty are zero, beyond what picture() has.
Bytes sparse_picture(const IndexLayout& layout, uint64_t seed) {
  Bytes indices = picture(layout, seed);
  Random random(seed);
  for (uint8_t& index : indices) index = random.below(40) == 0 ? index : static_cast<uint8_t>(layout.zero);
  return indices;
}

// A small picture ends before the coder has learned what the prior says.
TEST(Prior, SavesBits) {
  const IndexLayout layout{12, 9, 4, 8, 12}, large{12, 9, 4, 60, 90};
  PriorFitter fitter(layout.channels, layout.levels, layout.zero);
  for (uint64_t seed = 10; seed < 18; ++seed) fitter.add(large.height, large.width, sparse_picture(large, seed));
  const Bytes prior = fitter.finish();
  size_t with = 0, without = 0;
  for (uint64_t seed = 40; seed < 50; ++seed) {
    with += encoded_indices(layout, prior, sparse_picture(layout, seed)).size();
    without += encoded_indices(layout, flat_prior(layout), sparse_picture(layout, seed)).size();
  }
  EXPECT_LT(static_cast<double>(with), 0.98 * static_cast<double>(without));
}

// The second channel is the slope of the first to the right, which is noise: a linear prediction knows it all.
TEST(Prior, PredictsFromChannelsBefore) {
  const IndexLayout layout{2, 15, 7, 60, 60};
  const auto slopes = [&](uint64_t seed) {
    Bytes indices = random_bytes(layout.symbols(), 7, seed);
    for (size_t i = 0; i < 3600; ++i) indices[i] = static_cast<uint8_t>(indices[i] + 4);
    for (size_t i = 0; i < 3600; ++i) {
      const int right = i % 60 < 59 ? indices[i + 1] : 7, left = i % 60 > 0 ? indices[i - 1] : 7;
      indices[3600 + i] = static_cast<uint8_t>(7 + right - left);
    }
    return indices;
  };
  PriorFitter fitter(layout.channels, layout.levels, layout.zero);
  for (uint64_t seed = 1; seed < 5; ++seed) fitter.add(layout.height, layout.width, slopes(seed));
  const double noise_bytes = 3600 * std::log2(7) / 8;
  const Bytes indices = slopes(9);
  EXPECT_LT(static_cast<double>(encoded_indices(layout, fitter.finish(), indices).size()), 1.15 * noise_bytes);
  EXPECT_GT(static_cast<double>(encoded_indices(layout, flat_prior(layout), indices).size()), 1.9 * noise_bytes);
}

// A channel that rises slowly through all its levels: steps of a few, from one place to the next.
TEST(Prior, CountsFromPredictionsWhereLevelsChangeSlowly) {
  const IndexLayout layout{1, kMaxLevels, 127, 60, 60};
  const auto slow = [&](uint64_t seed) {
    const Bytes steps = random_bytes(layout.symbols(), 3, seed);
    Bytes indices(layout.symbols());
    for (size_t i = 0; i < 3600; ++i) indices[i] = static_cast<uint8_t>(2 * (i / 60) + 2 * (i % 60) + steps[i]);
    return indices;
  };
  PriorFitter fitter(1, layout.levels, layout.zero);
  for (uint64_t seed = 1; seed < 5; ++seed) fitter.add(layout.height, layout.width, slow(seed));
  Bytes prior = fitter.finish();
  uint8_t& moved = prior[size_t{kActivities} * (layout.levels - 1) + 2];
  EXPECT_EQ(moved, 129);
  const Bytes indices = slow(9);
  const size_t from_predictions = encoded_indices(layout, prior, indices).size();
  moved = 128;
  EXPECT_LT(2 * from_predictions, encoded_indices(layout, prior, indices).size());
}

TEST(Prior, IsCountedByTiles) {
  const IndexLayout layout{2, 5, 2, 130, 300};
  const Bytes all = picture(layout, 1);
  PriorFitter whole(layout.channels, layout.levels, layout.zero), parts(layout.channels, layout.levels, layout.zero);
  whole.add(layout.height, layout.width, all);
  for (uint32_t number = 0; number < tile_count(layout.height, layout.width); ++number) {
    const TileArea area = tile_area(layout.height, layout.width, number);
    parts.add(area.height, area.width, cut_tile(area, layout.channels, layout.height, layout.width, all));
  }
  EXPECT_EQ(whole.finish(), parts.finish());
}

TEST(Tiles, CoverTheLatentsOnce) {
  for (const auto& [height, width] : {std::pair{1u, 1u}, {128u, 128u}, {129u, 127u}, {300u, 260u}}) {
    std::vector<int> covered(size_t{height} * width);
    for (uint32_t number = 0; number < tile_count(height, width); ++number) {
      const TileArea area = tile_area(height, width, number);
      for (uint32_t row = 0; row < area.height; ++row) {
        for (uint32_t column = 0; column < area.width; ++column) {
          ++covered.at(size_t{area.top + row} * width + area.left + column);
        }
      }
    }
    EXPECT_EQ(std::set(covered.begin(), covered.end()), std::set{1});
  }
}

// The bytes lie in users' files, and are the same on every machine: this test runs on 32-bit Arm, too. With
// QUENCH_WRITE_GOLDEN_INDICES=path they are written there as the coder gives them.
struct Golden {
  size_t bytes;
  uint32_t crc;
};
#include "tests/formats/image/golden_indices.inc"

const IndexLayout kGoldenLayouts[] = {{1, 2, 0, 16, 16},   {1, 2, 1, 16, 16},         {3, 6, 2, 33, 20},
                                      {12, 7, 3, 24, 40},  {32, 16, 7, 12, 8},        {5, 9, 0, 31, 9},
                                      {4, 9, 8, 128, 128}, {kMaxChannels, 5, 2, 4, 4}};

Bytes golden_bytes(const IndexLayout& layout) {
  // Priors from 88 to 167: logits from -2.5 to 2.5.
  Bytes prior = random_bytes(layout.prior_size(), 80, layout.channels);
  for (uint8_t& byte : prior) byte = static_cast<uint8_t>(byte + 88);
  return encoded_indices(layout, prior, picture(layout, layout.levels));
}

TEST(IndexCoder, WritesWhatItAlwaysWrote) {
  const Golden* golden = kGolden;
  for (const IndexLayout& layout : kGoldenLayouts) {
    const Bytes coded = golden_bytes(layout);
    EXPECT_EQ(coded.size(), golden->bytes);
    EXPECT_EQ(plain_crc32c(coded), golden->crc);
    ++golden;
  }
  EXPECT_EQ(golden, std::end(kGolden));

  const char* path = std::getenv("QUENCH_WRITE_GOLDEN_INDICES");
  if (path == nullptr) return;
  std::ofstream out(path);
  out << "// Written by index_coder_test.cc; see there.\n\nconst Golden kGolden[] = {\n" << std::hex;
  for (const IndexLayout& layout : kGoldenLayouts) {
    const Bytes coded = golden_bytes(layout);
    out << "    {" << std::dec << coded.size() << ", 0x" << std::hex << plain_crc32c(coded) << "},\n";
  }
  out << "};\n";
}

}  // namespace
}  // namespace quench::image::testing
