// A codec without training, as two .quench files: means and gradients of 8 x 8 pixels, a little blurred, on an even grid.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "formats/container/writer.h"
#include "formats/image/index_model.h"
#include "tests/runtime/graph_builder.h"

namespace quench::image::testing {

struct SampleCodec {
  static constexpr int kChannels = 9;  // mean, slope to the right, slope downward of each colour
  static constexpr int kLevels = 15;
  static constexpr int kZero = 7;
  static constexpr int kQualities = 4;

  std::vector<std::byte> encoder, decoder;
  std::string encoder_onnx, decoder_onnx;  // the same as ModelProtos
};

namespace internal {

using rt::GraphBuilder;

// What a channel is of the pixels of its colour, as [channel][colour][y][x].
inline std::vector<float> analysis() {
  std::vector<float> weights(SampleCodec::kChannels * 3 * 64);
  for (int channel = 0; channel < SampleCodec::kChannels; ++channel) {
    for (int y = 0; y < 8; ++y) {
      for (int x = 0; x < 8; ++x) {
        const int kind = channel / 3;
        const float basis = kind == 0   ? 1
                            : kind == 1 ? (static_cast<float>(x) - 3.5f) / 4
                                        : (static_cast<float>(y) - 3.5f) / 4;
        weights[static_cast<size_t>(((channel * 3 + channel % 3) * 8 + y) * 8 + x)] = basis / 64;
      }
    }
  }
  return weights;
}

// Back: [channel][colour][y][x] of a ConvTranspose.
inline std::vector<float> synthesis() {
  std::vector<float> weights = analysis();
  for (size_t i = 0; i < weights.size(); ++i) weights[i] *= i / (64 * 3) < 3 ? 64.0f : 64 * 3.05f;
  return weights;
}

// 3 x 3 within each channel.
inline std::vector<float> blur() {
  std::vector<float> weights;
  for (int channel = 0; channel < SampleCodec::kChannels; ++channel) {
    for (int i = 0; i < 9; ++i) weights.push_back(i == 4 ? 0.92f : 0.01f);
  }
  return weights;
}

inline constexpr int kRows = prior_rows(SampleCodec::kChannels, SampleCodec::kLevels);
inline std::vector<uint8_t> prior() {
  return std::vector<uint8_t>(size_t{SampleCodec::kChannels} * kRows * (SampleCodec::kLevels - 1), 120);
}

inline void add_common(GraphBuilder& graph) {
  graph.input("quality", ElementType::kFloat32, {1, 1});
  graph.initializer("blur", {SampleCodec::kChannels, 1, 3, 3}, blur());
  graph.initializer("zero", {1}, std::vector<float>{SampleCodec::kZero});
  graph.initializer("unit", {1}, std::vector<float>{1 / 72.0f});
  graph.initializer("shape", {4}, std::vector<int64_t>{1, 1, 1, 1});
  graph.initializer("table", {SampleCodec::kChannels, kRows, SampleCodec::kLevels - 1}, prior());
  graph.node("Identity", {"table"}, {"prior"});
  graph.node("Mul", {"quality", "unit"}, {"flat_gain"});
  graph.node("Reshape", {"flat_gain", "shape"}, {"gain"});
}

inline std::string model_of(const GraphBuilder& graph, int zero) {
  const auto property = [](const char* key, int value) {
    return rt::WireWriter().bytes(14, rt::WireWriter().bytes(1, key).bytes(2, std::to_string(value)).str()).str();
  };
  return graph.build() + property("codec.zero", zero) + property("codec.qualities", SampleCodec::kQualities);
}

inline std::vector<std::byte> file_of(const std::string& model) {
  container::Writer writer = container::Writer::in_memory();
  EXPECT_TRUE(writer.set_graph(rt::as_bytes(model)).ok());
  return *writer.finish_bytes();
}

}  // namespace internal

inline SampleCodec make_sample_codec(int zero = SampleCodec::kZero) {
  using namespace internal;
  const std::vector<std::string> depthwise = {rt::ints("pads", {1, 1, 1, 1}),
                                              rt::integer("group", SampleCodec::kChannels)};
  GraphBuilder encoder(13);
  encoder.input("image", ElementType::kFloat32, {1, 3, -1, -1});
  add_common(encoder);
  encoder.initializer("analysis", {SampleCodec::kChannels, 3, 8, 8}, analysis());
  encoder.initializer("grey", {1}, std::vector<float>{128});
  encoder.initializer("least", {}, std::vector<float>{0})
      .initializer("most", {}, std::vector<float>{SampleCodec::kLevels - 1});
  encoder.node("Sub", {"image", "grey"}, {"centred"});
  encoder.node("Conv", {"centred", "analysis"}, {"sums"}, {rt::ints("strides", {8, 8})});
  encoder.node("Conv", {"sums", "blur"}, {"blurred"}, depthwise);
  encoder.node("Mul", {"blurred", "gain"}, {"scaled"});
  encoder.node("Add", {"scaled", "zero"}, {"shifted"});
  encoder.node("Round", {"shifted"}, {"rounded"});
  encoder.node("Clip", {"rounded", "least", "most"}, {"clipped"});
  encoder.node("Cast", {"clipped"}, {"indices"}, {rt::integer("to", 2)});
  encoder.output("indices", ElementType::kUint8).output("prior", ElementType::kUint8);

  GraphBuilder decoder(13);
  decoder.input("indices", ElementType::kUint8, {1, SampleCodec::kChannels, -1, -1});
  add_common(decoder);
  decoder.initializer("synthesis", {SampleCodec::kChannels, 3, 8, 8}, synthesis());
  decoder.initializer("grey", {1}, std::vector<float>{128});
  decoder.node("Cast", {"indices"}, {"numbers"}, {rt::integer("to", 1)});
  decoder.node("Sub", {"numbers", "zero"}, {"levels"});
  decoder.node("Div", {"levels", "gain"}, {"scaled"});
  decoder.node("Conv", {"scaled", "blur"}, {"blurred"}, depthwise);
  decoder.node("ConvTranspose", {"blurred", "synthesis"}, {"centred"}, {rt::ints("strides", {8, 8})});
  decoder.node("Add", {"centred", "grey"}, {"image"});
  decoder.output("image").output("prior", ElementType::kUint8);
  const std::string encoder_model = model_of(encoder, zero), decoder_model = model_of(decoder, zero);
  return {file_of(encoder_model), file_of(decoder_model), encoder_model, decoder_model};
}

}  // namespace quench::image::testing
