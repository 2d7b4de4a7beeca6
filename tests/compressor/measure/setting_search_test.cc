#include "compressor/measure/setting_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace quench::measure {
namespace {

// An encoder whose file at setting s has sizes[s] bytes.
struct Encoder {
  std::vector<uint64_t> sizes;
  std::set<int> asked = {};

  SettingSearch search() {
    return {static_cast<int>(sizes.size()), [this](int setting) {
              EXPECT_TRUE(asked.insert(setting).second) << "setting " << setting << " was encoded twice";
              return sizes.at(static_cast<size_t>(setting));
            }};
  }
};

Encoder growing(int count) {
  Encoder encoder;
  for (int s = 0; s < count; ++s) encoder.sizes.push_back(static_cast<uint64_t>(1000 * std::pow(1.05, s)));
  return encoder;
}

void expect_neighbours(const std::vector<uint64_t>& sizes, const SettingSearch::Neighbours& found, uint64_t most) {
  const auto bytes = [&](int setting) { return sizes.at(static_cast<size_t>(setting)); };
  ASSERT_EQ(found.above, found.within + 1);
  EXPECT_TRUE(found.within == -1 || bytes(found.within) <= most) << found.within << ", " << most;
  EXPECT_TRUE(found.above == static_cast<int>(sizes.size()) || bytes(found.above) > most)
      << found.above << ", " << most;
}

TEST(SettingSearch, FindsTheLargestFileThatFits) {
  for (const int count : {1, 2, 3, 64, 101}) {
    const std::vector<uint64_t> sizes = growing(count).sizes;
    for (const uint64_t most : {uint64_t{1}, uint64_t{999}, uint64_t{1000}, uint64_t{1001}, uint64_t{5000},
                                sizes.back() - 1, sizes.back(), sizes.back() + 1}) {
      Encoder encoder{sizes};
      expect_neighbours(sizes, encoder.search().around(most), most);
    }
  }
}

TEST(SettingSearch, EncodesFewSettingsAndEachOnce) {
  Encoder encoder = growing(101);
  SettingSearch search = encoder.search();
  search.around(7000);
  EXPECT_LE(encoder.asked.size(), 7u);
  for (const uint64_t most : {9000, 12000, 20000, 7000}) search.around(most);
  EXPECT_LE(encoder.asked.size(), 20u);
  search.bytes(search.around(7000).within);
}

TEST(SettingSearch, HoldsWhereSizesDoNotAlwaysGrow) {
  Encoder encoder{{10, 30, 20, 40, 35, 35, 60, 50, 70}};
  SettingSearch search = encoder.search();
  for (uint64_t most = 5; most < 80; ++most) expect_neighbours(encoder.sizes, search.around(most), most);
}

}  // namespace
}  // namespace quench::measure
