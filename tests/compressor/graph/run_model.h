// Runs models in the runtime, to compare what a rewrite made with what it was made from.
#pragma once

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "compressor/graph/simplify.h"
#include "runtime/graph/model.h"
#include "runtime/session/session.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::testing {

struct Input {
  std::vector<int64_t> dims;
  std::vector<float> values;
};

inline std::vector<float> random_floats(size_t count, uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> distribution(low, high);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

inline Input random_input(std::vector<int64_t> dims, uint32_t seed = 7) {
  size_t count = 1;
  for (const int64_t dim : dims) count *= static_cast<size_t>(dim);
  return {dims, random_floats(count, seed)};
}

inline void add_initializer(onnx::ModelProto& model, const std::string& name, std::vector<int64_t> dims,
                            const std::vector<float>& values, int32_t dtype = onnx::TensorProto::FLOAT) {
  onnx::TensorProto* tensor = model.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(dtype);
  tensor->mutable_dims()->Assign(dims.begin(), dims.end());
  const std::vector<std::byte> raw = from_float(dtype, values);
  tensor->set_raw_data(raw.data(), raw.size());
}

inline void add_random(onnx::ModelProto& model, const std::string& name, std::vector<int64_t> dims, uint32_t seed,
                       float low = -1, float high = 1, int32_t dtype = onnx::TensorProto::FLOAT) {
  const Input random = random_input(dims, seed);
  add_initializer(model, name, dims, random_floats(random.values.size(), seed, low, high), dtype);
}

// The parameters scale, bias, mean and variance of a BatchNormalization.
inline void add_batch_normalization(onnx::ModelProto& model, int64_t channels, const std::string& prefix = "",
                                    int32_t dtype = onnx::TensorProto::FLOAT) {
  add_random(model, prefix + "scale", {channels}, 11, 0.5f, 2, dtype);
  add_random(model, prefix + "bias", {channels}, 12, -1, 1, dtype);
  add_random(model, prefix + "mean", {channels}, 13, -1, 1, dtype);
  add_random(model, prefix + "variance", {channels}, 14, 0.5f, 2, dtype);
}

// All outputs, one after another, as float32. The runtime's own rewrites are off.
inline std::vector<float> run(const OnnxModel& model, const std::vector<Input>& inputs) {
  const GraphBytes graph = to_graph_bytes(model, {.keep_inline = [](const Weight&) { return true; }});
  rt::ModelOptions options;
  options.fuse = false;
  rt::ModelHandle loaded;
  Status status = rt::open_model(std::as_bytes(std::span(graph.bytes)), {}, options, loaded);
  if (!status.ok()) throw Error(status.detail());
  rt::SessionHandle session;
  status = rt::create_session(*loaded, {}, session);
  for (size_t i = 0; i < inputs.size() && status.ok(); ++i) {
    status = session->set_input(static_cast<int>(i), inputs[i].values.data(), inputs[i].dims);
  }
  if (status.ok()) status = session->run();
  if (!status.ok()) throw Error(status.detail());
  std::vector<float> result;
  for (int i = 0; i < model.proto.graph().output_size(); ++i) {
    const Result<rt::Tensor> tensor = session->output(i);
    if (!tensor.ok()) throw Error(tensor.status().detail());
    if (tensor->type != ElementType::kFloat32) throw Error("an output is not float32");
    result.insert(result.end(), tensor->as<float>(), tensor->as<float>() + tensor->elements());
  }
  return result;
}

inline void expect_close(const std::vector<float>& actual, const std::vector<float>& expected, float tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  ASSERT_FALSE(expected.empty());
  float largest = 0;
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], tolerance * largest) << i;
}

inline int count_nodes(const OnnxModel& model, const std::string& op_type) {
  int count = 0;
  for (const onnx::NodeProto& node : model.proto.graph().node()) count += node.op_type() == op_type;
  return count;
}

// Simplifies a copy, checks it, and compares its results with those of the original.
inline graph::Report expect_same_function(const OnnxModel& model, const std::vector<Input>& inputs,
                                          OnnxModel* simplified = nullptr, float tolerance = 1e-5f) {
  OnnxModel copy = model.clone();
  const graph::Report report = graph::simplify(copy);
  check(copy);
  expect_close(run(copy, inputs), run(model, inputs), tolerance);
  if (simplified != nullptr) *simplified = std::move(copy);
  return report;
}

}  // namespace quench::testing
