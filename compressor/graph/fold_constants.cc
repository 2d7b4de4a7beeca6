#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "compressor/graph/evaluator.h"
#include "compressor/graph/graph_index.h"
#include "compressor/graph/simplify.h"
#include "formats/error.h"

namespace quench::graph {
namespace {

using onnx::NodeProto;
using onnx::TensorProto;

// Results up to this size are kept even where they are larger than what they replace: mostly shapes, of which what uses
// them leaves less.
constexpr uint64_t kSmallResultBytes = 64;
constexpr uint64_t kMaxInputBytes = uint64_t{64} << 20;
constexpr uint64_t kMaxMemoryBytes = uint64_t{256} << 20;

// The runtime computes other floating-point types as float32, which is not what they round to.
bool is_exact_type(int64_t dtype) {
  return dtype == TensorProto::FLOAT || dtype == TensorProto::INT64 || dtype == TensorProto::INT32 ||
         dtype == TensorProto::BOOL || dtype == TensorProto::UINT8 || dtype == TensorProto::INT8;
}

bool is_random(const NodeProto& node) {
  const operators::Operator* op = operator_of(node);
  return op != nullptr && op->is(operators::kRandom);
}

bool is_foldable(const NodeProto& node) {
  if (!(node.domain().empty() || node.domain() == "ai.onnx") || node.input_size() == 0 || is_random(node)) return false;
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.has_g() || attribute.graphs_size() != 0) return false;
    if (is_op(node, "Cast") && attribute.name() == "to" && !is_exact_type(attribute.i())) return false;
    if (attribute.has_t() && !is_exact_type(attribute.t().data_type())) return false;
  }
  return true;
}

constexpr int64_t kAnySize = -1;

using Shapes = std::unordered_map<std::string, std::vector<int64_t>>;

// Shapes of the main graph's values that follow from its inputs alone, kAnySize where a size does not; what the file says
// of inner values may be wrong. Nothing where no node asks for them, as finding them takes a while.
Shapes static_shapes(const OnnxModel& model) {
  const auto& nodes = model.proto.graph().node();
  if (std::none_of(nodes.begin(), nodes.end(), [](const NodeProto& node) { return is_op(node, "Shape"); })) return {};
  OnnxModel copy = model.clone();
  for_each_graph(copy.proto, [](onnx::GraphProto& graph) { graph.clear_value_info(); });
  // Exporters write 0 for "any", which inference would take for a size.
  for (onnx::ValueInfoProto& input : *copy.proto.mutable_graph()->mutable_input()) {
    if (!input.type().tensor_type().has_shape()) continue;
    for (auto& dim : *input.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim()) {
      if (dim.has_dim_value() && dim.dim_value() <= 0) dim.clear_value();
    }
  }
  infer_shapes(copy);
  Shapes shapes;
  const auto note = [&](const onnx::ValueInfoProto& value, int64_t least) {
    if (!value.type().tensor_type().has_shape()) return;
    std::vector<int64_t> dims;
    for (const auto& dim : value.type().tensor_type().shape().dim()) {
      dims.push_back(dim.has_dim_value() && dim.dim_value() >= least ? dim.dim_value() : kAnySize);
    }
    shapes[value.name()] = std::move(dims);
  };
  for (const onnx::ValueInfoProto& value : copy.proto.graph().input()) note(value, 1);  // 0: open
  for (const onnx::ValueInfoProto& value : copy.proto.graph().value_info()) note(value, 0);
  return shapes;
}

class Folder {
 public:
  Folder(OnnxModel& model, onnx::GraphProto& graph, Shapes shapes, const Options& options)
      : model_(model), graph_(graph), shapes_(std::move(shapes)), index_(graph), options_(options) {}

  size_t run() {
    std::unordered_set<const NodeProto*> folded;
    for (const NodeProto& node : graph_.node()) {
      if (fold(node)) folded.insert(&node);
    }
    return erase_if(*graph_.mutable_node(), [&](const NodeProto& node) { return folded.contains(&node); });
  }

 private:
  bool fold(const NodeProto& node) {
    if (!is_foldable(node)) return false;
    for (const std::string& output : node.output()) {
      if (index_.is_output(output)) return false;
    }
    std::optional<std::vector<HostTensor>> values = is_op(node, "Shape") ? shape_of(node) : results_of(node);
    if (!values) values = part_of_shape(node);
    const auto named = std::ranges::count_if(node.output(), [](const std::string& name) { return !name.empty(); });
    if (!values || static_cast<size_t>(named) != values->size()) return false;
    const bool is_stored = is_worth_it(node, *values);
    size_t next = 0;
    for (const std::string& output : node.output()) {
      if (output.empty()) continue;
      HostTensor& value = (*values)[next++];
      is_stored ? add_initializer(output, value) : note_known(output, value, node);
    }
    return is_stored;
  }

  std::optional<std::vector<HostTensor>> shape_of(const NodeProto& node) {
    const auto found = shapes_.find(node.input(0));
    if (found == shapes_.end() || !has_output(node, 0)) return std::nullopt;
    std::vector<int64_t> dims = found->second;
    const int64_t rank = static_cast<int64_t>(dims.size());
    const auto clamp = [&](int64_t axis) { return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank); };
    const int64_t start = clamp(integer_attribute(node, "start", 0));
    const int64_t end = std::max(start, clamp(integer_attribute(node, "end", rank)));
    const auto asked = std::span(dims).subspan(static_cast<size_t>(start), static_cast<size_t>(end - start));
    if (std::ranges::find(asked, kAnySize) != asked.end()) return std::nullopt;
    return std::vector<HostTensor>{sizes(asked)};
  }

  static HostTensor sizes(std::span<const int64_t> dims) {
    const auto bytes = std::as_bytes(dims);
    return {"", TensorProto::INT64, {static_cast<int64_t>(dims.size())}, {bytes.begin(), bytes.end()}};
  }

  // What a node takes of a shape of which only some sizes are known: a constant if it is the same whatever the others are.
  std::optional<std::vector<HostTensor>> part_of_shape(const NodeProto& node) {
    static constexpr std::array kTakesParts = {"Gather", "Slice", "Size", "Shape"};
    if (std::ranges::none_of(kTakesParts, [&](const char* op) { return is_op(node, op); })) return std::nullopt;
    const NodeProto* shape = index_.producer(node.input(0));
    if (shape == nullptr || !is_op(*shape, "Shape") || !has_input(*shape, 0) || shape->attribute_size() != 0) {
      return std::nullopt;
    }
    const auto found = shapes_.find(shape->input(0));
    if (found == shapes_.end()) return std::nullopt;
    std::optional<std::vector<HostTensor>> results[2];
    for (const int64_t made_up : {0, 1}) {
      std::vector<int64_t> dims = found->second;
      std::ranges::replace(dims, kAnySize, 1009 + made_up);
      const TensorProto tensor = tensor_of(sizes(dims), node.input(0));
      results[made_up] = results_of(node, &tensor);
    }
    const auto is_equal = [](const HostTensor& a, const HostTensor& b) {
      return a.dims == b.dims && a.bytes == b.bytes;
    };
    if (!results[0] || !results[1] || !std::ranges::equal(*results[0], *results[1], is_equal)) return std::nullopt;
    return results[0];
  }

  // `first`: in place of the node's first input.
  std::optional<std::vector<HostTensor>> results_of(const NodeProto& node, const TensorProto* first = nullptr) {
    onnx::ModelProto program;
    program.set_ir_version(model_.proto.ir_version());
    *program.mutable_opset_import() = model_.proto.opset_import();
    onnx::GraphProto& graph = *program.mutable_graph();
    graph.set_name("constant");
    uint64_t input_bytes = 0;
    std::unordered_set<std::string> added;
    for (const std::string& input : node.input()) {
      if (input.empty() || !added.insert(input).second) continue;
      const std::optional<TensorProto> tensor = first && input == first->name() ? *first : constant(input, input_bytes);
      if (!tensor) return std::nullopt;
      *graph.add_initializer() = *tensor;
    }
    *graph.add_node() = node;
    for (const std::string& output : node.output()) {
      if (!output.empty()) graph.add_output()->set_name(output);
    }
    for_each_tensor(program, [&](TensorProto& tensor, const TensorPlace& place) {
      if (place.node != nullptr) tensor = with_values(tensor);
    });
    return run(program);
  }

  // An initializer, or what is known of a node's result; nothing where `total`, with its bytes, would be too much.
  std::optional<TensorProto> constant(const std::string& name, uint64_t& total) {
    if (const auto found = known_.find(name); found != known_.end()) {
      total += found->second.value.bytes.size();
      return total > kMaxInputBytes ? std::nullopt : std::optional(tensor_of(found->second.value, name));
    }
    const TensorProto* tensor = index_.initializer(name);
    if (tensor == nullptr || !is_exact_type(tensor->data_type()) || is_kept(*tensor)) return std::nullopt;
    total += bytes_of(*tensor);
    return total > kMaxInputBytes ? std::nullopt : std::optional(with_values(*tensor));
  }

  static TensorProto tensor_of(const HostTensor& value, const std::string& name) {
    TensorProto tensor;
    tensor.set_name(name);
    tensor.set_data_type(value.dtype);
    tensor.mutable_dims()->Assign(value.dims.begin(), value.dims.end());
    if (!value.bytes.empty()) tensor.set_raw_data(value.bytes.data(), value.bytes.size());
    return tensor;
  }

  // Nothing where the runtime does not have the operator or refuses the values.
  static std::optional<std::vector<HostTensor>> run(const onnx::ModelProto& program) {
    OnnxModel constant;
    constant.name = "constant";
    constant.proto = program;
    EvaluatorOptions options;
    options.max_memory_bytes = kMaxMemoryBytes;
    try {
      return Evaluator(constant, options).run({});
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  bool is_kept(const TensorProto& tensor) {
    return options_.is_kept && weight_index(tensor) >= 0 && options_.is_kept(weight_of(model_, tensor));
  }

  uint64_t bytes_of(const TensorProto& tensor) {
    return weight_index(tensor) < 0 ? 0 : weight_of(model_, tensor).bytes();
  }

  TensorProto with_values(const TensorProto& tensor) {
    TensorProto copy = tensor;
    if (weight_index(tensor) >= 0) {
      const std::vector<std::byte> raw = read(weight_of(model_, tensor));
      clear_data(copy);
      copy.set_raw_data(raw.data(), raw.size());
    }
    return copy;
  }

  // What goes where a node's results are constants: the node, the nodes whose results only it needs, and what only they
  // need, in bytes.
  uint64_t bytes_freed(const NodeProto& node) {
    uint64_t bytes = 0;
    std::unordered_map<std::string, size_t> uses;
    std::vector<const NodeProto*> going = {&node};
    for (size_t i = 0; i < going.size(); ++i) {
      bytes += going[i]->ByteSizeLong();
      for (const std::string& input : going[i]->input()) {
        if (++uses[input] != index_.uses(input)) continue;
        if (const TensorProto* tensor = index_.initializer(input)) bytes += bytes_of(*tensor);
        const auto known = known_.find(input);
        if (known == known_.end()) continue;
        const bool is_last = std::ranges::all_of(known->second.node->output(), [&](const std::string& output) {
          return uses[output] == index_.uses(output);
        });
        if (is_last) going.push_back(known->second.node);
      }
    }
    return bytes;
  }

  // The file must not grow: the results may take what they free.
  bool is_worth_it(const NodeProto& node, const std::vector<HostTensor>& values) {
    uint64_t taken = 0;
    for (const HostTensor& value : values) {
      if (!is_exact_type(value.dtype)) return false;
      taken += value.bytes.size();
    }
    return taken <= std::max(bytes_freed(node), kSmallResultBytes) && taken <= options_.max_folded_bytes;
  }

  // Four slices of a weight may be worth nothing, and their concatenation the weight.
  void note_known(const std::string& name, HostTensor& value, const NodeProto& node) {
    if (!is_exact_type(value.dtype) || known_bytes_ + value.bytes.size() > kMaxInputBytes) return;
    known_bytes_ += value.bytes.size();
    known_[name] = {std::move(value), &node};
  }

  void add_initializer(const std::string& name, HostTensor& value) {
    TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(name);
    if (value.bytes.empty()) {
      tensor.set_data_type(value.dtype);
      tensor.mutable_dims()->Assign(value.dims.begin(), value.dims.end());
    } else {
      set_weight(model_, tensor, value.dtype, value.dims, owned_source(std::move(value.bytes)));
    }
    index_.add_initializer(tensor);
  }

  OnnxModel& model_;
  onnx::GraphProto& graph_;
  Shapes shapes_;
  GraphIndex index_;
  const Options& options_;

  struct Known {
    HostTensor value;
    const NodeProto* node = nullptr;
  };
  std::unordered_map<std::string, Known> known_;  // results that take more than they free
  uint64_t known_bytes_ = 0;
};

}  // namespace

bool fold_constants(OnnxModel& model, Report& report, const Options& options) {
  Shapes shapes = static_shapes(model);
  size_t folded = 0;
  for_each_graph(model.proto, [&](onnx::GraphProto& graph) {
    folded += Folder(model, graph, &graph == &model.proto.graph() ? shapes : Shapes(), options).run();
  });
  if (folded != 0) model.reindex();
  report.nodes_folded += folded;
  return folded != 0;
}

}  // namespace quench::graph
