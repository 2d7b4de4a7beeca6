// How often a model's scores name the right class, and how often two models name the same.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "compressor/graph/evaluator.h"
#include "compressor/measure/scores.h"

namespace quench::measure {

// In which a share lies with 95 % confidence.
struct Interval {
  double low = 0, high = 1;
};

// Of so many successes among `count` independent tries, by Wilson's score (1927), which holds near 0 and 1, too.
Interval wilson_interval(double successes, double count);

struct Accuracy {
  double top1 = 0;             // a share, 0 to 1
  Interval interval = {};      // of top1
  std::optional<double> loss;  // mean cross entropy in nats, of scores taken as logits; not of outputs that are classes
};

// Sums over samples, batch by batch.
class AccuracySum {
 public:
  // Plain sums, to be added up across processes.
  struct Sums {
    double samples = 0, right = 0, loss = 0, without_loss = 0;
  };
  AccuracySum() = default;
  explicit AccuracySum(const Sums& sums) : sums_(sums) {}

  // Rows of `classes` scores, one for each label (0 to classes - 1). The first of several highest scores counts.
  void add(std::span<const float> scores, size_t classes, std::span<const int64_t> labels);
  // Classes as the model names them.
  void add(std::span<const int64_t> named, std::span<const int64_t> labels);

  // nullopt: nothing was added.
  std::optional<Accuracy> result() const;

  const Sums& sums() const { return sums_; }

 private:
  Sums sums_;
};

// The share of places (samples, where there is one score row for each) at which two models name the same class.
class AgreementSum {
 public:
  // Of the first `samples` of the batch's `rows`. Outputs of other shapes than the reference's are left out.
  void add(const Scores& scores, const graph::HostTensor& reference, const graph::HostTensor& output, uint64_t samples,
           uint64_t rows);
  // nullopt: nothing was added.
  std::optional<double> result() const;

 private:
  uint64_t compared_ = 0, same_ = 0;
};

}  // namespace quench::measure
