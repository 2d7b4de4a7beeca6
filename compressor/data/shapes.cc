#include "compressor/data/shapes.h"

#include <algorithm>

#include "compressor/data/counter_random.h"

namespace quench::data {
namespace {

constexpr int kSupersampling = 4;  // samples per pixel and axis
constexpr int kCoverageSteps = kSupersampling * kSupersampling;

struct Point {
  double x, y;
};

using Color = std::array<int, 3>;

// A unit vector in a random direction. The half-angle form (1 - t^2, 2t) / (1 + t^2) needs no sine; t below tan(pi / 8)
// gives one octant, the other seven are mirrored.
Point random_direction(CounterRandom& random) {
  double t = random.uniform(0.0, 0.41421356237309503);
  double scale = 1.0 / (1.0 + t * t);
  Point direction{(1.0 - t * t) * scale, 2.0 * t * scale};
  int octant = random.below(8);
  if (octant & 1) std::swap(direction.x, direction.y);
  if (octant & 2) direction.x = -direction.x;
  if (octant & 4) direction.y = -direction.y;
  return direction;
}

Color random_color(CounterRandom& random) { return {random.below(256), random.below(256), random.below(256)}; }

int squared_distance(const Color& a, const Color& b) {
  int sum = 0;
  for (int c = 0; c < 3; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
  return sum;
}

// The color of three draws that stands out most from both colors of the background.
Color contrasting_color(CounterRandom& random, const Color& a, const Color& b) {
  Color best{};
  int best_distance = -1;
  for (int draw = 0; draw < 3; ++draw) {
    Color color = random_color(random);
    int distance = std::min(squared_distance(color, a), squared_distance(color, b));
    if (distance > best_distance) {
      best = color;
      best_distance = distance;
    }
  }
  return best;
}

// Outlines with a circumscribed circle of about radius 1, y down.
constexpr std::array<Point, 3> kTriangle = {{{0.0, -1.05}, {0.909, 0.525}, {-0.909, 0.525}}};
constexpr std::array<Point, 5> kPentagon = {
    {{0.0, -1.0}, {0.951057, -0.309017}, {0.587785, 0.809017}, {-0.587785, 0.809017}, {-0.951057, -0.309017}}};
constexpr std::array<Point, 10> kStar = {{{0.0, -1.1},
                                          {0.246903, -0.339833},
                                          {1.046163, -0.339919},
                                          {0.399496, 0.129804},
                                          {0.646564, 0.889919},
                                          {0.0, 0.42},
                                          {-0.646564, 0.889919},
                                          {-0.399496, 0.129804},
                                          {-1.046163, -0.339919},
                                          {-0.246903, -0.339833}}};
constexpr std::array<Point, 7> kArrow = {
    {{1.05, 0.0}, {0.15, 0.85}, {0.15, 0.3}, {-0.95, 0.3}, {-0.95, -0.3}, {0.15, -0.3}, {0.15, -0.85}}};

bool inside_polygon(std::span<const Point> corners, Point p) {
  bool inside = false;
  for (size_t i = 0, j = corners.size() - 1; i < corners.size(); j = i++) {
    const Point& a = corners[i];
    const Point& b = corners[j];
    if ((a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x) inside = !inside;
  }
  return inside;
}

bool inside_heart(Point p) {
  double x = 1.15 * p.x;
  double y = 0.1 - 1.15 * p.y;
  double a = x * x + y * y - 1.0;
  return a * a * a <= x * x * (y * y * y);
}

bool inside_shape(int kind, Point p) {
  double radius2 = p.x * p.x + p.y * p.y;
  double ax = p.x < 0 ? -p.x : p.x;
  double ay = p.y < 0 ? -p.y : p.y;
  switch (kind) {
    case 0:
      return radius2 <= 0.81;
    case 1:
      return ax <= 0.76 && ay <= 0.76;
    case 2:
      return inside_polygon(kTriangle, p);
    case 3:
      return inside_polygon(kPentagon, p);
    case 4:
      return inside_polygon(kStar, p);
    case 5:
      return (ax <= 0.29 && ay <= 0.95) || (ay <= 0.29 && ax <= 0.95);
    case 6:
      return radius2 <= 0.9025 && radius2 >= 0.27;
    case 7:
      return radius2 <= 0.9025 && (p.x - 0.45) * (p.x - 0.45) + p.y * p.y >= 0.56;
    case 8:
      return inside_heart(p);
    default:
      return inside_polygon(kArrow, p);
  }
}

class Canvas {
 public:
  explicit Canvas(std::span<uint8_t, kShapesPixels> pixels) : pixels_(pixels) {}

  template <typename ColorAt>
  void fill(ColorAt color_at) {
    for (int y = 0; y < kShapesSide; ++y) {
      for (int x = 0; x < kShapesSide; ++x) blend(x, y, color_at(x, y), kCoverageSteps);
    }
  }

  // Paints where inside(point) holds, anti-aliased, within the square of half side `reach` around the center.
  template <typename Inside>
  void paint(Point center, double reach, const Color& color, Inside inside) {
    int x_begin = clamp_pixel(center.x - reach), x_end = clamp_pixel(center.x + reach + 1.0);
    int y_begin = clamp_pixel(center.y - reach), y_end = clamp_pixel(center.y + reach + 1.0);
    for (int y = y_begin; y < y_end; ++y) {
      for (int x = x_begin; x < x_end; ++x) blend(x, y, color, coverage(x, y, inside));
    }
  }

  template <typename Change>
  void change(Change change) {
    for (uint8_t& value : pixels_) value = static_cast<uint8_t>(std::clamp(change(value), 0, 255));
  }

 private:
  static int clamp_pixel(double value) { return static_cast<int>(std::clamp(value, 0.0, double{kShapesSide})); }

  template <typename Inside>
  static int coverage(int x, int y, Inside inside) {
    int count = 0;
    for (int sy = 0; sy < kSupersampling; ++sy) {
      for (int sx = 0; sx < kSupersampling; ++sx) {
        count += inside(Point{x + (sx + 0.5) / kSupersampling, y + (sy + 0.5) / kSupersampling}) ? 1 : 0;
      }
    }
    return count;
  }

  void blend(int x, int y, const Color& color, int covered) {
    uint8_t* pixel = &pixels_[size_t{3} * (static_cast<size_t>(y) * kShapesSide + static_cast<size_t>(x))];
    for (int c = 0; c < 3; ++c) {
      int mixed = (pixel[c] * (kCoverageSteps - covered) + color[c] * covered + kCoverageSteps / 2) / kCoverageSteps;
      pixel[c] = static_cast<uint8_t>(std::clamp(mixed, 0, 255));
    }
  }

  std::span<uint8_t, kShapesPixels> pixels_;
};

// Two colors that run into each other across the image, with blotches of a smooth 5 x 5 lattice on top.
void paint_background(CounterRandom& random, const Color& from, const Color& to, Canvas& canvas) {
  constexpr int kLattice = 5;
  constexpr int kCell = kShapesSide / (kLattice - 1);
  std::array<int, kLattice * kLattice> lattice;
  int strength = random.between(0, 60);
  for (int& value : lattice) value = random.between(-strength, strength);
  Point direction = random_direction(random);
  canvas.fill([&](int x, int y) {
    double along = (direction.x * (x - 15.5) + direction.y * (y - 15.5)) / 44.0 + 0.5;
    int weight = static_cast<int>(256.0 * std::clamp(along, 0.0, 1.0));
    const int* corner = &lattice[static_cast<size_t>(y / kCell) * kLattice + static_cast<size_t>(x / kCell)];
    int fx = x % kCell, fy = y % kCell;
    int top = corner[0] * (kCell - fx) + corner[1] * fx;
    int bottom = corner[kLattice] * (kCell - fx) + corner[kLattice + 1] * fx;
    int blotch = (top * (kCell - fy) + bottom * fy) / (kCell * kCell);
    Color color;
    for (int c = 0; c < 3; ++c)
      color[c] = std::clamp((from[c] * (256 - weight) + to[c] * weight) / 256 + blotch, 0, 255);
    return color;
  });
}

void paint_line(CounterRandom& random, double half_width, Canvas& canvas) {
  Point center{random.uniform(0, kShapesSide), random.uniform(0, kShapesSide)};
  Point along = random_direction(random);
  double half_length = random.uniform(4.0, 14.0);
  canvas.paint(center, half_length + 2.0, random_color(random), [&](Point p) {
    double dx = p.x - center.x, dy = p.y - center.y;
    double u = dx * along.x + dy * along.y;
    double v = dy * along.x - dx * along.y;
    return u <= half_length && u >= -half_length && v <= half_width && v >= -half_width;
  });
}

void paint_blob(CounterRandom& random, Canvas& canvas) {
  Point center{random.uniform(0, kShapesSide), random.uniform(0, kShapesSide)};
  double radius = random.uniform(0.8, 2.4);
  canvas.paint(center, radius, random_color(random), [&](Point p) {
    double dx = p.x - center.x, dy = p.y - center.y;
    return dx * dx + dy * dy <= radius * radius;
  });
}

void paint_shape(CounterRandom& random, int kind, const Color& color, Canvas& canvas) {
  double radius = random.uniform(6.0, 11.5);
  double stretch = random.uniform(0.85, 1.18);
  double room = 0.85 * radius;
  Point center{random.uniform(room, kShapesSide - room), random.uniform(room, kShapesSide - room)};
  Point turn = random_direction(random);
  double scale_x = 1.0 / (radius * stretch);
  double scale_y = stretch / radius;
  canvas.paint(center, 1.4 * radius, color, [&](Point p) {
    double dx = p.x - center.x, dy = p.y - center.y;
    return inside_shape(kind, {(dx * turn.x + dy * turn.y) * scale_x, (dy * turn.x - dx * turn.y) * scale_y});
  });
}

// Nearly Gaussian: four bytes of one draw, summed.
void add_noise(CounterRandom& random, int amplitude, Canvas& canvas) {
  canvas.change([&](int value) {
    uint64_t bits = random.next();
    int sum = 0;
    for (int byte = 0; byte < 4; ++byte) sum += static_cast<int>((bits >> (8 * byte)) & 255);
    return value + (sum - 510) * amplitude / 148;
  });
}

}  // namespace

int draw_shape_image(const ShapesOptions& options, uint64_t index, std::span<uint8_t, kShapesPixels> pixels) {
  CounterRandom random(options.seed, static_cast<uint64_t>(options.split), index);
  Canvas canvas(pixels);
  int kind = random.below(kShapesClasses);
  Color from = random_color(random);
  Color to = random_color(random);
  paint_background(random, from, to, canvas);
  for (int i = random.between(0, 4); i > 0; --i) paint_line(random, random.uniform(0.3, 0.9), canvas);
  for (int i = random.between(0, 5); i > 0; --i) paint_blob(random, canvas);
  paint_shape(random, kind, contrasting_color(random, from, to), canvas);
  for (int i = random.between(0, 2); i > 0; --i) paint_line(random, 0.4, canvas);
  add_noise(random, random.between(2, 24), canvas);
  return kind;
}

}  // namespace quench::data
