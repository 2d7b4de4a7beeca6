// Rewrites of an ONNX graph that keep its function and make it smaller.
//
//     OnnxModel model = load("model.onnx");
//     const graph::Report report = graph::simplify(model);
//
// Inputs and outputs of the model keep their names, order and types. An input with an initializer, which is its default
// value, stays one too, except in files that list their weights among the inputs, as all do before IR version 4.
// Subgraphs of If, Loop and Scan are rewritten too; bodies of functions are left alone, and so is a model with
// training_info. Results differ from
// those of the original by rounding only, where BatchNormalization is folded or reduced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::graph {

struct Options {
  uint64_t max_folded_bytes = uint64_t{1} << 20;  // results of constant folding beyond this are not kept
  // Weights into which nothing is folded, nor they into anything. Null: there are none.
  std::function<bool(const Weight& weight)> is_kept = nullptr;
  // Rounds the scale of a BatchNormalization that is reduced, which will be an initializer of this name (or empty: this is
  // only to see whether it changes); its bias makes up for what that does to the mean. What rounds the scale afterwards
  // leaves an error times the mean, which may be a thousand deviations. Null: it is as exact as its type.
  std::function<void(const std::string& name, std::vector<double>& scale)> round_scale = nullptr;
};

// How often each rewrite was applied.
struct Report {
  size_t inputs_fixed = 0;                  // inputs with an initializer that are inputs no more
  size_t constants_moved = 0;               // Constant nodes that became initializers
  size_t branches_inlined = 0;              // Ifs whose condition is a constant
  size_t nodes_bypassed = 0;                // Identity, Dropout and others that hand on their input
  size_t batch_normalizations_folded = 0;   // into the Conv, ConvTranspose, Gemm or MatMul before
  size_t batch_normalizations_reduced = 0;  // to a scale and a bias, where they could not be folded
  size_t nodes_folded = 0;                  // nodes whose result is a constant
  size_t initializers_shared = 0;           // initializers that were equal to another one
  size_t nodes_removed = 0;                 // nodes that no output needs
  size_t initializers_removed = 0;          // initializers that no node needs
};

// All passes, again and again until nothing changes, or a hundred times. The model is reindexed.
Report simplify(OnnxModel& model, const Options& options = {});

// The passes. Each returns whether it changed the model, adds to the report, and leaves the model reindexed.
bool fix_inputs(OnnxModel& model, Report& report);
bool move_constants(OnnxModel& model, Report& report);
bool inline_branches(OnnxModel& model, Report& report);
bool bypass_nodes(OnnxModel& model, Report& report);
bool fold_batch_normalization(OnnxModel& model, Report& report, const Options& options = {});
// What could not be folded becomes y = scale * x + bias, of a mean of 0 and a variance that is 1 with the epsilon: half the
// parameters, and none of which a small error is a large one of the outputs, as of a variance near 0.
// Not in a subgraph with the outer graph's parameters.
bool reduce_batch_normalization(OnnxModel& model, Report& report, const Options& options = {});
bool fold_constants(OnnxModel& model, Report& report, const Options& options = {});
bool share_initializers(OnnxModel& model, Report& report);
bool remove_unused(OnnxModel& model, Report& report);

}  // namespace quench::graph
