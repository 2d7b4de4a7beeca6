#include "tests/compressor/compress/small_model.h"

#include <stdlib.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <vector>

namespace quench::quantizer {
namespace {

class Builder {
 public:
  Builder() {
    model_.set_ir_version(7);
    model_.add_opset_import()->set_version(13);
    graph().set_name("small");
  }

  onnx::GraphProto& graph() { return *model_.mutable_graph(); }
  onnx::ModelProto take() { return std::move(model_); }

  void value(onnx::ValueInfoProto& info, const std::string& name, const std::vector<int64_t>& dims) {
    info.set_name(name);
    auto& type = *info.mutable_type()->mutable_tensor_type();
    type.set_elem_type(onnx::TensorProto::FLOAT);
    for (const int64_t dim : dims) {
      auto& added = *type.mutable_shape()->add_dim();
      dim < 0 ? added.set_dim_param("N") : added.set_dim_value(dim);
    }
  }

  // Values drawn as offset + spread * normal.
  std::string weight(const std::string& name, const std::vector<int64_t>& dims, double spread, double offset = 0) {
    onnx::TensorProto& tensor = *graph().add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    int64_t count = 1;
    for (const int64_t dim : dims) {
      tensor.add_dims(dim);
      count *= dim;
    }
    std::normal_distribution<double> normal(offset, spread);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& v : values) v = static_cast<float>(normal(random_));
    tensor.set_raw_data(values.data(), values.size() * sizeof(float));
    return name;
  }

  onnx::NodeProto& node(const char* op, const std::vector<std::string>& inputs, const std::string& output) {
    onnx::NodeProto& added = *graph().add_node();
    added.set_op_type(op);
    added.set_name(output);
    for (const std::string& input : inputs) added.add_input(input);
    added.add_output(output);
    return added;
  }

  std::string convolution(const std::string& name, const std::string& input, int64_t in, int64_t out) {
    const std::string w = weight(name + ".weight", {out, in, 3, 3}, std::sqrt(2.0 / (9.0 * static_cast<double>(in))));
    onnx::NodeProto& conv = node("Conv", {input, w}, name);
    onnx::AttributeProto& pads = *conv.add_attribute();
    pads.set_name("pads");
    pads.set_type(onnx::AttributeProto::INTS);
    for (int i = 0; i < 4; ++i) pads.add_ints(1);
    node("BatchNormalization",
         {name, weight(name + ".scale", {out}, 0.1, 1), weight(name + ".shift", {out}, 0.1),
          weight(name + ".mean", {out}, 0.1), weight(name + ".variance", {out}, 0.02, 1)},
         name + ".bn");
    return name + ".bn";
  }

 private:
  onnx::ModelProto model_;
  std::mt19937 random_{7};
};

}  // namespace

onnx::ModelProto make_small_model(const SmallModelOptions& options) {
  Builder builder;
  const int64_t c = options.channels;
  builder.value(*builder.graph().add_input(), "image", {-1, 3, 16, 16});
  builder.value(*builder.graph().add_output(), "logits", {-1, 10});
  const std::string stem = builder.convolution("stem", "image", 3, c);
  builder.node("Relu", {stem}, "a");
  const std::string first = builder.convolution("first", "a", c, c);
  builder.node("Relu", {first}, "b");
  const std::string second = builder.convolution("second", "b", c, c);
  builder.node("Add", {second, "a"}, "sum");
  builder.node("Relu", {"sum"}, "c");
  builder.node("GlobalAveragePool", {"c"}, "pooled");
  builder.node("Flatten", {"pooled"}, "flat");
  builder.node("Gemm", {"flat", builder.weight("fc.weight", {c, 10}, 0.3), builder.weight("fc.bias", {10}, 0.3)},
               "logits");
  onnx::ModelProto model = builder.take();
  if (options.nan_weight) {
    std::string& raw = *model.mutable_graph()->mutable_initializer(5)->mutable_raw_data();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    raw.replace(8, sizeof nan, reinterpret_cast<const char*>(&nan), sizeof nan);
  }
  return model;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "quench_test_XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_model(const std::filesystem::path& path, const onnx::ModelProto& model) {
  std::ofstream file(path, std::ios::binary);
  model.SerializeToOstream(&file);
}

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

}  // namespace quench::quantizer
