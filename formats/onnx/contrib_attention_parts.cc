#include "formats/onnx/contrib_attention_parts.h"

#include <cmath>

#include "formats/onnx/node.h"

namespace quench {
namespace {

constexpr float kFilter = -10000;

// Of one axis: how many keys of each sample count.
std::string lengths_count(Body& body, const std::string& q, const std::string& k) {
  const std::string places = body.reshape(body.range(body.size(k, 2)), {1, 1, 1, -1});
  const std::string lengths =
      body.call("Slice", {body.cast_to_integers("mask"), body.integers({0}), body.sizes(q, 0, 1)});
  return body.call("Less", {places, body.reshape(lengths, {-1, 1, 1, 1})});
}

std::string values_count(Body& body, int rank) {
  std::string mask = body.cast("mask");
  if (rank == 2) {
    mask = body.reshape(mask, {0, 1, 1, -1});
  } else {
    const std::string shape = body.concat({body.sizes(mask, 0, 1), body.integers({1}), body.sizes(mask, 1, 3)}, 0);
    mask = body.call("Reshape", {mask, shape});
  }
  return body.call("Less", {body.number(0), mask});
}

std::string causal_bias(Body& body, const std::string& queries, const std::string& keys) {
  const std::string past = body.call("Sub", {keys, queries});
  const std::string rows = body.reshape(body.call("Range", {past, keys, body.scalar(1)}), {-1, 1});
  const std::string columns = body.reshape(body.range(keys), {1, -1});
  const std::string is_behind = body.call("Less", {rows, columns});
  return body.call("Where", {is_behind, body.number(-body.largest()), body.number(0)});
}

float filter_of(const onnx::NodeProto& node) { return float_attribute(node, "mask_filter_value", kFilter); }

}  // namespace

std::string split_heads(Body& body, const std::string& all, int64_t heads) {
  return body.transpose(body.reshape(all, {0, 0, heads, -1}), "0, 2, 1, 3");
}

std::string score_scale(Body& body, const onnx::NodeProto& node, const std::string& q, int64_t features) {
  if (const float given = float_attribute(node, "scale", 0); given != 0) return body.number(given);
  if (features > 0) return body.number(1 / std::sqrt(static_cast<double>(features)));
  return body.call("Div", {body.number(1), body.call("Sqrt", {body.cast(body.size(q, 3))})});
}

std::string scaled_scores(Body& body, const std::string& q, const std::string& k, const std::string& scale) {
  return body.call("Mul", {body.call("MatMul", {q, body.transpose(k, "0, 1, 3, 2")}), scale});
}

std::string plus(Body& body, const std::string& scores, const std::string& bias) {
  return body.call("Add", {scores, bias});
}

std::string masked(Body& body, const onnx::NodeProto& node, int mask_rank, std::string scores, const std::string& q,
                   const std::string& k) {
  if (mask_rank > 0) {
    const std::string counts = mask_rank == 1 ? lengths_count(body, q, k) : values_count(body, mask_rank);
    scores = plus(body, scores, body.call("Where", {counts, body.number(0), body.number(filter_of(node))}));
  }
  if (integer_attribute(node, "unidirectional", 0) == 0) return scores;
  return plus(body, scores, causal_bias(body, body.size(q, 2), body.size(k, 2)));
}

std::string softmax(Body& body, const std::string& scores) { return body.call("Softmax", {scores}, "axis = -1"); }

void mix(Body& body, const std::string& weights, const std::string& v) {
  join_heads(body, body.call("MatMul", {weights, v}));
}

void join_heads(Body& body, const std::string& mixed) {
  body.output("y", "Reshape", {body.transpose(mixed, "0, 2, 1, 3"), body.integers({0, 0, -1})});
}

// GatherND, as the tables of a Gather may be learned (compressor/graph/learned.h), and these are not.
Angles angles_at(Body& body, const std::string& rows) {
  const std::string places = body.reshape(rows, {0, 1, -1, 1});
  return {body.call("GatherND", {"cosines", places}), body.call("GatherND", {"sines", places})};
}

std::string turned(Body& body, bool interleaved, const std::string& x, const Angles& angles) {
  const std::string pairs = body.sizes("cosines", 1, 2), both = body.call("Add", {pairs, pairs});
  const std::string axis = body.integers({3});
  std::string a, b;
  if (interleaved) {
    const std::string step = body.integers({2});
    a = body.call("Slice", {x, body.integers({0}), both, axis, step});
    b = body.call("Slice", {x, body.integers({1}), both, axis, step});
  } else {
    a = body.call("Slice", {x, body.integers({0}), pairs, axis});
    b = body.call("Slice", {x, pairs, both, axis});
  }
  const auto [cosines, sines] = angles;
  std::string real = body.call("Sub", {body.call("Mul", {a, cosines}), body.call("Mul", {b, sines})});
  std::string imaginary = body.call("Add", {body.call("Mul", {a, sines}), body.call("Mul", {b, cosines})});
  const std::string rest = body.call("Slice", {x, both, body.integers({kToEnd}), axis});
  if (!interleaved) return body.concat({real, imaginary, rest}, 3);
  real = body.reshape(real, {0, 0, 0, -1, 1});
  imaginary = body.reshape(imaginary, {0, 0, 0, -1, 1});
  return body.concat({body.reshape(body.concat({real, imaginary}, 4), {0, 0, 0, -1}), rest}, 3);
}

bool has_finite_attributes(const onnx::NodeProto& node) {
  return std::isfinite(float_attribute(node, "scale", 0)) && std::isfinite(filter_of(node));
}

}  // namespace quench
