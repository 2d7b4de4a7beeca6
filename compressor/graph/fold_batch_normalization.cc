#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "compressor/graph/graph_index.h"
#include "compressor/graph/simplify.h"
#include "formats/operators/batch_normalization.h"

namespace quench::graph {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;
using Doubles = std::vector<double>;

// BatchNormalization with constant parameters: y = factor * x + shift, for each channel.
struct Affine {
  Doubles factor;
  Doubles shift;
  Doubles size;  // of what comes out: |scale| + |bias|
};

Doubles decode(int32_t dtype, const std::vector<std::byte>& raw) {
  if (dtype != TensorProto::DOUBLE) {
    const std::vector<float> values = to_float(dtype, raw);
    return {values.begin(), values.end()};
  }
  Doubles values(raw.size() / sizeof(double));
  std::memcpy(values.data(), raw.data(), raw.size());
  return values;
}

Doubles read_doubles(const Weight& weight) { return decode(weight.dtype, read(weight)); }

std::vector<std::byte> encode(int32_t dtype, const Doubles& values) {
  if (dtype != TensorProto::DOUBLE) return from_float(dtype, std::vector<float>(values.begin(), values.end()));
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

bool all_finite(const Doubles& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

// Of rounding to a type: the largest relative error of a normal number.
double unit_of(int32_t dtype) {
  if (dtype == TensorProto::FLOAT16) return 0x1p-11;
  if (dtype == TensorProto::BFLOAT16) return 0x1p-9;
  return dtype == TensorProto::DOUBLE ? 0x1p-53 : 0x1p-24;
}

bool is_narrow(int32_t dtype) { return dtype == TensorProto::FLOAT16 || dtype == TensorProto::BFLOAT16; }

// Of its kinds the one that can be folded. With more outputs than the first it is the kind for training, whether they
// are used or not.
bool is_inference(const NodeProto& node, int64_t opset) {
  for (int i = 1; i < node.output_size(); ++i) {
    if (has_output(node, i)) return false;
  }
  return operators::is_inference(attributes_of(node), opset, node.output_size());
}

double epsilon_of(const NodeProto& norm) { return operators::epsilon_of(attributes_of(norm)); }

class Folder {
 public:
  Folder(OnnxModel& model, onnx::GraphProto& graph, NameSet& names, const Options& options)
      : model_(model),
        graph_(graph),
        names_(names),
        index_(graph),
        options_(options),
        opset_(default_opset(model.proto)) {}

  size_t fold_all() {
    // Nodes are not added, so references to them hold. The index follows each change: a chain of them goes in one pass.
    const size_t folded = count_of([&](NodeProto& norm, const Affine& affine) { return fold(norm, affine); });
    erase_if(*graph_.mutable_node(), [&](const NodeProto& node) { return dropped_.contains(&node); });
    return folded;
  }

  size_t reduce_all() {
    return count_of([&](NodeProto& norm, const Affine& affine) { return reduce(norm, affine); });
  }

 private:
  // For how many nodes of the kind for inference, whose parameters are constants, `change` is true.
  template <typename Change>
  size_t count_of(const Change& change) {
    size_t count = 0;
    for (NodeProto& node : *graph_.mutable_node()) {
      const bool is_wanted = is_op(node, "BatchNormalization") && node.input_size() == 5 && has_output(node, 0) &&
                             is_inference(node, opset_);
      const std::optional<Affine> affine = is_wanted ? affine_of(node) : std::nullopt;
      if (affine && change(node, *affine)) ++count;
    }
    return count;
  }

  bool fold(NodeProto& norm, const Affine& affine) {
    NodeProto* before = producer_for(norm.input(0));
    if (before == nullptr) return false;
    const operators::Operator* op = operator_of(*before);
    if (op != nullptr && op->is_linear()) {
      return op->bias_input() >= 0 ? fold_into_biased(*op, *before, affine, norm)
                                   : fold_into_matmul(*before, affine, norm);
    }
    if (is_op(*before, "Add")) return fold_into_matmul_add(*before, affine, norm);
    return false;
  }

  bool reduce(NodeProto& norm, Affine affine) {
    const size_t channels = affine.factor.size();
    const int32_t dtype = constant(norm.input(1))->dtype;
    const Doubles zeros(channels, 0.0), means = read_doubles(*constant(norm.input(3)));
    const Weight& variance = *constant(norm.input(4));
    // With the epsilon that the node adds; some runtimes do not take one of 0.
    const Doubles ones = decode(variance.dtype, encode(variance.dtype, Doubles(channels, 1 - epsilon_of(norm))));
    const bool is_reduced = means == zeros && read_doubles(variance) == ones;
    const Doubles exact = is_reduced ? read_doubles(*constant(norm.input(1))) : affine.factor;
    affine.factor = exact;
    if (options_.round_scale) options_.round_scale(is_reduced ? norm.input(1) : "", affine.factor);
    if (is_reduced && affine.factor == exact) return false;
    for (size_t c = 0; c < channels; ++c) affine.shift[c] += means[c] * (exact[c] - affine.factor[c]);
    if (!fits(affine.factor, affine.factor, dtype) || !fits(affine.shift, affine.size, dtype)) return false;
    const std::string scale = names_.unique(norm.output(0) + ".scale");
    if (options_.round_scale) options_.round_scale(scale, affine.factor);
    const int32_t dtypes[] = {dtype, constant(norm.input(2))->dtype, constant(norm.input(3))->dtype, variance.dtype};
    norm.set_input(1, add_vector(scale, dtypes[0], affine.factor));
    norm.set_input(2, add_vector(names_.unique(norm.output(0) + ".bias"), dtypes[1], affine.shift));
    norm.set_input(3, add_vector(names_.unique(norm.output(0) + ".mean"), dtypes[2], zeros));
    norm.set_input(4, add_vector(names_.unique(norm.output(0) + ".variance"), dtypes[3], ones));
    return true;
  }

  // The node that makes a value which nothing else uses.
  NodeProto* producer_for(const std::string& value) {
    if (index_.uses(value) != 1 || index_.is_output(value)) return nullptr;
    NodeProto* node = index_.producer(value);
    return node;
  }

  // A constant of a floating-point type, in this graph.
  const Weight* constant(const std::string& name) {
    const TensorProto* tensor = index_.initializer(name);
    if (tensor == nullptr || weight_index(*tensor) < 0 || !is_float_type(tensor->data_type())) return nullptr;
    const Weight& weight = weight_of(model_, *tensor);
    return options_.is_kept && options_.is_kept(weight) ? nullptr : &weight;
  }

  std::optional<Affine> affine_of(const NodeProto& norm) {
    Doubles parameters[4];  // scale, bias, mean, variance
    for (int i = 0; i < 4; ++i) {
      const Weight* weight = constant(norm.input(i + 1));
      if (weight == nullptr || weight->dims.size() != 1) return std::nullopt;
      parameters[i] = read_doubles(*weight);
      if (parameters[i].size() != parameters[0].size()) return std::nullopt;
    }
    const double epsilon = epsilon_of(norm);
    Affine affine;
    for (size_t i = 0; i < parameters[0].size(); ++i) {
      const operators::BatchNormalization<double> channel{parameters[0][i], parameters[1][i], parameters[2][i],
                                                          parameters[3][i], epsilon};
      affine.factor.push_back(channel.scale());
      affine.shift.push_back(channel.shift());
      affine.size.push_back(std::abs(parameters[0][i]) + std::abs(parameters[1][i]));
    }
    if (!all_finite(affine.factor) || !all_finite(affine.shift)) return std::nullopt;
    return affine;
  }

  // The weight if only this node uses it: another user would see it scaled.
  TensorProto* own_weight(const std::string& name) {
    if (constant(name) == nullptr || index_.uses(name) != 1) return nullptr;
    return index_.initializer(name);
  }

  // The weight scaled; null where a result would be too large for its type, or so small that it loses precision.
  std::shared_ptr<const WeightSource> scaled(const TensorProto& tensor, const operators::ChannelMap& map,
                                             const Affine& affine) {
    const Weight weight = weight_of(model_, tensor);
    const auto elements = static_cast<int64_t>(weight.elements());
    // Slices of `inner` elements; their channels come again and again, but for those of groups.
    const int64_t slices = map.channels == map.within ? map.within : elements / map.inner;
    Weight view = weight;
    view.dims = {elements / map.inner / slices, slices, map.inner};
    Doubles factors;
    for (int64_t slice = 0; slice < slices; ++slice) {
      factors.push_back(affine.factor[static_cast<size_t>(map.channel(slice * map.inner))]);
    }
    auto source = scaled_source(view, factors, 1);
    return is_precise(weight, factors, static_cast<size_t>(map.inner), *source) ? std::move(source) : nullptr;
  }

  // Whether rounding loses no more than it does of normal numbers in each slice: not where most become denormal ones.
  static bool is_precise(const Weight& weight, const Doubles& factors, size_t inner, const WeightSource& scaled) {
    const Doubles before = decode(weight.dtype, read(weight)), after = decode(weight.dtype, scaled.read());
    Doubles power(factors.size()), error(factors.size());
    for (size_t i = 0; i < before.size(); ++i) {
      const size_t slice = i / inner % factors.size();
      const double exact = before[i] * factors[slice];
      power[slice] += exact * exact;
      error[slice] += (exact - after[i]) * (exact - after[i]);
    }
    // Twice what rounding `exact` loses: a weight that was scaled before is rounded from what it was at first.
    const double unit = 2 * unit_of(weight.dtype);
    for (size_t slice = 0; slice < factors.size(); ++slice) {
      if (!std::isfinite(error[slice]) || error[slice] > unit * unit * power[slice]) return false;
    }
    return true;
  }

  // Whether values do not overflow and, in a narrow type, are exact enough beside `sizes`. Of a bias, the sizes that the
  // BatchNormalization gives its outputs: a large mean that the bias takes away would leave its rounding there.
  static bool fits(const Doubles& values, const Doubles& sizes, int32_t dtype) {
    const Doubles rounded = decode(dtype, encode(dtype, values));
    for (size_t i = 0; i < values.size(); ++i) {
      const double error = std::abs(values[i] - rounded[i]);
      if (!std::isfinite(error) || (is_narrow(dtype) && error > 8 * unit_of(dtype) * std::abs(sizes[i]))) return false;
    }
    return true;
  }

  // Scales the weight and adds the bias, whose name comes back; nothing where one of them does not fit its type.
  std::optional<std::string> fold_both(TensorProto& tensor, const operators::ChannelMap& map, const Affine& affine,
                                       const Doubles& bias, const NodeProto& norm) {
    const int32_t dtype = tensor.data_type();
    if (!fits(bias, affine.size, dtype)) return std::nullopt;
    auto source = scaled(tensor, map, affine);
    if (!source) return std::nullopt;
    const std::vector<int64_t> shape = weight_of(model_, tensor).dims;
    set_weight(model_, tensor, dtype, shape, std::move(source));
    return add_vector(names_.unique(norm.output(0) + ".bias"), dtype, bias);
  }

  // A new initializer, which one node uses; returns its name.
  std::string add_vector(const std::string& name, int32_t dtype, const Doubles& values) {
    TensorProto& added = *graph_.add_initializer();
    added.set_name(name);
    const int64_t dims[] = {static_cast<int64_t>(values.size())};
    set_weight(model_, added, dtype, dims, owned_source(encode(dtype, values)));
    index_.add_initializer(added);
    index_.add_use(added.name());
    return added.name();
  }

  void drop(NodeProto& norm, NodeProto& before) {
    before.set_output(0, norm.output(0));
    index_.set_producer(norm.output(0), before);
    dropped_.insert(&norm);
  }

  // A constant bias of one value, or one for each of the last axis' channels.
  std::optional<Doubles> broadcast_bias(const std::string& name, size_t channels) {
    const Weight* weight = constant(name);
    if (weight == nullptr || weight->dims.size() > 2) return std::nullopt;
    const bool is_scalar = weight->elements() == 1;
    const bool is_row =
        weight->elements() == channels && !weight->dims.empty() && static_cast<size_t>(weight->dims.back()) == channels;
    if (!is_scalar && !is_row) return std::nullopt;
    const Doubles values = read_doubles(*weight);
    return is_row ? values : Doubles(channels, values[0]);
  }

  // The map of a node's weight, if it has these channels.
  std::optional<operators::ChannelMap> map_of(const operators::Operator& op, const NodeProto& node,
                                              const TensorProto& tensor, size_t channels) {
    const auto map = operators::channel_map(op, attributes_of(node), weight_of(model_, tensor).dims);
    return static_cast<size_t>(map.channels) == channels ? std::optional(map) : std::nullopt;
  }

  // Conv and its like, and Gemm.
  bool fold_into_biased(const operators::Operator& op, NodeProto& node, const Affine& affine, NodeProto& norm) {
    const size_t channels = affine.factor.size();
    TensorProto* tensor = own_weight(node.input(1));
    if (tensor == nullptr) return false;
    if (opset_ < 7 && op.weight == operators::WeightForm::kMatrix)
      return false;  // its bias was broadcast by attributes
    const auto map = map_of(op, node, *tensor, channels);
    std::optional<Doubles> bias = Doubles(channels, 0.0);
    const int at = op.bias_input();
    if (has_input(node, at)) bias = broadcast_bias(node.input(at), channels);
    if (!map || !bias) return false;
    const double beta = static_cast<double>(float_attribute(node, "beta", 1.0f));
    for (size_t i = 0; i < channels; ++i) (*bias)[i] = (*bias)[i] * beta * affine.factor[i] + affine.shift[i];
    const std::optional<std::string> name = fold_both(*tensor, *map, affine, *bias, norm);
    if (!name) return false;
    remove_attribute(node, "beta");
    while (node.input_size() <= at) node.add_input();
    node.set_input(at, *name);
    drop(norm, node);
    return true;
  }

  // The weight of x * w whose result has two axes, so that the channels are w's columns.
  std::optional<operators::ChannelMap> map_of_matmul(const NodeProto& node, TensorProto*& tensor, size_t channels) {
    tensor = own_weight(node.input(1));
    if (tensor == nullptr || rank_of(node.input(0)) != 2) return std::nullopt;
    return map_of(*operator_of(node), node, *tensor, channels);
  }

  // y = x * w * factor + shift: what is left of the BatchNormalization is an addition.
  bool fold_into_matmul(NodeProto& node, const Affine& affine, NodeProto& norm) {
    TensorProto* tensor = nullptr;
    const auto map = map_of_matmul(node, tensor, affine.factor.size());
    if (opset_ < 7 || !map) return false;
    const std::optional<std::string> name = fold_both(*tensor, *map, affine, affine.shift, norm);
    if (!name) return false;
    norm.set_op_type("Add");
    norm.clear_attribute();
    norm.mutable_input()->DeleteSubrange(1, norm.input_size() - 1);
    norm.mutable_output()->DeleteSubrange(1, norm.output_size() - 1);
    norm.add_input(*name);
    return true;
  }

  bool fold_into_matmul_add(NodeProto& add, const Affine& affine, NodeProto& norm) {
    const size_t channels = affine.factor.size();
    for (int side = 0; side < 2; ++side) {
      if (!has_input(add, 1) || opset_ < 7) return false;
      NodeProto* product = producer_for(add.input(side));
      std::optional<Doubles> bias = broadcast_bias(add.input(1 - side), channels);
      if (product == nullptr || !is_op(*product, "MatMul") || !bias) continue;
      TensorProto* tensor = nullptr;
      const auto map = map_of_matmul(*product, tensor, channels);
      if (!map) return false;
      for (size_t i = 0; i < channels; ++i) (*bias)[i] = (*bias)[i] * affine.factor[i] + affine.shift[i];
      const std::optional<std::string> name = fold_both(*tensor, *map, affine, *bias, norm);
      if (!name) return false;
      add.set_input(1 - side, *name);
      drop(norm, add);
      return true;
    }
    return false;
  }

  // Rank of a value by shape inference; -1 where it is not known.
  int rank_of(const std::string& value) {
    if (!ranks_) ranks_ = find_ranks();
    const auto found = ranks_->find(value);
    return found == ranks_->end() ? -1 : found->second;
  }

  std::unordered_map<std::string, int> find_ranks() const {
    std::unordered_map<std::string, int> ranks;
    OnnxModel copy = model_.clone();
    infer_shapes(copy);
    const auto note = [&](const onnx::ValueInfoProto& value) {
      if (value.type().tensor_type().has_shape()) ranks[value.name()] = value.type().tensor_type().shape().dim_size();
    };
    for_each_graph(copy.proto, [&](onnx::GraphProto& graph) {
      for (const onnx::ValueInfoProto& value : graph.input()) note(value);
      for (const onnx::ValueInfoProto& value : graph.value_info()) note(value);
    });
    return ranks;
  }

  OnnxModel& model_;
  onnx::GraphProto& graph_;
  NameSet& names_;
  GraphIndex index_;
  const Options& options_;
  int64_t opset_;
  std::optional<std::unordered_map<std::string, int>> ranks_;
  std::unordered_set<const NodeProto*> dropped_;
};

}  // namespace

bool fold_batch_normalization(OnnxModel& model, Report& report, const Options& options) {
  NameSet names(model.proto);
  size_t folded = 0;
  for_each_graph(model.proto,
                 [&](onnx::GraphProto& graph) { folded += Folder(model, graph, names, options).fold_all(); });
  if (folded != 0) model.reindex();
  report.batch_normalizations_folded += folded;
  return folded != 0;
}

bool reduce_batch_normalization(OnnxModel& model, Report& report, const Options& options) {
  NameSet names(model.proto);
  size_t reduced = 0;
  for_each_graph(model.proto,
                 [&](onnx::GraphProto& graph) { reduced += Folder(model, graph, names, options).reduce_all(); });
  if (reduced != 0) model.reindex();
  report.batch_normalizations_reduced += reduced;
  return reduced != 0;
}

}  // namespace quench::graph
