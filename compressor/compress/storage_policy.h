// How each weight of a model is to be stored: the one policy of compress and tune.
//
//     bytes <= 64, or 16 of a grid's  inline, in the graph: a stream of its own would cost more
//     excluded, or not included       lossless, bit-exact
//     integers, booleans              lossless, but for
//     8-bit weights of 384 up         integers: rounded to fewer of them (graph/integer_weights.h)
//     masks, tables, NaN, infinity    lossless: what is no learned weight (see graph/learned.h)
//     matrices of 1024 elements up    codebook
//     smaller ones, vectors           grid: rounded to multiples of a step; lossless where nothing says how fine it must be
#pragma once

#include <string>
#include <vector>

#include "compressor/compress/compress.h"
#include "formats/onnx/model_file.h"

namespace quench::quantizer {

struct StoragePolicy {
  std::vector<std::string> include;  // shell patterns of weights' names; empty: all are quantized
  std::vector<std::string> exclude;  // these are kept bit-exact
  bool lossless = false;             // all are
  bool rounds_small = true;          // smaller tensors are rounded to a grid
};

bool matches(const std::vector<std::string>& patterns, const std::string& name);

// Throws quench::Error where a pattern matches no weight of the model: a slip of the pen must not pass for a wish.
void check_patterns(const OnnxModel& model, const StoragePolicy& policy);

// False for a weight that is to be given back bit by bit, so that nothing may be folded into it.
bool may_change(const Weight& weight, const StoragePolicy& policy);

// `is_learned`: that it may be quantized (graph::quantizable_weights).
TensorMethod choose_method(const Weight& weight, bool is_learned, const StoragePolicy& policy);

// In words: how a weight is stored by the method that choose_method found, and why.
std::string reason_for(TensorMethod method, const Weight& weight, bool is_learned);

// Of every weight of the model, whose patterns are checked.
std::vector<TensorMethod> choose_methods(const OnnxModel& model, const std::vector<bool>& is_learned,
                                         const StoragePolicy& policy);

}  // namespace quench::quantizer
