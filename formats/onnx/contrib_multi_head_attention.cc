// com.microsoft's MultiHeadAttention: queries, keys and values are inputs, in one of four forms.
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
  kBias,
  kMask,
  kScoreBias,
  kPastKey,
  kPastValue,
  kPastLength,
  kCacheIndirection
};
enum Output : int { kY, kPresentKey, kPresentValue, kScores };

enum class Form {
  kApart,      // each batch x positions x features of all heads
  kHeads,      // keys and values are batch x heads x positions x features already, bias and past in them
  kPackedAll,  // all in the queries: batch x positions x heads x 3 x features
  kPackedKv    // values in the keys: batch x positions x heads x 2 x features
};

struct Call {
  const NodeProto& node;
  const Values& values;
  int64_t heads = 0;
  Form form = Form::kApart;
};

int rank_of(const Call& call, int input) {
  return has_input(call.node, input) ? call.values.rank(call.node.input(input)) : 0;
}

// Keys whose rank the graph does not tell are taken to be of three axes. Were they of four, the number of features of a
// head would come out too small, and Reshape would refuse to split them.
std::string heads_apart(Body& body, const Call& call, const std::string& all, int input) {
  if (rank_of(call, input) == 3) return split_heads(body, all, call.heads);
  const std::string features = body.call("Div", {body.sizes(all, 2, 3), body.integers({call.heads})});
  const std::string shape = body.concat({body.integers({0, 0, call.heads}), features}, 0);
  return body.transpose(body.call("Reshape", {all, shape}), "0, 2, 1, 3");
}

std::string unpacked(Body& body, const Call& call, const std::string& all, int64_t part) {
  return split_heads(body, body.slice(all, part, part + 1, 3), call.heads);
}

// Of the three parts of the bias, which are as long as queries, keys and values, the one of `x`.
std::string with_bias(Body& body, const Call& call, const std::string& x, const std::string& q, int64_t part) {
  if (!has_input(call.node, kBias)) return x;
  const std::string width = body.call("Mul", {body.sizes(q, 3, 4), body.integers({call.heads})});
  const auto place = [&](int64_t number) {
    return number == 3 ? body.integers({kToEnd}) : body.call("Mul", {width, body.integers({number})});
  };
  const std::string own = body.call("Slice", {"bias", place(part), place(part + 1)});
  return body.call("Add", {x, body.reshape(own, {call.heads, 1, -1})});
}

struct Heads {
  std::string q, k, v;
};

Heads heads_of(Body& body, const Call& call) {
  Heads heads;
  heads.q = call.form == Form::kPackedAll ? unpacked(body, call, "query", 0) : heads_apart(body, call, "query", kQuery);
  switch (call.form) {
    case Form::kApart:
      heads.k = heads_apart(body, call, "key", kKey);
      heads.v = heads_apart(body, call, "value", kValue);
      break;
    case Form::kHeads:
      heads.k = "key";
      heads.v = "value";
      break;
    case Form::kPackedAll:
      heads.k = unpacked(body, call, "query", 1);
      heads.v = unpacked(body, call, "query", 2);
      break;
    case Form::kPackedKv:
      heads.k = unpacked(body, call, "key", 0);
      heads.v = unpacked(body, call, "key", 1);
      break;
  }
  if (call.form != Form::kHeads) {
    heads.k = with_bias(body, call, heads.k, heads.q, 1);
    heads.v = with_bias(body, call, heads.v, heads.q, 2);
  }
  heads.q = with_bias(body, call, heads.q, heads.q, 0);
  return heads;
}

// Keys or values behind their past.
std::string with_past(Body& body, const Call& call, const std::string& own, int past, int present) {
  std::string all =
      has_input(call.node, past) ? body.concat({past == kPastKey ? "past_key" : "past_value", own}, 2) : own;
  if (has_output(call.node, present))
    body.output(present == kPresentKey ? "present_key" : "present_value", "Identity", {all});
  return all;
}

Body body_of(const Call& call, int mask_rank) {
  Body body(call.values.float_type(call.node.input(kQuery)));
  Heads heads = heads_of(body, call);
  heads.k = with_past(body, call, heads.k, kPastKey, kPresentKey);
  heads.v = with_past(body, call, heads.v, kPastValue, kPresentValue);
  std::string scores = scaled_scores(body, heads.q, heads.k, score_scale(body, call.node, heads.q));
  scores = masked(body, call.node, mask_rank, scores, heads.q, heads.k);
  if (has_input(call.node, kScoreBias)) scores = plus(body, scores, "score_bias");
  mix(body, softmax(body, scores), heads.v);
  return body;
}

Form form_of(const Call& call) {
  if (!has_input(call.node, kKey)) return Form::kPackedAll;
  if (!has_input(call.node, kValue)) return Form::kPackedKv;
  return rank_of(call, kKey) == 4 || rank_of(call, kValue) == 4 ? Form::kHeads : Form::kApart;
}

bool is_of_rank(const Call& call, int input, int wanted) {
  const int rank = rank_of(call, input);
  return rank == 0 || rank == wanted;
}

// Empty where the inputs' ranks fit the form.
std::string misfit(const Call& call) {
  if (!is_of_rank(call, kQuery, call.form == Form::kPackedAll ? 5 : 3)) return "query";
  const int key_rank = call.form == Form::kHeads ? 4 : call.form == Form::kPackedKv ? 5 : 3;
  if (!is_of_rank(call, kKey, key_rank)) return "key";
  return is_of_rank(call, kValue, key_rank) ? "" : "value";
}

std::string refusal_of(const Call& call) {
  const NodeProto& node = call.node;
  if (!has_input(node, kQuery)) return "input query is missing";
  if (!has_input(node, kKey) && has_input(node, kValue)) return "input key is missing";
  if (call.heads < 1) return "attribute num_heads is missing";
  if (!has_finite_attributes(node)) return "an attribute is infinite or NaN";
  if (const std::string name = misfit(call); !name.empty())
    return "input " + name + " has not as many axes as its form wants";
  if (has_input(node, kPastKey) != has_input(node, kPastValue)) return "one of past_key and past_value is missing";
  if (has_input(node, kPastKey) && call.form != Form::kApart)
    return "input past_key is supported where key and value have three axes only";
  if (has_input(node, kBias) && call.form == Form::kPackedKv)
    return "input bias is not supported where key holds the values, too";
  if (has_input(node, kPastLength))
    return "input past_sequence_length, a past in the buffer of the present, is not supported";
  if (has_input(node, kCacheIndirection)) return "input cache_indirection is not supported";
  return has_output(node, kScores) ? "output qk is not supported" : "";
}

}  // namespace

Replacement multi_head_attention_function(const NodeProto& node, const Values& values) {
  Call call{node, values, integer_attribute(node, "num_heads", 0)};
  call.form = form_of(call);
  if (const std::string refusal = refusal_of(call); !refusal.empty()) return refused(refusal);
  int mask_rank = 0;
  if (has_input(node, kMask)) {
    mask_rank = values.rank_behind_casts(node.input(kMask));
    if (mask_rank < 1 || mask_rank > 3)
      return refused("the graph does not tell that input key_padding_mask is of one to three axes");
  }
  return function_of("query, key, value, bias, mask, score_bias, past_key, past_value", "y, present_key, present_value",
                     body_of(call, mask_rank));
}

}  // namespace quench
