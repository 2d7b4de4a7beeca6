#include "compressor/measure/input_use.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compressor/data/array.h"
#include "formats/onnx/node.h"

namespace quench::measure {
namespace {

using onnx::TensorProto;

constexpr size_t kMaxSteps = 64;  // a path that forks is as long as its branches together

const std::set<std::string_view> kSameValues = {"Cast",    "Identity",  "Unsqueeze", "Squeeze",
                                                "Reshape", "Transpose", "Flatten",   "Expand"};
const std::set<std::string_view> kMovedValues = {"Cast",    "Identity", "Unsqueeze", "Squeeze", "Reshape", "Transpose",
                                                 "Flatten", "Expand",   "Slice",     "Concat",  "Pad",     "Split"};

bool is_all(const Weight* weight, float value) {
  if (!weight || !is_float_type(weight->dtype)) return false;
  return std::ranges::all_of(read_float(*weight), [value](float each) { return std::abs(each - value) < 1e-4f; });
}

}  // namespace

InputUse::InputUse(const OnnxModel& model) : model_(model) {
  for (const Node& node : model.proto.graph().node()) {
    for (const std::string& input : node.input()) users_.emplace(input, &node);
    if (node.op_type() != "Constant" || node.output_size() == 0) continue;
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_t()) constants_[node.output(0)] = &attribute.t();
    }
  }
  for (const TensorProto& tensor : model.proto.graph().initializer()) constants_[tensor.name()] = &tensor;
}

std::optional<InputUse::Affine> InputUse::affine_of(std::string name) const {
  std::optional<Affine> affine;
  for (size_t step = 0; step < kMaxSteps; ++step) {
    const Node* user = only_user(name);
    if (!user || user->output_size() != 1) break;
    const std::string& op = user->op_type();
    const bool passes = op == "Transpose" || op == "Cast" || op == "Identity";
    const bool combines = op == "Sub" || op == "Add" || op == "Mul" || op == "Div";
    if (!passes && !combines) break;
    if (combines) {
      if (user->input_size() != 2) break;
      const bool first = user->input(0) == name;
      const std::optional<double> value = mean_of(user->input(first ? 1 : 0));
      if (!value || (!first && (op == "Sub" || op == "Div")) || (op == "Div" && *value == 0)) break;
      const double factor = op == "Mul" ? *value : op == "Div" ? 1 / *value : 1;
      const double offset = op == "Add" ? *value : op == "Sub" ? -*value : 0;
      if (factor == 0) break;
      const Affine before = affine.value_or(Affine{});
      affine = {before.factor * factor, before.offset * factor + offset};
    }
    name = user->output(0);
  }
  return affine;
}

std::optional<InputUse::Convolution> InputUse::convolution_of(const std::string& input) const {
  const Node* convolution = nullptr;
  for_each_user(input, kMovedValues, [&](const Node& node, const std::string& name) {
    const bool is_first = !convolution && node.op_type() == "Conv" && node.input(0) == name;
    if (is_first && node.output_size() > 0 && node.input_size() >= 2 && constant(node.input(1))) convolution = &node;
  });
  if (!convolution) return std::nullopt;
  Convolution found{convolution->output(0), {}};
  const Node* next = only_user(found.result);
  if (!next || next->output_size() < 1) return found;
  if (next->op_type() == "BatchNormalization" && next->input_size() == 5 && next->input(0) == found.result) {
    const Weight* scale = constant(next->input(1));
    // Reduced to a scale and a bias (graph/simplify.h), or never trained.
    const Weight* variance = constant(next->input(4));
    const bool is_one = is_all(variance, 1) || is_all(variance, 1 - float_attribute(*next, "epsilon", 1e-5f));
    const bool has_no_statistics = is_all(constant(next->input(3)), 0) && is_one;
    if (scale && is_float_type(scale->dtype) && !has_no_statistics) found.trained = read_float(*scale);
    for (float& deviation : found.trained) deviation = std::abs(deviation);
    found.result = next->output(0);
  } else if (next->op_type() == "Add" && next->input_size() == 2 && convolution->input_size() == 2 &&
             constant(next->input(next->input(0) == found.result ? 1 : 0))) {
    found.result = next->output(0);
  }
  return found;
}

bool InputUse::is_convolved(const std::string& input) const {
  return reaches(input, [](const Node& node, const std::string& name) {
    return (node.op_type() == "Conv" || node.op_type() == "STFT") && node.input(0) == name;
  });
}

bool InputUse::is_recurrent_state(const std::string& input) const {
  return reaches(input, [](const Node& node, const std::string& name) {
    const bool is_recurrent = node.op_type() == "LSTM" || node.op_type() == "GRU" || node.op_type() == "RNN";
    const auto& inputs = node.input();
    return is_recurrent && std::find(inputs.begin() + std::min(5, inputs.size()), inputs.end(), name) != inputs.end();
  });
}

std::optional<int64_t> InputUse::index_range(const std::string& input) const {
  std::optional<int64_t> range;
  for_each_user(input, kSameValues, [&](const Node& node, const std::string& name) {
    const std::optional<int64_t> rows = rows_chosen_from(node, name);
    if (rows) range = std::min(range.value_or(*rows), *rows);
  });
  return range;
}

void InputUse::for_each_user(const std::string& input, const std::set<std::string_view>& passed,
                             const std::function<void(const Node& node, const std::string& name)>& visit) const {
  std::vector<std::string> open = {input};
  for (size_t next = 0; next < open.size() && open.size() < kMaxSteps; ++next) {
    const std::string name = open[next];
    for (auto [user, end] = users_.equal_range(name); user != end; ++user) {
      const Node& node = *user->second;
      visit(node, name);
      if (!passed.contains(node.op_type()) || (node.input(0) != name && node.op_type() != "Concat")) continue;
      for (const std::string& output : node.output()) open.push_back(output);
    }
  }
}

bool InputUse::reaches(const std::string& input, bool (*condition)(const Node& node, const std::string& name)) const {
  bool found = false;
  for_each_user(input, kMovedValues,
                [&](const Node& node, const std::string& name) { found |= condition(node, name); });
  return found;
}

const onnx::NodeProto* InputUse::only_user(const std::string& value) const {
  return users_.count(value) == 1 ? users_.find(value)->second : nullptr;
}

// Of a Gather's table, or of what a OneHot makes.
std::optional<int64_t> InputUse::rows_chosen_from(const Node& node, const std::string& indices) const {
  if (node.op_type() == "OneHot" && node.input_size() == 3 && node.input(0) == indices) {
    const std::optional<double> depth = mean_of(node.input(1));
    return depth && *depth >= 1 && *depth < 1e9 ? std::optional(static_cast<int64_t>(*depth)) : std::nullopt;
  }
  if (node.op_type() != "Gather" || node.input_size() != 2 || node.input(1) != indices) return std::nullopt;
  const auto table = constants_.find(node.input(0));
  if (table == constants_.end()) return std::nullopt;
  int64_t axis = 0;
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.name() == "axis") axis = attribute.i();
  }
  const auto& dims = table->second->dims();
  if (axis < 0) axis += dims.size();
  if (axis < 0 || axis >= dims.size() || dims[static_cast<int>(axis)] < 1) return std::nullopt;
  return dims[static_cast<int>(axis)];
}

const Weight* InputUse::constant(const std::string& name) const {
  const auto found = constants_.find(name);
  if (found == constants_.end()) return nullptr;
  const int64_t index = weight_index(*found->second);
  return index < 0 ? nullptr : &model_.weights[static_cast<size_t>(index)];
}

std::optional<double> InputUse::mean_of(const std::string& name) const {
  const Weight* weight = constant(name);
  if (!weight || weight->elements() == 0 || weight->elements() > 4) return std::nullopt;
  if (weight->dtype == TensorProto::INT64 || weight->dtype == TensorProto::INT32) {
    const data::Array array{static_cast<ElementType>(weight->dtype), weight->dims, read(*weight)};
    return static_cast<double>(array.to_int64().front());
  }
  if (!is_float_type(weight->dtype)) return std::nullopt;
  const std::vector<float> values = read_float(*weight);
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace quench::measure
