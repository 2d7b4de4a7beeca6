#include "compressor/measure/seeded_inputs.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string_view>

#include "compressor/data/array.h"
#include "compressor/measure/seeded_random.h"
#include "compressor/measure/seeded_sound.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;
using onnx::TensorProto;

// Open dimensions other than the first.
constexpr int64_t kPictureSize = 224;
constexpr int64_t kSoundSize =
    576;  // 36 ms at kSampleRate: what detectors of speech take at once, with what was before
constexpr int64_t kOpenSize = 16;
constexpr int64_t kShortestSound = 256;  // of declared lengths

// What recurrent networks hold lies within -1 and 1: an output gate's part of a tanh. Keys and values of the past, which
// names do not tell from it, are as small.
constexpr double kStateDeviation = 0.3;

// Of one input; then they come again. A batch may be a million.
constexpr size_t kDifferentPictures = 256;             // and sounds
constexpr size_t kDifferentValues = size_t{1} << 22;   // other than pixels, likewise: shapes are a file's choice
constexpr int64_t kLargestPicture = int64_t{1} << 24;  // in values; a larger one is noise

struct Plane {
  int64_t channels, height, width;
  float* pixels;
};

// Of a leaf's texture, in deviations of a picture. Without it, pictures had a fifth of a deviation between neighbours where
// photographs have 0.25 to 0.5, and squeezenet's file 22.6 dB on photographs in place of 26.2 (means of two seeds).
constexpr double kRoughness = 0.4;

// Noise of all scales, of zero mean and unit deviation: a lattice of normal values, twice as fine each time, each octave
// `persistence` times as strong as the coarser one before.
std::vector<float> draw_texture(const Plane& image, double persistence, Random& random) {
  std::vector<float> texture(static_cast<size_t>(image.height * image.width), 0.0F);
  double strength = 1, power = 0;
  for (int64_t cell = 64; cell >= 1; cell /= 2) {
    const int64_t rows = image.height / cell + 2, columns = image.width / cell + 2;
    std::vector<float> lattice(static_cast<size_t>(rows * columns));
    for (float& value : lattice) value = static_cast<float>(random.normal(strength));
    for (int64_t y = 0; y < image.height; ++y) {
      const float down = static_cast<float>(y % cell) / static_cast<float>(cell);
      const float* above = &lattice[static_cast<size_t>(y / cell * columns)];
      const float* below = above + columns;
      for (int64_t x = 0; x < image.width; ++x) {
        const int64_t c = x / cell;
        const float right = static_cast<float>(x % cell) / static_cast<float>(cell);
        texture[static_cast<size_t>(y * image.width + x)] +=
            (1 - down) * ((1 - right) * above[c] + right * above[c + 1]) +
            down * ((1 - right) * below[c] + right * below[c + 1]);
      }
    }
    power += strength * strength * (cell == 1 ? 1 : 4.0 / 9);
    strength *= persistence;
  }
  for (float& value : texture) value /= static_cast<float>(std::sqrt(power));
  return texture;
}

// One leaf: a disc or box, turned and stretched, with a colour, a shading and a part of the texture, anti-aliased at its
// edge.
void draw_leaf(const Plane& image, std::span<const float> texture, Random& random) {
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
  const double roughness = std::abs(random.normal(kRoughness));
  const auto shift = static_cast<size_t>(random.below(image.height * image.width));
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
      const size_t place = (static_cast<size_t>(y * image.width + x) + shift) % texture.size();
      const double shade = along * shade_x + across * shade_y + roughness * static_cast<double>(texture[place]);
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
  const std::vector<float> texture = draw_texture(image, random.uniform(0.7, 1.0), random);
  const int leaves = static_cast<int>(random.uniform(8, 40));
  for (int leaf = 0; leaf < leaves; ++leaf) draw_leaf(image, texture, random);
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

// Whether a name has one of the words in it, in any case.
bool says(std::string name, std::initializer_list<std::string_view> words) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::ranges::any_of(words, [&](std::string_view word) { return name.find(word) != std::string::npos; });
}

bool is_length(const std::string& dimension) { return says(dimension, {"seq", "length", "time", "frame"}); }

// A number of samples a second, which is given beside a sound.
bool is_sample_rate(const onnx::ValueInfoProto& input) {
  const std::string& name = input.name();
  return name == "sr" || says(name, {"sample_rate", "sampling_rate", "samplerate"});
}

bool is_state(const onnx::ValueInfoProto& input) {
  return says(input.name(), {"past", "cache", "state", "hidden", "recurrent"});
}

// The axis of a picture's channels; 0: the input is none, or its name or a dimension's says something else: keys and
// values of the past, a state.
int picture_axis(const onnx::ValueInfoProto& input, std::span<const int64_t> dims) {
  if (is_state(input)) return 0;
  const auto& declared = input.type().tensor_type().shape().dim();
  if (std::ranges::any_of(declared, [](const auto& dim) { return is_length(dim.dim_param()); })) return 0;
  return channel_axis(dims);
}

// Whether a name says that its values are a waveform, not what was made of one.
bool says_sound(const onnx::ValueInfoProto& input) {
  return says(input.name(), {"audio", "wav", "speech", "sound", "pcm"}) &&
         !says(input.name(), {"feat", "embed", "mel", "spec"});
}

// Sizes of the dimensions that a model leaves open, which depend on all of its inputs: one name has one size.
class OpenSizes {
 public:
  OpenSizes(const onnx::GraphProto& graph, const SeededShapes& shapes) : shapes_(shapes) {
    for (const onnx::ValueInfoProto& input : graph.input()) {
      const auto& dims = input.type().tensor_type().shape().dim();
      has_sample_rate_ |= is_sample_rate(input);
      if (dims.empty() || dims[0].dim_value() > 0) continue;
      has_open_batch_ = true;
      if (!is_length(dims[0].dim_param())) batches_.insert(dims[0].dim_param());
    }
  }

  bool has_sample_rate() const { return has_sample_rate_; }

  std::vector<int64_t> of(const onnx::ValueInfoProto& input) const {
    std::vector<int64_t> sizes = shapes_.inputs.of(input);
    const auto& declared = input.type().tensor_type().shape().dim();
    const bool is_sound = sizes.size() <= 2 && (has_sample_rate_ || says_sound(input));
    const int channels = picture_axis(input, sizes);
    for (int i = 0; i < static_cast<int>(sizes.size()); ++i) {
      int64_t& size = sizes[static_cast<size_t>(i)];
      if (size >= 0) continue;
      const std::string name = i < declared.size() ? declared[i].dim_param() : "";
      const bool is_picture_size = channels == 3 ? i == 1 || i == 2 : channels == 1 && i >= 2;
      const int64_t other = is_picture_size ? kPictureSize : is_sound ? kSoundSize : kOpenSize;
      // As of a recurrent state: layers x batch x size.
      const bool is_behind_layers = name.empty() && i == 1 && sizes.size() == 3 && has_open_batch_;
      const bool is_batch = (i == 0 && !is_length(name)) || is_behind_layers;
      size = is_batch ? shapes_.batch : size_of(name, other);
    }
    return sizes;
  }

 private:
  // Of a name, also of a sum of names and numbers.
  int64_t size_of(const std::string& name, int64_t other) const {
    if (const size_t plus = name.find('+'); plus != std::string::npos) {
      return std::min(kLargestSum, size_of(name.substr(0, plus), other) + size_of(name.substr(plus + 1), other));
    }
    const size_t begin = name.find_first_not_of(' ');
    const std::string word =
        begin == std::string::npos ? "" : name.substr(begin, name.find_last_not_of(' ') + 1 - begin);
    if (const auto given = shapes_.inputs.dims.find(word); given != shapes_.inputs.dims.end()) return given->second;
    int64_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error == std::errc() && end == word.data() + word.size()) return std::clamp<int64_t>(number, 0, kLargestSum);
    return !word.empty() && (batches_.contains(word) || says(word, {"batch"})) ? shapes_.batch : other;
  }

  static constexpr int64_t kLargestSum = 1 << 20;
  const SeededShapes& shapes_;
  std::set<std::string> batches_;  // names of first dimensions
  bool has_open_batch_ = false;
  bool has_sample_rate_ = false;
};

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

  // Whether a convolution, or a Fourier transform, takes the input as it is, but for cutting and shaping.
  bool is_convolved(const std::string& input) const {
    return reaches(input, [](const onnx::NodeProto& node, const std::string& name) {
      return (node.op_type() == "Conv" || node.op_type() == "STFT") && node.input(0) == name;
    });
  }

  // Whether a recurrent node starts from the input: what it put out before.
  bool is_recurrent_state(const std::string& input) const {
    return reaches(input, [](const onnx::NodeProto& node, const std::string& name) {
      const bool is_recurrent = node.op_type() == "LSTM" || node.op_type() == "GRU" || node.op_type() == "RNN";
      const auto& inputs = node.input();
      return is_recurrent && std::find(inputs.begin() + std::min(5, inputs.size()), inputs.end(), name) != inputs.end();
    });
  }

  // How many rows the smallest table has that the input's values choose from; nullopt where they are no indices.
  std::optional<int64_t> index_range(const std::string& input) const {
    std::optional<int64_t> range;
    for_each_user(input, kSameValues, [&](const onnx::NodeProto& node, const std::string& name) {
      const std::optional<int64_t> rows = rows_chosen_from(node, name);
      if (rows) range = std::min(range.value_or(*rows), *rows);
    });
    return range;
  }

 private:
  // The nodes that use an input's values, or what nodes of these operators make of it, and under which name.
  template <typename Visit>
  void for_each_user(const std::string& input, const std::set<std::string_view>& passed, const Visit& visit) const {
    std::vector<std::string> open = {input};
    for (size_t next = 0; next < open.size() && open.size() < kMaxSteps; ++next) {
      const std::string name = open[next];
      for (auto [user, end] = users_.equal_range(name); user != end; ++user) {
        const onnx::NodeProto& node = *user->second;
        visit(node, name);
        if (!passed.contains(node.op_type()) || (node.input(0) != name && node.op_type() != "Concat")) continue;
        for (const std::string& output : node.output()) open.push_back(output);
      }
    }
  }

  template <typename Condition>
  bool reaches(const std::string& input, const Condition& condition) const {
    bool found = false;
    for_each_user(input, kMovedValues, [&](const auto& node, const auto& name) { found |= condition(node, name); });
    return found;
  }

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
  inline static const std::set<std::string_view> kMovedValues = {"Cast",    "Identity",  "Unsqueeze", "Squeeze",
                                                                 "Reshape", "Transpose", "Flatten",   "Expand",
                                                                 "Slice",   "Concat",    "Pad",       "Split"};
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

// The axis along which a sound of one or two channels lies: the only long one behind the batch; nullopt: it is none.
std::optional<size_t> sound_axis(std::span<const int64_t> dims) {
  if (dims.empty() || dims.size() > 3) return std::nullopt;
  if (dims.size() == 1) return 0;
  const size_t longest = dims.size() == 3 && dims[1] > dims[2] ? 1 : dims.size() - 1;
  return dims.size() == 2 || dims[3 - longest] <= 2 ? std::optional(longest) : std::nullopt;
}

void draw_sounds(std::span<float> values, std::span<const int64_t> dims, size_t axis, Random& random) {
  if (values.empty()) return;
  const size_t stride = axis + 1 < dims.size() ? static_cast<size_t>(dims.back()) : 1;
  const size_t length = std::min(static_cast<size_t>(dims[axis]), (values.size() + stride - 1) / stride);
  std::vector<float> sound(length);
  const size_t row = length * stride, drawn = std::min(values.size(), kDifferentPictures * row);
  for (size_t first = 0; first < drawn; first += row) {
    for (size_t channel = 0; channel < stride; ++channel) {
      draw_sound(sound, random);
      for (size_t i = 0; i < length && first + i * stride + channel < values.size(); ++i) {
        values[first + i * stride + channel] = sound[i];
      }
    }
  }
  for (size_t i = drawn; i < values.size(); ++i) values[i] = values[i - drawn];
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

// Where a name says what its values are: the one sample rate, or of a mask of integers that nothing is hidden.
std::optional<int64_t> known_value(const onnx::ValueInfoProto& input) {
  const auto& type = input.type().tensor_type();
  int64_t elements = 1;
  for (const auto& dim : type.shape().dim()) elements *= dim.dim_value() == 1 ? 1 : 2;
  if (is_sample_rate(input) && elements == 1 && element_bits(type.elem_type()) >= 32) return kSampleRate;
  if (!is_float_type(type.elem_type()) && says(input.name(), {"mask"})) return 1;
  return std::nullopt;
}

}  // namespace

bool takes_pictures(const OnnxModel& model) {
  const std::set<std::string> initializers = initializer_names(model);
  return std::ranges::all_of(model.proto.graph().input(), [&](const onnx::ValueInfoProto& input) {
    return initializers.contains(input.name()) || picture_axis(input, InputShapes().of(input)) != 0;
  });
}

std::vector<HostTensor> seeded_inputs(const OnnxModel& model, const SeededShapes& shapes, uint64_t seed,
                                      uint64_t index) {
  const std::set<std::string> initializers = initializer_names(model);
  Random random(seed * 0x9E3779B97F4A7C15 + index);
  const Preprocessing preprocessing(model);
  const OpenSizes sizes(model.proto.graph(), shapes);
  const auto is_sound = [&](const onnx::ValueInfoProto& input, std::span<const int64_t> dims) {
    const std::optional<size_t> axis = sound_axis(dims);
    if (!axis || is_state(input) || preprocessing.is_recurrent_state(input.name())) return false;
    return (sizes.has_sample_rate() && dims.size() <= 2) || says_sound(input) ||
           (dims[*axis] >= kShortestSound && preprocessing.is_convolved(input.name()));
  };
  std::vector<HostTensor> inputs;
  for (const onnx::ValueInfoProto& input : model.proto.graph().input()) {
    if (initializers.contains(input.name())) continue;
    const int32_t dtype = input.type().tensor_type().elem_type();
    HostTensor tensor = HostTensor::float32(input.name(), sizes.of(input));
    const bool is_drawable =
        !tensor.dims.empty() && tensor.elements() / std::max<int64_t>(1, tensor.dims[0]) <= kLargestPicture;
    const int channels = is_drawable ? picture_axis(input, tensor.dims) : 0;
    const std::optional<int64_t> range = preprocessing.index_range(input.name());
    const std::optional<int64_t> known = known_value(input);
    if (is_float_type(dtype) && known) {
      std::ranges::fill(tensor.floats(), static_cast<float>(*known));
    } else if (is_float_type(dtype)) {
      const std::span<float> all = tensor.floats();
      const std::span<float> values = channels != 0 ? all : all.first(std::min(all.size(), kDifferentValues));
      if (range) {
        for (float& value : values) value = static_cast<float>(random.below(*range));
      } else if (channels != 0) {
        std::ranges::copy(draw_pictures(tensor.dims, channels, preprocessing.scale_of(input.name()), random),
                          values.begin());
      } else if (is_sound(input, tensor.dims)) {
        draw_sounds(values, tensor.dims, *sound_axis(tensor.dims), random);
      } else {
        const double deviation =
            is_state(input) || preprocessing.is_recurrent_state(input.name()) ? kStateDeviation : 1;
        for (float& value : values) value = static_cast<float>(random.normal(deviation));
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
          const auto value = static_cast<uint64_t>(known ? *known : random.below(below));
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
