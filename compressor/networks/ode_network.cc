#include "compressor/networks/ode_network.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "compressor/networks/graph_builder.h"
#include "compressor/networks/initial_values.h"
#include "compressor/networks/ode_block.h"
#include "formats/error.h"

namespace quench::networks {
namespace {

constexpr int64_t kOpset = 13;
constexpr int64_t kMaxExtraChannels = 1024;
constexpr int64_t kMaxClasses = int64_t{1} << 20;
constexpr int64_t kMaxInputDim = int64_t{1} << 12;
constexpr int64_t kMnistGroup = 2;  // channels: 32 groups of 64, as in the authors' code
// After three epochs of 12,800 images (midpoint, 1 step) 46.9 % with groups of 2 channels everywhere, as for MNIST, and
// weights as PyTorch's layers start, 57.8 % with these in the blocks and BatchNormalization outside, 60.6 % with weights
// that start with sqrt(3) times that.
constexpr int64_t kCifarGroup = 8;
constexpr int64_t kMnistChannels = 64;
constexpr int kTwinBlocks = 6;
constexpr int kCifarStages = 3;
constexpr int64_t kCifarFirstChannels = 16;

using Ints = std::vector<int64_t>;

constexpr std::array<std::string_view, 3> kNames = {"odenet", "odenet-twin", "odenet-cifar"};

struct Map {  // a value and its shape
  std::string name;
  int64_t channels, height, width;
};

bool is_cifar(const OdeNetworkOptions& options) { return options.network == "odenet-cifar"; }
int64_t group_of(const OdeNetworkOptions& options) { return is_cifar(options) ? kCifarGroup : kMnistGroup; }

OdeNetworkOptions checked(OdeNetworkOptions options) {
  if (!is_ode_network(options.network)) {
    throw Error::make("network '{}' is not known: choose one of {}", printable(options.network),
                      fmt::join(kNames, ", "));
  }
  const solver::Tableau& tableau = solver::find_tableau(options.solver);
  if (options.form == OdeForm::kLoop && !tableau.has_error()) {
    throw Error::make("solver '{}' has no estimate of its error, which a loop needs: choose one of {}", tableau.name,
                      fmt::join(solver::adaptive_names(), ", "));
  }
  for (const double tolerance : {options.rtol, options.atol}) {
    if (tolerance > 0 && tolerance < 1) continue;
    throw Error::make("a tolerance of {:g} cannot be: give numbers above 0 and below 1", tolerance);
  }
  if (options.steps < 1 || options.steps > solver::kMostNetworkSteps) {
    throw Error::make("an ODE block of {} steps cannot be built: give 1 to {}", options.steps,
                      solver::kMostNetworkSteps);
  }
  if (options.extra_channels < 0 || options.extra_channels > kMaxExtraChannels ||
      options.extra_channels % group_of(options) != 0) {
    throw Error::make("{} extra channels cannot be added to an ODE block: give a multiple of {} up to {}",
                      options.extra_channels, group_of(options), kMaxExtraChannels);
  }
  if (options.classes < 1 || options.classes > kMaxClasses) {
    throw Error::make("a network with {} classes cannot be built: give 1 to {}", options.classes, kMaxClasses);
  }
  if (options.input == std::array<int64_t, 3>{}) {
    options.input = is_cifar(options) ? std::array<int64_t, 3>{3, 32, 32} : std::array<int64_t, 3>{1, 28, 28};
  }
  const auto [channels, height, width] = options.input;
  const int64_t least = is_cifar(options) ? 4 : 10;  // or nothing is left in the last stage
  const auto in_range = [least](int64_t size) { return size >= least && size <= kMaxInputDim; };
  if (channels < 1 || channels > kMaxInputDim || !in_range(height) || !in_range(width)) {
    throw Error::make("{} for inputs of {} x {} x {} cannot be built: height and width are {} to {}", options.network,
                      channels, height, width, least, kMaxInputDim);
  }
  return options;
}

// Emits the layers of one network; the members are what all of them need.
class OdeNetwork {
 public:
  explicit OdeNetwork(const OdeNetworkOptions& options)
      : options_(options), tableau_(solver::find_tableau(options.solver)), graph_(options.network, kOpset) {}

  OnnxModel build() {
    const auto [channels, height, width] = options_.input;
    graph_.input("input", {-1, channels, height, width});
    const Map input{"input", channels, height, width};
    classify(relu("relu", normalize("norm", is_cifar(options_) ? cifar(input) : mnist(input))));
    graph_.output("logits", {-1, options_.classes});
    return graph_.finish();
  }

 private:
  struct Window {
    int64_t kernel = 3, stride = 1, padding = 1;
    bool has_bias = true;
  };

  Map mnist(Map u) {
    u = conv("conv1", u, kMnistChannels, {.padding = 0});
    u = conv("conv2", relu("relu1", normalize("norm1", u)), kMnistChannels, {.kernel = 4, .stride = 2});
    u = conv("conv3", relu("relu2", normalize("norm2", u)), kMnistChannels, {.kernel = 4, .stride = 2});
    if (options_.network == "odenet") return ode_block(ode_block_names(options_.network)[0], u);
    for (int i = 0; i < kTwinBlocks; ++i) u = residual_step(fmt::format("block{}", i), u, u.channels, 1);
    return u;
  }

  Map cifar(Map u) {
    u = conv("conv1", u, kCifarFirstChannels, {.has_bias = false});
    for (int stage = 0; stage < kCifarStages; ++stage) {
      if (stage > 0) u = residual_step(fmt::format("layer{}.down", stage + 1), u, kCifarFirstChannels << stage, 2);
      u = ode_block(ode_block_names(options_.network)[static_cast<size_t>(stage)], u);
    }
    return u;
  }

  Map ode_block(const std::string& name, Map u) {
    if (options_.extra_channels > 0) u = pad_channels(name + ".extra", u, 0, options_.extra_channels);
    std::string zeros = options_.form == OdeForm::kForTraining ? "" : channel_of_zeros(name, u.name);
    const auto timed = [&](const std::string& layer, const std::string& t, const Map& at) {
      const std::string plane = graph_.node("Add", layer + ".time", {zeros, t});
      const std::string joined = graph_.node("Concat", layer + ".concat", {plane, at.name}, {{"axis", int64_t{1}}});
      return conv(layer, {joined, at.channels + 1, at.height, at.width}, at.channels, {});
    };
    const TimedRightHandSide f = [&](GraphBuilder&, const std::string& t, const std::string& value) {
      Map at{value, u.channels, u.height, u.width};
      if (zeros.empty()) zeros = channel_of_zeros(name, value);
      at = timed(name + ".conv1", t, relu(name + ".relu1", normalize_groups(name + ".norm1", at)));
      at = timed(name + ".conv2", t, relu(name + ".relu2", normalize_groups(name + ".norm2", at)));
      return normalize_groups(name + ".norm3", at).name;
    };
    return {solve(name, f, u.name), u.channels, u.height, u.width};
  }

  std::string solve(const std::string& name, const TimedRightHandSide& f, const std::string& u) {
    if (options_.form == OdeForm::kUnrolled) return unroll(graph_, name, tableau_, options_.steps, 0, 1, f, u);
    if (options_.form == OdeForm::kForTraining) return write_for_training(graph_, name, f, u);
    const auto made = made_;  // what a body makes is not there outside
    std::string end = integrate_in_loop(graph_, name, tableau_, {options_.rtol, options_.atol}, 0, 1, f, u);
    made_ = made;
    return end;
  }

  // To which the time is added.
  std::string channel_of_zeros(const std::string& name, const std::string& u) {
    const std::string first =
        graph_.node("Slice", name + ".first",
                    {u, graph_.integers(name + ".first.starts", {0}), graph_.integers(name + ".first.ends", {1}),
                     graph_.integers(name + ".first.axes", {1})});
    return graph_.node("Sub", name + ".zeros", {first, first});
  }

  // Relu in front of the shortcut, too, as the authors have it.
  Map residual_step(const std::string& name, const Map& u, int64_t channels, int64_t stride) {
    const Map first = relu(name + ".relu1", normalize(name + ".norm1", u));
    Map f = conv(name + ".conv1", first, channels, {.stride = stride, .has_bias = false});
    f = conv(name + ".conv2", relu(name + ".relu2", normalize(name + ".norm2", f)), channels, {.has_bias = false});
    const Map before = stride == 1 ? u : shortcut(name + ".shortcut", u, f);
    return {graph_.node("Add", name + ".add", {f.name, before.name}), f.channels, f.height, f.width};
  }

  // Every second pixel, and channels of zeros.
  Map shortcut(const std::string& name, const Map& u, const Map& like) {
    const std::string sliced = graph_.node(
        "Slice", name + ".slice",
        {u.name, graph_.integers(name + ".starts", {0, 0}), graph_.integers(name + ".ends", {u.height, u.width}),
         graph_.integers(name + ".axes", {2, 3}), graph_.integers(name + ".steps", {2, 2})});
    const int64_t more = like.channels - u.channels;
    return pad_channels(name, {sliced, u.channels, like.height, like.width}, more / 2, more - more / 2);
  }

  Map pad_channels(const std::string& name, const Map& u, int64_t before, int64_t behind) {
    const std::string pads = graph_.integers(name + ".pads", {0, before, 0, 0, 0, behind, 0, 0});
    return {graph_.node("Pad", name + ".pad", {u.name, pads}, {{"mode", "constant"}}), u.channels + before + behind,
            u.height, u.width};
  }

  void classify(const Map& u) {
    const std::string flat =
        graph_.node("Flatten", "flatten", {graph_.node("GlobalAveragePool", "pool", {u.name})}, {{"axis", int64_t{1}}});
    graph_.node("Gemm", "linear",
                {flat, uniform("linear.weight", {options_.classes, u.channels}, u.channels),
                 uniform("linear.bias", {options_.classes}, u.channels)},
                {{"transB", int64_t{1}}}, "logits");
  }

  Map conv(const std::string& name, const Map& u, int64_t channels, const Window& window) {
    const auto [kernel, stride, padding, has_bias] = window;
    const int64_t inputs = u.channels * kernel * kernel;
    std::vector<std::string> operands = {u.name, uniform(name + ".weight", {channels, u.channels, kernel, kernel},
                                                         inputs, is_cifar(options_) ? 1 : 1.0 / 3)};
    if (has_bias) operands.push_back(uniform(name + ".bias", {channels}, inputs));
    const std::string result = graph_.node("Conv", name, operands,
                                           {{"kernel_shape", Ints{kernel, kernel}},
                                            {"pads", Ints{padding, padding, padding, padding}},
                                            {"strides", Ints{stride, stride}}});
    return {result, channels, (u.height + 2 * padding - kernel) / stride + 1,
            (u.width + 2 * padding - kernel) / stride + 1};
  }

  // Outside the blocks, whose evaluations differ in their statistics, odenet-cifar has those of the batch.
  Map normalize(const std::string& name, const Map& u) {
    if (!is_cifar(options_)) return normalize_groups(name, u);
    const std::string result =
        graph_.node("BatchNormalization", name,
                    {u.name, vector(name + ".weight", u.channels, 1), vector(name + ".bias", u.channels, 0),
                     vector(name + ".running_mean", u.channels, 0), vector(name + ".running_var", u.channels, 1)},
                    {{"epsilon", 1e-5f}});
    return {result, u.channels, u.height, u.width};
  }

  // InstanceNormalization has a scale for each group, which is 1: the scale and shift of each channel come behind it.
  // They have no axes for height and width, for what has two axes or more decays in training.
  Map normalize_groups(const std::string& name, const Map& u) {
    const int64_t groups = u.channels / group_of(options_);
    const std::string grouped =
        graph_.node("Reshape", name + ".group", {u.name, shape_of(fmt::format("groups.{}", groups), {0, groups, -1})});
    const std::string zeros = group_constant("zeros", groups), ones = group_constant("ones", groups);
    const std::string normalized =
        graph_.node("InstanceNormalization", name, {grouped, ones, zeros}, {{"epsilon", 1e-5f}});
    const std::string ungrouped = graph_.node(
        "Reshape", name + ".ungroup",
        {normalized,
         shape_of(fmt::format("map.{}.{}.{}", u.channels, u.height, u.width), {0, u.channels, u.height, u.width})});
    const std::string scaled = graph_.node("Mul", name + ".scale", {ungrouped, per_channel(name + ".weight", u, 1)});
    return {graph_.node("Add", name + ".shift", {scaled, per_channel(name + ".bias", u, 0)}), u.channels, u.height,
            u.width};
  }

  std::string per_channel(const std::string& name, const Map& u, float value) {
    const std::string values = vector(name, u.channels, value);
    std::string& column = made_[name];
    if (column.empty()) column = graph_.node("Unsqueeze", name + ".column", {values, shape_of("axes.1.2", {1, 2})});
    return column;
  }

  std::string vector(const std::string& name, int64_t count, float value) {
    return graph_.floats(name, {count}, [&] { return std::vector<float>(static_cast<size_t>(count), value); });
  }

  // A vector of zeros or of ones that is no initializer, which training would take for a parameter.
  std::string group_constant(const std::string& kind, int64_t groups) {
    const std::string name = fmt::format("groups.{}.{}", groups, kind);
    std::string& value = made_[name];
    if (!value.empty()) return value;
    if (kind == "ones") {
      value = graph_.node("Add", name, {group_constant("zeros", groups), constant_of(graph_, 1)});
    } else {
      value = graph_.node("ConstantOfShape", name, {shape_of(fmt::format("vector.{}", groups), {groups})});
    }
    return value;
  }

  std::string shape_of(const std::string& name, const Ints& dims) {
    std::string& shape = shapes_[name];
    if (shape.empty()) shape = graph_.integers("shape." + name, dims);
    return shape;
  }

  Map relu(const std::string& name, const Map& u) {
    return {graph_.node("Relu", name, {u.name}), u.channels, u.height, u.width};
  }

  // Of a variance over `inputs`; a third is what PyTorch's layers start with.
  std::string uniform(const std::string& name, const Ints& dims, int64_t inputs, double variance = 1.0 / 3) {
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    const double bound = std::sqrt(3 * variance / static_cast<double>(inputs));
    return graph_.floats(name, dims, [&] { return uniform_values(options_.seed, name, count, -bound, bound); });
  }

  const OdeNetworkOptions& options_;
  const solver::Tableau& tableau_;
  GraphBuilder graph_;
  std::unordered_map<std::string, std::string> made_;  // by nodes, once
  std::unordered_map<std::string, std::string> shapes_;
};

}  // namespace

OnnxModel build(const OdeNetworkOptions& options) {
  const OdeNetworkOptions complete = checked(options);
  return OdeNetwork(complete).build();
}

OnnxModel with_weights_of(OnnxModel model, const OnnxModel& trained) {
  std::unordered_map<std::string_view, const Weight*> values;
  for (const Weight& weight : trained.weights) values.emplace(weight.name, &weight);
  for (onnx::TensorProto& tensor : *model.proto.mutable_graph()->mutable_initializer()) {
    const auto found = values.find(tensor.name());
    if (found == values.end() || tensor.data_type() != onnx::TensorProto::FLOAT) continue;
    const Weight& weight = *found->second;
    if (weight.dtype != tensor.data_type() || !std::ranges::equal(weight.dims, tensor.dims())) continue;
    set_weight(model, tensor, weight.dtype, weight.dims, weight.source);
  }
  model.reindex();
  return model;
}

std::vector<std::string_view> ode_network_names() { return {kNames.begin(), kNames.end()}; }

bool is_ode_network(std::string_view name) { return std::find(kNames.begin(), kNames.end(), name) != kNames.end(); }

std::vector<std::string> ode_block_names(std::string_view network) {
  if (network == "odenet") return {"ode"};
  std::vector<std::string> names;
  for (int stage = 0; network == "odenet-cifar" && stage < kCifarStages; ++stage) {
    names.push_back(fmt::format("layer{}.ode", stage + 1));
  }
  return names;
}

int64_t evaluations_of(const OdeNetworkOptions& options) {
  const solver::Tableau& tableau = solver::find_tableau(options.solver);
  const auto stages = static_cast<int64_t>(tableau.stages()) - (tableau.is_fsal() ? 1 : 0);
  return options.steps * stages * static_cast<int64_t>(ode_block_names(options.network).size());
}

}  // namespace quench::networks
