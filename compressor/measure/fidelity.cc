#include "compressor/measure/fidelity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compressor/data/array.h"
#include "formats/base/element_type.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Of the mean square: a variance below it is what rounding to float32 makes of a constant.
constexpr double kLeastVariance = 1e-13;

bool is_integer(ElementType type) {
  switch (type) {
    case ElementType::kUint8:
    case ElementType::kInt8:
    case ElementType::kUint16:
    case ElementType::kInt16:
    case ElementType::kInt32:
    case ElementType::kInt64:
    case ElementType::kBool:
    case ElementType::kUint32:
    case ElementType::kUint64:
      return true;
    default:
      return false;
  }
}

std::vector<double> integers_of(const HostTensor& tensor) {
  const std::vector<int64_t> values =
      data::Array{static_cast<ElementType>(tensor.dtype), tensor.dims, tensor.bytes}.to_int64();
  return {values.begin(), values.end()};
}

// Those of the first `samples` of `rows`.
template <typename T>
std::span<const T> leading(std::span<const T> values, const HostTensor& tensor, uint64_t samples, uint64_t rows) {
  const bool batched = rows > 0 && !tensor.dims.empty() && tensor.dims[0] == static_cast<int64_t>(rows);
  return batched ? values.first(values.size() / rows * samples) : values;
}

}  // namespace

std::vector<double> numbers_of(const HostTensor& tensor, uint64_t samples, uint64_t rows) {
  const auto type = static_cast<ElementType>(tensor.dtype);
  if (type == ElementType::kFloat32) {
    const std::span<const float> first = leading(tensor.floats(), tensor, samples, rows);
    return {first.begin(), first.end()};
  }
  if (!is_integer(type)) return {};
  const std::vector<double> all = integers_of(tensor);
  const std::span<const double> first = leading(std::span(all), tensor, samples, rows);
  return {first.begin(), first.end()};
}

double Fidelity::Output::mean() const { return (sum + lost) / (elements + lost_elements); }

double Fidelity::Output::power(bool about_mean) const {
  const double count = elements + lost_elements;
  if (count == 0) return 0;
  const double all = squares + lost_squares;
  if (!about_mean) return all;
  const double centered = all - count * mean() * mean();
  return centered > kLeastVariance * all ? centered : 0;
}

double Fidelity::Output::error_power(bool about_mean) const {
  if (broken > 0) return kInfinity;
  if (lost_elements == 0) return error;
  const double center = about_mean ? mean() : 0;
  return error + lost_squares - 2 * center * lost + center * center * lost_elements;
}

template <typename T>
void Fidelity::Output::add(std::span<const T> reference, std::span<const T> output) {
  const bool same_shape = reference.size() == output.size();
  for (size_t i = 0; i < reference.size(); ++i) {
    const auto value = static_cast<double>(reference[i]);
    if (!std::isfinite(value)) continue;
    if (!same_shape) {
      lost_elements += 1;
      lost += value;
      lost_squares += value * value;
      continue;
    }
    elements += 1;
    sum += value;
    squares += value * value;
    const double difference = static_cast<double>(output[i]) - value;
    if (std::isfinite(difference)) {
      error += difference * difference;
    } else {
      broken += 1;
    }
  }
}

Fidelity::Output& Fidelity::output(size_t index, bool is_float) {
  if (index >= outputs_.size()) outputs_.resize(index + 1);
  if (is_float) outputs_[index].is_float = 1;
  return outputs_[index];
}

void Fidelity::add(std::span<const HostTensor> reference, std::span<const HostTensor> outputs) {
  add(reference, outputs, 0, 0);
}

void Fidelity::add(std::span<const HostTensor> reference, std::span<const HostTensor> outputs, uint64_t samples,
                   uint64_t rows) {
  if (reference.size() != outputs.size()) throw Error("the two models have different outputs, and cannot be compared");
  for (size_t i = 0; i < reference.size(); ++i) {
    const HostTensor &expected = reference[i], &actual = outputs[i];
    if (expected.dtype != actual.dtype) {
      throw Error::make("output '{}' has another type than '{}' of the model to compare with", actual.name,
                        expected.name);
    }
    const auto type = static_cast<ElementType>(expected.dtype);
    if (type == ElementType::kFloat32) {
      output(i, true).add(leading(expected.floats(), expected, samples, rows),
                          leading(actual.floats(), actual, samples, rows));
    } else if (is_integer(type)) {
      const std::vector<double> y = integers_of(expected), other = integers_of(actual);
      output(i, false).add(leading(std::span(y), expected, samples, rows),
                           leading(std::span(other), actual, samples, rows));
    }
  }
}

void Fidelity::add(size_t index, bool is_float, std::span<const double> reference, std::span<const double> output) {
  this->output(index, is_float).add(reference, output);
}

std::optional<double> Fidelity::error() const {
  const bool floats = std::any_of(outputs_.begin(), outputs_.end(), [](const Output& o) { return o.is_float > 0; });
  const auto counts = [&](const Output& output) { return !floats || output.is_float > 0; };
  const bool about_mean = std::any_of(outputs_.begin(), outputs_.end(),
                                      [&](const Output& output) { return counts(output) && output.power(true) > 0; });
  double sum = 0, count = 0;
  for (const Output& output : outputs_) {
    const double power = output.power(about_mean);
    if (!counts(output) || power == 0) continue;
    sum += output.error_power(about_mean) / power;
    count += 1;
  }
  if (count == 0) return std::nullopt;
  return std::isfinite(sum) ? std::max(sum, 0.0) / count : kInfinity;
}

std::optional<double> Fidelity::snr_db() const {
  const std::optional<double> relative = error();
  if (!relative) return std::nullopt;
  return *relative == 0 ? kInfinity : -10 * std::log10(*relative);
}

std::vector<double> Fidelity::sums(size_t outputs) const {
  std::vector<double> values;
  for (size_t i = 0; i < std::max(outputs, outputs_.size()); ++i) {
    const Output own = i < outputs_.size() ? outputs_[i] : Output{};
    values.insert(values.end(), {own.elements, own.sum, own.squares, own.error, own.broken, own.lost_elements, own.lost,
                                 own.lost_squares, own.is_float});
  }
  return values;
}

Fidelity Fidelity::from_sums(std::span<const double> sums) {
  Fidelity fidelity;
  for (size_t at = 0; at + kSums <= sums.size(); at += kSums) {
    const double* v = sums.data() + at;
    fidelity.outputs_.push_back({v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]});
  }
  return fidelity;
}

}  // namespace quench::measure
