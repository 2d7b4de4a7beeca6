// The built-in labelled set: 32 x 32 colour images of ten kinds of shapes, drawn from a seed, so that the quickstart
// and the tests need no download.
//
//     uint8_t pixels[kShapesPixels];
//     int label = draw_shape_image({.seed = 0, .split = ShapesSplit::kTest}, 17, pixels);
//
// An image depends on nothing but (seed, split, index), and its bytes are the same on every machine: the random numbers
// come from a counter, geometry uses only IEEE 754 double addition, multiplication and division (no libm, no
// contraction), and colours are integers. A linear classifier stays far behind a convolutional network on it, since
// place, size, turn, stretch, colour, background, clutter and noise all vary.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace quench::data {

inline constexpr int kShapesSide = 32;
inline constexpr int kShapesPixels = 3 * kShapesSide * kShapesSide;
inline constexpr int kShapesClasses = 10;

// The labels 0 to 9 in order.
inline constexpr std::array<std::string_view, kShapesClasses> kShapesNames = {
    "circle", "square", "triangle", "pentagon", "star", "cross", "ring", "crescent", "heart", "arrow"};

enum class ShapesSplit : uint8_t { kTrain = 0, kTest = 1 };

struct ShapesOptions {
  uint64_t seed = 0;
  ShapesSplit split = ShapesSplit::kTest;
};

// Draws image `index` as rows of interleaved RGB bytes (32 x 32 x 3) and returns its label.
int draw_shape_image(const ShapesOptions& options, uint64_t index, std::span<uint8_t, kShapesPixels> pixels);

}  // namespace quench::data
