// Models for tests: from ONNX's text format, to bytes and files.
#pragma once

#include <gtest/gtest.h>
#include <onnx/defs/parser.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "formats/error.h"
#include "formats/onnx/model_file.h"

namespace quench::testing {

inline onnx::ModelProto parse_text(const std::string& graph, int opset = 17) {
  onnx::ModelProto model;
  const std::string header = "<ir_version: 8, opset_import: [\"\" : " + std::to_string(opset) + "]>\n";
  const onnx::Common::Status status = onnx::OnnxParser::Parse(model, (header + graph).c_str());
  if (!status.IsOK()) throw std::runtime_error(status.ErrorMessage());
  return model;
}

inline OnnxModel load_proto(const onnx::ModelProto& proto, const LoadOptions& options = {}) {
  const std::string bytes = proto.SerializeAsString();
  return load_bytes(std::as_bytes(std::span(bytes)), "test.onnx", options);
}

inline OnnxModel load_text(const std::string& graph, int opset = 17) { return load_proto(parse_text(graph, opset)); }

template <typename T>
std::string raw_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <typename T>
std::vector<T> values_of(const Weight& weight) {
  const std::vector<std::byte> raw = read(weight);
  std::vector<T> values(raw.size() / sizeof(T));
  std::memcpy(values.data(), raw.data(), raw.size());
  return values;
}

// A folder that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "quench-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// The one line of the quench::Error that `action` throws; "no error" without one.
template <typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline ::testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "'" << text << "' does not contain '" << part << "'";
}

// A tensor in a model that does nothing else with it.
inline onnx::ModelProto model_with(const onnx::TensorProto& tensor) {
  onnx::ModelProto model = parse_text("g (float[1] x) => (float[1] y) { y = Identity(x) }");
  *model.mutable_graph()->add_initializer() = tensor;
  return model;
}

// Weights, nested subgraphs, Constant nodes: a bit of everything, small. Inner values are named so that each kind can
// be told from its name.
inline const char* kNestedGraph = R"(
  outer (float[2,2] x, bool c) => (float[2,2] y)
  <float[2,2] weight_a = {1, 2, 3, 4}, float[2] weight_b = {5, 6}>
  {
    sum = Add(x, weight_a)
    constant = Constant<value = float[2] {7, 8}>()
    chosen = If<then_branch = then_graph () => (float[2,2] then_out) <float[2] then_weight = {9, 10}>
                  { inner = Mul(sum, then_weight)
                    then_out = Add(inner, weight_b) },
                else_branch = else_graph () => (float[2,2] else_out)
                  { else_constant = Constant<value = float[2] {11, 12}>()
                    else_out = If<then_branch = deep_then () => (float[2,2] d) { d = Add(sum, else_constant) },
                                  else_branch = deep_else () => (float[2,2] d) { d = Sub(sum, constant) }>(c) }>(c)
    y = Relu(chosen)
  })";

}  // namespace quench::testing
