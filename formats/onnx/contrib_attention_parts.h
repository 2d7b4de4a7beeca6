// What com.microsoft's operators of attention have in common. Queries, keys and values of heads are batch x heads x
// positions x features; scores are batch x heads x queries x keys.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <string>

#include "formats/onnx/contrib_body.h"

namespace quench {

// Batch x positions x features of all heads, as heads.
std::string split_heads(Body& body, const std::string& all, int64_t heads);

// The scale that a node gives; 0 or none: 1 / sqrt(features of a head), which are `features` where that is not 0.
std::string score_scale(Body& body, const onnx::NodeProto& node, const std::string& q, int64_t features = 0);
std::string scaled_scores(Body& body, const std::string& q, const std::string& k, const std::string& scale);
std::string plus(Body& body, const std::string& scores, const std::string& bias);

// What hides keys: the input `mask`, of rank 1 (how many keys of each sample count; numbers after these are ignored), 2
// or 3 (above 0 where a key counts), and, in a node that is unidirectional, what comes behind a query. Queries are the
// last of the keys.
std::string masked(Body& body, const onnx::NodeProto& node, int mask_rank, std::string scores, const std::string& q,
                   const std::string& k);

std::string softmax(Body& body, const std::string& scores);
// The output `y`, batch x positions x features of all heads.
void mix(Body& body, const std::string& weights, const std::string& v);
// From batch x heads x queries x features, as the output `y`.
void join_heads(Body& body, const std::string& mixed);

// Cosines and sines of the rows (batch or 1 x positions) of the function's inputs `cosines` and `sines`, which are tables
// of rows x pairs.
struct Angles {
  std::string cosines, sines;
};
Angles angles_at(Body& body, const std::string& rows);

// Turns pairs of features of heads: in one that is interleaved, neighbours, else those half of all that are turned apart.
// What is behind the pairs stays.
std::string turned(Body& body, bool interleaved, const std::string& x, const Angles& angles);

// Whether the numbers of a node's attributes `scale` and `mask_filter_value` are some.
bool has_finite_attributes(const onnx::NodeProto& node);

}  // namespace quench
