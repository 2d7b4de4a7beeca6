#include "tests/compressor/training/small_networks.h"

#include <torch/torch.h>

#include <cmath>
#include <random>

#include "compressor/graph/evaluator.h"
#include "compressor/measure/runner.h"
#include "compressor/networks/network.h"
#include "compressor/training/host_tensors.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::training {
namespace {

const char* kConvolutions = R"(
  net (float[N,3,12,12] x) => (float[N,6] y)
  <float[16,3,3,3] w1, float[16] b1, float[16] s1, float[16] t1, float[16] m1, float[16] v1,
   float[24,8,3,3] w2, float[24] s2, float[24] t2, float[24] m2, float[24] v2,
   float[24,24,1,1] w3, float[24] b3, float[24,6] fc, float[6] fb>
  {
    c1 = Conv<pads = [1,1,1,1]>(x, w1, b1)
    n1 = BatchNormalization<epsilon = 0.001>(c1, s1, t1, m1, v1)
    r1 = Relu(n1)
    c2 = Conv<group = 2, strides = [2,2]>(r1, w2)
    n2 = BatchNormalization(c2, s2, t2, m2, v2)
    r2 = LeakyRelu<alpha = 0.1>(n2)
    c3 = Conv(r2, w3, b3)
    sum = Add(c3, r2)
    pooled = GlobalAveragePool(sum)
    flat = Flatten(pooled)
    y = Gemm(flat, fc, fb)
  })";

enum class Kind { kMatrix, kScale, kOffset, kVariance };

std::vector<float> draw(Kind kind, const std::vector<int64_t>& dims, bool negative_scales, std::mt19937& random) {
  size_t count = 1;
  for (const int64_t dim : dims) count *= static_cast<size_t>(dim);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> unit;
  const auto fan_in = static_cast<float>(count) / static_cast<float>(dims.front());
  std::vector<float> values(count);
  for (float& value : values) {
    switch (kind) {
      case Kind::kMatrix:
        value = normal(random) * std::sqrt(2 / fan_in);
        break;
      case Kind::kScale:
        value = (0.5f + unit(random)) * (negative_scales && unit(random) < 0.3f ? -1.0f : 1.0f);
        break;
      case Kind::kOffset:
        value = 0.3f * normal(random);
        break;
      case Kind::kVariance:
        value = std::pow(10.0f, 2 * unit(random) - 1);
        break;
    }
  }
  return values;
}

template <typename KindOf>
void fill(OnnxModel& model, const KindOf& kind_of, bool negative_scales) {
  std::mt19937 random(11);
  for (onnx::TensorProto& tensor : *model.proto.mutable_graph()->mutable_initializer()) {
    if (!is_float_type(tensor.data_type()) || tensor.dims_size() == 0) continue;  // of rank 0: the method's own
    const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    const std::vector<float> values = draw(kind_of(tensor.name(), dims), dims, negative_scales, random);
    set_weight(model, tensor, tensor.data_type(), dims, owned_source(from_float(tensor.data_type(), values)));
  }
  model.reindex();
}

}  // namespace

OnnxModel residual_network(const std::string& integrator, bool negative_scales) {
  OnnxModel model = networks::build({.depth = 8, .integrator = integrator});
  const auto kind_of = [](const std::string& name, const std::vector<int64_t>& dims) {
    if (dims.size() > 1) return Kind::kMatrix;
    if (name.ends_with("running_var")) return Kind::kVariance;
    return name.ends_with(".weight") ? Kind::kScale : Kind::kOffset;
  };
  fill(model, kind_of, negative_scales);
  return model;
}

OnnxModel network_of(const std::string& graph) {
  onnx::ModelProto proto = testing::parse_text(graph);
  for (const onnx::ValueInfoProto& value : proto.graph().value_info()) {
    onnx::TensorProto& tensor = *proto.mutable_graph()->add_initializer();
    tensor.set_name(value.name());
    tensor.set_data_type(value.type().tensor_type().elem_type());
    size_t count = 1;
    for (const auto& dim : value.type().tensor_type().shape().dim()) {
      tensor.add_dims(dim.dim_value());
      count *= static_cast<size_t>(dim.dim_value());
    }
    tensor.set_raw_data(std::string(4 * count, '\0'));
  }
  proto.mutable_graph()->clear_value_info();
  OnnxModel model = testing::load_proto(proto);
  const auto kind_of = [](const std::string& name, const std::vector<int64_t>& dims) {
    if (dims.size() > 1) return Kind::kMatrix;
    if (name.starts_with("v")) return Kind::kVariance;
    return name.starts_with("s") ? Kind::kScale : Kind::kOffset;
  };
  fill(model, kind_of, true);
  return model;
}

OnnxModel convolutional_network() { return network_of(kConvolutions); }

torch::Tensor random_inputs(std::vector<int64_t> dims, int seed) {
  torch::manual_seed(static_cast<uint64_t>(seed));
  return torch::randn(dims);
}

torch::Tensor run_model(const OnnxModel& model, const torch::Tensor& inputs) {
  graph::Evaluator evaluator(model);
  const std::string name = measure::declared_inputs(model.proto.graph()).front().name;
  return from_host(evaluator.run({{to_host(name, inputs)}}).front());
}

torch::Tensor run_file(const std::filesystem::path& path, const torch::Tensor& inputs) {
  const std::unique_ptr<measure::Runner> runner = measure::Runner::open(path, 1);
  return from_host(runner->run({{to_host(runner->inputs().front().name, inputs)}}).front());
}

torch::Tensor run_module(GraphModule& module, const torch::Tensor& inputs, GraphModule::Mode mode,
                         const NamedTensors& weights) {
  torch::NoGradGuard no_grad;
  return module.forward({{module.inputs().front(), inputs}}, mode, weights).front();
}

double snr_db(const torch::Tensor& actual, const torch::Tensor& expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  const double noise = (actual - expected).square().sum().item<double>();
  return 10 * std::log10(expected.square().sum().item<double>() / noise);
}

}  // namespace quench::training
