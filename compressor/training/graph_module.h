// An ONNX graph as a trainable module: its float initializers are parameters, its nodes run through torch's operators.
//
//     GraphModule module(load("model.onnx"), torch::kCPU);
//     std::vector<torch::Tensor> outputs = module.forward({{"input", images}}, GraphModule::Mode::kTrain);
//     outputs[0].sum().backward();
//     OnnxModel trained = module.to_onnx();
//
// BatchNormalization nodes use the statistics of the batch in training mode, and move their running ones towards them;
// then the running statistics are buffers, not parameters. All other float initializers of the main graph are
// parameters, whatever their size, unless a node reads them as a shape, an axis or the like. Throws quench::Error that
// names the node for operators that torch or operators.h lack, for subgraphs (If, Loop, Scan), and where torch refuses
// the shapes.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "compressor/solver/integrate.h"
#include "compressor/training/distributed/communicator.h"
#include "compressor/training/ode_options.h"
#include "compressor/training/operators/operators.h"
#include "compressor/training/segments.h"
#include "formats/onnx/model_file.h"

namespace quench::training {

using NamedTensors = std::map<std::string, torch::Tensor>;

// A model as it is trained: constants are initializers, BatchNormalization is a node of its own. Throws quench::Error for
// files that load() and check() refuse.
OnnxModel load_trainable(const std::filesystem::path& path);

class GraphModule {
 public:
  // kTrain: batch statistics. kEstimate: batch statistics too, and the running ones become the mean over the batches
  // since reset_statistics(). kEvaluate: running statistics.
  enum class Mode : uint8_t { kTrain, kEstimate, kEvaluate };

  // `communicator` may be null: one process. It must outlive this object.
  GraphModule(const OnnxModel& model, torch::Device device, Communicator* communicator = nullptr);

  // Leaves of autograd, float32, by initializer name.
  NamedTensors& parameters() { return parameters_; }
  const NamedTensors& parameters() const { return parameters_; }
  // Running statistics.
  NamedTensors& buffers() { return buffers_; }
  const NamedTensors& buffers() const { return buffers_; }

  const OnnxModel& model() const { return model_; }
  torch::Device device() const { return device_; }
  // Tells models apart: a sum over the graph and its weights, as they were at first.
  std::string identity() const;

  // Names of the declared inputs and outputs.
  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::vector<std::string>& outputs() const { return outputs_; }

  // Of a network of columns (formats/onnx/columns.h; 0: it is none), how many values each of its joins has, in the
  // graph's order.
  int columns() const { return columns_; }
  const std::vector<int>& joins() const { return joins_; }
  // For all passes from now on, in every mode: the values that count in each join, a bit for each, and at least one.
  // The join is their mean, and what no output needs is not computed, nor are its statistics. Empty: all values count.
  void set_paths(std::vector<uint32_t> kept);

  // From now on, passes of mode kTrain do not keep what they compute for their backward pass, which computes it again,
  // segment by segment (segments.h): less memory, and about a third more time. Rows of additive steps, as RevNet has
  // them, are undone from their result, so that their memory does not grow with their number. Running statistics move
  // once.
  void recompute_activations();

  // From now on, each of these ODE blocks is the solution of its initial value problem, which the graph has in the form
  // of networks::write_for_training, over t from 0 to 1; a batch, or this process's part of one, shares the steps. Passes
  // then throw NoSolution, too, where a block has none. Throws quench::Error for a graph that has no such
  // block, and for BatchNormalization in one, whose statistics would move with each evaluation. Not together with
  // recompute_activations().
  using NoSolution = solver::NoSolution;
  void integrate_blocks(const OdeOptions& options);
  bool integrates_blocks() const { return !blocks_.empty(); }
  // Of the blocks' right-hand sides, all of them together, in all passes so far, backward ones included.
  int64_t evaluations() const { return evaluations_; }

  // `weights` stand in for parameters of the same name.
  Tensors forward(const NamedTensors& inputs, Mode mode, const NamedTensors& weights = {});

  // Before a pass in mode kEstimate over some batches.
  void reset_statistics();

  // The model with these values, in the types that it declares. `weights` as in forward().
  OnnxModel to_onnx(const NamedTensors& weights = {}) const;

 private:
  struct Node {
    const onnx::NodeProto* proto;
    Operator run;                      // null for BatchNormalization
    std::vector<int> inputs, outputs;  // slots; -1: absent
    std::vector<int> dead;             // slots that nobody reads after this node
    int join = -1;                     // which of joins_ it is; -1: none
    int block = -1;                    // which of blocks_ it is, whose inputs are u(0) and what f reads; -1: none
    struct {
      std::string scale, bias, mean, variance;
      double epsilon = 0, momentum = 0;
    } normalization;
  };

  struct Block {
    std::string name;
    int t, u, slope;          // slots of f's arguments and of its result
    std::vector<Node> nodes;  // of f
  };

  // What counts in joins; see set_paths().
  struct Paths {
    std::vector<uint32_t> kept;   // of each join
    std::vector<bool> is_needed;  // of each node
  };
  using PathsPointer = std::shared_ptr<const Paths>;  // null: all

  // How a pass is made.
  struct Pass {
    Mode mode;
    PathsPointer paths;
    bool again = false;  // in a backward pass: states have moved already
  };

  int slot(const std::string& value);
  void add_initializers();
  void add_nodes();
  static void find_last_uses(std::vector<Node>& nodes, std::set<int> kept);
  std::set<int> output_slots() const;
  Block take_block(const std::string& name);
  Node make_node(const onnx::NodeProto& proto);
  static std::vector<int> read_by(const Node& node, const PathsPointer& paths);
  std::vector<bool> keeps_shape(const OnnxModel& shapes, const onnx::NodeProto& node) const;
  Tensors with_constants() const;
  void run_nodes(const std::vector<Node>& nodes, size_t first, size_t last, Tensors& values, const Pass& pass);
  void run_segment(const Segment& segment, Tensors& values, const Pass& pass);
  void run_checkpointed(const Segment& segment, Tensors& values, const Pass& pass);
  void run_reversible(const Segment& segment, Tensors& values, const Pass& pass);
  std::vector<int> parameters_of(size_t first, size_t last, const PathsPointer& paths) const;
  Tensors run_node(const Node& node, const Tensors& inputs, const Pass& pass);
  torch::Tensor run_block(const Node& node, const Tensors& inputs);
  torch::Tensor normalize(const Node& node, const Tensors& inputs, const Pass& pass);

  OnnxModel model_;
  torch::Device device_;
  Communicator* communicator_;
  int64_t opset_;
  NamedTensors parameters_, buffers_;
  std::map<std::string, int> slots_;
  std::vector<std::pair<int, torch::Tensor>> constants_;
  std::map<std::string, int> parameter_slots_;
  std::vector<std::string> inputs_, outputs_;
  std::vector<Node> nodes_;
  int columns_;
  std::vector<int> joins_;
  PathsPointer paths_;
  std::vector<Segment> segments_;  // empty: everything is kept
  std::map<int, size_t> made_by_;  // the node of each value, by slot
  int64_t estimated_batches_ = 0;
  std::vector<Block> blocks_;
  solver::Options solver_;  // of all of them, but for the parameters
  int64_t evaluations_ = 0;
};

}  // namespace quench::training
