// com.microsoft's GroupQueryAttention: causal attention in which several queries share a key, with rotary embeddings
// and a past inside, as decoders of language models use it.
#include <algorithm>
#include <cmath>
#include <string>

#include "formats/onnx/contrib_attention_parts.h"
#include "formats/onnx/node.h"

namespace quench {
namespace {

using onnx::NodeProto;

// The inputs and outputs, by number.
enum Input : int {
  kQuery,
  kKey,
  kValue,
  kPastKey,
  kPastValue,
  kLengths,
  kTotal,
  kCosines,
  kSines,
  kPositions,
  kScoreBias,
  kSink,
  kKeyScale,
  kValueScale,
  kQueryNorm,
  kKeyNorm
};
enum Output : int { kY, kPresentKey, kPresentValue, kScores };

struct Call {
  const NodeProto& node;
  int64_t heads = 0;
  int64_t key_heads = 0;
  int64_t window = 0;           // keys that a query sees, its own counted; 0: all
  bool total_is_known = false;  // total_sequence_length, before the model runs
};

struct Heads {
  std::string q, k, v;
};

// Where queries and keys lie. Each sample is a sequence of its own length, whose end the padding follows: in the past
// and in what is new.
struct Places {
  std::string last;   // batch x 1: of the last position of each sample
  std::string past;   // batch x 1: positions before the new ones; none without a past
  std::string query;  // batch or 1 x queries
};

Heads heads_of(Body& body, const Call& call) {
  if (has_input(call.node, kKey)) {
    return {split_heads(body, "query", call.heads), split_heads(body, "key", call.key_heads),
            split_heads(body, "value", call.key_heads)};
  }
  const int64_t values = call.heads + call.key_heads;
  const std::string all = split_heads(body, "query", values + call.key_heads);
  return {body.slice(all, 0, call.heads, 1), body.slice(all, call.heads, values, 1),
          body.slice(all, values, values + call.key_heads, 1)};
}

// A padded prompt is longer than its sample: what comes before it is nothing, and not less.
Places places_of(Body& body, const Call& call, const std::string& q) {
  Places places;
  places.last = body.reshape(body.cast_to_integers("lengths"), {-1, 1});
  const std::string count = body.size(q, 2);
  const std::string steps = body.range(count);
  if (!has_input(call.node, kPastKey)) {
    places.query = body.reshape(steps, {1, -1});
    return places;
  }
  const std::string before = body.call("Sub", {body.call("Add", {places.last, body.scalar(1)}), count});
  places.past = body.larger(before, body.scalar(0));
  places.query = body.call("Add", {places.past, steps});
  return places;
}

std::string total_of(Body& body) { return body.reshape(body.cast_to_integers("total"), {}); }

// Which rows of the tables of angles, batch or 1 x queries. Of the input position_ids only the first number counts in a
// first prompt, which has no past.
std::string angle_rows(Body& body, const Call& call, const Places& places, const std::string& q) {
  if (!has_input(call.node, kPositions)) return places.query;
  const std::string ids = body.cast_to_integers("positions");
  const std::string first = body.slice(body.reshape(ids, {-1}), 0, 1, 0);
  const std::string count = body.size(q, 2);
  std::string from_first = body.call("Add", {body.reshape(body.range(count), {1, -1}), first});
  if (!has_input(call.node, kPastKey)) return from_first;
  const std::string is_prompt = body.call("Equal", {total_of(body), count});
  return body.call("Where", {is_prompt, from_first, ids});
}

void turn(Body& body, const Call& call, const Places& places, Heads& heads) {
  const bool interleaved = integer_attribute(call.node, "rotary_interleaved", 0) == 1;
  const Angles angles = angles_at(body, angle_rows(body, call, places, heads.q));
  heads.q = turned(body, interleaved, heads.q, angles);
  heads.k = turned(body, interleaved, heads.k, angles);
}

// Positions of past and present together: those of the past's buffer, where the new ones fit in.
std::string present_positions(Body& body, const Call& call, const std::string& own) {
  const std::string past = body.size("past_key", 2);
  return call.total_is_known ? body.larger(past, total_of(body)) : body.call("Add", {past, body.size(own, 2)});
}

// For each sample, head of keys and position of the present: which row it is of the rows of all heads, where each has
// those of the past, the new ones and one of zeros.
std::string rows_of(Body& body, const Call& call, const Places& places, const std::string& own) {
  const std::string buffer = body.size("past_key", 2);
  const std::string zeros = body.call("Add", {buffer, body.size(own, 2)});
  const std::string present = body.reshape(body.range(present_positions(body, call, own)), {1, -1});
  const std::string is_past = body.call("Less", {present, places.past});
  const std::string behind = body.call("Add", {body.call("Sub", {present, places.past}), buffer});
  const std::string row = body.call("Where", {is_past, present, body.smaller(behind, zeros)});
  const std::string planes = body.sizes(own, 0, 2);
  const std::string count = body.call("Mul", {body.size(own, 0), body.size(own, 1)});
  const std::string first = body.call("Mul", {body.range(count), body.call("Add", {zeros, body.scalar(1)})});
  const std::string firsts = body.call("Reshape", {first, body.concat({planes, body.integers({1})}, 0)});
  return body.call("Add", {firsts, body.reshape(row, {0, 1, -1})});
}

std::string with_past(Body& body, const std::string& past, const std::string& own, const std::string& rows) {
  const std::string padded = body.call("Pad", {own, body.integers({0, 0, 0, 0, 0, 0, 1, 0})});
  const std::string flat_shape = body.concat({body.integers({-1}), body.sizes(own, 3, 4)}, 0);
  const std::string flat = body.call("Reshape", {body.concat({past, padded}, 2), flat_shape});
  return body.call("Gather", {flat, rows}, "axis = 0");
}

void add_past(Body& body, const Call& call, const Places& places, Heads& heads) {
  if (has_input(call.node, kPastKey)) {
    const std::string rows = rows_of(body, call, places, heads.k);
    heads.k = with_past(body, "past_key", heads.k, rows);
    heads.v = with_past(body, "past_value", heads.v, rows);
  }
  if (has_output(call.node, kPresentKey)) body.output("present_key", "Identity", {heads.k});
  if (has_output(call.node, kPresentValue)) body.output("present_value", "Identity", {heads.v});
}

// Queries that share a key lie behind each other: a product of matrices for each head of keys.
std::string grouped(Body& body, const Call& call, const std::string& x) {
  return call.heads == call.key_heads ? x : body.reshape(x, {0, call.key_heads, -1, 0});
}

std::string ungrouped(Body& body, const Call& call, const std::string& x) {
  return call.heads == call.key_heads ? x : body.reshape(x, {0, call.heads, -1, 0});
}

// The bias is as long as the samples, and the buffer of the present may be longer.
std::string score_bias(Body& body, const Call& call, const std::string& k) {
  if (!has_input(call.node, kPastKey) || !call.total_is_known) return "score_bias";
  const std::string missing = body.call("Sub", {body.sizes(k, 2, 3), body.sizes("score_bias", 3, 4)});
  return body.call("Pad", {"score_bias", body.concat({body.integers({0, 0, 0, 0, 0, 0, 0}), missing}, 0)});
}

// A query sees the keys up to its own, and of padding what the last one of its sample sees.
std::string seen(Body& body, const Call& call, const Places& places, const std::string& k) {
  const std::string keys = body.range(body.size(k, 2));
  const std::string up_to = body.reshape(body.smaller(places.query, places.last), {0, 1, -1, 1});
  std::string is_near = body.call("Not", {body.call("Less", {up_to, keys})});
  if (call.window == 0) return is_near;
  const std::string before = body.call("Sub", {up_to, body.scalar(call.window)});
  return body.call("And", {is_near, body.call("Less", {before, keys})});
}

// With a sink, which is a key that has a score and no value.
std::string softmax_of(Body& body, const Call& call, const std::string& scores) {
  const bool has_sink = has_input(call.node, kSink);
  if (!has_sink && integer_attribute(call.node, "smooth_softmax", 0) != 1) return softmax(body, scores);
  const std::string sink = has_sink ? body.reshape("sink", {1, -1, 1, 1}) : body.number(0);
  const std::string shape = body.concat({body.sizes(scores, 0, 3), body.integers({1})}, 0);
  const std::string all = body.concat({scores, body.call("Expand", {sink, shape})}, 3);
  return body.slice(softmax(body, all), 0, -1, 3);
}

Body body_of(const Call& call, int32_t type) {
  const NodeProto& node = call.node;
  Body body(type);
  Heads heads = heads_of(body, call);
  const Places places = places_of(body, call, heads.q);
  if (integer_attribute(node, "do_rotary", 0) == 1) turn(body, call, places, heads);
  add_past(body, call, places, heads);
  const std::string scale = score_scale(body, node, heads.q);
  std::string scores = ungrouped(body, call, scaled_scores(body, grouped(body, call, heads.q), heads.k, scale));
  if (const float cap = float_attribute(node, "softcap", 0); cap > 0) {
    const std::string most = body.number(cap);
    scores = body.call("Mul", {body.call("Tanh", {body.call("Div", {scores, most})}), most});
  }
  if (has_input(node, kScoreBias)) scores = plus(body, scores, score_bias(body, call, heads.k));
  scores = body.call("Where", {seen(body, call, places, heads.k), scores, body.number(-body.largest())});
  const std::string weights = grouped(body, call, softmax_of(body, call, scores));
  join_heads(body, ungrouped(body, call, body.call("MatMul", {weights, heads.v})));
  return body;
}

bool is_quantized(const NodeProto& node, const char* attribute) {
  const onnx::AttributeProto* given = find_attribute(node, attribute);
  return given && given->s() != "NONE";
}

std::string missing_input(const Call& call) {
  const NodeProto& node = call.node;
  if (!has_input(node, kQuery)) return "query";
  if (has_input(node, kKey) != has_input(node, kValue)) return has_input(node, kKey) ? "value" : "key";
  if (has_input(node, kPastKey) != has_input(node, kPastValue))
    return has_input(node, kPastKey) ? "past_value" : "past_key";
  if (!has_input(node, kLengths)) return "seqlens_k";
  const bool wants_total = has_input(node, kPastKey) && has_input(node, kPositions);
  if (wants_total && !has_input(node, kTotal)) return "total_sequence_length";
  const bool is_turned = integer_attribute(node, "do_rotary", 0) == 1;
  if (is_turned && !has_input(node, kCosines)) return "cos_cache";
  return is_turned && !has_input(node, kSines) ? "sin_cache" : "";
}

// What newer versions have, and ONNX Runtime on a processor mostly has not.
std::string unsupported(const NodeProto& node) {
  if (has_input(node, kKeyScale)) return "input k_scale";
  if (has_input(node, kValueScale)) return "input v_scale";
  if (has_input(node, kQueryNorm)) return "input q_norm_weight";
  if (has_input(node, kKeyNorm)) return "input k_norm_weight";
  if (has_output(node, kScores)) return "output output_qk";
  if (is_quantized(node, "k_quant_type")) return "attribute k_quant_type";
  if (is_quantized(node, "v_quant_type")) return "attribute v_quant_type";
  if (integer_attribute(node, "causal", 1) != 1 || integer_attribute(node, "unidirectional", 1) != 1)
    return "attention that is not causal";
  if (integer_attribute(node, "is_past_bsnh", 0) != 0) return "attribute is_past_bsnh";
  return integer_attribute(node, "sliding_window_cache", 0) != 0 ? "attribute sliding_window_cache" : "";
}

std::string refusal_of(const Call& call) {
  constexpr int64_t kMostHeads = int64_t{1} << 20;
  if (call.heads < 1 || call.heads > kMostHeads || call.key_heads < 1 || call.heads % call.key_heads != 0)
    return "attribute num_heads is no multiple of kv_num_heads";
  if (const std::string name = missing_input(call); !name.empty()) return "input " + name + " is missing";
  if (const std::string name = unsupported(call.node); !name.empty()) return name + " is not supported";
  const bool is_finite = has_finite_attributes(call.node) && std::isfinite(float_attribute(call.node, "softcap", 0));
  return is_finite ? "" : "an attribute is infinite or NaN";
}

}  // namespace

Replacement group_query_attention_function(const NodeProto& node, const Values& values) {
  Call call{node, integer_attribute(node, "num_heads", 0), integer_attribute(node, "kv_num_heads", 0)};
  constexpr int64_t kLargestWindow = int64_t{1} << 40;
  call.window = std::clamp<int64_t>(integer_attribute(node, "local_window_size", -1), 0, kLargestWindow);
  call.total_is_known = has_input(node, kTotal) && values.is_of_shapes(node.input(kTotal));
  if (const std::string refusal = refusal_of(call); !refusal.empty()) return refused(refusal);
  return function_of(
      "query, key, value, past_key, past_value, lengths, total, cosines, sines, positions, score_bias, sink",
      "y, present_key, present_value", body_of(call, values.float_type(node.input(kQuery))));
}

}  // namespace quench
