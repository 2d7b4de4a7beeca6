#include "compressor/measure/seeded_inputs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string_view>

#include "compressor/data/array.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;
using onnx::TensorProto;

// Open dimensions other than the first.
constexpr int64_t kPictureSize = 224;
constexpr int64_t kOpenSize = 16;

// Of one input; then they come again. A batch may be a million.
constexpr size_t kDifferentPictures = 256;
constexpr size_t kDifferentValues = size_t{1} << 22;   // other than pixels, likewise: shapes are a file's choice
constexpr int64_t kLargestPicture = int64_t{1} << 24;  // in values; a larger one is noise

// Draws that do not depend on the standard library's distributions.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1p-53;
  }
  double normal(double deviation) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform(0, 1)));
    return deviation * radius * std::cos(2.0 * std::numbers::pi * uniform(0, 1));
  }
  bool coin() { return (engine_() >> 63) != 0; }
  int64_t below(int64_t end) { return static_cast<int64_t>(uniform(0, static_cast<double>(end))); }

 private:
  std::mt19937_64 engine_;
};

struct Plane {
  int64_t channels, height, width;
  float* pixels;
};

// One leaf: a disc or box, turned and stretched, with a colour and a shading, anti-aliased at its edge.
void draw_leaf(const Plane& image, Random& random) {
  const double size = static_cast<double>(std::max(image.height, image.width));
  const double radius = 0.5 * size * std::pow(random.uniform(0.08, 1.0), 1.5);
  const double center_x = random.uniform(-0.1, 1.1) * static_cast<double>(image.width);
  const double center_y = random.uniform(-0.1, 1.1) * static_cast<double>(image.height);
  const double stretch = random.uniform(0.4, 1.0);
  const double turn = random.uniform(0.0, std::numbers::pi);
  const double cosine = std::cos(turn), sine = std::sin(turn);
  const bool disc = random.coin();
  const double luminance = random.normal(1.0);
  std::vector<double> colour(static_cast<size_t>(image.channels));
  for (double& value : colour) value = luminance + random.normal(0.4);
  const double shade_x = random.normal(0.7) / size, shade_y = random.normal(0.7) / size;

  const auto first = [](double low) { return std::max<int64_t>(0, static_cast<int64_t>(std::floor(low))); };
  const auto last = [](double high, int64_t end) { return std::min(end, static_cast<int64_t>(std::ceil(high)) + 1); };
  const double reach = radius * std::numbers::sqrt2 + 1;
  for (int64_t y = first(center_y - reach); y < last(center_y + reach, image.height); ++y) {
    for (int64_t x = first(center_x - reach); x < last(center_x + reach, image.width); ++x) {
      const double dx = static_cast<double>(x) - center_x, dy = static_cast<double>(y) - center_y;
      const double along = dx * cosine + dy * sine, across = dy * cosine - dx * sine;
      const double distance =
          disc ? std::hypot(along, across / stretch) : std::max(std::abs(along), std::abs(across) / stretch);
      const double cover = std::clamp(radius - distance + 0.5, 0.0, 1.0);
      if (cover == 0.0) continue;
      const double shade = along * shade_x + across * shade_y;
      for (int64_t c = 0; c < image.channels; ++c) {
        float& pixel = image.pixels[(c * image.height + y) * image.width + x];
        pixel = static_cast<float>(pixel * (1 - cover) + (colour[static_cast<size_t>(c)] + shade) * cover);
      }
    }
  }
}

void draw_dead_leaves(const Plane& image, Random& random) {
  const int64_t area = image.height * image.width;
  const double luminance = random.normal(0.9);
  for (int64_t c = 0; c < image.channels; ++c) {
    std::fill_n(image.pixels + c * area, area, static_cast<float>(luminance + random.normal(0.35)));
  }
  const int leaves = static_cast<int>(random.uniform(8, 40));
  for (int leaf = 0; leaf < leaves; ++leaf) draw_leaf(image, random);
  for (int64_t i = 0; i < image.channels * area; ++i) {
    image.pixels[i] = std::clamp(image.pixels[i] + static_cast<float>(random.normal(0.07)), -2.2f, 2.5f);
  }
}

bool is_channels(int64_t dim) { return dim == 1 || dim == 3 || dim == 4; }

// The axis with a picture's channels, N x C x H x W or N x H x W x C, of dimensions that may be open (-1); 0: none.
int channel_axis(std::span<const int64_t> dims) {
  if (dims.size() != 4) return 0;
  return is_channels(dims[1]) ? 1 : is_channels(dims[3]) ? 3 : 0;
}

std::set<std::string> initializer_names(const OnnxModel& model) {
  std::set<std::string> names;
  for (const TensorProto& tensor : model.proto.graph().initializer()) names.insert(tensor.name());
  return names;
}

std::vector<int64_t> concrete_shape(const onnx::ValueInfoProto& input, const SeededShapes& shapes) {
  std::vector<int64_t> dims = shapes.inputs.of(input);
  const int channels = channel_axis(dims);
  for (int i = 0; i < static_cast<int>(dims.size()); ++i) {
    int64_t& dim = dims[static_cast<size_t>(i)];
    if (dim >= 0) continue;
    const bool picture_size = dims.size() == 4 && (channels == 3 ? i == 1 || i == 2 : i >= 2);
    dim = i == 0 ? shapes.batch : picture_size ? kPictureSize : kOpenSize;
  }
  return dims;
}

// How pictures are given to a model: mean + deviation * v between low and high, where v is drawn with about zero mean
// and unit variance.
struct Scale {
  double mean, deviation, low, high;
};
constexpr Scale kNormalized = {0, 1, -2.2, 2.5};
constexpr Scale kBytes = {115, 64, 0, 255};
constexpr std::array<Scale, 4> kScales = {kNormalized, Scale{0, 0.5, -1, 1}, Scale{0.45, 0.25, 0, 1}, kBytes};

// What the nodes behind an input make of it before anything else does: factor * x + offset, means over channels.
struct Affine {
  double factor = 1, offset = 0;
  bool found = false;
};

class Preprocessing {
 public:
  explicit Preprocessing(const OnnxModel& model) : model_(model) {
    for (const onnx::NodeProto& node : model.proto.graph().node()) {
      for (const std::string& input : node.input()) users_.emplace(input, &node);
      if (node.op_type() != "Constant") continue;
      for (const onnx::AttributeProto& attribute : node.attribute()) {
        if (attribute.has_t()) constants_[node.output(0)] = &attribute.t();
      }
    }
    for (const TensorProto& tensor : model.proto.graph().initializer()) constants_[tensor.name()] = &tensor;
  }

  // The scale whose pictures have, behind these nodes, about zero mean and a deviation of a half; kNormalized where
  // the graph does not say.
  Scale scale_of(const std::string& input) const {
    const Affine affine = affine_of(input);
    if (!affine.found) return kNormalized;
    const auto distance = [&](const Scale& scale) {
      const double mean = affine.factor * scale.mean + affine.offset;
      return mean * mean + std::pow(std::log2(std::abs(affine.factor) * scale.deviation / 0.5), 2);
    };
    return *std::min_element(kScales.begin(), kScales.end(),
                             [&](const Scale& a, const Scale& b) { return distance(a) < distance(b); });
  }

  // How many rows the smallest table has that the input's values choose from; nullopt where they are no indices.
  std::optional<int64_t> index_range(const std::string& input) const {
    std::optional<int64_t> range;
    std::vector<std::string> open = {input};
    for (size_t next = 0; next < open.size() && open.size() < kMaxSteps; ++next) {
      const std::string name = open[next];
      for (auto [user, end] = users_.equal_range(name); user != end; ++user) {
        const onnx::NodeProto& node = *user->second;
        if (const std::optional<int64_t> rows = rows_chosen_from(node, name)) {
          range = std::min(range.value_or(*rows), *rows);
        } else if (kSameValues.contains(node.op_type()) && node.input(0) == name && node.output_size() > 0) {
          open.push_back(node.output(0));
        }
      }
    }
    return range;
  }

 private:
  // Of a Gather's table, or of what a OneHot makes.
  std::optional<int64_t> rows_chosen_from(const onnx::NodeProto& node, const std::string& indices) const {
    if (node.op_type() == "OneHot" && node.input_size() == 3 && node.input(0) == indices) {
      const std::optional<double> depth = mean_of(node.input(1));
      return depth && *depth >= 1 && *depth < 1e9 ? std::optional(static_cast<int64_t>(*depth)) : std::nullopt;
    }
    if (node.op_type() != "Gather" || node.input_size() != 2 || node.input(1) != indices) return std::nullopt;
    const auto table = constants_.find(node.input(0));
    if (table == constants_.end()) return std::nullopt;
    int64_t axis = 0;
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.name() == "axis") axis = attribute.i();
    }
    const auto& dims = table->second->dims();
    if (axis < 0) axis += dims.size();
    if (axis < 0 || axis >= dims.size() || dims[static_cast<int>(axis)] < 1) return std::nullopt;
    return dims[static_cast<int>(axis)];
  }

  std::optional<double> mean_of(const std::string& name) const {
    const auto found = constants_.find(name);
    if (found == constants_.end()) return std::nullopt;
    const int64_t index = weight_index(*found->second);
    if (index < 0) return std::nullopt;
    const Weight& weight = model_.weights[static_cast<size_t>(index)];
    if (weight.elements() == 0 || weight.elements() > 4) return std::nullopt;
    if (weight.dtype == TensorProto::INT64 || weight.dtype == TensorProto::INT32) {
      const data::Array array{static_cast<ElementType>(weight.dtype), weight.dims, read(weight)};
      return static_cast<double>(array.to_int64().front());
    }
    if (!is_float_type(weight.dtype)) return std::nullopt;
    const std::vector<float> values = read_float(weight);
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  }

  Affine affine_of(std::string name) const {
    Affine affine;
    for (size_t step = 0; step < kMaxSteps && users_.count(name) == 1; ++step) {
      const onnx::NodeProto& node = *users_.find(name)->second;
      const std::string& op = node.op_type();
      const bool passes = op == "Transpose" || op == "Cast" || op == "Identity";
      const bool combines = op == "Sub" || op == "Add" || op == "Mul" || op == "Div";
      if (node.output_size() != 1 || (!passes && !combines)) break;
      if (combines) {
        if (node.input_size() != 2) break;
        const bool first = node.input(0) == name;
        const std::optional<double> value = mean_of(node.input(first ? 1 : 0));
        if (!value || (!first && (op == "Sub" || op == "Div")) || (op == "Div" && *value == 0)) break;
        const double factor = op == "Mul" ? *value : op == "Div" ? 1 / *value : 1;
        const double offset = op == "Add" ? *value : op == "Sub" ? -*value : 0;
        if (factor == 0) break;
        affine = {affine.factor * factor, affine.offset * factor + offset, true};
      }
      name = node.output(0);
    }
    return affine;
  }

  static constexpr size_t kMaxSteps = 16;
  inline static const std::set<std::string_view> kSameValues = {"Cast",    "Identity",  "Unsqueeze", "Squeeze",
                                                                "Reshape", "Transpose", "Flatten",   "Expand"};
  const OnnxModel& model_;
  std::multimap<std::string_view, const onnx::NodeProto*> users_;
  std::map<std::string_view, const TensorProto*> constants_;
};

// Pictures of `dims`, which has its channels along `axis`.
std::vector<float> draw_pictures(std::span<const int64_t> dims, int axis, const Scale& scale, Random& random) {
  const int64_t channels = dims[static_cast<size_t>(axis)];
  const int64_t height = dims[axis == 1 ? 2 : 1], width = dims[axis == 1 ? 3 : 2];
  const auto size = static_cast<size_t>(channels * height * width);
  std::vector<float> all(static_cast<size_t>(dims[0]) * size), one(size);
  for (size_t n = 0; n < static_cast<size_t>(dims[0]); ++n) {
    if (n >= kDifferentPictures) {
      std::copy_n(all.begin() + static_cast<std::ptrdiff_t>((n - kDifferentPictures) * size), size,
                  all.begin() + static_cast<std::ptrdiff_t>(n * size));
      continue;
    }
    draw_dead_leaves({channels, height, width, one.data()}, random);
    for (size_t i = 0; i < size; ++i) {
      const double value =
          std::clamp(scale.mean + scale.deviation * static_cast<double>(one[i]), scale.low, scale.high);
      const size_t area = size / static_cast<size_t>(channels), c = i / area, place = i % area;
      all[n * size + (axis == 1 ? i : place * static_cast<size_t>(channels) + c)] = static_cast<float>(value);
    }
  }
  return all;
}

// The first `period` bytes again and again behind them.
void repeat(std::span<std::byte> bytes, size_t period) {
  for (size_t i = period; i < bytes.size(); i += period) {
    std::memcpy(bytes.data() + i, bytes.data(), std::min(period, bytes.size() - i));
  }
}

// One more than the largest value of an integer type that is not wider than 32 bits.
int64_t largest_of(int32_t dtype) {
  const auto bits = static_cast<int>(element_bits(dtype));
  if (dtype == TensorProto::BOOL) return 2;
  const bool is_signed = dtype == TensorProto::INT8 || dtype == TensorProto::INT16 || dtype == TensorProto::INT32;
  return int64_t{1} << std::min(bits - (is_signed ? 1 : 0), 32);
}

}  // namespace

bool takes_pictures(const OnnxModel& model) {
  const std::set<std::string> initializers = initializer_names(model);
  return std::ranges::all_of(model.proto.graph().input(), [&](const onnx::ValueInfoProto& input) {
    return initializers.contains(input.name()) || channel_axis(InputShapes().of(input)) != 0;
  });
}

std::vector<HostTensor> seeded_inputs(const OnnxModel& model, const SeededShapes& shapes, uint64_t seed,
                                      uint64_t index) {
  const std::set<std::string> initializers = initializer_names(model);
  Random random(seed * 0x9E3779B97F4A7C15 + index);
  const Preprocessing preprocessing(model);
  std::vector<HostTensor> inputs;
  for (const onnx::ValueInfoProto& input : model.proto.graph().input()) {
    if (initializers.contains(input.name())) continue;
    const int32_t dtype = input.type().tensor_type().elem_type();
    HostTensor tensor = HostTensor::float32(input.name(), concrete_shape(input, shapes));
    const bool is_drawable =
        !tensor.dims.empty() && tensor.elements() / std::max<int64_t>(1, tensor.dims[0]) <= kLargestPicture;
    const int channels = is_drawable ? channel_axis(tensor.dims) : 0;
    const std::optional<int64_t> range = preprocessing.index_range(input.name());
    if (is_float_type(dtype)) {
      const std::span<float> all = tensor.floats();
      const std::span<float> values = channels != 0 ? all : all.first(std::min(all.size(), kDifferentValues));
      if (range) {
        for (float& value : values) value = static_cast<float>(random.below(*range));
      } else if (channels != 0) {
        std::ranges::copy(draw_pictures(tensor.dims, channels, preprocessing.scale_of(input.name()), random),
                          values.begin());
      } else {
        for (float& value : values) value = static_cast<float>(random.normal(1.0));
      }
      repeat(tensor.bytes, values.size_bytes());
    } else {
      tensor.dtype = dtype;
      const size_t width = element_bits(dtype) / 8;
      tensor.bytes.assign(static_cast<size_t>(tensor.elements()) * width, std::byte{0});
      if (channels != 0 && dtype == TensorProto::UINT8) {
        std::ranges::transform(draw_pictures(tensor.dims, channels, kBytes, random), tensor.bytes.begin(),
                               [](float value) { return static_cast<std::byte>(std::lround(value)); });
      } else {
        const int64_t below = range ? std::min(*range, largest_of(dtype)) : 2;
        const size_t drawn = std::min(tensor.bytes.size(), width * kDifferentValues);
        for (size_t i = 0; i < drawn; i += width) {
          const auto value = static_cast<uint64_t>(random.below(below));
          std::memcpy(tensor.bytes.data() + i, &value, std::min(width, sizeof value));
        }
        repeat(tensor.bytes, drawn);
      }
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

}  // namespace quench::measure
