// Does a model tell classes apart, and which of its outputs says how? The one answer for the quality that compression
// aims at, for accuracy and for losses.
//
// An output has scores of classes
// - if it is float32 of shape N x C, N x C x 1 or N x C x 1 x 1 (and so on), with C > 1: one row for each sample; or
// - if a Softmax or LogSoftmax makes it, whatever its shape (N x T x C of a text, N x C x H x W of a segmentation): along
//   that axis, at each place;
// and it has the classes themselves if an ArgMax makes it. Nodes behind it that change but the type, the shape or the
// quantization do not count.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "compressor/graph/evaluator.h"

namespace quench::measure {

struct Scores {
  size_t output = 0;      // index among the graph's outputs
  size_t axis = 1;        // along which the classes lie
  bool is_class = false;  // values are classes, and there is no axis
  // To classify is what the model is for: its only float output (its only one, if there is no float), made by a Softmax,
  // LogSoftmax or ArgMax, or called logits, scores, classes or the like, or of as many numbers as ImageNet has classes.
  // Otherwise, as for a detector's scores beside its boxes, or for landmarks, embeddings and policies, labels may be held
  // against the output, but its values count as much as their order.
  bool is_purpose = true;
};

// What an output is: its type and actual shape.
struct OutputShape {
  int32_t dtype = 0;  // onnx::TensorProto::DataType, float types as float32
  std::vector<int64_t> dims;
};

// `outputs`: the graph's, in order. An empty graph says nothing of what makes them.
std::optional<Scores> find_scores(const onnx::GraphProto& graph, std::span<const OutputShape> outputs);
std::optional<Scores> find_scores(const onnx::GraphProto& graph, std::span<const graph::HostTensor> outputs);

// For each output what classes it has by itself; nullopt: none, or what only looks like scores (see Scores::is_purpose).
std::vector<std::optional<Scores>> scores_of_each(const onnx::GraphProto& graph,
                                                  std::span<const graph::HostTensor> outputs);

// One row of scores, or one class, for each entry of the first dimension: what labels can be held against.
bool is_one_per_sample(const Scores& scores, std::span<const int64_t> dims);

// The class at each place of the output: with the highest score, the first of several.
std::vector<int64_t> classes_of(const Scores& scores, const graph::HostTensor& output);

}  // namespace quench::measure
