// write_transformer FILE [LAYERS HIDDEN VOCABULARY]: an encoder of BERT's form as an .onnx file of opset 17, to measure
// time and memory on; by default of BERT-base's size, 12 layers of 768, 30,522 tokens: 109 million weights. They are
// random, but as in trained models their rows have different scales, and a few channels stand out.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "compressor/networks/graph_builder.h"
#include "compressor/networks/initial_values.h"

namespace {

using quench::networks::GraphBuilder;
using quench::networks::normal_values;
using Ints = std::vector<int64_t>;
using onnx::TensorProto;

constexpr int64_t kHeadSize = 64, kPositions = 512, kTypes = 2;

struct Sizes {
  int64_t layers = 12, hidden = 768, vocabulary = 30522;
};

// Scales of a tensor's channels: half an octave up and down; one in 200 has the fourfold.
std::vector<float> channel_scales(const std::string& name, int64_t channels) {
  std::vector<float> scales = normal_values(1, name + ".scales", channels, 0.35);
  const std::vector<float> place = normal_values(1, name + ".outliers", channels, 1);
  for (size_t c = 0; c < scales.size(); ++c)
    scales[c] = std::exp(scales[c]) * (std::abs(place[c]) > 2.8f ? 4.0f : 1.0f);
  return scales;
}

class Writer {
 public:
  explicit Writer(const Sizes& sizes) : sizes_(sizes), graph_("transformer", 17) {}
  quench::OnnxModel write();

 private:
  std::string matrix(const std::string& name, int64_t rows, int64_t columns, double deviation) {
    return graph_.floats(name, {rows, columns}, [&] {
      std::vector<float> values = normal_values(1, name, rows * columns, deviation);
      const std::vector<float> inputs = channel_scales(name + ".in", rows);
      const std::vector<float> outputs = channel_scales(name + ".out", columns);
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] *= inputs[i / outputs.size()] * outputs[i % outputs.size()];
      }
      return values;
    });
  }
  std::string vector(const std::string& name, int64_t size, double mean, double deviation) {
    return graph_.floats(name, {size}, [&] {
      std::vector<float> values = normal_values(1, name, size, deviation);
      for (float& value : values) value += static_cast<float>(mean);
      return values;
    });
  }
  std::string number(const std::string& name, float value) {
    return graph_.floats(name, {}, [&] { return std::vector{value}; });
  }
  std::string linear(const std::string& name, const std::string& x, int64_t in, int64_t out) {
    const double deviation = 0.7 / std::sqrt(static_cast<double>(in));
    const std::string product = graph_.node("MatMul", name, {x, matrix(name + ".weight", in, out, deviation)});
    return graph_.node("Add", name + ".add", {product, vector(name + ".bias", out, 0, 0.05)});
  }
  std::string normalize(const std::string& name, const std::string& x) {
    return graph_.node(
        "LayerNormalization", name,
        {x, vector(name + ".weight", sizes_.hidden, 0.9, 0.1), vector(name + ".bias", sizes_.hidden, 0, 0.1)});
  }
  std::string heads(const std::string& name, const std::string& x, const Ints& order) {
    const std::string cut = graph_.node("Reshape", name + ".cut", {x, cut_});
    return graph_.node("Transpose", name + ".turn", {cut}, {{"perm", order}});
  }
  std::string attention(const std::string& name, const std::string& x);
  std::string feed_forward(const std::string& name, const std::string& x);

  Sizes sizes_;
  GraphBuilder graph_;
  std::string mask_, cut_, join_;
};

std::string Writer::attention(const std::string& name, const std::string& x) {
  const auto project = [&](const char* which) { return linear(name + which, x, sizes_.hidden, sizes_.hidden); };
  const std::string query = heads(name + ".q", project(".query"), {0, 2, 1, 3});
  const std::string key = heads(name + ".k", project(".key"), {0, 2, 3, 1});
  const std::string value = heads(name + ".v", project(".value"), {0, 2, 1, 3});
  const std::string product = graph_.node("MatMul", name + ".scores", {query, key});
  const std::string scaled = graph_.node("Div", name + ".scaled", {product, number(name + ".root", 8)});
  const std::string masked = graph_.node("Add", name + ".masked", {scaled, mask_});
  const std::string share = graph_.node("Softmax", name + ".share", {masked}, {{"axis", int64_t{-1}}});
  const std::string mixed = graph_.node("MatMul", name + ".mixed", {share, value});
  const std::string turned = graph_.node("Transpose", name + ".back", {mixed}, {{"perm", Ints{0, 2, 1, 3}}});
  const std::string joined = graph_.node("Reshape", name + ".joined", {turned, join_});
  return linear(name + ".output", joined, sizes_.hidden, sizes_.hidden);
}

std::string Writer::feed_forward(const std::string& name, const std::string& x) {
  const std::string wide = linear(name + ".wide", x, sizes_.hidden, 4 * sizes_.hidden);
  const std::string scaled = graph_.node("Div", name + ".scaled", {wide, number(name + ".root", std::sqrt(2.0f))});
  const std::string erf = graph_.node("Erf", name + ".erf", {scaled});
  const std::string more = graph_.node("Add", name + ".more", {erf, number(name + ".one", 1)});
  const std::string product = graph_.node("Mul", name + ".product", {wide, more});
  const std::string gelu = graph_.node("Mul", name + ".gelu", {product, number(name + ".half", 0.5f)});
  return linear(name + ".narrow", gelu, 4 * sizes_.hidden, sizes_.hidden);
}

quench::OnnxModel Writer::write() {
  for (const char* name : {"input_ids", "attention_mask", "token_type_ids"}) graph_.input(name, {-1, 128});
  cut_ = graph_.integers("cut", {0, 0, sizes_.hidden / kHeadSize, kHeadSize});
  join_ = graph_.integers("join", {0, 0, sizes_.hidden});
  const std::string wide =
      graph_.node("Unsqueeze", "mask.wide", {"attention_mask", graph_.integers("mask.axes", {1, 2})});
  const std::string real = graph_.node("Cast", "mask.cast", {wide}, {{"to", int64_t{TensorProto::FLOAT}}});
  const std::string hidden = graph_.node("Sub", "mask.hidden", {number("mask.one", 1), real});
  mask_ = graph_.node("Mul", "mask.score", {hidden, number("mask.low", -10000)});

  const auto embed = [&](const std::string& name, int64_t rows, const std::string& ids) {
    return graph_.node("Gather", name, {matrix(name + ".weight", rows, sizes_.hidden, 0.04), ids});
  };
  Ints positions(128);
  for (size_t p = 0; p < positions.size(); ++p) positions[p] = static_cast<int64_t>(p);
  const std::string words = embed("word", sizes_.vocabulary, "input_ids");
  const std::string types = embed("type", kTypes, "token_type_ids");
  const std::string places = embed("position", kPositions, graph_.integers("position.ids", positions));
  std::string x = graph_.node("Add", "embedding.add", {graph_.node("Add", "embedding", {words, types}), places});
  x = normalize("embedding.norm", x);
  for (int64_t layer = 0; layer < sizes_.layers; ++layer) {
    const std::string name = "layer" + std::to_string(layer);
    x = normalize(name + ".norm1", graph_.node("Add", name + ".add1", {x, attention(name, x)}));
    x = normalize(name + ".norm2", graph_.node("Add", name + ".add2", {x, feed_forward(name, x)}));
  }
  graph_.output(x, {-1, 128, sizes_.hidden});
  quench::OnnxModel model = graph_.finish();
  for (auto& input : *model.proto.mutable_graph()->mutable_input()) {
    input.mutable_type()->mutable_tensor_type()->set_elem_type(TensorProto::INT64);
  }
  return model;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 5) {
    std::fprintf(stderr, "usage: %s FILE [LAYERS HIDDEN VOCABULARY]\n", argv[0]);
    return 2;
  }
  Sizes sizes;
  if (argc == 5) sizes = {std::atoll(argv[2]), std::atoll(argv[3]), std::atoll(argv[4])};
  quench::save(argv[1], Writer(sizes).write());
}
