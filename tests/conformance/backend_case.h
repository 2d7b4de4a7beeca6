// One of ONNX's official backend cases: a model, inputs and the outputs that it must give for them, on disk as
//     CASE/model.onnx
//     CASE/test_data_set_0/input_0.pb, input_1.pb ..., output_0.pb ...
#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/kernels/registry.h"

namespace quench {

// What became of a case. `reason` says why it failed or was left out.
struct Outcome {
  enum Kind { kPassed, kFailed, kLeftOut };
  Kind kind = kPassed;
  std::string reason;

  static Outcome failed(std::string reason) { return {kFailed, std::move(reason)}; }
  static Outcome left_out(std::string reason) { return {kLeftOut, std::move(reason)}; }
};

// Empty if the tensor is what was expected, within the tolerances of ONNX's own backend test.
std::string difference(const rt::Tensor& actual, const onnx::TensorProto& expected);

// An input or output: one tensor, a sequence of them, or nothing.
struct CaseValue {
  enum Kind { kTensor, kSequence, kNothing };
  Kind kind = kTensor;
  std::vector<onnx::TensorProto> tensors;
};

class BackendCase {
 public:
  explicit BackendCase(const std::filesystem::path& folder);

  std::string name() const { return name_; }
  Outcome run(rt::KernelSet kernels) const;

  // What is wrong with the files; empty if nothing is.
  const std::string& trouble() const { return trouble_; }
  const onnx::ModelProto& model() const { return model_; }
  const std::vector<std::string>& input_names() const { return input_names_; }  // of those that are no initializers
  const std::vector<CaseValue>& inputs() const { return inputs_; }
  const std::vector<CaseValue>& outputs() const { return outputs_; }

 private:
  // Why the runtime is not meant to run it; empty if it is.
  std::string out_of_scope(rt::KernelSet kernels) const;
  std::vector<onnx::TensorProto> all_tensors() const;

  std::string name_;
  std::string trouble_;
  onnx::ModelProto model_;
  std::vector<std::string> input_names_;
  std::vector<CaseValue> inputs_;
  std::vector<CaseValue> outputs_;
};

}  // namespace quench
