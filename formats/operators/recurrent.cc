#include "formats/operators/recurrent.h"

#include <algorithm>
#include <cmath>

namespace quench::operators {
namespace {

struct FunctionRow {
  std::string_view name;  // in lower case
  CellFunction function;
  bool has_alpha = false;
  bool has_beta = false;
  float alpha = 0;  // where the node gives none
  float beta = 0;
};

constexpr FunctionRow kFunctions[] = {
    {"sigmoid", CellFunction::kSigmoid},
    {"tanh", CellFunction::kTanh},
    {"relu", CellFunction::kRelu},
    {"affine", CellFunction::kAffine, true, true, 1, 0},
    {"leakyrelu", CellFunction::kLeakyRelu, true, false, 0.01f},
    {"thresholdedrelu", CellFunction::kThresholdedRelu, true, false, 1},
    {"scaledtanh", CellFunction::kScaledTanh, true, true, 1, 1},
    {"hardsigmoid", CellFunction::kHardSigmoid, true, true, 0.2f, 0.5f},
    {"elu", CellFunction::kElu, true, false, 1},
    {"softsign", CellFunction::kSoftsign},
    {"softplus", CellFunction::kSoftplus},
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

const FunctionRow* find_function(std::string_view name) {
  for (const FunctionRow& row : kFunctions) {
    if (std::equal(name.begin(), name.end(), row.name.begin(), row.name.end(),
                   [](char given, char expected) { return lower(given) == expected; })) {
      return &row;
    }
  }
  return nullptr;
}

// The values of an attribute, one after the other, then the default.
class Queue {
 public:
  explicit Queue(std::span<const float> values) : values_(values) {}
  float next(float otherwise) { return next_ < values_.size() ? values_[next_++] : otherwise; }

 private:
  std::span<const float> values_;
  size_t next_ = 0;
};

}  // namespace

Status read_functions(const AttributeView& attributes, Cell cell, int direction,
                      CellActivation functions[kMaxCellFunctions]) {
  const int count = functions_of(cell);
  const int named = attributes.count_strings("activations");
  for (int i = 0; i < count; ++i) {
    functions[i] = {cell != Cell::kRnn && i == 0 ? CellFunction::kSigmoid : CellFunction::kTanh};
  }
  if (named == 0) return Status();
  if (named < (direction + 1) * count) {
    return Status::error(StatusCode::kInvalidArgument, "there are %d activations, fewer than each direction needs",
                         named);
  }
  Queue alphas(attributes.get_floats("activation_alpha"));
  Queue betas(attributes.get_floats("activation_beta"));
  for (int i = 0; i < (direction + 1) * count; ++i) {
    const std::string_view name = attributes.string_at("activations", i);
    const FunctionRow* row = find_function(name);
    if (!row) {
      return Status::error(StatusCode::kUnsupportedFeature, "activation '%.*s' is none that ONNX has",
                           static_cast<int>(name.size() < 40 ? name.size() : 40), name.data());
    }
    const float alpha = row->has_alpha ? alphas.next(row->alpha) : 0;
    const float beta = row->has_beta ? betas.next(row->beta) : 0;
    if (i >= direction * count) functions[i - direction * count] = {row->function, alpha, beta};
  }
  return Status();
}

float evaluate(const CellActivation& activation, float x) {
  switch (activation.function) {
    case CellFunction::kSigmoid:
      return 1.0f / (1.0f + std::exp(-x));
    case CellFunction::kRelu:
      return x < 0 ? 0 : x;
    case CellFunction::kAffine:
      return activation.alpha * x + activation.beta;
    case CellFunction::kLeakyRelu:
      return x < 0 ? activation.alpha * x : x;
    case CellFunction::kThresholdedRelu:
      return x <= activation.alpha ? 0 : x;
    case CellFunction::kScaledTanh:
      return activation.alpha * std::tanh(activation.beta * x);
    case CellFunction::kHardSigmoid: {
      const float line = activation.alpha * x + activation.beta;
      return line < 0 ? 0 : line > 1 ? 1 : line;
    }
    case CellFunction::kElu:
      return x < 0 ? activation.alpha * std::expm1(x) : x;
    case CellFunction::kSoftsign:
      return x / (1 + std::fabs(x));
    case CellFunction::kSoftplus:
      return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x)));
    case CellFunction::kTanh:
      break;
  }
  return std::tanh(x);
}

}  // namespace quench::operators
