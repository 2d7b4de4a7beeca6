#include <algorithm>
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

using Shapes = std::unordered_map<std::string, std::vector<int64_t>>;

// Shapes of the main graph's values that follow from its inputs alone; what the file says of inner values may be wrong.
// Nothing where no node asks for them, as finding them takes a while.
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
      if (!dim.has_dim_value() || dim.dim_value() < least) return;
      dims.push_back(dim.dim_value());
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
    if (!values || !is_worth_it(node, *values)) return false;
    size_t next = 0;
    for (const std::string& output : node.output()) {
      if (!output.empty()) add_initializer(output, (*values)[next++]);
    }
    return true;
  }

  std::optional<std::vector<HostTensor>> shape_of(const NodeProto& node) {
    const auto found = shapes_.find(node.input(0));
    if (found == shapes_.end() || !has_output(node, 0)) return std::nullopt;
    std::vector<int64_t> dims = found->second;
    const int64_t rank = static_cast<int64_t>(dims.size());
    const auto clamp = [&](int64_t axis) { return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank); };
    const int64_t start = clamp(integer_attribute(node, "start", 0));
    const int64_t end = std::max(start, clamp(integer_attribute(node, "end", rank)));
    const auto bytes =
        std::as_bytes(std::span(dims).subspan(static_cast<size_t>(start), static_cast<size_t>(end - start)));
    return std::vector<HostTensor>{{"", TensorProto::INT64, {end - start}, {bytes.begin(), bytes.end()}}};
  }

  std::optional<std::vector<HostTensor>> results_of(const NodeProto& node) {
    onnx::ModelProto program;
    program.set_ir_version(model_.proto.ir_version());
    *program.mutable_opset_import() = model_.proto.opset_import();
    onnx::GraphProto& graph = *program.mutable_graph();
    graph.set_name("constant");
    uint64_t input_bytes = 0;
    std::unordered_set<std::string> added;
    for (const std::string& input : node.input()) {
      if (input.empty() || !added.insert(input).second) continue;
      const TensorProto* tensor = index_.initializer(input);
      if (tensor == nullptr || !is_exact_type(tensor->data_type()) || is_kept(*tensor)) return std::nullopt;
      input_bytes += bytes_of(*tensor);
      if (input_bytes > kMaxInputBytes) return std::nullopt;
      *graph.add_initializer() = with_values(*tensor);
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

  // The file must not grow: the results may take what the node and the inputs that nothing else needs took.
  bool is_worth_it(const NodeProto& node, const std::vector<HostTensor>& values) {
    uint64_t freed = node.ByteSizeLong();
    std::unordered_map<std::string, size_t> uses_here;
    for (const std::string& input : node.input()) ++uses_here[input];
    for (const auto& [input, uses] : uses_here) {
      const TensorProto* tensor = index_.initializer(input);
      if (tensor != nullptr && index_.uses(input) == uses) freed += bytes_of(*tensor);
    }
    uint64_t taken = 0;
    for (const HostTensor& value : values) {
      if (!is_exact_type(value.dtype)) return false;
      taken += value.bytes.size();
    }
    return taken <= std::max(freed, kSmallResultBytes) && taken <= options_.max_folded_bytes;
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
