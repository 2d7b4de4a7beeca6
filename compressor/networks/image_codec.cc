#include "compressor/networks/image_codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "compressor/networks/graph_builder.h"
#include "compressor/networks/initial_values.h"
#include "compressor/networks/lapped_transform.h"
#include "compressor/networks/ode_block.h"
#include "formats/error.h"

namespace quench::networks {
namespace {

constexpr int64_t kOpset = 13;
constexpr int64_t kMaxChannels = 1024, kMaxLatents = 192;  // the transform is complete then
constexpr int kMaxBlocks = 100, kMaxQualities = 64;
constexpr size_t kMaxCenters = 255;              // as many levels as the coder of the indices takes
constexpr double kMiddle = 127.5, kSpread = 64;  // of pixels
// Of the second convolution of a residual block at first, beside He's: the blocks begin near the identity.
constexpr double kBranch = 0.3;
// Of the last convolution of each network at first, likewise: the transforms begin alone.
constexpr double kNetwork = 0;
// Of the gains at first: steps at the finest quality are about a twentieth of those at the coarsest.
constexpr double kFirstGain = -1.4, kLastGain = 1.7;            // natural logarithms
constexpr double kFirstPlainGain = -1.9, kLastPlainGain = 0.4;  // of a codec that is not weighted
// At a contrast of 40 levels of a pixel errors begin to be masked by it. In the model that kScale was found by, 40 was better
// than none by 0.0018 in MS-SSIM at 0.3 bits per pixel, and than 60 and 20 by at most 0.0003 there and at 0.4.
constexpr double kContrast = 40;
// Values are moved so much towards 0 before they go to the nearest center: rounding costs less in error than the other
// way costs in bits. Of 0.05, 0.1 and 0.15 for a codec trained without, on six validation photographs, 0.1 was best by a
// hair: MS-SSIM 0.9649 instead of 0.9636 at 0.2 bits per pixel, 0.9782 instead of 0.9775 at 0.3.
constexpr double kThreshold = 0.1;
// Of the transform at first. At a gain of 1 the lowest frequency of luma has steps of 13 levels of a pixel; others have wider
// ones. Found on five validation photographs by a model of this transform outside the tree, with steps of 9 to 40 levels
// and the entropy under adaptive contexts; MS-SSIM at 0.2 bits per pixel: 0.949 with weights of 1 / (1 + 0.5 f) for luma and
// half of that for chroma, 0.953 with 1 / (1 + 0.3 f)^2, 0.952 with chroma at 0.7, 0.932 with twice as wide steps for the
// lowest frequencies.
constexpr double kScale = 4.8, kChromaWeight = 0.7, kFall = 0.3;

constexpr size_t kSide = kImageCodecStride, kTaps = kLappedTaps;
constexpr size_t kHalf = (kTaps - kSide) / 2;
static_assert(kSide == kLappedSide);

// Luma and the two chroma components of red, green, blue, and back (ITU-R BT.601, as JPEG has them).
constexpr double kToLuma[3][3] = {{0.299, 0.587, 0.114}, {-0.168736, -0.331264, 0.5}, {0.5, -0.418688, -0.081312}};
constexpr double kFromLuma[3][3] = {{1, 1, 1}, {0, -0.344136, 1.772}, {1.402, -0.714136, 0}};

// A frequency of the transform of one component.
struct Frequency {
  size_t component;  // 0: luma
  size_t u, v;
  double weight = 1;  // of errors in it

  bool is_mean() const { return u + v == 0; }
};

// What an error in a frequency costs, beside one in the lowest one of luma; by MS-SSIM on photographs, where the finest
// scale has a small weight.
double cost(const Frequency& frequency) {
  const double rise = 1 + kFall * std::hypot(static_cast<double>(frequency.u), static_cast<double>(frequency.v));
  return (frequency.component == 0 ? 1 : kChromaWeight) / (rise * rise);
}

// The logarithm of a latent's gain at first, at a share of the way from the coarsest to the finest quality. The lowest
// frequencies reach kSide * kMiddle / kSpread, which must not be beyond the centers.
double first_gain(const Frequency& frequency, double share, bool is_weighted) {
  const double gain =
      is_weighted ? std::lerp(kFirstGain, kLastGain, share) : std::lerp(kFirstPlainGain, kLastPlainGain, share);
  if (!frequency.is_mean()) return gain;
  const double reach = kSide * kMiddle / kSpread * kScale * frequency.weight;
  return std::min(gain, std::log((kMaxCenters - 1) / (2 * reach)));
}

// Those whose errors cost most, as many as latents.
std::vector<Frequency> frequencies(const ImageCodecOptions& options) {
  std::vector<Frequency> all;
  for (size_t component = 0; component < 3; ++component) {
    for (size_t v = 0; v < kSide; ++v) {
      for (size_t u = 0; u < kSide; ++u) all.push_back({component, u, v});
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return cost(a) > cost(b); });
  all.resize(static_cast<size_t>(options.latents));
  if (options.weighted) {
    for (Frequency& each : all) each.weight = cost(each);
  }
  return all;
}

void check(const ImageCodecOptions& options) {
  const auto [channels, latents, blocks, qualities, weighted, seed] = options;
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
    if (options_.weighted) u = masked(u, true);
    u = graph_.node("Mul", "gained", {u, gains("gain", 1)});
    u = graph_.node("Sub", "lessened", {u, excess(u)}, {}, tables_ ? "" : "latent");
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
    std::string latents = graph_.node("Mul", "gained", {tables_ ? centers() : from, gains("gain", -1)});
    if (options_.weighted) latents = masked(latents, false);
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

  // [first, end) of an axis.
  std::string slice(const std::string& name, const std::string& u, int64_t axis, int64_t first, int64_t end,
                    int64_t step = 1) {
    return graph_.node("Slice", name,
                       {u, graph_.integers(name + ".first", {first}), graph_.integers(name + ".end", {end}),
                        graph_.integers(name + ".axis", {axis}), graph_.integers(name + ".step", {step})});
  }

  // With half a block more on each side, mirrored by the border.
  std::string mirrored_pixels(std::string u) {
    constexpr auto kAll = std::numeric_limits<int64_t>::min();
    for (const int64_t axis : {2, 3}) {
      const std::string name = axis == 2 ? "mirror.rows" : "mirror.columns";
      const std::string before = slice(name + ".before", u, axis, kHalf - 1, kAll, -1);
      const std::string behind = slice(name + ".behind", u, axis, -1, -1 - static_cast<int64_t>(kHalf), -1);
      u = graph_.node("Concat", name, {before, u, behind}, {{"axis", axis}});
    }
    return u;
  }

  // With one more on each side, that of the mirrored pixels: odd frequencies change their sign.
  std::string mirrored_latents(std::string u) {
    for (const int64_t axis : {2, 3}) {
      const std::string name = axis == 2 ? "mirror.rows" : "mirror.columns";
      const std::string signs = graph_.floats(name + ".signs", {options_.latents, 1, 1}, [&] {
        std::vector<float> values;
        for (const Frequency& each : frequencies(options_)) {
          values.push_back((axis == 2 ? each.v : each.u) % 2 == 0 ? 1.0F : -1.0F);
        }
        return values;
      });
      const auto edge = [&](const std::string& side, int64_t at, int64_t end) {
        return graph_.node("Mul", name + side, {slice(name + side + ".edge", u, axis, at, end), signs});
      };
      const std::string before = edge(".before", 0, 1);
      const std::string behind = edge(".behind", -1, std::numeric_limits<int64_t>::max());
      u = graph_.node("Concat", name, {before, u, behind}, {{"axis", axis}});
    }
    return u;
  }

  // Of pixels, to the latents' scale.
  std::string analysis(const std::string& pixels) {
    const int64_t latents = options_.latents, taps = kTaps, side = kSide;
    const std::string weight = graph_.floats("transform.weight", {latents, 3, taps, taps}, [&] {
      const LappedWaves waves = lapped_waves();
      std::vector<float> values;
      for (const Frequency& each : frequencies(options_)) {
        for (size_t color = 0; color < 3; ++color) {
          for (size_t y = 0; y < kTaps; ++y) {
            for (size_t x = 0; x < kTaps; ++x) {
              values.push_back(static_cast<float>(kScale * each.weight * kToLuma[each.component][color] *
                                                  waves[each.u][x] * waves[each.v][y]));
            }
          }
        }
      }
      return values;
    });
    return graph_.node(
        "Conv", "transform", {mirrored_pixels(pixels), weight},
        {{"strides", std::vector<int64_t>{side, side}}, {"kernel_shape", std::vector<int64_t>{taps, taps}}});
  }

  // Each of the places between four latents has the 8 x 8 pixels around it.
  std::string synthesis(const std::string& latents) {
    const int64_t side = kSide, half = kHalf, outputs = 3 * side * side;
    const std::string weight = graph_.floats("transform.weight", {outputs, options_.latents, 2, 2}, [&] {
      const LappedWaves waves = lapped_waves();
      std::vector<float> values;
      for (size_t color = 0; color < 3; ++color) {
        for (size_t at = 0; at < kSide * kSide; ++at) {
          for (const Frequency& each : frequencies(options_)) {
            const double scale = kFromLuma[each.component][color] / (kScale * each.weight);
            for (size_t block = 0; block < 4; ++block) {  // pixels lie in the second half of the first one's taps
              const size_t y = at / kSide + (block < 2 ? kSide : 0), x = at % kSide + (block % 2 == 0 ? kSide : 0);
              values.push_back(static_cast<float>(scale * waves[each.u][x] * waves[each.v][y]));
            }
          }
        }
      }
      return values;
    });
    std::string u = graph_.node("Conv", "transform", {mirrored_latents(latents), weight},
                                {{"kernel_shape", std::vector<int64_t>{2, 2}}});
    u = graph_.node("DepthToSpace", "transform.pixels", {u}, {{"blocksize", side}, {"mode", std::string("CRD")}});
    for (const int64_t axis : {2, 3}) u = slice(axis == 2 ? "crop.rows" : "crop.columns", u, axis, half, -half);
    return u;
  }

  // A value for each latent channel. No training changes them: graph/learned.h takes so few different values for constants.
  std::string of_channels(const std::string& name, double (*value)(const Frequency&)) {
    return graph_.floats(name, {options_.latents, 1, 1}, [&] {
      std::vector<float> values;
      for (const Frequency& each : frequencies(options_)) values.push_back(static_cast<float>(value(each)));
      return values;
    });
  }

  // Errors are seen less where contrast is high. Of each place let r be the length of luma without its mean, in units of
  // kContrast: all frequencies but the means are divided by sqrt(1 + s^2), with s from r = s sqrt(1 + s^2). Then s is the
  // length behind the division, and the decoder (`is_forward` false) can undo it.
  std::string masked(const std::string& u, bool is_forward) {
    const auto shared = [](const Frequency& each) { return each.is_mean() ? 0.0 : 1.0; };
    const std::string weight = graph_.floats("contrast.weight", {1, options_.latents, 1, 1}, [&] {
      constexpr double kLength = kContrast / kSpread * kScale;
      std::vector<float> values;
      for (const Frequency& each : frequencies(options_)) {
        const bool is_counted = each.component == 0 && !each.is_mean();
        values.push_back(is_counted ? static_cast<float>(1 / (kLength * kLength)) : 0.0F);
      }
      return values;
    });
    const auto add = [this](const std::string& name, double a, const std::string& b) {
      return graph_.node("Add", name, {constant_of(graph_, a), b});
    };
    std::string length = graph_.node("Conv", "contrast", {graph_.node("Mul", "contrast.squares", {u, u}), weight},
                                     {{"kernel_shape", std::vector<int64_t>{1, 1}}});
    length = relu("contrast.length", length);  // squared
    if (is_forward) {                          // 1 / (1 + s^2) = 2 / (1 + sqrt(1 + 4 r^2))
      length = graph_.node("Mul", "contrast.four", {constant_of(graph_, 4), length});
      length = graph_.node("Sqrt", "contrast.root", {add("contrast.discriminant", 1, length)});
      length = graph_.node("Div", "contrast.share", {constant_of(graph_, 2), add("contrast.sum", 1, length)});
    } else {
      length = add("contrast.share", 1, length);
    }
    const std::string change = add("contrast.change", -1, graph_.node("Sqrt", "contrast.factor", {length}));
    const std::string factors =
        add("contrast.factors", 1,
            graph_.node("Mul", "contrast.changes", {of_channels("contrast.shared", shared), change}));
    return graph_.node("Mul", "masked", {u, factors});
  }

  // What is taken from values: their share of the threshold, all of it from 1 on.
  std::string excess(const std::string& u) {
    const auto threshold = [](const Frequency& each) { return each.is_mean() ? 0.0 : kThreshold; };
    const std::string sign =
        graph_.node("Clip", "threshold.sign", {u, constant_of(graph_, -1), constant_of(graph_, 1)});
    return graph_.node("Mul", "threshold.excess", {sign, of_channels("threshold", threshold)});
  }

  // exp(g(quality)) as [N, latents, 1, 1]: g is learned at 1 to Q, and between them the mean by distance. At first it is
  // `sign` times first_gain().
  std::string gains(const std::string& name, double sign) {
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
        for (const Frequency& each : frequencies(options_)) {
          values.push_back(static_cast<float>(sign * first_gain(each, share, options_.weighted)));
        }
      }
      return values;
    });
    u = graph_.node("Exp", name + ".exp", {graph_.node("MatMul", name + ".mix", {u, logs})});
    return graph_.node("Unsqueeze", name, {u, graph_.integers(name + ".axes", {2, 3})});
  }

  // The number of boundaries, halfway between centers, that a value is above: found by bisection, a bit at a time.
  void indices_of(const std::string& latent) {
    const std::vector<float>& centers = tables_->centers;
    const auto room = static_cast<int64_t>(std::bit_ceil(centers.size()));
    const std::string boundaries = graph_.floats("boundaries", {room - 1}, [&] {
      std::vector<float> values(static_cast<size_t>(room) - 1, std::numeric_limits<float>::max());
      for (size_t i = 1; i < centers.size(); ++i) values[i - 1] = (centers[i - 1] + centers[i]) / 2;
      return values;
    });
    std::string place = graph_.integers("above.none", {0});
    for (int64_t step = room / 2; step > 0; step /= 2) {
      const std::string name = fmt::format("above{}", step);
      const std::string at = graph_.node("Add", name + ".at", {place, graph_.integers(name + ".rest", {step - 1})});
      const std::string boundary = graph_.node("Gather", name + ".boundary", {boundaries, at});
      const std::string bit = graph_.node("Cast", name + ".bit", {graph_.node("Greater", name, {latent, boundary})},
                                          {{"to", int64_t{onnx::TensorProto::INT64}}});
      const std::string more = graph_.node("Mul", name + ".more", {bit, graph_.integers(name + ".size", {step})});
      const std::string sum = name + ".place";
      place = graph_.node("Add", sum, {place, more});
    }
    graph_.node("Cast", "narrow", {place}, {{"to", int64_t{kBytes}}}, "indices");
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
