#include "compressor/networks/network.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include "compressor/networks/initial_values.h"
#include "compressor/networks/integrator.h"
#include "formats/error.h"
#include "formats/onnx/columns.h"

namespace quench::networks {
namespace {

constexpr int64_t kOpset = 13;
constexpr int kStages = 3;
constexpr int64_t kFirstChannels = 16;
constexpr int kMaxDepth = 1202;
constexpr int64_t kMaxClasses = int64_t{1} << 20;
constexpr int64_t kMaxInputDim = int64_t{1} << 16;

using Ints = std::vector<int64_t>;

void check_depth(int depth) {
  if (depth >= 8 && depth <= kMaxDepth && depth % 6 == 2) return;
  throw Error::make(
      "a residual network of depth {} cannot be built: the depth is 6n + 2, from 8 to {}; take 20, 32, "
      "44, 56 or 110",
      depth, kMaxDepth);
}

void check_options(const NetworkOptions& options) {
  check_depth(options.depth);
  if (options.classes < 1 || options.classes > kMaxClasses) {
    throw Error::make("a network with {} classes cannot be built: give 1 to {}", options.classes, kMaxClasses);
  }
  for (const int64_t dim : options.input) {
    if (dim >= 1 && dim <= kMaxInputDim) continue;
    throw Error::make(
        "a network for inputs of {} x {} x {} cannot be built: each of channels, height and width is 1 to "
        "{}",
        options.input[0], options.input[1], options.input[2], kMaxInputDim);
  }
}

// Emits the layers of one network; the members are what all of them need.
class Network {
 public:
  explicit Network(const NetworkOptions& options)
      : options_(options),
        integrator_(find_integrator(options.integrator)),
        graph_(fmt::format("resnet{}-{}", options.depth, options.integrator), kOpset) {}

  OnnxModel build() {
    graph_.input("input", {-1, options_.input[0], options_.input[1], options_.input[2]});
    History history = first_values();
    for (int stage = 0; stage < kStages; ++stage) history = run_stage(stage, std::move(history));
    std::string u =
        is_pair() ? graph_.node("Concat", "concat", {history[1], history[0]}, {{"axis", int64_t{1}}}) : history[0];
    const int64_t channels = (kFirstChannels << (kStages - 1)) * integrator_.values();
    if (is_pre_activation()) u = relu("relu", normalize("bn", u, channels));
    classify(u, channels);
    graph_.output("logits", {-1, options_.classes});
    OnnxModel model = graph_.finish();
    if (integrator_.columns() > 0) set_columns(model.proto, integrator_.columns());
    return model;
  }

 private:
  bool is_pre_activation() const { return integrator_.form() == BlockForm::kPreActivation; }
  bool is_pair() const { return integrator_.values() == 2; }

  History first_values() {
    const int64_t channels = kFirstChannels * integrator_.values();
    std::string u = conv("conv1", "input", options_.input[0], channels, 1);
    if (!is_pre_activation()) u = relu("relu1", normalize("bn1", u, channels));
    if (!is_pair()) return {u};
    const std::vector<std::string> halves = graph_.split("split", u, 1, 2);
    return {halves[1], halves[0]};
  }

  History run_stage(int stage, History history) {
    const int64_t channels = kFirstChannels << stage;
    const bool is_convolution = integrator_.form() == BlockForm::kConvolution;
    for (int i = 0; i < (options_.depth - 2) / 6; ++i) {
      const std::string step = fmt::format("layer{}.{}", stage + 1, i);
      const bool halves = stage > 0 && i == 0;
      const std::string first = history[0];
      const RightHandSide f = [&](const std::string& name, const std::string& u) {
        if (!is_convolution) return block(name, u, channels, channels, 1);
        return halves && u == first ? layer(name, u, channels / 2, channels, 2) : layer(name, u, channels, channels, 1);
      };
      if (halves && !is_convolution) {
        history = downsample(step, history, channels / 2);
      } else {
        history.insert(history.begin(), activate(step, integrator_.step(graph_, step, options_.seed, history, f)));
      }
    }
    return history;
  }

  // A plain residual step to half the size and twice the channels. Values from before it have another shape, so the
  // history begins anew, with the shortcut as what came before. Of a pair, the older value is what is added to.
  History downsample(const std::string& step, const History& history, int64_t channels) {
    const std::string residual = block(step, history[0], channels, 2 * channels, 2);
    const std::string before = shortcut(step, history[0], channels);
    const std::string base = is_pair() ? shortcut(step + ".older", history[1], channels) : before;
    const std::string sum = graph_.node("Add", step + ".add", {residual, base}, {}, step + ".sum");
    return {activate(step, sum), before};
  }

  std::string activate(const std::string& step, const std::string& u) {
    return integrator_.form() == BlockForm::kPostActivation ? relu(step + ".relu2", u) : u;
  }

  std::string layer(const std::string& name, const std::string& u, int64_t in, int64_t out, int64_t stride) {
    return relu(name + ".relu", normalize(name + ".bn", conv(name + ".conv", u, in, out, stride), out));
  }

  std::string block(const std::string& name, std::string u, int64_t in, int64_t out, int64_t stride) {
    const int call = ++calls_[name];
    const auto normalized = [&](const char* layer, const std::string& value, int64_t channels) {
      return normalize(call == 1 ? name + layer : fmt::format("{}{}_{}", name, layer, call), value, channels);
    };
    if (is_pre_activation()) {
      u = relu(name + ".relu1", normalized(".bn1", u, in));
      u = conv(name + ".conv1", u, in, out, stride);
      u = relu(name + ".relu2", normalized(".bn2", u, out));
      return conv(name + ".conv2", u, out, out, 1);
    }
    u = normalized(".bn1", conv(name + ".conv1", u, in, out, stride), out);
    u = conv(name + ".conv2", relu(name + ".relu1", u), out, out, 1);
    return normalized(".bn2", u, out);
  }

  std::string shortcut(const std::string& step, const std::string& u, int64_t channels) {
    const std::string name = step + ".shortcut.";
    const int64_t far = std::max(options_.input[1], options_.input[2]);
    const std::string sliced =
        graph_.node("Slice", step + ".slice",
                    {u, graph_.integers(name + "starts", {0, 0}), graph_.integers(name + "ends", {far, far}),
                     graph_.integers(name + "axes", {2, 3}), graph_.integers(name + "steps", {2, 2})});
    const int64_t half = channels / 2;  // on each side, as He et al.
    return graph_.node("Pad", step + ".pad", {sliced, graph_.integers(name + "pads", {0, half, 0, 0, 0, half, 0, 0})},
                       {{"mode", "constant"}});
  }

  void classify(const std::string& u, int64_t channels) {
    const std::string flat = graph_.node("Flatten", "flatten", {graph_.node("GlobalAveragePool", "pool", {u})},
                                         {{"axis", int64_t{1}}}, "flat");
    const std::string weight = graph_.floats("linear.weight", {options_.classes, channels}, [&] {
      return normal_values(options_.seed, "linear.weight", options_.classes * channels, std::sqrt(1.0 / channels));
    });
    graph_.node("Gemm", "linear", {flat, weight, constant("linear.bias", options_.classes, 0)},
                {{"transB", int64_t{1}}}, "logits");
  }

  std::string conv(const std::string& name, const std::string& u, int64_t in, int64_t out, int64_t stride) {
    const std::string weight = graph_.floats(name + ".weight", {out, in, 3, 3}, [&] {
      return normal_values(options_.seed, name + ".weight", out * in * 9, std::sqrt(2.0 / (in * 9)));
    });
    return graph_.node("Conv", name, {u, weight},
                       {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{stride, stride}}});
  }

  std::string normalize(const std::string& name, const std::string& u, int64_t channels) {
    return graph_.node("BatchNormalization", name,
                       {u, constant(name + ".weight", channels, 1), constant(name + ".bias", channels, 0),
                        constant(name + ".running_mean", channels, 0), constant(name + ".running_var", channels, 1)},
                       {{"epsilon", 1e-5f}});
  }

  std::string relu(const std::string& name, const std::string& u) { return graph_.node("Relu", name, {u}); }

  std::string constant(const std::string& name, int64_t count, float value) {
    return graph_.floats(name, {count}, [&] { return std::vector<float>(static_cast<size_t>(count), value); });
  }

  const NetworkOptions& options_;
  const Integrator& integrator_;
  GraphBuilder graph_;
  std::map<std::string, int> calls_;  // of f, by name
};

}  // namespace

OnnxModel build(const NetworkOptions& options) {
  check_options(options);
  return Network(options).build();
}

int depth_of(std::string_view network) {
  constexpr std::string_view kPrefix = "resnet";
  int depth = 0;
  const char* end = network.data() + network.size();
  if (network.starts_with(kPrefix)) {
    const auto [rest, error] = std::from_chars(network.data() + kPrefix.size(), end, depth);
    if (rest != end || error != std::errc()) depth = 0;
  }
  if (depth <= 0) {
    throw Error::make("network '{}' is not known: give resnet with a depth, as in resnet20, resnet32 or resnet56",
                      printable(network));
  }
  check_depth(depth);
  return depth;
}

}  // namespace quench::networks
