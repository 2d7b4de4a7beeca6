#include "compressor/training/graph_module.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "compressor/graph/graph_index.h"
#include "compressor/graph/learned.h"
#include "compressor/graph/simplify.h"
#include "compressor/solver/tableau.h"
#include "compressor/training/distributed/synchronized_batch_norm.h"
#include "compressor/training/recompute.h"
#include "formats/base/crc32c.h"
#include "formats/base/element_type.h"
#include "formats/error.h"
#include "formats/onnx/columns.h"
#include "formats/operators/batch_normalization.h"

namespace quench::training {
namespace {

std::string describe(const onnx::NodeProto& node) {
  const std::string& name = !node.name().empty() || node.output_size() == 0 ? node.name() : node.output(0);
  return fmt::format("node '{}' ({})", printable(name), printable(node.op_type()));
}

torch::Tensor float_tensor(const Weight& weight) {
  const std::vector<float> values = read_float(weight);
  torch::Tensor tensor = torch::empty(weight.dims, torch::kFloat32);
  std::memcpy(tensor.data_ptr<float>(), values.data(), values.size() * sizeof(float));
  return tensor;
}

// A weight of any other type, whose values may lie outside the proto.
torch::Tensor constant_tensor(const Weight& weight) {
  onnx::TensorProto tensor;
  tensor.set_data_type(weight.dtype);
  for (const int64_t dim : weight.dims) tensor.add_dims(dim);
  const std::vector<std::byte> raw = read(weight);
  tensor.set_raw_data(raw.data(), raw.size());
  return to_torch(tensor);
}

}  // namespace

OnnxModel load_trainable(const std::filesystem::path& path) {
  OnnxModel model = load(path);
  check(model);
  graph::Report report;
  graph::fix_inputs(model, report);
  graph::move_constants(model, report);
  graph::bypass_nodes(model, report);
  graph::fold_constants(model, report);
  graph::remove_unused(model, report);
  return model;
}

GraphModule::GraphModule(const OnnxModel& model, torch::Device device, Communicator* communicator)
    : model_(model.clone()),
      device_(device),
      communicator_(communicator),
      opset_(graph::default_opset(model.proto)),
      columns_(columns_of(model.proto)) {
  add_initializers();
  for (const onnx::ValueInfoProto& input : model_.proto.graph().input()) {
    if (!slots_.contains(input.name())) inputs_.push_back(input.name());
    slot(input.name());
  }
  add_nodes();
  for (const onnx::ValueInfoProto& output : model_.proto.graph().output()) {
    if (!slots_.contains(output.name())) {
      throw Error::make("{}: nothing computes the output '{}'", model_.name, printable(output.name()));
    }
    outputs_.push_back(output.name());
  }
  find_last_uses(nodes_, output_slots());
}

int GraphModule::slot(const std::string& value) {
  return slots_.emplace(value, static_cast<int>(slots_.size())).first->second;
}

void GraphModule::add_initializers() {
  const std::vector<bool> is_learned = graph::learned_weights(model_);
  std::set<std::string> statistics;
  for (const onnx::NodeProto& node : model_.proto.graph().node()) {
    const operators::Operator* op = graph::operator_of(node);
    for (int i = 0; op && i < node.input_size(); ++i) {
      if (op->role(i) == operators::Role::kStatistic) statistics.insert(node.input(i));
    }
  }
  for (const onnx::TensorProto& tensor : model_.proto.graph().initializer()) {
    const int at = slot(tensor.name());
    const int64_t index = weight_index(tensor);
    if (index < 0) {  // no elements
      constants_.emplace_back(at, to_torch(tensor).to(device_));
      continue;
    }
    const Weight& weight = model_.weights[static_cast<size_t>(index)];
    if (statistics.contains(tensor.name())) {
      buffers_[tensor.name()] = float_tensor(weight).to(device_);
    } else if (is_learned[static_cast<size_t>(index)] && tensor.dims_size() > 0) {
      parameters_[tensor.name()] = float_tensor(weight).to(device_).set_requires_grad(true);
      parameter_slots_[tensor.name()] = at;
    } else if (is_float_type(weight.dtype)) {
      constants_.emplace_back(at, float_tensor(weight).to(device_));
    } else {
      constants_.emplace_back(at, constant_tensor(weight));  // shapes and indices: read on the CPU
    }
  }
}

GraphModule::Node GraphModule::make_node(const onnx::NodeProto& proto) {
  Node node;
  node.proto = &proto;
  const bool own_domain = proto.domain().empty() || proto.domain() == "ai.onnx";
  const bool normalizes = graph::is_op(proto, "BatchNormalization");
  node.run = own_domain ? find_operator(proto.op_type()) : nullptr;
  if (!node.run && !normalizes) {
    throw Error::make("{}: {}: this operator cannot be trained", model_.name, describe(proto));
  }
  for (const std::string& input : proto.input()) {
    if (!input.empty() && !slots_.contains(input)) {
      throw Error::make("{}: {}: nothing before it computes '{}'", model_.name, describe(proto), printable(input));
    }
    node.inputs.push_back(input.empty() ? -1 : slot(input));
  }
  for (const std::string& output : proto.output()) node.outputs.push_back(output.empty() ? -1 : slot(output));
  if (normalizes) {
    if (proto.input_size() != 5) throw Error::make("{}: {}: needs 5 inputs", model_.name, describe(proto));
    if (!operators::is_inference(graph::attributes_of(proto), opset_, proto.output_size())) {
      throw Error::make("{}: {}: is in training mode, or its attribute 'spatial' is 0", model_.name, describe(proto));
    }
    node.normalization = {proto.input(1),
                          proto.input(2),
                          proto.input(3),
                          proto.input(4),
                          operators::epsilon_of(graph::attributes_of(proto)),
                          1 - static_cast<double>(graph::float_attribute(proto, "momentum", 0.9f))};
    if (!buffers_.contains(proto.input(3)) || !buffers_.contains(proto.input(4))) {
      throw Error::make("{}: {}: its statistics are not initializers", model_.name, describe(proto));
    }
  }
  return node;
}

void GraphModule::add_nodes() {
  for (const onnx::NodeProto& proto : model_.proto.graph().node()) {
    nodes_.push_back(make_node(proto));
    const int joined = joined_by(proto, columns_);
    if (joined == 0) continue;
    nodes_.back().join = static_cast<int>(joins_.size());
    joins_.push_back(joined);
  }
}

void GraphModule::find_last_uses(std::vector<Node>& nodes, std::set<int> kept) {
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    node->dead.clear();
    for (const std::vector<int>* used : {&node->inputs, &node->outputs}) {
      for (const int value : *used) {
        if (value >= 0 && kept.insert(value).second) node->dead.push_back(value);
      }
    }
  }
}

std::set<int> GraphModule::output_slots() const {
  std::set<int> slots;
  for (const std::string& output : outputs_) slots.insert(slots_.at(output));
  return slots;
}

void GraphModule::integrate_blocks(const OdeOptions& options) {
  solver_ = {.method = options.solver,
             .steps = options.steps,
             .rtol = options.rtol,
             .atol = options.atol,
             .max_steps = solver::kMostNetworkSteps,
             .gradient = options.gradient};
  for (const std::string& name : options.blocks) blocks_.push_back(take_block(name));
  find_last_uses(nodes_, output_slots());
}

// Takes the nodes of f, those that depend on its arguments up to its result, out of the graph's; the sum behind them
// becomes a node that solves the problem.
GraphModule::Block GraphModule::take_block(const std::string& name) {
  const auto slot_of = [&](const char* part) {
    const auto found = slots_.find(name + part);
    if (found == slots_.end())
      throw Error::make("{}: has no ODE block '{}' to integrate", model_.name, printable(name));
    return found->second;
  };
  const int end = slot_of(".end");
  Block block{name, slot_of(".t"), slot_of(".u"), slot_of(".slope"), {}};
  std::set<int> inner = {block.t, block.u};
  std::vector<int> reads = {block.u};
  std::vector<Node> others;
  for (Node& node : nodes_) {
    const bool is_sum = node.outputs[0] == end;
    const bool is_before = block.nodes.empty() || block.nodes.back().outputs[0] != block.slope;
    if (is_sum) {
      node.inputs = reads;
      node.block = static_cast<int>(blocks_.size());
    } else if (is_before &&
               std::any_of(node.inputs.begin(), node.inputs.end(), [&](int input) { return inner.contains(input); })) {
      if (!node.run) {
        throw Error::make(
            "{}: ODE block '{}': has BatchNormalization, whose statistics would move with each evaluation of its "
            "right-hand side: take GroupNormalization",
            model_.name, name);
      }
      for (const int input : node.inputs) {
        const bool is_new = input >= 0 && !inner.contains(input);
        if (is_new && std::find(reads.begin(), reads.end(), input) == reads.end()) reads.push_back(input);
      }
      inner.insert(node.outputs.begin(), node.outputs.end());
      block.nodes.push_back(std::move(node));
      continue;
    }
    others.push_back(std::move(node));
  }
  nodes_ = std::move(others);
  find_last_uses(block.nodes, {block.slope});
  return block;
}

void GraphModule::set_paths(std::vector<uint32_t> kept) {
  paths_ = nullptr;
  if (kept.empty()) return;
  const auto paths = std::make_shared<Paths>();
  paths->kept = std::move(kept);
  std::vector<bool> is_read(slots_.size());
  for (const std::string& output : outputs_) is_read[static_cast<size_t>(slots_.at(output))] = true;
  paths->is_needed.resize(nodes_.size());
  for (size_t i = nodes_.size(); i-- > 0;) {
    for (const int output : nodes_[i].outputs) {
      if (output >= 0 && is_read[static_cast<size_t>(output)]) paths->is_needed[i] = true;
    }
    if (!paths->is_needed[i]) continue;
    for (const int input : read_by(nodes_[i], paths)) {
      if (input >= 0) is_read[static_cast<size_t>(input)] = true;
    }
  }
  paths_ = paths;
}

std::vector<int> GraphModule::read_by(const Node& node, const PathsPointer& paths) {
  if (node.join < 0 || !paths) return node.inputs;
  std::vector<int> kept;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (paths->kept.at(static_cast<size_t>(node.join)) >> i & 1) kept.push_back(node.inputs[i]);
  }
  return kept;
}

// Of a sum of two values, whether each has the shape of the sum as far as ONNX's shape inference knows them.
std::vector<bool> GraphModule::keeps_shape(const OnnxModel& shapes, const onnx::NodeProto& node) const {
  if (node.op_type() != "Add" || !node.domain().empty() || node.input_size() != 2) return {};
  const auto shape_of = [&](const std::string& value) -> std::string {
    for (const auto* infos : {&shapes.proto.graph().value_info(), &shapes.proto.graph().input()}) {
      for (const onnx::ValueInfoProto& info : *infos) {
        if (info.name() != value || !info.type().tensor_type().has_shape()) continue;
        std::string text = "of";
        for (const auto& dim : info.type().tensor_type().shape().dim()) {
          if (!dim.has_dim_value() && dim.dim_param().empty()) return "";
          text += dim.has_dim_value() ? fmt::format(" {}", dim.dim_value()) : " " + dim.dim_param();
        }
        return text;
      }
    }
    return "";
  };
  const std::string sum = shape_of(node.output(0));
  return {!sum.empty() && shape_of(node.input(0)) == sum, !sum.empty() && shape_of(node.input(1)) == sum};
}

void GraphModule::recompute_activations() {
  if (integrates_blocks()) {
    throw Error::make("{}: --recompute is for networks whose ODE blocks are unrolled: leave it out", model_.name);
  }
  OnnxModel shapes = model_.clone();
  infer_shapes(shapes);
  std::vector<int> inputs, outputs;
  for (const std::string& name : inputs_) inputs.push_back(slots_.at(name));
  for (const std::string& name : outputs_) outputs.push_back(slots_.at(name));
  std::set<int> values(inputs.begin(), inputs.end());
  std::vector<SegmentNode> nodes;
  for (const Node& node : nodes_) {
    SegmentNode& plain = nodes.emplace_back();
    for (const int input : node.inputs) plain.inputs.push_back(values.contains(input) ? input : -1);
    plain.outputs = node.outputs;
    for (const int output : node.outputs) {
      if (output < 0) continue;
      values.insert(output);
      made_by_[output] = nodes.size() - 1;
    }
    plain.has_shape_of_sum = keeps_shape(shapes, *node.proto);
    if (std::find(plain.inputs.begin(), plain.inputs.end(), -1) != plain.inputs.end()) plain.has_shape_of_sum.clear();
  }
  segments_ = cut_into_segments(nodes, inputs, outputs);
}

Tensors GraphModule::with_constants() const {
  Tensors values(slots_.size());
  for (const auto& [at, tensor] : constants_) values[static_cast<size_t>(at)] = tensor;
  return values;
}

Tensors GraphModule::forward(const NamedTensors& inputs, Mode mode, const NamedTensors& weights) {
  Tensors values = with_constants();
  for (const auto& [name, at] : parameter_slots_) {
    const auto found = weights.find(name);
    values[static_cast<size_t>(at)] = found != weights.end() ? found->second : parameters_.at(name);
  }
  for (const std::string& name : inputs_) {
    const auto found = inputs.find(name);
    if (found == inputs.end()) throw Error::make("{}: there is no value for the input '{}'", model_.name, name);
    values[static_cast<size_t>(slots_.at(name))] = found->second;
  }
  const Pass pass{mode, paths_};
  if (mode == Mode::kTrain && torch::GradMode::is_enabled() && !segments_.empty()) {
    for (const Segment& segment : segments_) run_segment(segment, values, pass);
  } else {
    run_nodes(nodes_, 0, nodes_.size(), values, pass);
  }
  if (mode == Mode::kEstimate) ++estimated_batches_;
  Tensors outputs;
  for (const std::string& name : outputs_) outputs.push_back(values[static_cast<size_t>(slots_.at(name))]);
  return outputs;
}

// [first, last) of `nodes` on the values of all slots.
void GraphModule::run_nodes(const std::vector<Node>& nodes, size_t first, size_t last, Tensors& values,
                            const Pass& pass) {
  for (size_t place = first; place < last; ++place) {
    if (pass.paths && !pass.paths->is_needed[place]) continue;
    const Node& node = nodes[place];
    Tensors arguments;
    for (const int input : read_by(node, pass.paths)) {
      arguments.push_back(input < 0 ? torch::Tensor() : values[static_cast<size_t>(input)]);
    }
    const Tensors results = run_node(node, arguments, pass);
    for (size_t i = 0; i < node.outputs.size() && i < results.size(); ++i) {
      if (node.outputs[i] >= 0) values[static_cast<size_t>(node.outputs[i])] = results[i];
    }
    for (const int dead : node.dead) values[static_cast<size_t>(dead)] = torch::Tensor();
  }
}

void GraphModule::run_segment(const Segment& segment, Tensors& values, const Pass& pass) {
  // Where paths are left out, the steps of a row may be, too.
  if (segment.steps.empty() || pass.paths) {
    run_checkpointed(segment, values, pass);
  } else {
    run_reversible(segment, values, pass);
  }
  for (size_t place = segment.first; place < segment.last; ++place) {
    for (const int dead : nodes_[place].dead) values[static_cast<size_t>(dead)] = torch::Tensor();
  }
}

// The slots of the parameters that nodes [first, last) read, each once.
std::vector<int> GraphModule::parameters_of(size_t first, size_t last, const PathsPointer& paths) const {
  std::set<int> known;
  for (const auto& [name, at] : parameter_slots_) known.insert(at);
  std::vector<int> found;
  for (size_t place = first; place < last; ++place) {
    if (paths && !paths->is_needed[place]) continue;
    for (const int input : nodes_[place].inputs) {
      if (known.erase(input) > 0) found.push_back(input);
    }
  }
  return found;
}

void GraphModule::run_checkpointed(const Segment& segment, Tensors& values, const Pass& pass) {
  std::vector<int> reads = parameters_of(segment.first, segment.last, pass.paths), makes;
  for (const int read : segment.reads) {
    if (values[static_cast<size_t>(read)].defined()) reads.push_back(read);
  }
  for (const int make : segment.makes) {
    if (!pass.paths || pass.paths->is_needed[made_by_.at(make)]) makes.push_back(make);
  }
  if (makes.empty()) return;
  Tensors inputs;
  for (const int read : reads) inputs.push_back(values[static_cast<size_t>(read)]);
  const Rerun run = [this, first = segment.first, last = segment.last, reads, makes, pass](const Tensors& given,
                                                                                           bool again) {
    Tensors inner = with_constants();
    for (size_t i = 0; i < reads.size(); ++i) inner[static_cast<size_t>(reads[i])] = given[i];
    run_nodes(nodes_, first, last, inner, {pass.mode, pass.paths, again});
    Tensors made;
    for (const int make : makes) made.push_back(inner[static_cast<size_t>(make)]);
    return made;
  };
  const Tensors made = checkpointed(run, inputs);
  for (size_t i = 0; i < makes.size(); ++i) values[static_cast<size_t>(makes[i])] = made[i];
}

void GraphModule::run_reversible(const Segment& segment, Tensors& values, const Pass& pass) {
  std::vector<int> state = segment.reads;  // each value has a place, in which the sums follow each other
  const std::vector<int> parameters = parameters_of(segment.first, segment.last, pass.paths);
  const auto take = [&](const std::vector<int>& slots) {
    Tensors taken;
    for (const int at : slots) taken.push_back(values[static_cast<size_t>(at)]);
    return taken;
  };
  const Tensors before = take(state), given = take(parameters);
  std::vector<ReversibleStep> steps;
  for (const AdditiveStep& step : segment.steps) {
    const std::vector<int> own = parameters_of(step.first, step.last, pass.paths);
    ReversibleStep& made = steps.emplace_back();
    made.target = static_cast<size_t>(std::find(state.begin(), state.end(), step.before) - state.begin());
    for (const int parameter : own) {
      made.parameters.push_back(
          static_cast<size_t>(std::find(parameters.begin(), parameters.end(), parameter) - parameters.begin()));
    }
    made.residual = [this, step, state, own, pass](const Tensors& at_hand, const Tensors& weights, bool again) {
      Tensors inner = with_constants();
      for (size_t i = 0; i < state.size(); ++i) inner[static_cast<size_t>(state[i])] = at_hand[i];
      for (size_t i = 0; i < own.size(); ++i) inner[static_cast<size_t>(own[i])] = weights[i];
      run_nodes(nodes_, step.first, step.last - 1, inner, {pass.mode, pass.paths, again});
      return inner[static_cast<size_t>(step.residual)];
    };
    state[made.target] = step.after;
  }
  const Tensors after = reversible(std::move(steps), before, given);
  for (size_t i = 0; i < state.size(); ++i) values[static_cast<size_t>(state[i])] = after[i];
}

Tensors GraphModule::run_node(const Node& node, const Tensors& inputs, const Pass& pass) {
  if (node.block >= 0) return {run_block(node, inputs)};
  try {
    if (!node.run) return {normalize(node, inputs, pass)};
    return node.run({*node.proto, opset_}, inputs);
  } catch (const c10::Error& error) {
    const std::string_view message = error.what_without_backtrace();
    throw Error::make("{}: {}: {}", model_.name, describe(*node.proto), message.substr(0, message.find('\n')));
  } catch (const Error& error) {
    if (!node.run) throw;  // statistics could not be exchanged: not this node's fault
    throw Error::make("{}: {}: {}", model_.name, describe(*node.proto), error.what());
  }
}

torch::Tensor GraphModule::run_block(const Node& node, const Tensors& inputs) {
  const Block& block = blocks_[static_cast<size_t>(node.block)];
  solver::Options options = solver_;
  options.name = fmt::format("{}: ODE block '{}'", model_.name, block.name);
  for (size_t i = 1; i < inputs.size(); ++i) {
    if (inputs[i].requires_grad()) options.parameters.push_back(inputs[i]);
  }
  const solver::Function f = [this, &block, reads = node.inputs, inputs](double t, const torch::Tensor& u) {
    ++evaluations_;
    Tensors values(slots_.size());
    for (size_t i = 1; i < reads.size(); ++i) values[static_cast<size_t>(reads[i])] = inputs[i];
    values[static_cast<size_t>(block.t)] = torch::scalar_tensor(t, u.options());
    values[static_cast<size_t>(block.u)] = u;
    run_nodes(block.nodes, 0, block.nodes.size(), values, {Mode::kEvaluate, nullptr});
    return values[static_cast<size_t>(block.slope)];
  };
  return solver::integrate(f, inputs[0], {0, 1}, options).values[1];
}

torch::Tensor GraphModule::normalize(const Node& node, const Tensors& inputs, const Pass& pass) {
  const auto& of = node.normalization;
  torch::Tensor mean = buffers_.at(of.mean), variance = buffers_.at(of.variance);
  if (pass.mode == Mode::kEvaluate) {
    return torch::batch_norm(inputs[0], inputs[1], inputs[2], mean, variance, false, 0, of.epsilon, false);
  }
  if (pass.again) mean = variance = torch::Tensor();
  const double momentum = pass.mode == Mode::kTrain ? of.momentum : 1.0 / static_cast<double>(estimated_batches_ + 1);
  if (communicator_ && !communicator_->is_alone()) {
    return synchronized_batch_norm(inputs[0], inputs[1], inputs[2], mean, variance, momentum, of.epsilon,
                                   *communicator_);
  }
  return torch::batch_norm(inputs[0], inputs[1], inputs[2], mean, variance, true, momentum, of.epsilon, true);
}

std::string GraphModule::identity() const {
  const GraphBytes graph = to_graph_bytes(model_);
  uint32_t sum = crc32c(std::as_bytes(std::span(graph.bytes)));
  for (const Weight& weight : model_.weights) sum = crc32c(weight.source->read(), sum);
  return fmt::format("{:08x}-{}", sum, graph.bytes.size());
}

void GraphModule::reset_statistics() { estimated_batches_ = 0; }

OnnxModel GraphModule::to_onnx(const NamedTensors& weights) const {
  OnnxModel result = model_.clone();
  for (onnx::TensorProto& tensor : *result.proto.mutable_graph()->mutable_initializer()) {
    torch::Tensor value;
    for (const NamedTensors* source : {&buffers_, &parameters_, &weights}) {
      const auto found = source->find(tensor.name());
      if (found != source->end()) value = found->second;
    }
    if (!value.defined()) continue;
    value = value.detach().to(torch::kCPU, torch::kFloat32).contiguous();
    const std::span<const float> floats(value.data_ptr<float>(), static_cast<size_t>(value.numel()));
    const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    set_weight(result, tensor, tensor.data_type(), dims, owned_source(from_float(tensor.data_type(), floats)));
  }
  result.reindex();
  return result;
}

}  // namespace quench::training
