#include "formats/operators/recurrent.h"

namespace quench::operators {
namespace {

bool find_function(std::string_view name, CellFunction* function) {
  if (name == "Sigmoid") *function = CellFunction::kSigmoid;
  if (name == "Tanh") *function = CellFunction::kTanh;
  if (name == "Relu") *function = CellFunction::kRelu;
  return name == "Sigmoid" || name == "Tanh" || name == "Relu";
}

}  // namespace

Status read_functions(const AttributeView& attributes, Cell cell, int direction,
                      CellFunction functions[kMaxCellFunctions]) {
  const int count = functions_of(cell);
  const int named = attributes.count_strings("activations");
  for (int i = 0; i < count; ++i) {
    functions[i] = cell != Cell::kRnn && i == 0 ? CellFunction::kSigmoid : CellFunction::kTanh;
  }
  if (named == 0) return Status();
  if (named < (direction + 1) * count) {
    return Status::error(StatusCode::kInvalidArgument, "there are %d activations, fewer than each direction needs",
                         named);
  }
  for (int i = 0; i < count; ++i) {
    const std::string_view name = attributes.string_at("activations", direction * count + i);
    if (!find_function(name, &functions[i])) {
      return Status::error(StatusCode::kUnsupportedFeature, "activation '%.*s' is none of Sigmoid, Tanh and Relu",
                           static_cast<int>(name.size() < 40 ? name.size() : 40), name.data());
    }
  }
  return Status();
}

}  // namespace quench::operators
