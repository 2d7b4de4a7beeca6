#include "compressor/measure/picture_scale.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "compressor/graph/evaluator.h"
#include "compressor/graph/graph_index.h"
#include "compressor/graph/simplify.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;

// Divided by 255 once too often, as one published model takes them (sinet_seg).
constexpr PictureScale kTwiceDividedPictures = {0, 1.0 / 255, -2.2 / 255, 2.5 / 255};
constexpr std::array<PictureScale, 5> kScales = {kNormalizedPictures, PictureScale{0, 0.5, -1, 1},
                                                 PictureScale{0.45, 0.25, 0, 1}, kBytePictures, kTwiceDividedPictures};

// Of what a first convolution makes of normalized pictures: its deviation, and this over its bias, where BatchNormalization
// is folded into both. With the pictures that they are made for, 14 public models have deviations of 0.5 to 22 and ratios
// of 0.2 to 12; on normalized ones, those for pictures of 0 to 255 have 0.07 and 0.06 (yolox_nano), 0.006 and 0.02
// (yunet_n_640), sinet_seg has 25 and 130. Either by itself may be a model without BatchNormalization.
constexpr double kLeastDeviation = 0.2, kLeastOfBias = 0.1;
constexpr double kMostDeviation = 10, kMostOfBias = 60;

constexpr uint64_t kMostMemory = uint64_t{1} << 30;
constexpr double kMostSeconds = 10;
constexpr double kMostValues = 1 << 24;  // of the pictures that are tried

double count_of(std::span<const int64_t> dims) {
  double count = 1;
  for (const int64_t dim : dims) count *= static_cast<double>(dim);
  return count;
}

template <typename Distance>
PictureScale nearest(const Distance& distance) {
  return *std::ranges::min_element(kScales, {}, distance);
}

// Behind these nodes, pictures have about zero mean and a deviation of a half.
PictureScale undone_by(const InputUse::Affine& affine) {
  return nearest([&](const PictureScale& scale) {
    const double mean = affine.factor * scale.mean + affine.offset;
    return mean * mean + std::pow(std::log2(std::abs(affine.factor) * scale.deviation / 0.5), 2);
  });
}

// The part of a model that makes one value of one input.
OnnxModel part_of(const OnnxModel& model, const std::string& input, const std::string& value) {
  OnnxModel part = model.clone();
  onnx::GraphProto& graph = *part.proto.mutable_graph();
  graph::erase_if(*graph.mutable_input(), [&](const auto& declared) { return declared.name() != input; });
  graph.clear_output();
  graph.clear_quantization_annotation();
  onnx::ValueInfoProto& output = *graph.add_output();
  output.set_name(value);
  output.mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
  graph::Report ignored;
  graph::remove_unused(part, ignored);
  return part;
}

// Of a value N x C x ..., for each channel: its mean where the pictures are 0, and the deviation that they give it.
struct Answer {
  std::vector<double> mean, deviation;
};

std::optional<Answer> answer_of(const OnnxModel& model, const HostTensor& pictures, const std::string& value) {
  try {
    const OnnxModel part = part_of(model, pictures.name, value);
    graph::Evaluator evaluator(part, {.max_memory_bytes = kMostMemory, .max_seconds = kMostSeconds});
    const HostTensor to_pictures = evaluator.run(std::span(&pictures, 1)).front();
    const HostTensor zeros = HostTensor::float32(pictures.name, pictures.dims);
    const HostTensor to_zeros = evaluator.run(std::span(&zeros, 1)).front();
    if (to_pictures.dims.size() < 3 || to_pictures.elements() == 0) return std::nullopt;
    const auto channels = static_cast<size_t>(to_pictures.dims[1]);
    const size_t rows = static_cast<size_t>(to_pictures.dims[0]) * channels;
    const size_t area = static_cast<size_t>(to_pictures.elements()) / rows;
    Answer answer{std::vector<double>(channels), std::vector<double>(channels)};
    for (size_t i = 0; i < rows * area; ++i) {
      const auto zero = static_cast<double>(to_zeros.floats()[i]);
      const size_t c = i / area % channels;
      answer.mean[c] += zero;
      answer.deviation[c] += std::pow(static_cast<double>(to_pictures.floats()[i]) - zero, 2);
    }
    const auto count = static_cast<double>(to_pictures.dims[0]) * static_cast<double>(area);
    for (double& sum : answer.mean) sum /= count;
    for (double& sum : answer.deviation) sum = std::sqrt(sum / count);
    return answer;
  } catch (const Error&) {
    return std::nullopt;  // The runtime cannot run it.
  }
}

// Where each channel's deviation is known: the median of what it was in training over what it is.
PictureScale trained_with(const Answer& answer, std::span<const float> trained) {
  std::vector<double> ratios;
  for (size_t c = 0; c < std::min(trained.size(), answer.deviation.size()); ++c) {
    const double ratio = static_cast<double>(trained[c]) / answer.deviation[c];
    if (std::isfinite(ratio) && ratio > 0) ratios.push_back(ratio);
  }
  if (ratios.empty()) return kNormalizedPictures;
  const auto middle = ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2);
  std::ranges::nth_element(ratios, middle);
  return nearest([&](const PictureScale& scale) { return std::abs(std::log2(scale.deviation / *middle)); });
}

PictureScale agreeing_with_bias(const Answer& answer) {
  double bias = 0, power = 0;
  for (const double mean : answer.mean) bias += mean * mean;
  for (const double deviation : answer.deviation) power += deviation * deviation;
  if (bias == 0 || power == 0 || !std::isfinite(power / bias)) return kNormalizedPictures;
  const double deviation = std::sqrt(power / static_cast<double>(answer.deviation.size())),
               ratio = std::sqrt(power / bias);
  if (deviation < kLeastDeviation && ratio < kLeastOfBias) return kBytePictures;
  return deviation > kMostDeviation && ratio > kMostOfBias ? kTwiceDividedPictures : kNormalizedPictures;
}

}  // namespace

PictureScale picture_scale(const OnnxModel& model, const InputUse& use, const std::string& input,
                           std::span<const int64_t> dims, int axis, uint64_t seed) {
  if (const auto affine = use.affine_of(input)) return undone_by(*affine);
  const auto convolution = use.convolution_of(input);
  if (!convolution || count_of(dims) > kMostValues) return kNormalizedPictures;
  Random random(seed);
  const HostTensor pictures =
      HostTensor::float32(input, {dims.begin(), dims.end()}, draw_pictures(dims, axis, kNormalizedPictures, random));
  const auto answer = answer_of(model, pictures, convolution->result);
  if (!answer) return kNormalizedPictures;
  return convolution->trained.empty() ? agreeing_with_bias(*answer) : trained_with(*answer, convolution->trained);
}

}  // namespace quench::measure
