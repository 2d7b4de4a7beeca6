// com.microsoft's RotaryEmbedding: turns pairs of features by angles of their positions. Unlike ONNX's own it takes the
// positions before the tables, and one number in place of all of them. Its attribute `scale` has no effect, as in ONNX
// Runtime.
#include <string>

#include "formats/onnx/contrib_attention_parts.h"
#include "formats/onnx/node.h"

namespace quench {
namespace {

using onnx::NodeProto;

// Which rows of the tables, batch or 1 x positions: those that are given, or those from the only one that is given on.
std::string rows_of(Body& body, const std::string& x) {
  const std::string ids = body.cast_to_integers("positions");
  const std::string first = body.slice(body.reshape(ids, {-1}), 0, 1, 0);
  const std::string from_first = body.call("Add", {body.reshape(body.range(body.size(x, 2)), {1, -1}), first});
  const std::string is_one = body.call("Equal", {body.call("Size", {ids}), body.scalar(1)});
  return body.call("Where", {is_one, from_first, ids});
}

// As heads; without `heads` they are as wide as what is turned.
std::string heads_of(Body& body, int64_t heads) {
  if (heads > 0) return split_heads(body, "x", heads);
  const std::string pairs = body.sizes("cosines", 1, 2);
  const std::string shape =
      body.concat({body.sizes("x", 0, 2), body.integers({-1}), body.call("Add", {pairs, pairs})}, 0);
  return body.transpose(body.call("Reshape", {"x", shape}), "0, 2, 1, 3");
}

std::string refusal_of(const NodeProto& node, int rank, int64_t heads) {
  const char* const names[] = {"input", "position_ids", "cos_cache", "sin_cache"};
  for (int i = 0; i < 4; ++i) {
    if (!has_input(node, i)) return std::string("input ") + names[i] + " is missing";
  }
  if (rank == 0) return "the graph does not tell how many axes its input has";
  if (rank != 3 && rank != 4) return "its input has neither 3 nor 4 axes";
  constexpr int64_t kMostHeads = int64_t{1} << 20;
  if (heads < 0 || heads > kMostHeads) return "attribute num_heads is out of range";
  const bool is_part = integer_attribute(node, "rotary_embedding_dim", 0) > 0;
  if (is_part && rank == 3 && heads == 0) return "attribute num_heads is missing";
  return integer_attribute(node, "is_packed_batching", 0) != 0 ? "attribute is_packed_batching is not supported" : "";
}

}  // namespace

Replacement rotary_embedding_function(const NodeProto& node, const Values& values) {
  const int rank = has_input(node, 0) ? values.rank(node.input(0)) : 0;
  const int64_t heads = integer_attribute(node, "num_heads", 0);
  if (const std::string refusal = refusal_of(node, rank, heads); !refusal.empty()) return refused(refusal);
  const bool interleaved = integer_attribute(node, "interleaved", 0) == 1;
  const bool is_part = integer_attribute(node, "rotary_embedding_dim", 0) > 0;
  Body body(values.float_type(node.input(0)));
  const std::string x = rank == 4 ? "x" : heads_of(body, is_part ? heads : 0);
  const std::string y = turned(body, interleaved, x, angles_at(body, rows_of(body, x)));
  rank == 4 ? body.output("y", "Identity", {y}) : join_heads(body, y);
  return function_of("x, positions, cosines, sines", "y", body);
}

}  // namespace quench
