// com.microsoft's Attention: its inputs are the features before the projection to queries, keys and values, whose
// weights are one matrix.
#include <optional>
#include <string>

#include "formats/onnx/contrib_attention_parts.h"
#include "formats/onnx/node.h"

namespace quench {
namespace {

using onnx::AttributeProto;
using onnx::NodeProto;
using onnx::TensorProto;

// The inputs, by number.
enum Input : int { kX, kWeights, kBias, kMask, kPast, kScoreBias, kPastLength };
constexpr int kPresent = 1;  // the number of an output

struct Sizes {
  int64_t heads = 0;
  int64_t query = 0, key = 0, value = 0;  // features of all heads together
};

std::optional<Sizes> sizes_of(const NodeProto& node, const TensorProto& weights) {
  Sizes sizes;
  sizes.heads = integer_attribute(node, "num_heads", 0);
  if (weights.dims_size() != 2 || sizes.heads < 1) return std::nullopt;
  sizes.query = sizes.key = sizes.value = weights.dims(1) / 3;
  if (const AttributeProto* given = find_attribute(node, "qkv_hidden_sizes"); given && given->ints_size() == 3) {
    sizes.query = given->ints(0);
    sizes.key = given->ints(1);
    sizes.value = given->ints(2);
  }
  const bool fits = sizes.query > 0 && sizes.value > 0 && sizes.query == sizes.key && sizes.query <= weights.dims(1) &&
                    sizes.value <= weights.dims(1) && sizes.query + sizes.key + sizes.value == weights.dims(1) &&
                    sizes.query % sizes.heads == 0 && sizes.value % sizes.heads == 0;
  return fits ? std::optional(sizes) : std::nullopt;
}

// Puts the past, 2 x batch x heads x positions x features, before keys and values; `present` becomes both.
void add_past(Body& body, const NodeProto& node, std::string& k, std::string& v) {
  if (has_input(node, kPast)) {
    k = body.concat({body.call("Gather", {"past", body.scalar(0)}, "axis = 0"), k}, 2);
    v = body.concat({body.call("Gather", {"past", body.scalar(1)}, "axis = 0"), v}, 2);
  }
  if (!has_output(node, kPresent)) return;
  const std::string both = body.concat({k, v}, 0);
  body.output("present", "Reshape", {both, body.concat({body.integers({2}), body.call("Shape", {k})}, 0)});
}

Body body_of(const NodeProto& node, const Sizes& sizes, int64_t type, int mask_rank) {
  Body body(type);
  std::string all = body.call("MatMul", {"x", "w"});
  if (has_input(node, kBias)) all = body.call("Add", {all, "b"});
  const auto heads_of = [&](int64_t begin, int64_t end) {
    return split_heads(body, body.slice(all, begin, end, 2), sizes.heads);
  };
  const int64_t values = sizes.query + sizes.key;
  const std::string q = heads_of(0, sizes.query);
  std::string k = heads_of(sizes.query, values);
  std::string v = heads_of(values, values + sizes.value);
  add_past(body, node, k, v);
  std::string scores = scaled_scores(body, q, k, score_scale(body, node, q, sizes.query / sizes.heads));
  scores = masked(body, node, mask_rank, scores, q, k);
  if (has_input(node, kScoreBias)) scores = plus(body, scores, "score_bias");
  mix(body, softmax(body, scores), v);
  return body;
}

// 0: none; -1: of a kind that is not replaced.
int mask_rank_of(const NodeProto& node, const Values& values) {
  if (!has_input(node, kMask)) return 0;
  const int rank = values.rank_behind_casts(node.input(kMask));
  if (rank == 2 || rank == 3) return rank;
  const std::string source = values.behind_casts(node.input(kMask));
  const NodeProto* maker = values.producer(source);
  const bool is_lengths = maker && maker->domain() == node.domain() && maker->op_type() == "EmbedLayerNormalization" &&
                          has_output(*maker, 1) && maker->output(1) == source;
  return is_lengths && rank <= 1 ? 1 : -1;
}

}  // namespace

Replacement attention_function(const NodeProto& node, const Values& values) {
  const TensorProto* weights = has_input(node, kWeights) ? values.initializer(node.input(kWeights)) : nullptr;
  const int32_t type = weights ? weights->data_type() : 0;
  if (type != TensorProto::FLOAT && type != TensorProto::FLOAT16)
    return refused("its weights are no initializer of float32 or float16");
  const std::optional<Sizes> sizes = sizes_of(node, *weights);
  if (!sizes) return refused("its weights do not split into as many heads");
  const bool has_past = has_input(node, kPast) || has_output(node, kPresent);
  if (has_past && sizes->key != sizes->value) return refused("past keys and values are not of one size");
  if (has_input(node, kPastLength) || integer_attribute(node, "past_present_share_buffer", 0) != 0)
    return refused("a past in the buffer of the present is not supported");
  if (integer_attribute(node, "do_rotary", 0) != 0) return refused("attribute do_rotary is not supported");
  if (!has_finite_attributes(node)) return refused("an attribute is infinite or NaN");
  const int rank = mask_rank_of(node, values);
  if (rank < 0) return refused("the graph does not tell that input mask_index is of two or three axes");
  return function_of("x, w, b, mask, past, score_bias", "y, present", body_of(node, *sizes, type, rank));
}

}  // namespace quench
