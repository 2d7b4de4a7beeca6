// Built-in sets of points in the plane, drawn from densities that are hard in different ways: separate, curved, with
// edges, with holes. Continuous normalizing flows are tried on them (Grathwohl, Chen, Bettencourt, Sutskever and
// Duvenaud, "FFJORD", 2018, arXiv:1810.01367, section 4.1). n are normal numbers, u uniform ones from 0 to 1, a is a
// uniform angle.
//
//     moons         two half circles of radius 2, the upper one around (-1, -0.2), the lower one around (1, 0.8), and
//                   0.2 n in each coordinate
//     checkerboard  uniform on the eight squares of side 2 of a board from -4 to 4, (-1, -1) lying in one of them
//     pinwheel      five arms, 2 (r cos b, r sin b) with radius and angle of a point (1 + 0.3 n, 0.1 n), turned by the
//                   arm's angle and by exp(its first coordinate) / 4
//     spirals       two, one the other's mirror image in the origin: (-p cos p + u/2, p sin p + u/2) / 3 and 0.1 n,
//                   where p = 3 pi sqrt(u)
//     8gaussians    eight of deviation 0.5 / sqrt(2) around points at equal angles of a circle of radius 4 / sqrt(2)
//     rings         four, of radius 0.75, 1.5, 2.25 and 3, (r cos a, r sin a), and 0.08 n
//
// A point depends on nothing but set, seed, split and index, and is the same on every machine: numbers come from a
// counter, and sines and exponentials are sums of IEEE 754 double arithmetic (no libm, no contraction).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quench::data {

struct PointsOptions {
  std::string set = "moons";  // one of point_set_names()
  uint64_t seed = 0;
  bool training = false;  // the training split; false: the test split
};

// x and y of point `index`. Throws quench::Error, with the names that there are, for an unknown set.
void draw_point(const PointsOptions& options, uint64_t index, std::span<float, 2> point);

std::vector<std::string_view> point_set_names();
bool is_point_set(std::string_view name);

}  // namespace quench::data
