// Runs an OnnxModel with the runtime: the compressor's one way to evaluate a graph (constant folding, calibration,
// verification, `quench eval` on .onnx files).
//
//     Evaluator evaluator(model, {.extra_outputs = {"relu1.out"}});
//     std::vector<HostTensor> outputs = evaluator.run({image});      // the graph's outputs, then the extra ones
//
// Throws quench::Error, with the model's name in front, when the runtime refuses the model (an operator that it does
// not have, say) or the inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/error.h"
#include "formats/onnx/model_file.h"

namespace quench::graph {

// A tensor in memory: raw little-endian row-major values of an ONNX element type.
struct HostTensor {
  std::string name;
  int32_t dtype = 0;  // onnx::TensorProto::DataType
  std::vector<int64_t> dims;
  std::vector<std::byte> bytes;

  int64_t elements() const;
  // float32 tensors only.
  std::span<const float> floats() const;
  std::span<float> floats();

  static HostTensor float32(std::string name, std::vector<int64_t> dims, std::span<const float> values = {});
};

// Where the options' limits do not suffice.
struct BeyondLimits : Error {
  using Error::Error;
};

struct EvaluatorOptions {
  std::vector<std::string> extra_outputs = {};  // names of inner values, appended to the outputs
  std::vector<std::string> watched = {};        // likewise, of those that are only given by Evaluator::watched
  int threads = 1;
  // Of the activations; of the model, beside four times its weights. More throws BeyondLimits.
  uint64_t max_memory_bytes = uint64_t{1} << 36;
  // Of the process's processor time in a run, so that a busy machine changes nothing; more throws BeyondLimits. 0: no
  // limit.
  double max_seconds = 0;
  // Values for a float weight, by its index in OnnxModel::weights, in place of its own; nullptr: its own. Likewise for one
  // of integer_weights.h, less its zero.
  std::function<std::shared_ptr<const std::vector<float>>(size_t weight)> values = nullptr;
};

// Whether the runtime has an operator, of a domain's operator set.
bool has_kernel(std::string_view domain, std::string_view op, int64_t opset);

class Evaluator {
 public:
  explicit Evaluator(const OnnxModel& model, const EvaluatorOptions& options = {});
  Evaluator(Evaluator&&) noexcept;
  Evaluator& operator=(Evaluator&&) noexcept;
  ~Evaluator();

  // Inputs in any order, found by name. Float outputs are float32 whatever the graph declares.
  std::vector<HostTensor> run(std::span<const HostTensor> inputs);
  // Whether shapes in the model depend on values that the last run has told (runtime/plan/plan.h).
  bool runs_in_stages() const;
  // The most that the runtime has held so far.
  uint64_t peak_bytes() const;

  // Of the last run, the value of EvaluatorOptions::watched[index]; by any number of threads.
  HostTensor watched(size_t index) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quench::graph
