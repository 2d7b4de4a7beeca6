#include "compressor/compress/model_check.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "compressor/graph/evaluator.h"
#include "compressor/graph/integer_weights.h"
#include "compressor/graph/runnable_part.h"
#include "compressor/graph/simplify.h"
#include "compressor/measure/inspection.h"
#include "compressor/measure/quench_file.h"
#include "compressor/measure/runner.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

using onnx::NodeProto;
using onnx::TypeProto;

constexpr double kMostSeconds = 60;  // of the run: a loop may have no end

std::string domain_name(const std::string& domain) { return domain.empty() ? "ai.onnx" : domain; }

// Counts the nodes of a model, of its subgraphs and functions; a node that calls a function is none of its own.
class Operators {
 public:
  explicit Operators(const onnx::ModelProto& model) {
    for (const onnx::FunctionProto& function : model.functions()) {
      functions_.insert({domain_name(function.domain()), function.name()});
    }
    add(model.graph().node(), versions_of(model.opset_import()));
    for (const onnx::FunctionProto& function : model.functions()) {
      add(function.node(), versions_of(function.opset_import()));
    }
  }

  uint64_t nodes() const { return nodes_; }
  std::vector<CheckedOperator> all() const {
    std::vector<CheckedOperator> list;
    for (const auto& [name, op] : operators_) list.push_back(op);
    return list;
  }

 private:
  using Versions = std::map<std::string, int64_t>;

  template <typename Imports>
  static Versions versions_of(const Imports& imports) {
    Versions versions;
    for (const auto& import : imports) versions[domain_name(import.domain())] = import.version();
    return versions;
  }

  template <typename Nodes>
  void add(const Nodes& nodes, const Versions& versions) {
    for (const NodeProto& node : nodes) {
      const std::string domain = domain_name(node.domain());
      if (functions_.contains({domain, node.op_type()})) continue;
      ++nodes_;
      const std::string name = domain == "ai.onnx" ? node.op_type() : domain + "." + node.op_type();
      const auto version = versions.find(domain);
      const bool runs =
          graph::has_kernel(node.domain(), node.op_type(), version == versions.end() ? 1 : version->second);
      CheckedOperator& op = operators_[name];
      if (op.nodes++ == 0) {
        op.name = name;
        op.first = !node.name().empty() || node.output().empty() ? node.name() : node.output(0);
      }
      op.runs = op.runs && runs;
      for (const onnx::AttributeProto& attribute : node.attribute()) {
        if (attribute.has_g()) add(attribute.g().node(), versions);
        for (const onnx::GraphProto& graph : attribute.graphs()) add(graph.node(), versions);
      }
    }
  }

  std::set<std::pair<std::string, std::string>> functions_;
  std::map<std::string, CheckedOperator> operators_;
  uint64_t nodes_ = 0;
};

CheckedWeight describe(const Weight& weight, bool is_learned, const StoragePolicy& policy) {
  CheckedWeight checked;
  checked.name = weight.name;
  checked.type = type_name(weight.dtype);
  checked.dims = weight.dims;
  checked.elements = weight.elements();
  checked.bytes = weight.bytes();
  checked.is_float = is_float_type(weight.dtype);
  const TensorMethod method = choose_method(weight, is_learned, policy);
  checked.is_tiny = method == TensorMethod::kInline;
  checked.is_quantized = method != TensorMethod::kInline && method != TensorMethod::kLossless;
  checked.reason = reason_for(method, weight, is_learned);
  return checked;
}

std::string type_text(const TypeProto& type) {
  if (type.has_tensor_type()) return type_name(type.tensor_type().elem_type());
  if (type.has_sequence_type()) return "sequence of " + type_text(type.sequence_type().elem_type());
  if (type.has_optional_type()) return "optional " + type_text(type.optional_type().elem_type());
  if (type.has_map_type()) return "map";
  return type.has_sparse_tensor_type() ? "sparse tensor" : "not declared";
}

CheckedValue describe(const onnx::ValueInfoProto& info, const measure::InputShapes& shapes) {
  const onnx::TensorShapeProto& shape = info.type().tensor_type().shape();
  const bool has_dims = info.type().tensor_type().has_shape() || shapes.whole.contains(info.name());
  CheckedValue value{info.name(), type_text(info.type()), shapes.of(info), {}, has_dims, false};
  for (const auto& dim : shape.dim()) value.dim_names.push_back(dim.dim_param());
  value.dim_names.resize(value.dims.size());
  return value;
}

// Before IR version 4 each weight is an input too, and none may be left out.
void describe_values(const onnx::ModelProto& model, const measure::InputShapes& shapes, ModelCheck& check) {
  std::set<std::string> initializers;
  for (const onnx::TensorProto& tensor : model.graph().initializer()) initializers.insert(tensor.name());
  for (const onnx::ValueInfoProto& input : model.graph().input()) {
    const bool has_default = initializers.contains(input.name());
    if (has_default && model.ir_version() < 4) continue;
    check.inputs.push_back(describe(input, shapes));
    check.inputs.back().has_default = has_default;
  }
  for (const onnx::ValueInfoProto& output : model.graph().output()) check.outputs.push_back(describe(output, {}));
}

void describe_graph(const onnx::ModelProto& model, ModelCheck& check) {
  check.producer = model.producer_name();
  if (!model.producer_version().empty()) check.producer += " " + model.producer_version();
  check.ir_version = model.ir_version();
  for (const auto& import : model.opset_import())
    check.opsets.emplace_back(domain_name(import.domain()), import.version());
  const Operators operators(model);
  check.nodes = operators.nodes();
  check.functions = static_cast<uint64_t>(model.functions_size());
  check.operators = operators.all();
}

ModelCheck check_quench(const std::filesystem::path& path, const measure::InputShapes& shapes, uint64_t max_memory) {
  const measure::QuenchFile file(path, max_memory);
  const onnx::ModelProto model = file.graph();
  measure::check_shapes(file.name(), model.graph(), shapes);
  ModelCheck check;
  check.file = file.name();
  check.is_quench = true;
  check.bytes = file.size();
  describe_graph(model, check);
  describe_values(model, shapes, check);
  for (const measure::InspectedTensor& tensor : measure::inspect(path, max_memory).tensors) {
    CheckedWeight& weight = check.weights.emplace_back();
    weight.name = tensor.name;
    weight.type = tensor.type;
    weight.dims = tensor.dims;
    weight.elements = tensor.elements;
    weight.bytes = tensor.bytes;
    weight.is_float = tensor.type.find("float") != std::string::npos;
    weight.is_quantized = tensor.dimension > 0;
    weight.reason = weight.is_quantized  ? fmt::format("quantized, {} centers", tensor.centers)
                    : tensor.centers > 0 ? fmt::format("exact, {} different integers", tensor.centers)
                                         : "exact";
  }
  return check;
}

ModelCheck check_onnx(const std::filesystem::path& path, const measure::InputShapes& shapes) {
  const OnnxModel original = load(path);
  measure::check_shapes(original.name, original.proto.graph(), shapes);
  std::vector<std::string> warnings = check(original);
  OnnxModel simplified = original.clone();
  graph::simplify(simplified);
  ModelCheck found = quantizer::describe(original, simplified, graph::quantizable_weights(simplified), {});
  found.inputs.clear();
  found.outputs.clear();
  describe_values(original.proto, shapes, found);
  found.warnings = std::move(warnings);
  return found;
}

// Twice where once is quick: the first run plans, and packs the weights.
void run(const std::filesystem::path& path, const measure::InputShapes& shapes, uint64_t max_memory,
         ModelCheck& check) {
  using Clock = std::chrono::steady_clock;
  try {
    const auto model = measure::Runner::open(path, 1, max_memory, kMostSeconds);
    const std::vector<graph::HostTensor> inputs = model->seeded_inputs(shapes, 1).draw(0);
    for (int i = 0; i < 2 && check.run_ms.value_or(0) < 1e4; ++i) {
      const auto begin = Clock::now();
      model->run(inputs);
      check.run_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    }
    check.run_bytes = model->peak_bytes();
  } catch (const Error& error) {
    check.refusal = error.what();
  }
}

// What compress takes, roughly, by one run: of its time, runs for the moments and the search, and for each tensor that
// moves; and the search for codebooks. Of its memory, the activations of a batch, and each weight in several forms. The
// factors are fitted to what `quench compress` took for ten public models of 0.006 to 0.9 million weights.
void expect_cost(ModelCheck& check) {
  constexpr double kRuns = 150, kRunsPerTensor = 19, kSecondsPerWeight = 5e-6;
  constexpr double kBytes = 20 << 20, kActivations = 40, kMostActivationBytes = 2e9, kBytesPerWeight = 64;
  double tensors = 0;
  for (const CheckedWeight& weight : check.weights) tensors += weight.is_quantized ? 1 : 0;
  const auto weights = static_cast<double>(check.real_elements());
  const double activations = std::max(0.0, static_cast<double>(*check.run_bytes) - 8 * weights);
  check.compress_seconds = *check.run_ms / 1e3 * (kRuns + kRunsPerTensor * tensors) + kSecondsPerWeight * weights;
  check.compress_bytes = static_cast<uint64_t>(kBytes + std::min(kActivations * activations, kMostActivationBytes) +
                                               kBytesPerWeight * weights);
}

}  // namespace

uint64_t ModelCheck::float_elements() const {
  uint64_t sum = 0;
  for (const CheckedWeight& weight : weights) sum += weight.is_float ? weight.elements : 0;
  return sum;
}

uint64_t ModelCheck::real_elements() const {
  uint64_t sum = 0;
  for (const CheckedWeight& weight : weights) sum += weight.is_float || weight.is_quantized ? weight.elements : 0;
  return sum;
}

std::vector<std::string> ModelCheck::missing() const {
  std::vector<std::string> names;
  for (const CheckedOperator& op : operators) {
    if (!op.runs) names.push_back(op.name);
  }
  return names;
}

ModelCheck describe(const OnnxModel& original, const OnnxModel& simplified, const std::vector<bool>& is_learned,
                    const StoragePolicy& policy) {
  ModelCheck check;
  check.file = original.name;
  check.bytes = original.file_bytes;
  describe_graph(original.proto, check);
  describe_values(original.proto, {}, check);
  for (size_t w = 0; w < simplified.weights.size(); ++w) {
    check.weights.push_back(describe(simplified.weights[w], is_learned[w], policy));
  }
  return check;
}

ModelCheck check_model(const std::filesystem::path& path, const measure::InputShapes& shapes, uint64_t max_memory) {
  ModelCheck check = measure::is_quench_file(path) ? check_quench(path, shapes, max_memory) : check_onnx(path, shapes);
  run(path, shapes, max_memory, check);
  if (!check.is_quench && !check.refusal.empty()) {
    OnnxModel part = load(path);
    check.cut_at = graph::cut_to_runnable(part).value_or("");
  }
  if (!check.is_quench && check.run_ms) expect_cost(check);
  return check;
}

}  // namespace quench::quantizer
