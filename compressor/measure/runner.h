// A model that can be run, from a .quench or a .onnx file alike: both by the runtime that ships.
//
//     std::unique_ptr<Runner> model = Runner::open("model.quench", 2);
//     std::vector<graph::HostTensor> outputs = model->run(inputs);
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compressor/graph/evaluator.h"
#include "compressor/measure/seeded_inputs.h"

namespace quench::measure {

// An input or output as the model declares it.
struct ValueSpec {
  std::string name;
  int32_t dtype = 0;                        // onnx::TensorProto::DataType
  std::vector<int64_t> dims;                // -1: open
  bool has_dims = true;                     // false: not even the rank is declared
  std::vector<std::string> dim_names = {};  // of each dimension; empty: none
};

// For a model that is trusted, as it was made here.
inline constexpr uint64_t kNoLimit = uint64_t{1} << 40;

class Runner {
 public:
  // `max_memory`: bytes that the model may take, and its activations too; 0: the runtime's default for a .quench file,
  // which is small for its size. `max_seconds`: of a run, beyond which it throws; 0: no limit.
  static std::unique_ptr<Runner> open(const std::filesystem::path& path, int threads, uint64_t max_memory = 0,
                                      double max_seconds = 0);
  virtual ~Runner() = default;

  const std::string& name() const { return name_; }
  // Those that a run needs.
  const std::vector<ValueSpec>& inputs() const { return inputs_; }
  const std::vector<ValueSpec>& inputs_with_default() const { return inputs_with_default_; }
  const onnx::ModelProto& model() const { return model_.proto; }
  const onnx::GraphProto& graph() const { return model_.proto.graph(); }

  // Inputs by name, in any order; values are converted to the types that the model declares. All outputs, float types
  // as float32. Throws quench::Error with the model's name.
  virtual std::vector<graph::HostTensor> run(std::span<const graph::HostTensor> inputs) = 0;
  // The most that the runtime has held so far.
  virtual uint64_t peak_bytes() const = 0;

  // Inputs drawn from a seed to match what the model declares, as long as this object lives. `other`: a model of the same
  // inputs, which may show more of them (see seeded_inputs.h).
  SeededInputs seeded_inputs(const InputShapes& shapes, uint64_t seed, const Runner* other = nullptr) const;

 protected:
  // `model`: at least the graph.
  Runner(std::string name, OnnxModel model);

  std::vector<graph::HostTensor> as_declared(std::span<const graph::HostTensor> inputs) const;

  std::string name_;
  OnnxModel model_;
  std::vector<ValueSpec> inputs_, inputs_with_default_;
};

// The inputs of a graph that are no initializers. `shapes`: in place of the declared ones.
std::vector<ValueSpec> declared_inputs(const onnx::GraphProto& graph, const InputShapes& shapes = {});
// Those that are both, and may be left out: none before IR version 4, when all initializers had to be inputs.
std::vector<ValueSpec> inputs_with_default(const onnx::ModelProto& model, const InputShapes& shapes = {});

// The same values in another type: floats become integers by rounding, integers floats.
// Throws quench::Error for types that neither NumPy nor the runtime has.
graph::HostTensor as_type(const graph::HostTensor& tensor, int32_t dtype);

}  // namespace quench::measure
