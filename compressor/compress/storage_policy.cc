#include "compressor/compress/storage_policy.h"

#include <fnmatch.h>

#include <algorithm>

#include "formats/error.h"

namespace quench::quantizer {
namespace {

// Smaller tensors cost less inside the graph, those that may be rounded from fewer bytes on: a table entry of some six
// bytes and about one byte an element stand against four an element.
constexpr uint64_t kInlineBytes = 64;
constexpr uint64_t kInlineRoundedBytes = 16;
constexpr uint64_t kCodebookElements = 1024;  // smaller ones are rounded to a fine grid instead
constexpr uint64_t kIntegerElements = 384;    // smaller ones would gain little more than their own statistics cost

bool may_be_rounded(const Weight& weight, const StoragePolicy& policy) {
  return (policy.include.empty() || matches(policy.include, weight.name)) && !matches(policy.exclude, weight.name) &&
         !policy.lossless;
}

}  // namespace

bool matches(const std::vector<std::string>& patterns, const std::string& name) {
  // A name may have brackets in it, which mean something else in a pattern.
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return pattern == name || fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

void check_patterns(const OnnxModel& model, const StoragePolicy& policy) {
  for (const std::vector<std::string>* patterns : {&policy.include, &policy.exclude}) {
    for (const std::string& pattern : *patterns) {
      const bool used = std::any_of(model.weights.begin(), model.weights.end(),
                                    [&](const Weight& weight) { return matches({pattern}, weight.name); });
      if (!used) throw Error::make("{}: no weight's name matches '{}'", model.name, pattern);
    }
  }
}

bool may_change(const Weight& weight, const StoragePolicy& policy) {
  // Of integers, only those are kept that are asked for: shapes are there to be folded.
  return is_float_type(weight.dtype) ? may_be_rounded(weight, policy) : !matches(policy.exclude, weight.name);
}

TensorMethod choose_method(const Weight& weight, bool is_learned, const StoragePolicy& policy) {
  const bool is_rounded = is_learned && may_be_rounded(weight, policy);
  const bool is_float = is_float_type(weight.dtype);
  const uint64_t least = is_float ? kCodebookElements : kIntegerElements;
  const bool is_large = weight.elements() >= least && weight.dims.size() >= 2;
  if (is_rounded && is_large) return is_float ? TensorMethod::kCodebook : TensorMethod::kIntegers;
  const bool on_grid = is_rounded && is_float && policy.rounds_small;
  if (weight.bytes() <= (on_grid ? kInlineRoundedBytes : kInlineBytes)) return TensorMethod::kInline;
  return on_grid ? TensorMethod::kGrid : TensorMethod::kLossless;
}

std::string reason_for(TensorMethod method, const Weight& weight, bool is_learned) {
  switch (method) {
    case TensorMethod::kCodebook:
    case TensorMethod::kTrellis:
      return "quantized";
    case TensorMethod::kIntegers:
      return "quantized to fewer integers";
    case TensorMethod::kGrid:
      return "quantized finely: small";
    case TensorMethod::kInline:
      return "exact: tiny";
    case TensorMethod::kLossless:
      break;
  }
  if (!is_float_type(weight.dtype) && !is_learned) return "exact: no floating-point numbers";
  if (!is_float_type(weight.dtype) && weight.elements() < kIntegerElements) return "exact: small, of 8-bit integers";
  if (!is_float_type(weight.dtype) && weight.dims.size() < 2) return "exact: a vector of 8-bit integers";
  return is_learned ? "exact, as asked for" : "exact: not learned (a mask, a table, a constant, or not finite)";
}

std::vector<TensorMethod> choose_methods(const OnnxModel& model, const std::vector<bool>& is_learned,
                                         const StoragePolicy& policy) {
  check_patterns(model, policy);
  std::vector<TensorMethod> methods;
  for (size_t w = 0; w < model.weights.size(); ++w)
    methods.push_back(choose_method(model.weights[w], is_learned[w], policy));
  return methods;
}

}  // namespace quench::quantizer
