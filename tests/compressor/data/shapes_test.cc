#include "compressor/data/shapes.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "formats/base/crc32c.h"

namespace quench::data {
namespace {

using Pixels = std::array<uint8_t, kShapesPixels>;

Pixels draw(const ShapesOptions& options, uint64_t index, int* label = nullptr) {
  Pixels pixels{};
  const int kind = draw_shape_image(options, index, pixels);
  if (label) *label = kind;
  return pixels;
}

uint32_t checksum(const ShapesOptions& options, uint64_t count) {
  uint32_t sum = 0;
  for (uint64_t i = 0; i < count; ++i) {
    int label = 0;
    const Pixels pixels = draw(options, i, &label);
    const auto label_byte = static_cast<std::byte>(label);
    sum = crc32c(std::as_bytes(std::span(pixels)), crc32c({&label_byte, 1}, sum));
  }
  return sum;
}

// Models that were trained on the set, and figures that were measured on it, rely on these bytes.
TEST(Shapes, ImagesNeverChange) {
  EXPECT_EQ(checksum({.seed = 0, .split = ShapesSplit::kTest}, 200), 3573578239u);
  EXPECT_EQ(checksum({.seed = 0, .split = ShapesSplit::kTrain}, 200), 4154514581u);
  EXPECT_EQ(checksum({.seed = 7, .split = ShapesSplit::kTest}, 200), 894289342u);
}

TEST(Shapes, AnImageDependsOnSeedSplitAndIndexOnly) {
  const ShapesOptions options;
  const Pixels first = draw(options, 5);
  draw(options, 6);
  EXPECT_EQ(draw(options, 5), first);
  EXPECT_NE(draw(options, 6), first);
  EXPECT_NE(draw({.seed = 1, .split = options.split}, 5), first);
  EXPECT_NE(draw({.seed = options.seed, .split = ShapesSplit::kTrain}, 5), first);
}

TEST(Shapes, SplitsShareNoImage) {
  std::set<Pixels> images;
  for (const ShapesSplit split : {ShapesSplit::kTrain, ShapesSplit::kTest}) {
    for (uint64_t i = 0; i < 200; ++i) images.insert(draw({.seed = 0, .split = split}, i));
  }
  EXPECT_EQ(images.size(), 400u);
}

TEST(Shapes, LabelsAreBalanced) {
  std::array<int, kShapesClasses> counts{};
  for (uint64_t i = 0; i < 2000; ++i) {
    int label = -1;
    draw({}, i, &label);
    ASSERT_GE(label, 0);
    ASSERT_LT(label, kShapesClasses);
    ++counts[static_cast<size_t>(label)];
  }
  for (const int count : counts) {
    EXPECT_GT(count, 140);  // 200 expected, standard deviation 13
    EXPECT_LT(count, 260);
  }
}

// The class must not show in single pixels: the mean images of the classes are nearly the same.
TEST(Shapes, MeanImagesDoNotTellTheClasses) {
  constexpr uint64_t kImages = 2000;
  std::vector<std::vector<double>> means(kShapesClasses, std::vector<double>(kShapesPixels, 0.0));
  std::vector<double> counts(kShapesClasses, 0.0);
  for (uint64_t i = 0; i < kImages; ++i) {
    int label = 0;
    const Pixels pixels = draw({}, i, &label);
    for (size_t p = 0; p < pixels.size(); ++p) means[static_cast<size_t>(label)][p] += pixels[p];
    ++counts[static_cast<size_t>(label)];
  }
  for (size_t k = 0; k < means.size(); ++k) {
    for (double& value : means[k]) value /= counts[k];
  }
  const auto nearest_mean = [&](const Pixels& pixels) {
    size_t best = 0;
    double best_distance = 1e300;
    for (size_t k = 0; k < means.size(); ++k) {
      double distance = 0;
      for (size_t p = 0; p < pixels.size(); ++p) distance += (pixels[p] - means[k][p]) * (pixels[p] - means[k][p]);
      if (distance < best_distance) {
        best_distance = distance;
        best = k;
      }
    }
    return static_cast<int>(best);
  };
  int right = 0;
  for (uint64_t i = 0; i < 500; ++i) {
    int label = 0;
    const Pixels pixels = draw({.seed = 0, .split = ShapesSplit::kTrain}, i, &label);
    right += nearest_mean(pixels) == label;
  }
  EXPECT_LT(right, 150);  // 30 %; chance is 10 %
}

}  // namespace
}  // namespace quench::data
