#include "compressor/measure/input_shapes.h"

#include <set>

#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

template <typename Given>
void check_names(const std::string& model_name, const Given& given, const std::set<std::string>& names,
                 const char* option, const char* what) {
  for (const auto& each : given) {
    if (names.contains(each.first)) continue;
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + printable(name);
    throw Error::make("{}: {}: there is no {} '{}'; the model has {}", model_name, option, what, printable(each.first),
                      all.empty() ? "none" : all);
  }
}

}  // namespace

std::vector<int64_t> InputShapes::of(const onnx::ValueInfoProto& input) const {
  if (const auto given = whole.find(input.name()); given != whole.end()) return given->second;
  std::vector<int64_t> shape;
  for (const auto& dim : input.type().tensor_type().shape().dim()) {
    const auto given = dims.find(dim.dim_param());
    shape.push_back(given != dims.end()                          ? given->second
                    : dim.has_dim_value() && dim.dim_value() > 0 ? dim.dim_value()
                                                                 : -1);
  }
  return shape;
}

void check_shapes(const std::string& model_name, const onnx::GraphProto& graph, const InputShapes& shapes) {
  std::set<std::string> inputs, dims;
  for (const onnx::ValueInfoProto& input : graph.input()) {
    inputs.insert(input.name());
    for (const auto& dim : input.type().tensor_type().shape().dim()) {
      if (!dim.dim_param().empty()) dims.insert(dim.dim_param());
    }
  }
  check_names(model_name, shapes.whole, inputs, "--shape", "input");
  check_names(model_name, shapes.dims, dims, "--dim", "dimension");
}

}  // namespace quench::measure
