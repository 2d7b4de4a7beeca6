#include "compressor/networks/flow.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <numbers>

#include "compressor/networks/graph_builder.h"
#include "compressor/networks/initial_values.h"
#include "compressor/networks/ode_block.h"
#include "formats/error.h"

namespace quench::networks {
namespace {

constexpr int64_t kOpset = 13;
constexpr int64_t kMaxWidth = 4096;

void check_options(const FlowOptions& options) {
  if (options.dimensions < 1 || options.dimensions > kMaxWidth) {
    throw Error::make("a flow of {} dimensions cannot be built: give 1 to {}", options.dimensions, kMaxWidth);
  }
  if (options.hidden.empty()) throw Error("a flow without a hidden layer cannot be built: give the width of one");
  for (const int64_t width : options.hidden) {
    if (width >= 1 && width <= kMaxWidth) continue;
    throw Error::make("a flow with a layer of {} cannot be built: widths are 1 to {}", width, kMaxWidth);
  }
  if (options.nonlinearity != "tanh" && options.nonlinearity != "softplus") {
    throw Error::make("nonlinearity '{}' is not known: choose tanh or softplus", printable(options.nonlinearity));
  }
  if (options.steps < 1 || options.steps > solver::kMostNetworkSteps) {
    throw Error::make("a flow of {} steps cannot be built: give 1 to {}", options.steps, solver::kMostNetworkSteps);
  }
}

// Emits the nodes of one flow; the members are what all of them need.
class Flow {
 public:
  explicit Flow(const FlowOptions& options)
      : options_(options), tableau_(solver::find_tableau(options.solver)), graph_("flow", kOpset) {
    widths_ = {options.dimensions};
    widths_.insert(widths_.end(), options.hidden.begin(), options.hidden.end());
    widths_.push_back(options.dimensions);
  }

  OnnxModel build() {
    if (options_.form == FlowForm::kSampler) {
      write_sampler();
    } else {
      write_density();
    }
    return graph_.finish();
  }

 private:
  struct Gate {  // of a layer at one time
    std::string scale, shift;
  };
  struct Rate {            // of change, at one time and place
    std::string z, trace;  // [N, D]; [N, 1], of samplers none
  };

  void write_sampler() {
    graph_.input("z", {-1, options_.dimensions});
    const TimedRightHandSide f = [this](GraphBuilder&, const std::string& t, const std::string& z) {
      return rate(t, z).z;
    };
    const std::string x = unroll(graph_, "flow", tableau_, options_.steps, 0, 1, f, "z");
    graph_.node("Identity", "x", {x}, {}, "x");
    graph_.output("x", {-1, options_.dimensions});
  }

  // The state is z with the integral of the trace beside it.
  void write_density() {
    graph_.input("x", {-1, options_.dimensions});
    write_first_tangents();
    const TimedRightHandSide f = [this](GraphBuilder&, const std::string& t, const std::string& state) {
      const auto [velocity, trace] = rate(t, columns("flow.z", state, 0, options_.dimensions));
      return graph_.node("Concat", "flow.rate", {velocity, trace}, {{"axis", int64_t{1}}});
    };
    const std::string start = graph_.node("Pad", "flow.start", {"x", integers("pads", {0, 0, 0, 1})});
    const std::string end = unroll(graph_, "flow", tableau_, options_.steps, 1, 0, f, start);
    const std::string z = graph_.node("Identity", "z", {columns("base.z", end, 0, options_.dimensions)}, {}, "z");
    const std::string gain = columns("base.trace", end, options_.dimensions, options_.dimensions + 1);
    const std::string square = sum("base.square", graph_.node("Mul", "base.power", {z, z}), 1, true);
    const std::string exponent = graph_.node("Mul", "base.exponent", {square, constant_of(graph_, -0.5)});
    const double constant = -0.5 * static_cast<double>(options_.dimensions) * std::log(2 * std::numbers::pi);
    const std::string base = graph_.node("Add", "base.log", {exponent, constant_of(graph_, constant)});
    graph_.node("Squeeze", "density", {graph_.node("Add", "density.sum", {base, gain}), integers("second", {1})}, {},
                "log_density");
    graph_.output("log_density", {-1});
    graph_.output("z", {-1, options_.dimensions});
  }

  // [K, N, D], or [K, 1, D] where all samples have the same.
  void write_first_tangents() {
    const int64_t size = options_.dimensions;
    if (options_.form == FlowForm::kEstimate) {
      graph_.input("noise", {-1, size});
      first_tangents_ = graph_.node("Unsqueeze", "tangents", {"noise", integers("first", {0})});
      return;
    }
    first_tangents_ =
        size <= kMostExactDimensions
            ? graph_.floats("axes", {size, 1, size}, [size] { return axes(size); })
            : graph_.floats("probes", {kMostExactDimensions, 1, size}, [this, size] { return probes(size); });
  }

  static std::vector<float> axes(int64_t size) {
    std::vector<float> values(static_cast<size_t>(size * size));
    for (size_t i = 0; i < values.size(); i += static_cast<size_t>(size) + 1) values[i] = 1;
    return values;
  }

  // Of a length such that the sum over them is the mean of the estimates.
  std::vector<float> probes(int64_t size) const {
    std::vector<float> values = uniform_values(options_.seed, "probes", kMostExactDimensions * size, -1, 1);
    const auto length = static_cast<float>(1 / std::sqrt(double{kMostExactDimensions}));
    for (float& value : values) value = value < 0 ? -length : length;
    return values;
  }

  Rate rate(const std::string& t, std::string z) {
    std::string tangents = first_tangents_;
    for (size_t layer = 0; layer + 1 < widths_.size(); ++layer) {
      const std::string name = fmt::format("layer{}", layer + 1);
      const Gate& gate = gate_of(layer, name, t);
      const std::string weight = uniform(name + ".weight", {widths_[layer], widths_[layer + 1]}, widths_[layer]);
      const std::string bias = uniform(name + ".bias", {widths_[layer + 1]}, widths_[layer]);
      const std::string linear = graph_.node("Gemm", name, {z, weight, bias});
      const std::string scaled = graph_.node("Mul", name + ".mul", {linear, gate.scale});
      z = graph_.node("Add", fmt::format("{}.add", name), {scaled, gate.shift});
      std::string slope = gate.scale;
      if (layer + 2 < widths_.size()) {
        const std::string before = z;
        z = graph_.node(options_.nonlinearity == "tanh" ? "Tanh" : "Softplus", fmt::format("{}.act", name), {z});
        if (has_trace()) slope = graph_.node("Mul", name + ".slope", {slope_of(name, before, z), gate.scale});
      }
      if (has_trace()) {
        tangents = graph_.node("Mul", fmt::format("{}.tangents", name),
                               {graph_.node("MatMul", fmt::format("{}.along", name), {tangents, weight}), slope});
      }
    }
    if (!has_trace()) return {z, ""};
    const std::string products = graph_.node("Mul", "trace.products", {tangents, first_tangents_});
    return {z, sum("trace", sum("trace.over", products, 0, false), 1, true)};
  }

  bool has_trace() const { return options_.form != FlowForm::kSampler; }

  // Of the nonlinearity, where it takes `before` to `after`.
  std::string slope_of(const std::string& name, const std::string& before, const std::string& after) {
    if (options_.nonlinearity == "softplus") return graph_.node("Sigmoid", name + ".derivative", {before});
    const std::string square = graph_.node("Mul", name + ".square", {after, after});
    return graph_.node("Sub", name + ".derivative", {constant_of(graph_, 1), square});
  }

  // Stages of several steps may be at the same time.
  const Gate& gate_of(size_t layer, const std::string& name, const std::string& t) {
    Gate& gate = gates_[{layer, t}];
    if (!gate.scale.empty()) return gate;
    std::string& row = times_[t];
    if (row.empty()) row = graph_.node("Reshape", "time", {t, integers("row", {1, 1})});
    const int64_t width = widths_[layer + 1];
    const std::string open =
        graph_.node("Gemm", name + ".gate",
                    {row, uniform(name + ".gate.weight", {1, width}, 1), uniform(name + ".gate.bias", {width}, 1)});
    gate.scale = graph_.node("Sigmoid", name + ".scale", {open});
    gate.shift = graph_.node("MatMul", name + ".shift", {row, uniform(name + ".shift.weight", {1, width}, 1)});
    return gate;
  }

  std::string columns(const std::string& name, const std::string& value, int64_t first, int64_t last) {
    return graph_.node("Slice", name,
                       {value, integers(fmt::format("from.{}", first), {first}),
                        integers(fmt::format("to.{}", last), {last}), integers("second", {1})});
  }

  std::string sum(const std::string& name, const std::string& value, int64_t axis, bool keep) {
    return graph_.node("ReduceSum", name, {value, integers(axis == 0 ? "first" : "second", {axis})},
                       {{"keepdims", int64_t{keep}}});
  }

  std::string integers(const std::string& name, const std::vector<int64_t>& values) {
    std::string& made = integers_[name];
    if (made.empty()) made = graph_.integers("shape." + name, values);
    return made;
  }

  std::string uniform(const std::string& name, const std::vector<int64_t>& dims, int64_t inputs) {
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    const double bound = std::sqrt(1.0 / static_cast<double>(inputs));
    return graph_.floats(name, dims, [&] { return uniform_values(options_.seed, name, count, -bound, bound); });
  }

  const FlowOptions& options_;
  const solver::Tableau& tableau_;
  GraphBuilder graph_;
  std::vector<int64_t> widths_;
  std::string first_tangents_;
  std::map<std::pair<size_t, std::string>, Gate> gates_;
  std::map<std::string, std::string> times_, integers_;
};

}  // namespace

OnnxModel build(const FlowOptions& options) {
  check_options(options);
  return Flow(options).build();
}

int64_t evaluations_of(const FlowOptions& options) {
  const solver::Tableau& tableau = solver::find_tableau(options.solver);
  return options.steps * static_cast<int64_t>(tableau.stages() - (tableau.is_fsal() ? 1 : 0));
}

}  // namespace quench::networks
