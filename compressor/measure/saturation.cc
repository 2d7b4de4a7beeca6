#include "compressor/measure/saturation.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace quench::measure {
namespace {

using onnx::NodeProto;

// Many values of their inputs give one of theirs.
constexpr std::array<std::string_view, 21> kSaturating = {
    "ArgMax",  "ArgMin",  "Bernoulli",   "Ceil",           "Clip",
    "Equal",   "Floor",   "Greater",     "GreaterOrEqual", "HardSigmoid",
    "Hardmax", "Less",    "LessOrEqual", "Multinomial",    "NonMaxSuppression",
    "Round",   "Sigmoid", "Sign",        "Softmax",        "Tanh",
    "TopK"};
// Their values are those of their inputs, in other places, in another type, or scaled and shifted by constants.
constexpr std::array<std::string_view, 20> kPassing = {
    "Add",       "Cast",     "Concat", "DequantizeLinear", "Div",     "Dropout", "Expand", "Flatten", "Gather",
    "Identity",  "Log",      "Mul",    "QuantizeLinear",   "Reshape", "Slice",   "Split",  "Squeeze", "Sub",
    "Transpose", "Unsqueeze"};

// Whose inputs are all data.
constexpr std::array<std::string_view, 10> kOfAll = {"Add",  "Concat",      "Div", "Equal", "Greater", "GreaterOrEqual",
                                                     "Less", "LessOrEqual", "Mul", "Sub"};

template <size_t N>
bool contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

struct Place {
  std::string_view name;
  bool saturates;  // a node behind it does
};

class Search {
 public:
  explicit Search(const onnx::GraphProto& graph) {
    for (const NodeProto& node : graph.node()) {
      if (node.op_type() == "Constant") continue;
      for (const std::string& name : node.output()) makers_[name] = &node;
    }
  }

  // Where the search for what an output is made of ends: at computed values, behind no saturating node or in front of
  // one.
  std::vector<Place> ends_of(const std::string& output) const {
    std::vector<Place> ends, open = {{output, false}};
    std::unordered_set<std::string_view> seen[2];
    while (!open.empty()) {
      const Place place = open.back();
      open.pop_back();
      const auto maker = makers_.find(place.name);
      if (maker == makers_.end() || !seen[place.saturates].insert(place.name).second) continue;
      const NodeProto& node = *maker->second;
      const bool saturates = contains(kSaturating, node.op_type());
      const std::vector<std::string_view> data = computed_data(node);
      if (saturates || (contains(kPassing, node.op_type()) && (data.size() <= 1 || node.op_type() == "Concat"))) {
        for (auto name = data.rbegin(); name != data.rend(); ++name) {
          open.push_back({*name, place.saturates || saturates});
        }
      } else {
        ends.push_back(place);
      }
    }
    return ends;
  }

 private:
  // What a node computes with: not shapes, indices and limits.
  std::vector<std::string_view> computed_data(const NodeProto& node) const {
    std::vector<std::string_view> names;
    for (int i = 0; i < node.input_size(); ++i) {
      if ((i == 0 || contains(kOfAll, node.op_type())) && makers_.contains(node.input(i)))
        names.push_back(node.input(i));
    }
    return names;
  }

  std::unordered_map<std::string_view, const NodeProto*> makers_;  // of what is computed
};

}  // namespace

TellingValues telling_values(const onnx::GraphProto& graph) {
  const Search search(graph);
  TellingValues telling;
  std::unordered_set<std::string_view> taken;
  for (const onnx::ValueInfoProto& output : graph.output()) taken.insert(output.name());
  for (const onnx::ValueInfoProto& output : graph.output()) {
    const std::vector<Place> ends = search.ends_of(output.name());
    const bool saturates = std::ranges::any_of(ends, &Place::saturates);
    telling.outputs.push_back(!saturates);
    if (!saturates) continue;
    for (const Place& end : ends) {
      if (taken.insert(end.name).second) telling.inner.emplace_back(end.name);
    }
  }
  return telling;
}

}  // namespace quench::measure
