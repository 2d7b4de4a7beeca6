#include "compressor/measure/accuracy.h"

#include <algorithm>
#include <cmath>

namespace quench::measure {
namespace {

double cross_entropy(std::span<const float> logits, size_t label) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - highest);
  return std::log(sum) + highest - logits[label];
}

}  // namespace

Interval wilson_interval(double successes, double count) {
  constexpr double kZ = 1.959963984540054;  // 97.5 % of a normal distribution lie below it
  if (count <= 0) return {};
  const double share = successes / count, z2 = kZ * kZ / count;
  const double center = share + z2 / 2, spread = kZ * std::sqrt(share * (1 - share) / count + z2 / (4 * count));
  // At the ends it is exact but for rounding.
  return {successes == 0 ? 0 : (center - spread) / (1 + z2), successes == count ? 1 : (center + spread) / (1 + z2)};
}

void AccuracySum::add(std::span<const float> scores, size_t classes, std::span<const int64_t> labels) {
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::span<const float> row = scores.subspan(i * classes, classes);
    sums_.right += std::max_element(row.begin(), row.end()) - row.begin() == labels[i];
    sums_.loss += cross_entropy(row, static_cast<size_t>(labels[i]));
  }
  sums_.samples += static_cast<double>(labels.size());
}

void AccuracySum::add(std::span<const int64_t> named, std::span<const int64_t> labels) {
  for (size_t i = 0; i < labels.size(); ++i) sums_.right += named[i] == labels[i];
  sums_.samples += static_cast<double>(labels.size());
  sums_.without_loss += static_cast<double>(labels.size());
}

std::optional<Accuracy> AccuracySum::result() const {
  if (sums_.samples == 0) return std::nullopt;
  Accuracy accuracy{sums_.right / sums_.samples, wilson_interval(sums_.right, sums_.samples), std::nullopt};
  if (sums_.without_loss == 0) accuracy.loss = sums_.loss / sums_.samples;
  return accuracy;
}

void AgreementSum::add(const Scores& scores, const graph::HostTensor& reference, const graph::HostTensor& output,
                       uint64_t samples, uint64_t rows) {
  if (reference.dims != output.dims || reference.dtype != output.dtype) return;
  const std::vector<int64_t> expected = classes_of(scores, reference), named = classes_of(scores, output);
  const bool batched = rows > 0 && !output.dims.empty() && output.dims[0] == static_cast<int64_t>(rows) &&
                       (scores.is_class || scores.axis > 0);
  const size_t count = batched ? named.size() / rows * samples : named.size();
  for (size_t i = 0; i < count; ++i) same_ += named[i] == expected[i];
  compared_ += count;
}

std::optional<double> AgreementSum::result() const {
  if (compared_ == 0) return std::nullopt;
  return static_cast<double>(same_) / static_cast<double>(compared_);
}

}  // namespace quench::measure
