#include "compressor/compress/weight_use.h"

#include <algorithm>
#include <map>

namespace quench::quantizer {
namespace {

using onnx::AttributeProto;
using onnx::GraphProto;
using onnx::NodeProto;

const AttributeProto* find_attribute(const NodeProto& node, const char* name) {
  for (const AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}

int64_t get_int(const NodeProto& node, const char* name, int64_t otherwise) {
  const AttributeProto* attribute = find_attribute(node, name);
  return attribute ? attribute->i() : otherwise;
}

// Counts uses of every name, also by subgraphs and as graph outputs.
void count_uses(const GraphProto& graph, std::map<std::string, int>& uses) {
  for (const auto& output : graph.output()) ++uses[output.name()];
  for (const NodeProto& node : graph.node()) {
    for (const std::string& input : node.input()) ++uses[input];
    for (const AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) count_uses(attribute.g(), uses);
      for (const GraphProto& inner : attribute.graphs()) count_uses(inner, uses);
    }
  }
}

void copy_ints(const NodeProto& node, const char* name, int64_t* out, int offset, int count) {
  const AttributeProto* attribute = find_attribute(node, name);
  if (!attribute) return;
  for (int i = 0; i < count && offset + i < attribute->ints_size(); ++i) out[i] = attribute->ints(offset + i);
}

std::optional<Window> conv_window(const NodeProto& node, const Weight& weight) {
  const int axes = static_cast<int>(weight.dims.size()) - 2;
  if (axes != 1 && axes != 2) return std::nullopt;
  Window window;
  for (int i = 0; i < axes; ++i) window.kernel[i] = weight.dims[static_cast<size_t>(i) + 2];
  copy_ints(node, "strides", window.stride, 0, axes);
  copy_ints(node, "dilations", window.dilation, 0, axes);
  copy_ints(node, "pads", window.pad_begin, 0, axes);
  copy_ints(node, "pads", window.pad_end, axes, axes);
  if (const AttributeProto* auto_pad = find_attribute(node, "auto_pad")) {
    window.same_padding = auto_pad->s().starts_with("SAME");
    window.same_lower = auto_pad->s() == "SAME_LOWER";
  }
  return window;
}

// The matrix of a node's weight; rows is 0 where the node is none of those supported.
WeightUse describe(const NodeProto& node, const Weight& weight) {
  WeightUse use;
  const std::vector<int64_t>& dims = weight.dims;
  if (node.op_type() == "Conv" && dims.size() >= 3) {
    use.window = conv_window(node, weight);
    if (!use.window) return use;
    const int64_t columns = static_cast<int64_t>(weight.elements()) / dims[0];
    use.view = {dims[0], columns, columns, 1, std::max<int64_t>(1, get_int(node, "group", 1))};
    if (use.view.rows % use.view.groups != 0) use.view.rows = 0;
  } else if (node.op_type() == "Gemm" && dims.size() == 2) {
    const bool transposed = get_int(node, "transB", 0) != 0;
    use.view = transposed ? MatrixView{dims[0], dims[1], dims[1], 1} : MatrixView{dims[1], dims[0], 1, dims[1]};
    use.activation_transposed = get_int(node, "transA", 0) != 0;
  } else if (node.op_type() == "MatMul" && dims.size() == 2) {
    use.view = {dims[1], dims[0], 1, dims[1]};
  }
  return use;
}

}  // namespace

std::vector<WeightUse> find_weight_uses(const OnnxModel& model) {
  const GraphProto& graph = model.proto.graph();
  std::map<std::string, int> uses;
  count_uses(graph, uses);
  std::map<std::string, size_t> initializers;
  for (const auto& tensor : graph.initializer()) {
    const int64_t index = weight_index(tensor);
    if (index >= 0 && uses[tensor.name()] == 1) initializers[tensor.name()] = static_cast<size_t>(index);
  }
  std::vector<WeightUse> found;
  for (int n = 0; n < graph.node_size(); ++n) {
    const NodeProto& node = graph.node(n);
    if (node.input_size() < 2) continue;
    const auto weight = initializers.find(node.input(1));
    if (weight == initializers.end() || initializers.contains(node.input(0))) continue;
    if (!is_float_type(model.weights[weight->second].dtype)) continue;
    WeightUse use = describe(node, model.weights[weight->second]);
    if (use.view.rows == 0) continue;
    use.weight = weight->second;
    use.node = n;
    use.activation = node.input(0);
    if (node.input_size() > 2) {
      const auto bias = initializers.find(node.input(2));
      const bool fits =
          bias != initializers.end() && model.weights[bias->second].elements() == static_cast<uint64_t>(use.view.rows);
      if (fits) use.bias = bias->second;
    }
    found.push_back(std::move(use));
  }
  return found;
}

StreamShape stream_shape(const Weight& weight) {
  const std::vector<int64_t>& dims = weight.dims;
  if (dims.size() < 2) return {1, 1, weight.elements()};
  StreamShape shape{static_cast<uint64_t>(dims[0]), static_cast<uint64_t>(dims[1]), 1};
  for (size_t i = 2; i < dims.size(); ++i) shape.inner *= static_cast<uint64_t>(dims[i]);
  return shape;
}

}  // namespace quench::quantizer
