#include "compressor/networks/ode_network.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "compressor/graph/evaluator.h"
#include "compressor/training/graph_module.h"

namespace quench::training {
namespace {

TEST(OdeNetwork, ModuleAndRuntimeAgree) {
  for (const std::string network : {"odenet", "odenet-twin", "odenet-cifar"}) {
    const OnnxModel model =
        networks::build(networks::OdeNetworkOptions{.network = network, .extra_channels = network == "odenet" ? 4 : 0});
    GraphModule module(model, torch::kCPU);
    torch::manual_seed(5);
    const torch::Tensor images =
        network == "odenet-cifar" ? torch::randn({3, 3, 32, 32}) : torch::randn({3, 1, 28, 28});
    const torch::Tensor logits = module.forward({{"input", images}}, GraphModule::Mode::kEvaluate)[0];
    graph::HostTensor input = graph::HostTensor::float32("input", images.sizes().vec());
    std::copy_n(images.data_ptr<float>(), images.numel(), input.floats().begin());
    const std::vector<graph::HostTensor> outputs = graph::Evaluator(model).run({{input}});
    const torch::Tensor expected = torch::from_blob(const_cast<float*>(outputs[0].floats().data()), {3, 10});
    EXPECT_LT((logits - expected).abs().max().item<float>(), 1e-4f) << network;
    module.forward({{"input", images}}, GraphModule::Mode::kTrain)[0].square().sum().backward();
    int64_t parameters = 0;
    for (const auto& [name, tensor] : module.parameters()) {
      parameters += tensor.numel();
      EXPECT_TRUE(tensor.grad().defined()) << name;
    }
    if (network == "odenet-twin") {
      EXPECT_EQ(parameters, 576778);  // no number of the solver is trained
    }
    if (network == "odenet-cifar") {
      EXPECT_EQ(parameters, 170298);
    }
  }
}

}  // namespace
}  // namespace quench::training
