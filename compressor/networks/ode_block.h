// An initial value problem u' = f(t, u) as nodes of an ONNX graph.
#pragma once

#include <functional>
#include <string>

#include "compressor/networks/graph_builder.h"
#include "compressor/solver/tableau.h"

namespace quench::networks {

// Writes the nodes of f(t, u) and returns the value, which has the shape of u. `t` is the name of a scalar. Each call
// shares the weights of the first.
using TimedRightHandSide = std::function<std::string(GraphBuilder& graph, const std::string& t, const std::string& u)>;

// u(t1) from u(t0) = `u` by `steps` steps of equal size, one after the other in the graph: it has no loop, and a
// right-hand side for each stage of each step. Nodes are named after `name`.
std::string unroll(GraphBuilder& graph, const std::string& name, const solver::Tableau& tableau, int steps, double t0,
                   double t1, const TimedRightHandSide& f, std::string u);

// u(t1) from u(t0) = `u`, t0 < t1, as one Loop whose turn is a step of a method with an error estimate, taken or
// rejected. Its control is that of solver/integrate.h in float arithmetic: the error is the root mean square over all
// elements of u, the batch included, so that the steps depend on what is in a batch. After `most` turns it gives up, and
// the result is NaN. A value "<name>.tries" counts the turns.
struct Tolerance {
  double rtol = 1e-3, atol = 1e-3;
  int64_t most = solver::kMostNetworkSteps;
};
std::string integrate_in_loop(GraphBuilder& graph, const std::string& name, const solver::Tableau& tableau,
                              const Tolerance& tolerance, double t0, double t1, const TimedRightHandSide& f,
                              const std::string& u);

// u + f(0, u), one step of Euler's over [0, 1], in which whoever trains the graph finds f to take steps of its own with
// (training::GraphModule::integrate_blocks): `u` becomes the value "<name>.u", and in the nodes of f, which come next,
// the time is "<name>.t" and the result "<name>.slope"; the sum is "<name>.end". What else f reads may depend on
// neither t nor u, but by nodes of its own.
std::string write_for_training(GraphBuilder& graph, const std::string& name, const TimedRightHandSide& f,
                               const std::string& u);

// A float scalar, which no training changes. Equal numbers are one initializer.
std::string constant_of(GraphBuilder& graph, double value);

}  // namespace quench::networks
