// Explicit Runge-Kutta methods as Butcher tableaux: what the solver steps by (integrate.h), and what networks unroll into
// ONNX graphs (compressor/networks/ode_block.h). No torch here.
//
// A step from (t, u) over h:
//
//     k_i = f(t + c_i h, u + h sum_{j<i} a_ij k_j)      for each stage i
//     u'  = u + h sum_i b_i k_i                         of order `order`
//     e   = h sum_i d_i k_i                             its estimated error, where there are d
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quench::solver {

// Most steps of an ODE that is part of a network: of equal size, or tried where the error chooses them.
inline constexpr int kMostNetworkSteps = 1000;

struct Tableau {
  std::string_view name;
  int order;
  std::vector<double> c;               // one for each stage
  std::vector<std::vector<double>> a;  // row i has i values
  std::vector<double> b;
  std::vector<double> d;  // b minus the weights of the embedded method; empty: none, fixed steps only
  int error_order = 0;    // of the embedded method

  size_t stages() const { return b.size(); }
  bool has_error() const { return !d.empty(); }
  // Whether the last stage is f at the end of the step, the first of the next one ("first same as last").
  bool is_fsal() const;
};

// euler, midpoint; heun (with Euler's method embedded); rk4, Kutta's 3/8 rule; bosh3 (Bogacki and Shampine 1989, 3(2));
// tsit5 (Tsitouras 2011, 5(4)); dopri5 (Dormand and Prince 1980, 5(4)). Throws quench::Error, with the names that there
// are, for another one.
const Tableau& find_tableau(std::string_view name);
std::vector<std::string_view> tableau_names();

// The names of those with an error estimate, for messages and options.
std::vector<std::string_view> adaptive_names();

}  // namespace quench::solver
