#include "compressor/measure/seeded_inputs.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <set>

#include "formats/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;
using onnx::TensorProto;

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

std::vector<int64_t> concrete_shape(const onnx::ValueInfoProto& input, const SeededShapes& shapes) {
  if (const auto given = shapes.by_name.find(input.name()); given != shapes.by_name.end()) return given->second;
  const auto& declared = input.type().tensor_type().shape();
  std::vector<int64_t> dims;
  for (int i = 0; i < declared.dim_size(); ++i) {
    const auto& dim = declared.dim(i);
    if (dim.has_dim_value() && dim.dim_value() > 0) {
      dims.push_back(dim.dim_value());
    } else if (i == 0) {
      dims.push_back(shapes.batch);
    } else {
      dims.push_back(declared.dim_size() == 4 && i >= 2 ? 224 : 16);
    }
  }
  return dims;
}

void fill_floats(HostTensor& tensor, Random& random) {
  float* values = tensor.floats().data();
  const bool image = tensor.dims.size() == 4 && (tensor.dims[1] == 1 || tensor.dims[1] == 3 || tensor.dims[1] == 4);
  if (!image) {
    for (float& value : tensor.floats()) value = static_cast<float>(random.normal(1.0));
    return;
  }
  const int64_t pixels = tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
  for (int64_t n = 0; n < tensor.dims[0]; ++n) {
    draw_dead_leaves({tensor.dims[1], tensor.dims[2], tensor.dims[3], values + n * pixels}, random);
  }
}

}  // namespace

void check_shapes(const OnnxModel& model, const InputShapes& shapes) {
  const auto& inputs = model.proto.graph().input();
  for (const auto& [name, dims] : shapes) {
    const bool is_input = std::any_of(inputs.begin(), inputs.end(),
                                      [&](const onnx::ValueInfoProto& input) { return input.name() == name; });
    if (is_input) continue;
    std::string names;
    for (const onnx::ValueInfoProto& input : inputs) names += (names.empty() ? "" : ", ") + printable(input.name());
    throw Error::make("{}: --shape: there is no input '{}'; the model has {}", model.name, printable(name), names);
  }
}

std::vector<HostTensor> seeded_inputs(const OnnxModel& model, const SeededShapes& shapes, uint64_t seed,
                                      uint64_t index) {
  std::set<std::string> initializers;
  for (const TensorProto& tensor : model.proto.graph().initializer()) initializers.insert(tensor.name());
  Random random(seed * 0x9E3779B97F4A7C15 + index);
  std::vector<HostTensor> inputs;
  for (const onnx::ValueInfoProto& input : model.proto.graph().input()) {
    if (initializers.contains(input.name())) continue;
    const int32_t dtype = input.type().tensor_type().elem_type();
    HostTensor tensor = HostTensor::float32(input.name(), concrete_shape(input, shapes));
    if (is_float_type(dtype)) {
      fill_floats(tensor, random);
    } else {
      tensor.dtype = dtype;
      const size_t width = element_bits(dtype) / 8;
      tensor.bytes.assign(static_cast<size_t>(tensor.elements()) * width, std::byte{0});
      for (size_t i = 0; i < tensor.bytes.size(); i += width) tensor.bytes[i] = std::byte{random.coin()};
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

}  // namespace quench::measure
