#include "compressor/solver/graph_function.h"

#include <torch/torch.h>

#include "formats/error.h"

namespace quench::solver {

Function function_of(training::GraphModule& module) {
  const std::string& name = module.model().name;
  if (module.inputs().size() != 2 || module.outputs().size() != 1) {
    throw Error::make("{}: has {} inputs and {} outputs: a right-hand side f(t, u) has two, t and u, and one", name,
                      module.inputs().size(), module.outputs().size());
  }
  if (!module.buffers().empty()) {
    throw Error::make(
        "{}: has BatchNormalization, whose statistics would move with each evaluation of f(t, u): take "
        "GroupNormalization",
        name);
  }
  const onnx::TensorShapeProto& shape = module.model().proto.graph().input(0).type().tensor_type().shape();
  const std::vector<int64_t> sizes(static_cast<size_t>(shape.dim_size()), 1);
  return [&module, sizes](double t, const torch::Tensor& u) {
    const torch::Tensor time = torch::full(sizes, t, u.options());
    return module.forward({{module.inputs()[0], time}, {module.inputs()[1], u}}, training::GraphModule::Mode::kEvaluate)
        .front();
  };
}

std::vector<torch::Tensor> parameters_of(training::GraphModule& module) {
  std::vector<torch::Tensor> parameters;
  for (const auto& [name, tensor] : module.parameters()) parameters.push_back(tensor);
  return parameters;
}

}  // namespace quench::solver
