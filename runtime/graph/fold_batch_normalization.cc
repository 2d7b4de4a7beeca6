// BatchNormalization after a linear operator: scale * (W x + b - mean) / sqrt(variance + epsilon) + shift is again
// linear, with the output channels of W scaled. Ioffe and Szegedy, "Batch Normalization", 2015, section 3.1.
#include <algorithm>

#include "formats/operators/batch_normalization.h"
#include "formats/operators/operator.h"
#include "runtime/graph/graph.h"

namespace quench::rt {
namespace {

class Folder {
 public:
  Folder(Pool& pool, Graph& graph) : pool_(pool), graph_(graph) {}

  Status run() {
    for (size_t n = 0; n < graph_.nodes.size(); ++n) QUENCH_RETURN_IF_ERROR(fold(graph_.nodes[n]));
    return Status();
  }

 private:
  const Initializer* constant(const Node& node, size_t index) const {
    if (index >= node.inputs.size() || node.inputs[index] < 0) return nullptr;
    const Value& value = graph_.values[static_cast<size_t>(node.inputs[index])];
    if (value.input >= 0) return nullptr;  // only its default
    const int number = value.initializer;
    return number >= 0 ? &graph_.initializers[static_cast<size_t>(number)] : nullptr;
  }
  int constant_number(const Node& node, size_t index) const {
    return graph_.values[static_cast<size_t>(node.inputs[index])].initializer;
  }

  Status fold(Node& normalization);
  bool foldable(const Node& normalization) const;
  bool describe(const Node& linear, Derivation& derivation) const;
  Status derive(const Derivation& derivation, const Shape& shape, int& value);

  Pool& pool_;
  Graph& graph_;
};

bool Folder::foldable(const Node& node) const {
  if (!node.live || node.op != "BatchNormalization" || !node.domain.empty() || node.opset < 7) return false;
  if (node.inputs.size() != 5 || node.inputs[0] < 0 || node.outputs.empty() || node.outputs[0] < 0) return false;
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i] >= 0 && graph_.values[static_cast<size_t>(node.outputs[i])].uses > 0) return false;
  }
  for (size_t i = 1; i < 5; ++i) {
    const Initializer* parameter = constant(node, i);
    if (!parameter || parameter->type != ElementType::kFloat32 || parameter->shape.rank != 1) return false;
  }
  const Attributes attributes(node.attributes);
  if (!operators::is_inference(attributes.view(), node.opset, static_cast<int>(node.outputs.size()))) return false;
  const Value& input = graph_.values[static_cast<size_t>(node.inputs[0])];
  return input.producer >= 0 && input.uses == 1;
}

// Which element of the weight belongs to which output channel.
bool Folder::describe(const Node& linear, Derivation& derivation) const {
  if (!linear.domain.empty() || linear.inputs.size() < 2 || linear.outputs.size() != 1) return false;
  const Initializer* weight = constant(linear, 1);
  // Once: a chain of normalizations, as long as the file likes, would make a chain of derivations.
  if (weight && weight->derivation) return false;
  if (!weight || weight->type != ElementType::kFloat32 || weight->shape.rank < 2 || weight->shape.elements() == 0)
    return false;
  const Attributes attributes(linear.attributes);
  const operators::Operator* op = operators::find(linear.op);
  // The shift needs a bias to go into.
  if (!op || !op->is_linear() || op->bias_input() < 0) return false;
  if (attributes.get_float("beta", 1.0f) != 1.0f) return false;  // Gemm's factor of the bias
  const std::span<const int64_t> dims(weight->shape.dims, static_cast<size_t>(weight->shape.rank));
  derivation.map = operators::channel_map(*op, attributes.view(), dims);
  if (derivation.map.channels == 0) return false;
  const auto at = static_cast<size_t>(op->bias_input());
  if (at < linear.inputs.size() && linear.inputs[at] >= 0) {
    const Initializer* bias = constant(linear, at);
    if (!bias || bias->type != ElementType::kFloat32 || bias->shape != Shape{derivation.map.channels}) return false;
  }
  return true;
}

Status Folder::derive(const Derivation& derivation, const Shape& shape, int& value) {
  std::span<Derivation> kept;
  if (!pool_.make(1, &kept)) return out_of_memory();
  kept[0] = derivation;
  Initializer initializer;
  initializer.type = ElementType::kFloat32;
  initializer.shape = shape;
  initializer.derivation = &kept[0];
  Value made;
  made.initializer = static_cast<int>(graph_.initializers.size());
  value = static_cast<int>(graph_.values.size());
  return graph_.initializers.push(initializer) && graph_.values.push(made) ? Status() : out_of_memory();
}

Status Folder::fold(Node& normalization) {
  if (!foldable(normalization)) return Status();
  const int between = normalization.inputs[0];
  Node& linear = graph_.nodes[static_cast<size_t>(graph_.values[static_cast<size_t>(between)].producer)];
  Derivation derivation;
  if (!describe(linear, derivation)) return Status();
  for (size_t i = 1; i < 5; ++i) {
    if (constant(normalization, i)->shape[0] != derivation.map.channels) return Status();
  }
  derivation.scale = constant_number(normalization, 1);
  derivation.shift = constant_number(normalization, 2);
  derivation.mean = constant_number(normalization, 3);
  derivation.variance = constant_number(normalization, 4);
  derivation.epsilon = operators::epsilon_of(Attributes(normalization.attributes).view());

  const auto bias = static_cast<size_t>(operators::find(linear.op)->bias_input());
  std::span<int> inputs;
  if (!pool_.make(std::max(linear.inputs.size(), bias + 1), &inputs)) return out_of_memory();
  std::fill(inputs.begin(), inputs.end(), -1);
  std::copy(linear.inputs.begin(), linear.inputs.end(), inputs.begin());
  derivation.base = constant_number(linear, 1);
  QUENCH_RETURN_IF_ERROR(derive(derivation, constant(linear, 1)->shape, inputs[1]));
  derivation.kind = Derivation::kBias;
  derivation.base = inputs[bias] >= 0 ? constant_number(linear, bias) : -1;
  QUENCH_RETURN_IF_ERROR(derive(derivation, Shape{derivation.map.channels}, inputs[bias]));

  linear.inputs = inputs;
  linear.outputs[0] = normalization.outputs[0];
  graph_.values[static_cast<size_t>(normalization.outputs[0])].producer =
      graph_.values[static_cast<size_t>(between)].producer;
  graph_.values[static_cast<size_t>(between)].producer = -1;
  normalization.live = false;
  normalization.outputs = {};
  return Status();
}

}  // namespace

Status fold_batch_normalization(Pool& pool, Graph& graph) { return Folder(pool, graph).run(); }

}  // namespace quench::rt
