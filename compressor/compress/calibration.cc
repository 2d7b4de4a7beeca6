#include "compressor/compress/calibration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <numeric>
#include <random>
#include <set>

#include "compressor/graph/graph_index.h"
#include "compressor/graph/integer_weights.h"
#include "compressor/graph/runnable_part.h"
#include "compressor/measure/fidelity.h"
#include "compressor/measure/scores.h"
#include "formats/base/parallel.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

using graph::Evaluator;
using graph::EvaluatorOptions;
using graph::HostTensor;
using onnx::GraphProto;
using onnx::NodeProto;
using onnx::TensorProto;

// Samples that are run at once, or a quarter of them, and so on, where their activations need more than the budget.
constexpr int64_t kBatch = 16;
constexpr double kMaxSeconds = 40;  // of one processor; likewise: a loop may have no end
// On inputs that may be far from the real ones. With 1, 0.8, 0.5 and 0 of the products a classifier of sounds has on real
// ones 26.6, 29.5, 29.0 and 20.1 dB (st_yamnet256), one of a word 17.8, 21.6, 24.4 and 23.1 dB (oww_alexa), means over
// nine files of equal bytes; with 0.7 in place of 1, eight others have 3 dB less to 2 dB more. With a damping of 0.05 in
// place of 0.01, eight models of about equal bytes have, means over three seeds, 2.6, 2.1, 1.6, 1.0, 0.5, 0.3, -0.4 and -2.7 dB
// more; with 0.1 about as much.
constexpr MomentTrust kTrustInGuesses = {.products = 0.7, .damping = 0.05};
constexpr double kMomentOperations = 150e9;      // multiply-accumulates to spend on gathering moments
constexpr double kSensitivityOperations = 20e9;  // and on all perturbed runs together
constexpr double kSearchOperations = 30e9;       // and on one measurement of the outputs' error
constexpr int64_t kMomentSamples = 256;          // at most
// Of what takes more, a few samples all the same: the deep layers of a large picture have few places in each.
constexpr double kMostMomentOperations = 1.5e12;
constexpr int64_t kFewSamples = 8;
constexpr int64_t kSearchSamples = 64;
// Samples that each perturbed model runs on, at most, but for two batches, which are the least. With four batches,
// ResNet-20's file at the default quality is as large; with 2 samples instead of 16 that of a small LSTM (sb_bidi_lstm)
// is 11 % larger.
constexpr int64_t kSensitivitySamples = 16;
constexpr size_t kLeastSensitivityRuns = 2;
constexpr int64_t kLeastBlock = 64;
// Of a perturbed weight's errors where it is of integers, in these: less would be rounded away.
constexpr double kLeastIntegerPerturbation = 1;
// Of a perturbed weight's errors, over its rms: the first one at which the outputs' error is below kLinearError, where it
// still grows with the square; or the last.
constexpr std::array kRelativePerturbations = {0.1, 0.1 / 8};
constexpr double kLinearError = 0.03;

// Names of the two inputs of a BatchNormalization node that hold its statistics.
struct Statistics {
  std::string mean, variance;  // initializers of the original
  std::string measured_mean, measured_variance;
};

void add_node(GraphProto& graph, const char* op, std::vector<std::string> inputs, const std::string& output,
              const std::function<void(NodeProto&)>& more = nullptr) {
  NodeProto& node = *graph.add_node();
  node.set_op_type(op);
  for (std::string& input : inputs) node.add_input(std::move(input));
  node.add_output(output);
  if (more) more(node);
}

void add_ints(NodeProto& node, const char* name, const std::vector<int64_t>& values) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(onnx::AttributeProto::INTS);
  for (const int64_t value : values) attribute.add_ints(value);
}

void add_int64_initializer(GraphProto& graph, const std::string& name, const std::vector<int64_t>& values) {
  TensorProto& tensor = *graph.add_initializer();
  tensor.set_name(name);
  tensor.set_data_type(TensorProto::INT64);
  tensor.add_dims(static_cast<int64_t>(values.size()));
  tensor.set_raw_data(values.data(), values.size() * sizeof(int64_t));
}

std::map<std::string, int> ranks_of(const OnnxModel& model) {
  OnnxModel copy = model.clone();
  infer_shapes(copy);
  std::map<std::string, int> ranks;
  const auto note = [&](const onnx::ValueInfoProto& info) {
    if (info.type().tensor_type().has_shape()) ranks[info.name()] = info.type().tensor_type().shape().dim_size();
  };
  for (const auto& info : copy.proto.graph().value_info()) note(info);
  for (const auto& info : copy.proto.graph().input()) note(info);
  for (const auto& info : copy.proto.graph().output()) note(info);
  return ranks;
}

// Makes the BatchNormalization nodes of `model` normalise by the statistics of their batch, which become values of the
// graph under the names returned.
std::vector<Statistics> normalize_by_batch(OnnxModel& model) {
  GraphProto& graph = *model.proto.mutable_graph();
  const std::map<std::string, int> ranks = ranks_of(model);
  const bool axes_are_input = graph::default_opset(model.proto) >= 18;
  std::set<std::string> initializers;
  for (const TensorProto& tensor : graph.initializer()) initializers.insert(tensor.name());

  std::vector<Statistics> found;
  const auto old_nodes = graph.node();
  graph.clear_node();
  add_int64_initializer(graph, "quench.flat", {-1});
  for (const NodeProto& node : old_nodes) {
    const auto rank = node.input_size() == 5 ? ranks.find(node.input(0)) : ranks.end();
    const bool wanted = node.op_type() == "BatchNormalization" && rank != ranks.end() && rank->second >= 2 &&
                        initializers.contains(node.input(3)) && initializers.contains(node.input(4));
    if (!wanted) {
      *graph.add_node() = node;
      continue;
    }
    std::vector<int64_t> axes = {0};
    for (int axis = 2; axis < rank->second; ++axis) axes.push_back(axis);
    const std::string prefix = "quench.bn" + std::to_string(found.size()) + ".";
    std::vector<std::string> second_input;
    if (axes_are_input) {
      add_int64_initializer(graph, prefix + "axes", axes);
      second_input = {prefix + "axes"};
    }
    const auto reduce = [&](const std::string& from, const std::string& to) {
      std::vector<std::string> inputs = {from};
      inputs.insert(inputs.end(), second_input.begin(), second_input.end());
      add_node(graph, "ReduceMean", inputs, to, [&](NodeProto& reduced) {
        if (!axes_are_input) add_ints(reduced, "axes", axes);
      });
    };
    reduce(node.input(0), prefix + "mean4");
    add_node(graph, "Sub", {node.input(0), prefix + "mean4"}, prefix + "centered");
    add_node(graph, "Mul", {prefix + "centered", prefix + "centered"}, prefix + "squared");
    reduce(prefix + "squared", prefix + "variance4");
    add_node(graph, "Reshape", {prefix + "mean4", "quench.flat"}, prefix + "mean");
    add_node(graph, "Reshape", {prefix + "variance4", "quench.flat"}, prefix + "variance");
    NodeProto& normalized = *graph.add_node();
    normalized = node;
    normalized.set_input(3, prefix + "mean");
    normalized.set_input(4, prefix + "variance");
    found.push_back({node.input(3), node.input(4), prefix + "mean", prefix + "variance"});
  }
  model.reindex();
  return found;
}

TensorProto* find_initializer(OnnxModel& model, const std::string& name) {
  for (TensorProto& tensor : *model.proto.mutable_graph()->mutable_initializer()) {
    if (tensor.name() == name) return &tensor;
  }
  return nullptr;
}

void replace_values(OnnxModel& model, const std::string& name, const std::vector<float>& values) {
  TensorProto* tensor = find_initializer(model, name);
  const Weight& weight = model.weights[static_cast<size_t>(weight_index(*tensor))];
  const std::vector<int64_t> dims = weight.dims;
  set_weight(model, *tensor, weight.dtype, dims, owned_source(from_float(weight.dtype, values)));
}

bool same_structure(const OnnxModel& a, const OnnxModel& b) {
  const GraphProto &first = a.proto.graph(), &second = b.proto.graph();
  if (first.node_size() != second.node_size() || a.weights.size() != b.weights.size()) return false;
  for (int n = 0; n < first.node_size(); ++n) {
    if (first.node(n).op_type() != second.node(n).op_type()) return false;
  }
  for (size_t w = 0; w < a.weights.size(); ++w) {
    if (a.weights[w].dims != b.weights[w].dims || a.weights[w].dtype != b.weights[w].dtype) return false;
  }
  return true;
}

OnnxModel part_of(const OnnxModel& model, std::string& cut_at) {
  OnnxModel part = model.clone();
  const std::optional<std::string> first = graph::cut_to_runnable(part);
  if (!first) throw Error::make("{}: no part of it can be run", model.name);
  cut_at = *first;
  return part;
}

double norm_of_row(const std::vector<float>& values, const MatrixView& view, int64_t row) {
  double sum = 0;
  for (int64_t c = 0; c < view.columns; ++c) {
    const double value = values[static_cast<size_t>(row * view.row_stride + c * view.column_stride)];
    sum += value * value;
  }
  return std::sqrt(sum);
}

}  // namespace

Calibration::Calibration(const OnnxModel& original, const ResidentWeights& weights,
                         const std::function<void(OnnxModel&)>& simplify, const std::vector<size_t>& candidates,
                         const CalibrationOptions& options)
    : options_(options),
      part_(options.extent == CalibrationOptions::kPart ? std::optional(part_of(weights.model(), cut_at_))
                                                        : std::nullopt),
      model_(part_ ? *part_ : weights.model()),
      weights_(weights),
      ratios_(model_.weights.size()),
      sensitivity_(model_.weights.size(), 0.0),
      use_of_(model_.weights.size(), -1) {
  if (part_) check_part(candidates);
  for (WeightUse& use : find_weight_uses(model_)) {
    use_of_[use.weight] = static_cast<int>(uses_.size());
    uses_.push_back({std::move(use), std::nullopt});
  }
  is_anchored_ = on_real_data();
  telling_ = measure::telling_values(model_.proto.graph());
  if (!on_real_data()) {
    seeded_.emplace(original, options_.shapes, options_.seed);
    make_twin(original, simplify);
  }
  gather_moments();
  if (on_real_data() && saturating_outputs_move()) measure_at_outputs();
  measure_sensitivities(candidates);
  report(1);
}

// Of the others, all that is known is what these are like.
void Calibration::check_part(const std::vector<size_t>& candidates) const {
  constexpr uint64_t kLeastShare = 10;  // a tenth
  const std::vector<size_t> places = places_of_weights(model_);
  uint64_t seen = 0, all = 0;
  for (const size_t weight : candidates) {
    const uint64_t elements = model_.weights[weight].elements();
    all += elements;
    seen += places[weight] == kNoPlace ? 0 : elements;
  }
  if (seen * kLeastShare >= all) return;
  throw Error::make("{}: the part of it that can be run has {} of {} weights", model_.name, seen, all);
}

std::vector<HostTensor> Calibration::inputs(uint64_t index, int64_t batch) const {
  if (options_.data) return options_.data(index, batch);
  return seeded_->draw(index, batch);
}

Calibration::Batch Calibration::run_first(Evaluator& evaluator, int64_t samples) {
  for (;; samples /= 4) {
    Batch batch{inputs(0, samples), {}};
    if (batch.inputs.empty()) return batch;
    try {
      batch.outputs = evaluator.run(batch.inputs);
    } catch (const Error&) {
      if (samples < 4) throw;
      continue;
    }
    batch_ = std::min(samples, kBatch);
    if (options_.extent == CalibrationOptions::kOfFixedShapes && evaluator.runs_in_stages()) {
      throw ShapedByValues::of(model_.name);
    }
    return batch;
  }
}

void Calibration::make_twin(const OnnxModel& original, const std::function<void(OnnxModel&)>& simplify) {
  std::string cut_at;
  OnnxModel by_batch = part_ ? part_of(original, cut_at) : original.clone();
  const std::vector<Statistics> statistics = normalize_by_batch(by_batch);
  if (statistics.empty()) return;
  EvaluatorOptions evaluator_options;
  evaluator_options.threads = options_.threads;
  evaluator_options.max_memory_bytes = options_.budget.memory;
  evaluator_options.max_seconds = kMaxSeconds;
  for (const Statistics& node : statistics) {
    evaluator_options.extra_outputs.push_back(node.measured_mean);
    evaluator_options.extra_outputs.push_back(node.measured_variance);
  }
  Evaluator evaluator(by_batch, evaluator_options);
  const std::vector<HostTensor> measured = run_first(evaluator, 4 * kBatch).outputs;
  const size_t first = measured.size() - evaluator_options.extra_outputs.size();

  OnnxModel twin = original.clone();
  for (size_t s = 0; s < statistics.size(); ++s) {
    const std::span<const float> mean = measured[first + 2 * s].floats();
    const std::span<const float> variance = measured[first + 2 * s + 1].floats();
    TensorProto* declared = find_initializer(twin, statistics[s].variance);
    std::vector<float> bounded = read_float(twin.weights[static_cast<size_t>(weight_index(*declared))]);
    // A channel that the seeded inputs hardly move must not be blown up.
    for (size_t c = 0; c < bounded.size(); ++c)
      bounded[c] = std::clamp(variance[c], bounded[c] * 0.01f, bounded[c] * 100);
    replace_values(twin, statistics[s].mean, {mean.begin(), mean.end()});
    replace_values(twin, statistics[s].variance, bounded);
  }
  twin.reindex();
  simplify(twin);
  if (!same_structure(twin, weights_.model())) return;
  if (part_) graph::cut_to_runnable(twin);
  is_anchored_ = 2 * statistics.size() >= uses_.size() && measure::takes_pictures(model_);
  twin_ = std::move(twin);
  twin_weights_.emplace(*twin_);
  for (const CalibratedUse& calibrated : uses_) {
    const WeightUse& use = calibrated.use;
    const SharedValues own = weights_.values(use.weight), other = twin_weights_->values(use.weight);
    std::vector<float> per_row(static_cast<size_t>(use.view.rows), 1.0f);
    for (int64_t row = 0; row < use.view.rows; ++row) {
      const double norm = norm_of_row(*own, use.view, row);
      if (norm > 0) per_row[static_cast<size_t>(row)] = static_cast<float>(norm_of_row(*other, use.view, row) / norm);
    }
    ratios_[use.weight] = {per_row, static_cast<size_t>(use.view.row_stride)};
    if (use.bias) ratios_[*use.bias] = {per_row, 1};
  }
  std::map<std::string, size_t> weights;
  for (const TensorProto& tensor : model_.proto.graph().initializer()) {
    const int64_t weight = weight_index(tensor);
    if (weight >= 0 && is_float_type(tensor.data_type())) weights[tensor.name()] = static_cast<size_t>(weight);
  }
  for (const NodeProto& node : model_.proto.graph().node()) {
    if (node.op_type() == "BatchNormalization" && node.input_size() == 5) scale_errors_of(node, weights);
  }
}

// Of a BatchNormalization that was not folded: errors are as large beside its parameters in the twin as in the model.
// Otherwise they may be larger than all of a variance that seeded inputs make small, which is then negative.
void Calibration::scale_errors_of(const NodeProto& norm, const std::map<std::string, size_t>& weights) {
  const auto ratios_of = [&](int input) {
    std::vector<float> ratios;
    const auto found = weights.find(norm.input(input));
    if (found == weights.end()) return ratios;
    const SharedValues own = weights_.values(found->second), other = twin_weights_->values(found->second);
    for (size_t c = 0; c < own->size(); ++c) ratios.push_back((*own)[c] != 0 ? (*other)[c] / (*own)[c] : 1.0f);
    return ratios;
  };
  const auto set = [&](int input, const std::vector<float>& ratios) {
    const auto found = weights.find(norm.input(input));
    if (found != weights.end() && ratios.size() == model_.weights[found->second].elements())
      ratios_[found->second].rows = ratios;
  };
  const std::vector<float> of_scale = ratios_of(1);
  std::vector<float> of_variance = ratios_of(4);
  set(1, of_scale);
  set(4, of_variance);
  for (float& ratio : of_variance) ratio = std::sqrt(std::max(ratio, 0.0f));
  set(3, of_variance);
}

SharedValues Calibration::run_values(size_t weight) const { return (twin_ ? *twin_weights_ : weights_).values(weight); }

EvaluatorOptions Calibration::evaluator_options() const {
  EvaluatorOptions options;
  options.threads = options_.threads;
  options.max_memory_bytes = options_.budget.memory;
  options.max_seconds = kMaxSeconds;
  options.values = [this](size_t weight) { return run_values(weight); };
  options.extra_outputs = telling_.inner;
  return options;
}

// Second moments of all activations: in blocks that are small enough for the budget.
std::vector<Moments> Calibration::blank_moments() const {
  int64_t block = Moments::kMaxBlock;
  const auto bytes = [&] {
    uint64_t sum = 0;
    for (const CalibratedUse& calibrated : uses_) sum += Moments::bytes(calibrated.use, block);
    return sum;
  };
  while (block > kLeastBlock && bytes() > options_.budget.moment_memory) block /= 2;
  std::vector<Moments> moments;
  for (const CalibratedUse& calibrated : uses_) moments.emplace_back(calibrated.use, block);
  return moments;
}

void Calibration::gather_moments() {
  std::vector<Moments> moments = blank_moments();
  // The activations of all uses in one run if they fit into memory, or else of halves, and so on.
  std::vector<Range> open = {{0, uses_.size()}};
  while (!open.empty()) {
    const Range range = open.back();
    open.pop_back();
    try {
      gather_moments(range, moments);
    } catch (const graph::BeyondLimits&) {
      if (range.end - range.begin < 2) throw;
      const size_t middle = (range.begin + range.end) / 2;
      open.push_back({middle, range.end});
      open.push_back({range.begin, middle});
    }
  }
  if (batches_.empty()) throw Error::make("{}: the data for calibration is empty", model_.name);
  measure::Fidelity same;
  for (const Batch& batch : batches_) same.add(telling(batch.outputs), telling(batch.outputs));
  if (!same.error()) throw Error::make("{}: its outputs are all zero, whatever the input", model_.name);
  parallel_for(uses_.size(), options_.threads, [&](size_t u) {
    const Moments own = std::move(moments[u]);  // its memory goes as soon as it has served
    if (own.empty()) return;
    uses_[u].feedback.emplace(uses_[u].use.view, own, is_anchored_ ? MomentTrust() : kTrustInGuesses, options_.vectors);
    for (int64_t group = 0; group < uses_[u].use.view.groups; ++group) uses_[u].mean.push_back(own.mean(group));
  });
}

// Of a range's uses; what errors are measured on is taken along from the first range's runs.
void Calibration::gather_moments(Range range, std::vector<Moments>& moments) {
  EvaluatorOptions options = evaluator_options();
  options.watched = watched(range);
  Evaluator evaluator(twin_ ? *twin_ : model_, options);
  const bool is_first = batches_.empty();
  const bool is_all = range.end - range.begin == uses_.size();
  Batches batches = {uses_.empty() ? uint64_t{0} : 1, 1};
  for (uint64_t b = 0; b < batches.moments + (is_first ? batches.search : 0); ++b) {
    Batch batch = b == 0 ? run_first(evaluator, is_first ? kBatch : batch_) : Batch{inputs(b, batch_), {}};
    if (batch.inputs.empty()) break;
    if (b > 0) batch.outputs = evaluator.run(batch.inputs);
    if (b == 0 && is_first) {
      measure_cost(range, evaluator, batch, moments);
      const double share = kSearchOperations / operations_;
      if (is_all && share < 1 && samples_ > 1) {
        batch = run_first(evaluator, std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(batch_))));
        measure_cost(range, evaluator, batch, moments);
      }
      if (is_all) batches = affordable_batches();
    }
    if (b < batches.moments) {
      for_each_activation(range, evaluator, batch, [&](size_t u, const HostTensor& activation) {
        const int64_t samples = moments[u].enough_samples() / static_cast<int64_t>(batches.moments) + 1;
        if (activation.dtype == TensorProto::FLOAT) moments[u].add(activation, samples);
      });
    }
    // Errors are measured on samples that the moments have not seen; on the same, if there are no more.
    if (is_first && b == batches.moments) batches_.clear();
    if (is_first && (b < batches.search || b >= batches.moments)) batches_.push_back(std::move(batch));
    report(0.3 * static_cast<double>(b + 1) / static_cast<double>(batches.moments + batches.search));
  }
}

// The activations of a range's uses, but for inputs of the graph and what is an output anyway.
std::vector<std::string> Calibration::watched(Range range) const {
  std::set<std::string> graph_inputs, names;
  for (const auto& input : model_.proto.graph().input()) graph_inputs.insert(input.name());
  for (size_t u = range.begin; u < range.end; ++u) {
    if (!graph_inputs.contains(uses_[u].use.activation)) names.insert(uses_[u].use.activation);
  }
  for (const std::string& name : telling_.inner) names.erase(name);
  return {names.begin(), names.end()};
}

// Each activation is fetched once, and is gone when the uses that multiply it have seen it: together they may be larger
// than all else.
void Calibration::for_each_activation(Range range, const Evaluator& evaluator, const Batch& batch,
                                      const std::function<void(size_t use, const HostTensor&)>& visit) const {
  std::map<std::string, std::vector<size_t>> uses;
  for (size_t u = range.begin; u < range.end; ++u) uses[uses_[u].use.activation].push_back(u);
  // 8-bit integers as the numbers that they stand for, in units of their scale.
  const auto show = [&](size_t u, const HostTensor& activation) {
    if (!graph::is_integer_type(activation.dtype)) return visit(u, activation);
    const int32_t zero = uses_[u].use.activation_zero;
    const std::vector<float> values = graph::integers_to_float(activation.dtype, zero, activation.bytes);
    visit(u, HostTensor::float32(activation.name, activation.dims, values));
  };
  const std::vector<std::string> names = watched(range);
  parallel_for(names.size(), options_.threads, [&](size_t n) {
    const HostTensor activation = evaluator.watched(n);
    for (const size_t u : uses.at(names[n])) show(u, activation);
  });
  for (const std::string& name : names) uses.erase(name);
  for (const std::vector<HostTensor>* known : {&batch.inputs, &batch.outputs}) {
    for (const HostTensor& value : *known) {
      for (const size_t u : uses[value.name]) show(u, value);
      uses.erase(value.name);
    }
  }
}

// Multiply-accumulates and samples of a batch.
void Calibration::measure_cost(Range range, const Evaluator& evaluator, const Batch& batch,
                               const std::vector<Moments>& moments) {
  std::vector<double> operations(uses_.size(), 0.0);
  for_each_activation(range, evaluator, batch, [&](size_t u, const HostTensor& activation) {
    if (activation.dtype == TensorProto::FLOAT) operations[u] = moments[u].operations(activation);
  });
  operations_ = 1e6 + std::accumulate(operations.begin(), operations.end(), 0.0);
  // The other ranges' nodes are taken to cost as much.
  if (range.end > range.begin) {
    operations_ *= static_cast<double>(uses_.size()) / static_cast<double>(range.end - range.begin);
  }
  const auto& dims = batch.inputs.front().dims;
  samples_ = dims.empty() ? 1 : std::max<int64_t>(dims.front(), 1);
}

// How many batches the moments and the search can afford.
Calibration::Batches Calibration::affordable_batches() const {
  const auto affordable = [&](double budget, int64_t most) {
    const double limit = std::max(1.0, static_cast<double>(most) / static_cast<double>(samples_));
    return static_cast<uint64_t>(std::clamp(budget / operations_, 1.0, limit));
  };
  const uint64_t moments = std::max(affordable(kMomentOperations, kMomentSamples),  //
                                    affordable(kMostMomentOperations, kFewSamples));
  // Nothing to gather where all weights are in subgraphs.
  return {uses_.empty() ? 0 : moments, affordable(kSearchOperations, kSearchSamples)};
}

SharedValues Calibration::perturbed(size_t weight, double deviation) const {
  std::vector<float> values = *run_values(weight);
  const RowRatios& ratio = ratios_[weight];
  std::mt19937_64 engine(options_.seed * 0x9E3779B97F4A7C15 + weight);
  for (size_t i = 0; i < values.size(); ++i) {
    // Uniform errors, as rounding makes them.
    const double uniform = static_cast<double>(engine() >> 11) * 0x1p-53 - 0.5;
    values[i] += static_cast<float>(deviation * std::sqrt(12.0) * uniform) * ratio.at(i);
  }
  return std::make_shared<const std::vector<float>>(std::move(values));
}

// Weights whose sensitivity one run is to tell: each alone, or neighbours in the graph together where there are too many for
// the budget. Of the runs, the matrices get most: they are what takes the bytes.
std::vector<std::vector<size_t>> Calibration::measured_together(std::vector<size_t> candidates, size_t batches) const {
  const auto runs = static_cast<size_t>(
      std::clamp(options_.budget.sensitivity_operations / operations_ / static_cast<double>(batches), 8.0, 1e9));
  std::vector<std::vector<size_t>> groups;
  const auto cut = [&](std::span<const size_t> list, size_t parts) {
    parts = std::min(parts, list.size());
    for (size_t p = 0; p < parts; ++p) {
      const size_t begin = p * list.size() / parts, end = (p + 1) * list.size() / parts;
      groups.emplace_back(list.begin() + static_cast<std::ptrdiff_t>(begin),
                          list.begin() + static_cast<std::ptrdiff_t>(end));
    }
  };
  if (candidates.size() <= runs) {
    cut(candidates, candidates.size());
    return groups;
  }
  const std::vector<size_t> places = places_of_weights(model_);
  std::ranges::stable_sort(candidates, {}, [&](size_t weight) { return places[weight]; });
  const auto vectors = std::stable_partition(candidates.begin(), candidates.end(),
                                             [&](size_t weight) { return model_.weights[weight].dims.size() >= 2; });
  cut({candidates.begin(), vectors}, runs - runs / 4);
  cut({vectors, candidates.end()}, runs / 4);
  return groups;
}

void Calibration::measure_sensitivities(const std::vector<size_t>& candidates) {
  const auto most = std::max<size_t>(kLeastSensitivityRuns, static_cast<size_t>(kSensitivitySamples / samples_));
  const auto affordable = static_cast<size_t>(std::min(
      1e6, kSensitivityOperations / operations_ / static_cast<double>(std::max<size_t>(1, candidates.size()))));
  const size_t batches = std::min(std::clamp(affordable, kLeastSensitivityRuns, most), batches_.size());
  std::vector<double> sizes(model_.weights.size(), 0.0);
  for (const size_t weight : candidates) {
    const SharedValues values = weights_.values(weight);
    double power = 0;
    for (const float value : *values) power += static_cast<double>(value) * value;
    sizes[weight] = std::sqrt(power / static_cast<double>(values->size()));
  }
  const std::vector<std::vector<size_t>> groups = measured_together(candidates, batches);
  for (size_t g = 0; g < groups.size(); ++g) {
    measure_sensitivity(groups[g], sizes, batches);
    report(0.3 + 0.7 * static_cast<double>(g + 1) / static_cast<double>(groups.size()));
  }
  guess_unseen(candidates, sizes);
}

// Each of the group is taken to have the same part in the outputs' error.
void Calibration::measure_sensitivity(const std::vector<size_t>& group, const std::vector<double>& rms,
                                      size_t batches) {
  const auto count = static_cast<double>(group.size());
  for (const double perturbation : kRelativePerturbations) {
    const auto deviation = [&](size_t weight) {
      const double least = weights_.zero(weight) ? kLeastIntegerPerturbation : 0;
      return std::max(perturbation / std::sqrt(count) * rms[weight], least);
    };
    const double error = error_against_reference(
        [&](size_t weight) {
          const bool is_in = std::ranges::find(group, weight) != group.end();
          return is_in ? perturbed(weight, deviation(weight)) : nullptr;
        },
        batches);
    for (const size_t weight : group) {
      if (rms[weight] > 0) sensitivity_[weight] = error / count / std::pow(deviation(weight), 2);
    }
    if (error < kLinearError) break;
  }
}

void Calibration::guess_unseen(const std::vector<size_t>& candidates, const std::vector<double>& rms) {
  double sum = 0;  // of logarithms: sensitivities differ by powers of ten
  double count = 0;
  for (const size_t weight : candidates) {
    if (sensitivity_[weight] <= 0) continue;
    sum += std::log(sensitivity_[weight] * rms[weight] * rms[weight]);
    ++count;
  }
  const double typical = count > 0 ? std::exp(sum / count) : 1;
  const std::vector<bool> inner = read_in_subgraphs(model_);
  const std::vector<size_t> places = places_of_weights(model_);
  for (const size_t weight : candidates) {
    const bool is_cut_off = places[weight] == kNoPlace;
    const bool unseen = (inner[weight] || is_cut_off) && sensitivity_[weight] == 0 && rms[weight] > 0;
    if (unseen) sensitivity_[weight] = typical / (rms[weight] * rms[weight]);
  }
}

// On real data that holds nothing of what a detector looks for, its map is 0 everywhere, but for noise that any error
// exceeds: an output of a Sigmoid that moves by less than a tenth of its range tells nothing (of ppocrv3_det, calibrated on
// 32 pictures without text, less than nothing was left at 34 times smaller).
bool Calibration::saturating_outputs_move() const {
  constexpr float kLeastMove = 0.1f;
  for (size_t i = 0; i < telling_.outputs.size(); ++i) {
    if (telling_.outputs[i]) continue;
    float least = std::numeric_limits<float>::infinity(), most = -least;
    for (const Batch& batch : batches_) {
      if (batch.outputs[i].dtype != TensorProto::FLOAT) return true;  // numbers of classes, or of places
      for (const float value : batch.outputs[i].floats()) {
        least = std::min(least, value);
        most = std::max(most, value);
      }
    }
    if (!(most - least >= kLeastMove)) return false;
  }
  return true;
}

void Calibration::measure_at_outputs() {
  for (Batch& batch : batches_) batch.outputs.resize(batch.outputs.size() - telling_.inner.size());
  telling_ = {};
}

// What errors are measured at, of the outputs of a run.
std::vector<HostTensor> Calibration::telling(std::vector<HostTensor> values) const {
  for (size_t i = telling_.outputs.size(); i-- > 0;) {
    if (!telling_.outputs[i]) values.erase(values.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return values;
}

double Calibration::error_against_reference(const WeightValues& values, size_t batches) const {
  EvaluatorOptions options = evaluator_options();
  options.values = [&](size_t weight) {
    SharedValues changed = values(weight);
    return changed ? changed : run_values(weight);
  };
  Evaluator evaluator(twin_ ? *twin_ : model_, options);
  measure::Fidelity fidelity;
  for (size_t b = 0; b < batches; ++b) {
    fidelity.add(telling(batches_[b].outputs), telling(evaluator.run(batches_[b].inputs)));
  }
  return fidelity.error().value_or(0);
}

double Calibration::output_error(const WeightValues& values) const {
  const auto twin_values = [&](size_t weight) -> SharedValues {
    SharedValues changed = values(weight);
    if (!changed || !twin_) return changed;
    const SharedValues own = weights_.values(weight);
    const RowRatios& ratio = ratios_[weight];
    std::vector<float> result = *run_values(weight);
    for (size_t i = 0; i < result.size(); ++i) result[i] += ((*changed)[i] - (*own)[i]) * ratio.at(i);
    return std::make_shared<const std::vector<float>>(std::move(result));
  };
  return error_against_reference(twin_values, batches_.size());
}

const CalibratedUse* Calibration::use(size_t weight) const {
  const int index = use_of_[weight];
  return index < 0 || !uses_[static_cast<size_t>(index)].feedback ? nullptr : &uses_[static_cast<size_t>(index)];
}

bool Calibration::is_classifier() const {
  const std::span<const HostTensor> outputs(batches_.front().outputs);
  const auto scores = measure::find_scores(model_.proto.graph(), outputs.first(outputs.size() - telling_.inner.size()));
  return scores && scores->is_purpose;
}

void Calibration::report(double share) const {
  if (options_.progress) options_.progress(share);
}

}  // namespace quench::quantizer
