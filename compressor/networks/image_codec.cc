#include "compressor/networks/image_codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "compressor/networks/graph_builder.h"
#include "compressor/networks/initial_values.h"
#include "compressor/networks/ode_block.h"
#include "formats/error.h"

namespace quench::networks {
namespace {

constexpr int64_t kOpset = 13;
constexpr int64_t kMaxChannels = 1024, kMaxLatents = 192;  // the transform is complete then
constexpr int kMaxBlocks = 100, kMaxQualities = 64;
constexpr size_t kMaxCenters = 64;               // as many levels as the coder of the indices takes
constexpr double kMiddle = 127.5, kSpread = 64;  // of pixels
// Of the second convolution of a residual block at first, beside He's: the blocks begin near the identity.
constexpr double kBranch = 0.3;
// Of the last convolution of each network at first, likewise: the transforms begin alone.
constexpr double kNetwork = 0;
// Of the gains at first: the finest quality's steps are a third of the coarsest one's.
constexpr double kFirstGain = -0.7, kLastGain = 0.4;  // natural logarithms

constexpr int kSide = kImageCodecStride;

// Luma and the two chroma components of red, green, blue, and back (ITU-R BT.601, as JPEG has them).
constexpr double kToLuma[3][3] = {{0.299, 0.587, 0.114}, {-0.168736, -0.331264, 0.5}, {0.5, -0.418688, -0.081312}};
constexpr double kFromLuma[3][3] = {{1, 1, 1}, {0, -0.344136, 1.772}, {1.402, -0.714136, 0}};

// A frequency of the cosine transform of 8 x 8 pixels of one component.
struct Frequency {
  size_t component;  // 0: luma
  int u, v;

  // Where it stands among the others: what it is worth falls with the frequency, and chroma is worth less.
  double order() const { return component == 0 ? u + v : 1.5 + 2 * (u + v); }
  // So that a step is about 21 levels of a pixel at a gain of 1, and twice that for the lowest one of luma, whose values
  // reach farthest.
  double scale() const { return component == 0 && u + v == 0 ? 1.5 : 3; }
  double wave(int x, int y) const {
    const auto along = [](int frequency, int at) {
      return (frequency == 0 ? std::sqrt(1.0 / kSide) : std::sqrt(2.0 / kSide)) *
             std::cos(M_PI * frequency * (2 * at + 1) / (2 * kSide));
    };
    return along(u, x) * along(v, y);
  }
};

// The first `count` of them.
std::vector<Frequency> frequencies(int64_t count) {
  std::vector<Frequency> all;
  for (size_t component = 0; component < 3; ++component) {
    for (int v = 0; v < kSide; ++v) {
      for (int u = 0; u < kSide; ++u) all.push_back({component, u, v});
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.order() < b.order(); });
  all.resize(static_cast<size_t>(count));
  return all;
}

void check(const ImageCodecOptions& options) {
  const auto [channels, latents, blocks, qualities, seed] = options;
  if (channels < 8 || channels > kMaxChannels || channels % 4 != 0) {
    throw Error::make("a codec of {} channels cannot be built: give a multiple of 4 from 8 to {}", channels,
                      kMaxChannels);
  }
  if (latents < 1 || latents > kMaxLatents) {
    throw Error::make("a codec of {} latent channels cannot be built: give 1 to {}", latents, kMaxLatents);
  }
  if (blocks < 0 || blocks > kMaxBlocks) {
    throw Error::make("a codec of {} residual blocks cannot be built: give 0 to {}", blocks, kMaxBlocks);
  }
  if (qualities < 1 || qualities > kMaxQualities) {
    throw Error::make("a codec of {} qualities cannot be built: give 1 to {}", qualities, kMaxQualities);
  }
}

// Emits the layers of one of the two networks.
class CodecWriter {
 public:
  CodecWriter(const std::string& name, const ImageCodecOptions& options, const ImageCodecTables* tables)
      : options_(options), tables_(tables), graph_(name, kOpset) {}

  OnnxModel encoder() {
    graph_.input("image", {-1, 3, -1, -1}, kFloat, {"N", "height", "width"});
    graph_.input("quality", {-1, 1});
    const int64_t channels = options_.channels;
    const std::string pixels = graph_.node(
        "Mul", "scale",
        {graph_.node("Sub", "center", {"image", constant_of(graph_, kMiddle)}), constant_of(graph_, 1 / kSpread)});
    std::string u = relu("down1.relu", conv("down1", pixels, 3, channels / 2, {.kernel = 5, .stride = 2}));
    u = relu("down2.relu", conv("down2", u, channels / 2, channels, {.stride = 2}));
    u = relu("down3.relu", conv("down3", u, channels, channels, {.stride = 2}));
    u = conv("latents", blocks(u), channels, options_.latents, {.gain = kNetwork});
    u = graph_.node("Add", "transformed", {u, analysis(pixels)});
    const std::string gain = gains("gain", kFirstGain, kLastGain);
    const std::string latent = tables_ ? "" : "latent";
    u = graph_.node("Mul", "gained", {u, gain}, {}, latent);
    if (tables_) {
      indices_of(u);
      graph_.output("indices", {-1, options_.latents, -1, -1}, kBytes, {"N", "rows", "columns"});
    } else {
      graph_.output("latent", {-1, options_.latents, -1, -1}, kFloat, {"N", "rows", "columns"});
    }
    return finish();
  }

  OnnxModel decoder() {
    const std::string from = tables_ ? "indices" : "latent";
    graph_.input(from, {-1, options_.latents, -1, -1}, tables_ ? kBytes : kFloat, {"N", "rows", "columns"});
    graph_.input("quality", {-1, 1});
    const int64_t channels = options_.channels;
    const std::string latents =
        graph_.node("Mul", "gained", {tables_ ? centers() : from, gains("gain", -kFirstGain, -kLastGain)});
    std::string u = relu("first.relu", conv("first", latents, options_.latents, channels, {}));
    u = blocks(u);
    u = relu("up1.relu", up("up1", u, channels, channels / 2));
    u = residual_block("fine", u, channels / 2);
    u = relu("up2.relu", up("up2", u, channels / 2, channels / 4));
    u = up("up3", u, channels / 4, 3, kNetwork);
    u = graph_.node("Add", "transformed", {u, synthesis(latents)});
    u = graph_.node("Mul", "scale", {u, constant_of(graph_, kSpread)});
    graph_.node("Add", "center", {u, constant_of(graph_, kMiddle)}, {}, "image");
    graph_.output("image", {-1, 3, -1, -1}, kFloat, {"N", "height", "width"});
    return finish();
  }

 private:
  static constexpr int32_t kFloat = onnx::TensorProto::FLOAT, kBytes = onnx::TensorProto::UINT8;

  struct Window {
    int64_t kernel = 3, stride = 1;
    double gain = 1;  // of the initial values
  };

  std::string conv(const std::string& name, const std::string& u, int64_t from, int64_t to, const Window& window) {
    const int64_t fan_in = from * window.kernel * window.kernel;
    const std::string weight = graph_.floats(name + ".weight", {to, from, window.kernel, window.kernel}, [&] {
      return normal_values(options_.seed, name, to * fan_in, window.gain * std::sqrt(2.0 / double(fan_in)));
    });
    const std::string bias =
        graph_.floats(name + ".bias", {to}, [&] { return std::vector<float>(static_cast<size_t>(to)); });
    const int64_t pad = window.kernel / 2;
    return graph_.node("Conv", name, {u, weight, bias},
                       {{"pads", std::vector<int64_t>(4, pad)},
                        {"strides", std::vector<int64_t>(2, window.stride)},
                        {"kernel_shape", std::vector<int64_t>(2, window.kernel)}});
  }

  std::string relu(const std::string& name, const std::string& u) { return graph_.node("Relu", name, {u}); }

  std::string residual_block(const std::string& name, const std::string& u, int64_t channels) {
    std::string f = relu(name + ".relu", conv(name + ".conv1", u, channels, channels, {}));
    f = conv(name + ".conv2", f, channels, channels, {.gain = kBranch});
    return graph_.node("Add", name + ".add", {u, f});
  }

  std::string blocks(const std::string& u) {
    if (options_.blocks == 0) return u;
    std::string end = u;
    for (int i = 1; i <= options_.blocks; ++i) end = residual_block(fmt::format("block{}", i), end, options_.channels);
    return graph_.node("Add", "blocks.add", {u, end});
  }

  std::string up(const std::string& name, const std::string& u, int64_t from, int64_t to, double gain = 1) {
    return graph_.node("DepthToSpace", name + ".pixels", {conv(name, u, from, 4 * to, {.gain = gain})},
                       {{"blocksize", int64_t{2}}, {"mode", std::string("CRD")}});
  }

  // Of blocks of pixels, to the latents' scale.
  std::string analysis(const std::string& pixels) {
    const int64_t latents = options_.latents;
    const std::string weight = graph_.floats("transform.weight", {latents, 3, kSide, kSide}, [&] {
      std::vector<float> values;
      for (const Frequency& each : frequencies(latents)) {
        for (size_t color = 0; color < 3; ++color) {
          for (int y = 0; y < kSide; ++y) {
            for (int x = 0; x < kSide; ++x) {
              values.push_back(static_cast<float>(each.scale() * kToLuma[each.component][color] * each.wave(x, y)));
            }
          }
        }
      }
      return values;
    });
    return graph_.node(
        "Conv", "transform", {pixels, weight},
        {{"strides", std::vector<int64_t>{kSide, kSide}}, {"kernel_shape", std::vector<int64_t>{kSide, kSide}}});
  }

  std::string synthesis(const std::string& latents) {
    const int64_t outputs = 3 * kSide * kSide;
    const std::string weight = graph_.floats("transform.weight", {outputs, options_.latents, 1, 1}, [&] {
      std::vector<float> values;
      for (size_t color = 0; color < 3; ++color) {
        for (int y = 0; y < kSide; ++y) {
          for (int x = 0; x < kSide; ++x) {
            for (const Frequency& each : frequencies(options_.latents)) {
              values.push_back(static_cast<float>(kFromLuma[each.component][color] * each.wave(x, y) / each.scale()));
            }
          }
        }
      }
      return values;
    });
    const std::string blocks =
        graph_.node("Conv", "transform", {latents, weight}, {{"kernel_shape", std::vector<int64_t>{1, 1}}});
    return graph_.node("DepthToSpace", "transform.pixels", {blocks},
                       {{"blocksize", int64_t{kSide}}, {"mode", std::string("CRD")}});
  }

  // exp(g(quality)) as [N, latents, 1, 1]: g is learned at 1 to Q, and between them the mean by distance.
  std::string gains(const std::string& name, double first, double last) {
    const int64_t count = options_.qualities, latents = options_.latents;
    std::vector<int64_t> at(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) at[static_cast<size_t>(i)] = i + 1;
    const std::string places =
        graph_.node("Cast", name + ".places", {graph_.integers(name + ".at", at)}, {{"to", int64_t{kFloat}}});
    std::string u =
        graph_.node("Abs", name + ".distance", {graph_.node("Sub", name + ".difference", {"quality", places})});
    u = relu(name + ".share", graph_.node("Sub", name + ".nearness", {constant_of(graph_, 1), u}));
    const std::string logs = graph_.floats(name + ".log", {count, latents}, [&] {
      std::vector<float> values;
      for (int64_t i = 0; i < count; ++i) {
        const double share = count > 1 ? double(i) / double(count - 1) : 0.5;
        values.insert(values.end(), static_cast<size_t>(latents), static_cast<float>(first + (last - first) * share));
      }
      return values;
    });
    u = graph_.node("Exp", name + ".exp", {graph_.node("MatMul", name + ".mix", {u, logs})});
    return graph_.node("Unsqueeze", name, {u, graph_.integers(name + ".axes", {2, 3})});
  }

  // The number of boundaries, halfway between centers, that a value is above.
  void indices_of(const std::string& latent) {
    const std::vector<float>& centers = tables_->centers;
    const std::string boundaries = graph_.floats("boundaries", {static_cast<int64_t>(centers.size()) - 1}, [&] {
      std::vector<float> values;
      for (size_t i = 1; i < centers.size(); ++i) values.push_back((centers[i - 1] + centers[i]) / 2);
      return values;
    });
    std::string u = graph_.node("Unsqueeze", "each", {latent, graph_.integers("each.axes", {-1})});
    u = graph_.node("Cast", "above", {graph_.node("Greater", "is_above", {u, boundaries})}, {{"to", int64_t{kFloat}}});
    u = graph_.node("ReduceSum", "count", {u, graph_.integers("count.axes", {-1})}, {{"keepdims", int64_t{0}}});
    graph_.node("Cast", "whole", {u}, {{"to", int64_t{kBytes}}}, "indices");
  }

  std::string centers() {
    const std::string table =
        graph_.floats("centers", {static_cast<int64_t>(tables_->centers.size())}, [&] { return tables_->centers; });
    const std::string at = graph_.node("Cast", "places", {"indices"}, {{"to", int64_t{onnx::TensorProto::INT32}}});
    return graph_.node("Gather", "values", {table, at});
  }

  // With what both graphs tell of the codec.
  OnnxModel finish() {
    if (!tables_) return graph_.finish();
    graph_.node("Identity", "prior", {graph_.bytes("prior.values", tables_->prior_dims, tables_->prior)}, {}, "prior");
    graph_.output("prior", tables_->prior_dims, kBytes);
    OnnxModel model = graph_.finish();
    const auto tell = [&model](const char* key, int value) {
      onnx::StringStringEntryProto& entry = *model.proto.add_metadata_props();
      entry.set_key(key);
      entry.set_value(std::to_string(value));
    };
    tell("codec.qualities", options_.qualities);
    tell("codec.zero", tables_->zero);
    return model;
  }

  const ImageCodecOptions& options_;
  const ImageCodecTables* tables_;  // null: to be trained
  GraphBuilder graph_;
};

ImageCodec write(const ImageCodecOptions& options, const ImageCodecTables* tables) {
  check(options);
  return {CodecWriter("encoder", options, tables).encoder(), CodecWriter("decoder", options, tables).decoder()};
}

}  // namespace

ImageCodec build(const ImageCodecOptions& options) { return write(options, nullptr); }

ImageCodec build(const ImageCodecOptions& options, const ImageCodecTables& tables) {
  const std::vector<float>& centers = tables.centers;
  if (centers.size() < 2 || centers.size() > kMaxCenters || !std::is_sorted(centers.begin(), centers.end())) {
    throw Error::make("a codec with {} centers cannot be built: give 2 to {}, in ascending order", centers.size(),
                      kMaxCenters);
  }
  return write(options, &tables);
}

}  // namespace quench::networks
