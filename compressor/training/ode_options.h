// How a training solves the ODE blocks of a network. No libtorch here.
#pragma once

#include <string>
#include <vector>

#include "compressor/solver/gradient.h"

namespace quench::training {

// As in solver::Options, over t from 0 to 1.
struct OdeOptions {
  std::vector<std::string> blocks;  // by name (networks::ode_block_names); empty: the graph is run as it is
  std::string solver = "dopri5";
  int steps = 0;  // of equal size; 0: adaptive
  double rtol = 1e-3, atol = 1e-3;
  solver::Gradient gradient = solver::Gradient::kRecompute;
};

}  // namespace quench::training
