// An ONNX graph as the right-hand side of an ODE.
#pragma once

#include "compressor/solver/integrate.h"
#include "compressor/training/graph_module.h"

namespace quench::solver {

// f(t, u) of a graph with two inputs, t (a scalar or of one element) and u in this order, and one output of u's shape;
// of floats. Its parameters are module.parameters(), which Options::parameters wants as a list (parameters_of). `module`
// must outlive the result. Throws quench::Error for a graph of other inputs or outputs, and with BatchNormalization,
// whose statistics would move with each evaluation.
Function function_of(training::GraphModule& module);

std::vector<torch::Tensor> parameters_of(training::GraphModule& module);

}  // namespace quench::solver
