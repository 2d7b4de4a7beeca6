#include "compressor/measure/seeded_inputs.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <string_view>

#include "compressor/measure/picture_scale.h"
#include "compressor/measure/seeded_pictures.h"
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

constexpr int64_t kScalePictures = 4;                  // to find their scale by, where the batch is open
constexpr size_t kScaledInputs = 8;                    // of which a scale is looked for: a model may have thousands
constexpr size_t kDifferentValues = size_t{1} << 22;   // other than pixels, of one input: shapes are a file's choice
constexpr int64_t kLargestPicture = int64_t{1} << 24;  // in values; a larger one is noise

bool is_channels(int64_t dim) { return dim == 1 || dim == 3 || dim == 4; }

// The axis with a picture's channels, N x C x H x W or N x H x W x C, of dimensions that may be open (-1); 0: none.
int channel_axis(std::span<const int64_t> dims) {
  if (dims.size() != 4) return 0;
  return is_channels(dims[1]) ? 1 : is_channels(dims[3]) ? 3 : 0;
}

std::set<std::string> initializer_names(const OnnxModel& model) {
  std::set<std::string> names;
  for (const TensorProto& tensor : model.proto.graph().initializer()) names.insert(tensor.name());
  for (const auto& tensor : model.proto.graph().sparse_initializer()) names.insert(tensor.values().name());
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
  const SeededShapes shapes_;
  std::set<std::string> batches_;  // names of first dimensions
  bool has_open_batch_ = false;
  bool has_sample_rate_ = false;
};

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
  const size_t row = length * stride, drawn = std::min(values.size(), kDifferentSeeded * row);
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

// Whether an input can be drawn as pictures: the axis of their channels, or 0.
int drawable_axis(const onnx::ValueInfoProto& input, std::span<const int64_t> dims) {
  int64_t picture = 1;
  for (size_t i = 1; i < dims.size(); ++i) picture *= dims[i];
  return dims.empty() || picture > kLargestPicture ? 0 : picture_axis(input, dims);
}

}  // namespace

bool takes_pictures(const OnnxModel& model) {
  const std::set<std::string> initializers = initializer_names(model);
  return std::ranges::all_of(model.proto.graph().input(), [&](const onnx::ValueInfoProto& input) {
    return initializers.contains(input.name()) || picture_axis(input, InputShapes().of(input)) != 0;
  });
}

SeededInputs::SeededInputs(const OnnxModel& model, const SeededShapes& shapes, uint64_t seed,
                           const OnnxModel* with_weights)
    : model_(model), shapes_(shapes), seed_(seed), use_(model), initializers_(initializer_names(model)) {
  const bool has_weights = !model.weights.empty() || !with_weights;
  const OnnxModel& shown = has_weights ? model : *with_weights;
  const InputUse use(shown);
  const OpenSizes sizes(shown.proto.graph(), {kScalePictures, shapes.inputs});
  for (const onnx::ValueInfoProto& input : shown.proto.graph().input()) {
    const std::string& name = input.name();
    const bool is_drawn = is_float_type(input.type().tensor_type().elem_type()) && !initializers_.contains(name) &&
                          !use.index_range(name) && !known_value(input);
    const std::vector<int64_t> dims = is_drawn ? sizes.of(input) : std::vector<int64_t>();
    const int axis = drawable_axis(input, dims);
    if (axis != 0 && scales_.size() < kScaledInputs) scales_[name] = picture_scale(shown, use, name, dims, axis, seed);
  }
}

std::vector<HostTensor> SeededInputs::draw(uint64_t index, int64_t batch) const {
  Random random(seed_ * 0x9E3779B97F4A7C15 + index);
  const SeededShapes shapes{batch, shapes_.inputs};
  const OpenSizes sizes(model_.proto.graph(), shapes);
  std::vector<HostTensor> inputs;
  for (const onnx::ValueInfoProto& input : model_.proto.graph().input()) {
    if (initializers_.contains(input.name())) continue;
    const bool is_float = is_float_type(input.type().tensor_type().elem_type());
    std::vector<int64_t> dims = sizes.of(input);
    inputs.push_back(is_float ? draw_floats(input, std::move(dims), sizes.has_sample_rate(), random)
                              : draw_integers(input, std::move(dims), random));
  }
  return inputs;
}

HostTensor SeededInputs::draw_floats(const onnx::ValueInfoProto& input, std::vector<int64_t> dims, bool has_sample_rate,
                                     Random& random) const {
  HostTensor tensor = HostTensor::float32(input.name(), std::move(dims));
  if (const std::optional<int64_t> known = known_value(input)) {
    std::ranges::fill(tensor.floats(), static_cast<float>(*known));
    return tensor;
  }
  const int channels = drawable_axis(input, tensor.dims);
  const std::span<float> all = tensor.floats();
  const std::span<float> values = channels != 0 ? all : all.first(std::min(all.size(), kDifferentValues));
  if (const std::optional<int64_t> range = use_.index_range(input.name())) {
    for (float& value : values) value = static_cast<float>(random.below(*range));
  } else if (channels != 0) {
    const auto scale = scales_.find(input.name());
    std::ranges::copy(
        draw_pictures(tensor.dims, channels, scale == scales_.end() ? kNormalizedPictures : scale->second, random),
        values.begin());
  } else if (is_sound(input, tensor.dims, has_sample_rate)) {
    draw_sounds(values, tensor.dims, *sound_axis(tensor.dims), random);
  } else {
    const double deviation = is_state(input) || use_.is_recurrent_state(input.name()) ? kStateDeviation : 1;
    for (float& value : values) value = static_cast<float>(random.normal(deviation));
  }
  repeat(tensor.bytes, values.size_bytes());
  return tensor;
}

HostTensor SeededInputs::draw_integers(const onnx::ValueInfoProto& input, std::vector<int64_t> dims,
                                       Random& random) const {
  HostTensor tensor{input.name(), input.type().tensor_type().elem_type(), std::move(dims), {}};
  const size_t width = element_bits(tensor.dtype) / 8;
  tensor.bytes.assign(static_cast<size_t>(tensor.elements()) * width, std::byte{0});
  const int channels = drawable_axis(input, tensor.dims);
  if (channels != 0 && tensor.dtype == TensorProto::UINT8) {
    std::ranges::transform(draw_pictures(tensor.dims, channels, kBytePictures, random), tensor.bytes.begin(),
                           [](float value) { return static_cast<std::byte>(std::lround(value)); });
    return tensor;
  }
  const std::optional<int64_t> range = use_.index_range(input.name()), known = known_value(input);
  const int64_t below = range ? std::min(*range, largest_of(tensor.dtype)) : 2;
  const size_t drawn = std::min(tensor.bytes.size(), width * kDifferentValues);
  for (size_t i = 0; i < drawn; i += width) {
    const auto value = static_cast<uint64_t>(known ? *known : random.below(below));
    std::memcpy(tensor.bytes.data() + i, &value, std::min(width, sizeof value));
  }
  repeat(tensor.bytes, drawn);
  return tensor;
}

bool SeededInputs::is_sound(const onnx::ValueInfoProto& input, std::span<const int64_t> dims,
                            bool has_sample_rate) const {
  const std::optional<size_t> axis = sound_axis(dims);
  if (!axis || is_state(input) || use_.is_recurrent_state(input.name())) return false;
  return (has_sample_rate && dims.size() <= 2) || says_sound(input) ||
         (dims[*axis] >= kShortestSound && use_.is_convolved(input.name()));
}

}  // namespace quench::measure
