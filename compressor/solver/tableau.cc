#include "compressor/solver/tableau.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::solver {
namespace {

const std::vector<Tableau>& tableaus() {
  static const std::vector<Tableau> kTableaus = {
      {.name = "euler", .order = 1, .c = {0}, .a = {{}}, .b = {1}, .d = {}},
      {.name = "midpoint", .order = 2, .c = {0, 1.0 / 2}, .a = {{}, {1.0 / 2}}, .b = {0, 1}, .d = {}},
      {.name = "heun",
       .order = 2,
       .c = {0, 1},
       .a = {{}, {1}},
       .b = {1.0 / 2, 1.0 / 2},
       .d = {-1.0 / 2, 1.0 / 2},
       .error_order = 1},
      {.name = "rk4",
       .order = 4,
       .c = {0, 1.0 / 3, 2.0 / 3, 1},
       .a = {{}, {1.0 / 3}, {-1.0 / 3, 1}, {1, -1, 1}},
       .b = {1.0 / 8, 3.0 / 8, 3.0 / 8, 1.0 / 8},
       .d = {}},
      {.name = "bosh3",
       .order = 3,
       .c = {0, 1.0 / 2, 3.0 / 4, 1},
       .a = {{}, {1.0 / 2}, {0, 3.0 / 4}, {2.0 / 9, 1.0 / 3, 4.0 / 9}},
       .b = {2.0 / 9, 1.0 / 3, 4.0 / 9, 0},
       .d = {2.0 / 9 - 7.0 / 24, 1.0 / 3 - 1.0 / 4, 4.0 / 9 - 1.0 / 3, -1.0 / 8},
       .error_order = 2},
      {.name = "tsit5",
       .order = 5,
       .c = {0, 0.161, 0.327, 0.9, 0.9800255409045097, 1, 1},
       .a = {{},
             {0.161},
             {-0.008480655492356989, 0.335480655492357},
             {2.8971530571054935, -6.359448489975075, 4.3622954328695815},
             {5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525},
             {5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383},
             {0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774}},
       .b = {0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774,
             0},
       .d = {-0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995, -0.1447110071732629,
             0.5823571654525552, -0.45808210592918697, 1.0 / 66},
       .error_order = 4},
      {.name = "dopri5",
       .order = 5,
       .c = {0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1},
       .a = {{},
             {1.0 / 5},
             {3.0 / 40, 9.0 / 40},
             {44.0 / 45, -56.0 / 15, 32.0 / 9},
             {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
             {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
             {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}},
       .b = {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84, 0},
       .d = {71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40},
       .error_order = 4}};
  return kTableaus;
}

}  // namespace

bool Tableau::is_fsal() const {
  if (stages() < 2 || c.back() != 1 || b.back() != 0) return false;
  return std::equal(a.back().begin(), a.back().end(), b.begin());
}

const Tableau& find_tableau(std::string_view name) {
  for (const Tableau& tableau : tableaus()) {
    if (tableau.name == name) return tableau;
  }
  throw Error::make("solver '{}' is not known: choose one of {}", printable(name), fmt::join(tableau_names(), ", "));
}

std::vector<std::string_view> tableau_names() {
  std::vector<std::string_view> names;
  for (const Tableau& tableau : tableaus()) names.push_back(tableau.name);
  return names;
}

std::vector<std::string_view> adaptive_names() {
  std::vector<std::string_view> names;
  for (const Tableau& tableau : tableaus()) {
    if (tableau.has_error()) names.push_back(tableau.name);
  }
  return names;
}

}  // namespace quench::solver
