#include "compressor/measure/scores.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <type_traits>
#include <unordered_map>

#include "compressor/data/array.h"

namespace quench::measure {
namespace {

using graph::HostTensor;
using onnx::NodeProto;
using onnx::TensorProto;

// Nodes whose output has the values of their first input, but for rounding, in the same places; or in others.
constexpr std::array<std::string_view, 5> kSamePlace = {"Identity", "Cast", "Dropout", "QuantizeLinear",
                                                        "DequantizeLinear"};
constexpr std::array<std::string_view, 4> kOtherPlace = {"Reshape", "Squeeze", "Unsqueeze", "Flatten"};

// In names of outputs that have scores of classes.
constexpr std::array<std::string_view, 6> kClassNames = {"logit", "class", "score", "prob", "softmax", "label"};
// Of its 2012 challenge, with a class for the background, and of the whole of it.
constexpr std::array<int64_t, 4> kImageNetClasses = {1000, 1001, 21841, 21843};

template <typename T, size_t N>
bool contains(const std::array<T, N>& elements, const std::type_identity_t<T>& element) {
  return std::find(elements.begin(), elements.end(), element) != elements.end();
}

// The node whose values an output has.
struct End {
  const NodeProto* node = nullptr;
  bool keeps_axes = true;                    // but for the transposes on the way
  std::vector<const NodeProto*> transposes;  // the last one first

  bool is(std::string_view op) const { return node && node->op_type() == op; }
};

End end_of(const onnx::GraphProto& graph, const std::string& output) {
  std::unordered_map<std::string_view, const NodeProto*> makers;
  for (const NodeProto& node : graph.node()) {
    for (const std::string& name : node.output()) makers[name] = &node;
  }
  End end;
  std::string_view name = output;
  for (int step = 0; step < graph.node_size(); ++step) {
    const auto maker = makers.find(name);
    if (maker == makers.end()) return {};
    end.node = maker->second;
    const std::string& op = end.node->op_type();
    const bool transposes = op == "Transpose", moves = contains(kOtherPlace, op);
    if ((!transposes && !moves && !contains(kSamePlace, op)) || end.node->input_size() == 0) return end;
    if (transposes) end.transposes.push_back(end.node);
    if (moves) end.keeps_axes = false;
    name = end.node->input(0);
  }
  return {};
}

const onnx::AttributeProto* find_attribute(const NodeProto& node, std::string_view name) {
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}

// Where axis `axis` of the input of a Transpose is in its output.
int64_t transposed(const NodeProto& node, int64_t axis, int64_t rank) {
  const onnx::AttributeProto* perm = find_attribute(node, "perm");
  if (!perm) return rank - 1 - axis;
  const auto found = std::find(perm->ints().begin(), perm->ints().end(), axis);
  return found == perm->ints().end() ? axis : found - perm->ints().begin();
}

bool is_row_per_sample(std::span<const int64_t> dims) {
  return dims.size() >= 2 && dims[1] > 1 && std::all_of(dims.begin() + 2, dims.end(), [](int64_t d) { return d == 1; });
}

// Of an output that a Softmax makes: the axis that it names, the last one where it names none (the default since opset
// 13) or where a change of shape has moved it.
size_t softmax_axis(const End& end, std::span<const int64_t> dims) {
  const auto rank = static_cast<int64_t>(dims.size());
  if (!end.keeps_axes) return is_row_per_sample(dims) ? 1 : dims.size() - 1;
  const onnx::AttributeProto* named = find_attribute(*end.node, "axis");
  int64_t axis = named ? named->i() : is_row_per_sample(dims) ? 1 : -1;
  if (axis < 0) axis += rank;
  for (auto node = end.transposes.rbegin(); node != end.transposes.rend(); ++node)
    axis = transposed(**node, axis, rank);
  return static_cast<size_t>(std::clamp<int64_t>(axis, 0, rank - 1));
}

// What only looks like scores of classes (landmarks, embeddings, policies, independent probabilities) has the same shape.
bool says_classes(std::string name, const End& end, std::span<const int64_t> dims) {
  if (end.is("Sigmoid") || end.is("Tanh") || dims.size() == 3) return false;
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const bool is_named =
      std::ranges::any_of(kClassNames, [&](std::string_view word) { return name.find(word) != std::string::npos; });
  return is_named || (dims.size() >= 2 && contains(kImageNetClasses, dims[1]));
}

std::optional<Scores> scores_in(const onnx::GraphProto& graph, size_t index, const OutputShape& output) {
  Scores scores;
  scores.output = index;
  const bool named = index < static_cast<size_t>(graph.output_size());
  const End end = named ? end_of(graph, graph.output(static_cast<int>(index)).name()) : End();
  if (end.is("ArgMax")) {
    scores.is_class = true;
    return scores;
  }
  if (output.dtype != TensorProto::FLOAT) return std::nullopt;
  if (output.dims.empty()) return std::nullopt;
  if (!end.is("Softmax") && !end.is("LogSoftmax")) {
    scores.is_purpose = named && says_classes(graph.output(static_cast<int>(index)).name(), end, output.dims);
    return is_row_per_sample(output.dims) ? std::optional(scores) : std::nullopt;
  }
  scores.axis = softmax_axis(end, output.dims);
  return output.dims[scores.axis] > 1 ? std::optional(scores) : std::nullopt;
}

}  // namespace

std::optional<Scores> find_scores(const onnx::GraphProto& graph, std::span<const OutputShape> outputs) {
  if (outputs.empty()) return std::nullopt;
  const auto is_float = [](const OutputShape& output) { return output.dtype == TensorProto::FLOAT; };
  const auto first = std::find_if(outputs.begin(), outputs.end(), is_float);
  const auto floats = std::count_if(outputs.begin(), outputs.end(), is_float);
  const bool alone = floats == 1 || (floats == 0 && outputs.size() == 1);
  const size_t index = alone && floats == 1 ? static_cast<size_t>(first - outputs.begin()) : 0;
  std::optional<Scores> scores = scores_in(graph, index, outputs[index]);
  if (scores) scores->is_purpose = scores->is_purpose && alone;
  return scores;
}

std::optional<Scores> find_scores(const onnx::GraphProto& graph, std::span<const HostTensor> outputs) {
  std::vector<OutputShape> shapes;
  for (const HostTensor& output : outputs) shapes.push_back({output.dtype, output.dims});
  return find_scores(graph, shapes);
}

std::vector<std::optional<Scores>> scores_of_each(const onnx::GraphProto& graph, std::span<const HostTensor> outputs) {
  std::vector<std::optional<Scores>> all;
  for (size_t i = 0; i < outputs.size(); ++i) {
    all.push_back(scores_in(graph, i, {outputs[i].dtype, outputs[i].dims}));
    if (all.back() && !all.back()->is_purpose) all.back().reset();
  }
  return all;
}

bool is_one_per_sample(const Scores& scores, std::span<const int64_t> dims) {
  if (!scores.is_class) return scores.axis == 1 && is_row_per_sample(dims);
  return !dims.empty() && std::all_of(dims.begin() + 1, dims.end(), [](int64_t dim) { return dim == 1; });
}

std::vector<int64_t> classes_of(const Scores& scores, const HostTensor& output) {
  if (scores.is_class) {
    if (output.dtype != TensorProto::FLOAT) {
      return data::Array{static_cast<ElementType>(output.dtype), output.dims, output.bytes}.to_int64();
    }
    return {output.floats().begin(), output.floats().end()};
  }
  const std::span<const float> values = output.floats();
  const auto classes = static_cast<size_t>(output.dims[scores.axis]);
  size_t inner = 1;
  for (size_t d = scores.axis + 1; d < output.dims.size(); ++d) inner *= static_cast<size_t>(output.dims[d]);
  std::vector<int64_t> best(classes == 0 ? 0 : values.size() / classes);
  for (size_t place = 0; place < best.size(); ++place) {
    const size_t first = place / inner * classes * inner + place % inner;
    for (size_t c = 1; c < classes; ++c) {
      if (values[first + c * inner] > values[first + static_cast<size_t>(best[place]) * inner])
        best[place] = static_cast<int64_t>(c);
    }
  }
  return best;
}

}  // namespace quench::measure
