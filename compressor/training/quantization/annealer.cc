#include "compressor/training/quantization/annealer.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "formats/error.h"

namespace quench::training {
namespace {

constexpr double kFirstPrice = 0.1;  // close to the slope of the rate-distortion curve at high rate
constexpr double kFirstBeta = 0.1;   // the paper's
constexpr double kHardSigma = 1;     // at which soft gradients are nearly those of the identity
constexpr double kRampShare = 0.4;   // of the hard steps, at the end of which the rate has come down to the target
constexpr double kSteering = 0.1;    // change of the price per step and relative error of the rate
// Change of the price and of that error: once the weights stand still, cheap centers get cheaper from step to step, and
// a price that only follows the error swings more and more.
constexpr double kDamping = 0.5;
// Of all steps, the last ones: price and code lengths stay what they are. Many weights rest where two centers cost the
// same, and follow every small change of either in great numbers, which the network cannot make good any more once the
// learning rate is low.
constexpr double kHeldShare = 0.25;
constexpr int64_t kFileSteps = 100;  // between two looks at the file's size
constexpr int64_t kGapSteps = 20;    // between two looks at the gap
constexpr double kGapGain = 0.25;    // K, in units of sigma over the first gap
constexpr double kGapTime = 0.1;     // T, as a share of the soft steps
constexpr double kMaxSigma = 1e4;
constexpr double kMaxBeta = 3;        // more would outweigh any task, and stay for long
constexpr double kLeastPrice = 0.01;  // less is hardly felt, and far to come back from
constexpr double kMaxPrice = 1e4;     // at which all weights lie at the cheapest center
constexpr double kPriceStep = 1.15;   // from one price that is tried to the next
constexpr int kPriceHalvings = 5;
constexpr double kLeastGoal = 1e-6;  // bits per weight; all weights may come to lie at one center

}  // namespace

Annealer::Annealer(const NamedTensors& parameters, const std::vector<std::string>& names,
                   const AnnealerOptions& options, std::function<uint64_t()> file_size)
    : options_(options),
      quantizer_(parameters, names, options.quantizer),
      file_size_(std::move(file_size)),
      beta_(options.beta.value_or(kFirstBeta)),
      price_(options.price.value_or(kFirstPrice)),
      sigma_(options.sigma) {}

void Annealer::go_on(double target_bytes) {
  options_.schedule = HardnessSchedule::kHard;
  options_.target_bytes = target_bytes;
  first_entropy_ = final_entropy_ = last_error_ = 0;
  has_settled_ = false;
}

void Annealer::begin_step(int64_t step, int64_t steps) {
  step_ = step;
  steps_ = steps;
  soft_ = static_cast<double>(step) < soft_steps();
  Hardness& hardness = quantizer_.hardness();
  hardness.hard_values = !soft_;
  hardness.price = soft_ ? options_.price.value_or(0) : price_;
  if (soft_ && options_.schedule == HardnessSchedule::kExponential) {
    sigma_ = options_.sigma * std::pow(options_.sigma_growth, static_cast<double>(step) / soft_steps());
  }
  hardness.sigma = soft_ ? sigma_ : kHardSigma;
  hardness.hold_lengths = is_held();
  hardness.wants_bits = beta() > 0;
}

bool Annealer::is_held() const { return static_cast<double>(step_) >= (1 - kHeldShare) * static_cast<double>(steps_); }

double Annealer::soft_steps() const {
  return options_.schedule == HardnessSchedule::kHard ? 0 : options_.soft_share * static_cast<double>(steps_);
}

bool Annealer::wants_gap() const {
  return soft_ && options_.schedule == HardnessSchedule::kGap && step_ % kGapSteps == 0;
}

void Annealer::observe_gap(double gap) {
  if (first_gap_ == 0) first_gap_ = std::max(gap, 1e-3);
  const double time = kGapTime * soft_steps();
  const double wanted = time / (time + static_cast<double>(step_)) * first_gap_;
  const double change = kGapGain * (gap - wanted) / first_gap_;
  sigma_ = std::min(kMaxSigma, sigma_ * (1 + std::clamp(change, -0.2, 0.5)));
}

// The rate to be at now: from where it was at first to the target over the first part of the steps, then the target.
double Annealer::goal() const {
  const double ramp_steps = soft_steps() + kRampShare * (static_cast<double>(steps_) - soft_steps());
  const double ramp = std::min(1.0, static_cast<double>(step_) / ramp_steps);
  return std::max(kLeastGoal, first_entropy_ + (final_entropy_ - first_entropy_) * ramp);
}

void Annealer::end_step() {
  if (!options_.target_bytes) return;
  if (is_held()) return settle();
  if (step_ % kFileSteps == 0 || final_entropy_ == 0) measure_file();
  if (first_entropy_ == 0) first_entropy_ = std::max(quantizer_.entropy(), final_entropy_);
  const double error = std::clamp(quantizer_.entropy() / goal() - 1, -0.5, 0.5);
  if (soft_) {
    beta_ = std::clamp(beta_ * std::exp(kSteering * error), 1e-4, kMaxBeta);
  } else {
    const double change = kSteering * error + kDamping * (error - last_error_);
    price_ = std::clamp(price_ * std::exp(change), kLeastPrice, 10.0);
  }
  last_error_ = error;
}

// Once, before price and lengths come to rest: the weights that a price has yet to bring to the target have a quarter of
// the training to make up for it, and none at its end.
void Annealer::settle() {
  if (has_settled_ || soft_) return;
  has_settled_ = true;
  const double price = price_;
  if (!enforce_target()) price_ = price;
}

void Annealer::measure_file() {
  file_bytes_ = file_size_();
  if (options_.target_bytes)
    final_entropy_ = quantizer_.entropy() * *options_.target_bytes / static_cast<double>(file_bytes_);
}

double Annealer::excess() const {
  return options_.target_bytes ? static_cast<double>(file_bytes_) - *options_.target_bytes : 0;
}

bool Annealer::enforce_target(double margin) {
  Hardness& hardness = quantizer_.hardness();
  hardness.hard_values = true;
  const auto fits_at = [&](double price) {
    price_ = hardness.price = price;
    measure_file();
    return excess() + margin <= 0;
  };
  if (!options_.target_bytes) {
    measure_file();
    return true;
  }
  if (fits_at(price_)) return true;
  double low = price_, high = std::max(price_, kLeastPrice) * kPriceStep;
  while (!fits_at(high)) {
    if (high > kMaxPrice) return false;
    low = high;
    high *= kPriceStep;
  }
  for (int round = 0; round < kPriceHalvings; ++round) {
    const double middle = std::sqrt(low * high);
    (fits_at(middle) ? high : low) = middle;
  }
  return fits_at(high);
}

TrainingRecord::Quantization Annealer::record(uint64_t original_bytes) {
  TrainingRecord::Quantization record;
  record.sigma = soft_ ? sigma_ : kHardSigma;
  record.price = quantizer_.hardness().price;
  record.beta = beta();
  record.entropy = quantizer_.entropy();
  record.flips = quantizer_.take_flips();
  if (file_bytes_ > 0) record.ratio = static_cast<double>(original_bytes) / static_cast<double>(file_bytes_);
  record.tensor_bits = quantizer_.tensor_entropies();
  record.histogram = quantizer_.histogram();
  record.centers = quantizer_.centers(0);
  return record;
}

NamedTensors Annealer::state() const {
  NamedTensors state = quantizer_.state();
  state["steering"] = torch::tensor(
      {beta_, price_, sigma_, first_entropy_, final_entropy_, last_error_, first_gap_, has_settled_ ? 1. : 0.},
      torch::kFloat64);
  return state;
}

void Annealer::set_state(const NamedTensors& state) {
  quantizer_.set_state(state);
  const torch::Tensor& steering = state.at("steering");
  if (steering.numel() != 8) throw Error("the annealer's state is of another version");
  const auto values = steering.accessor<double, 1>();
  beta_ = values[0];
  price_ = values[1];
  sigma_ = values[2];
  first_entropy_ = values[3];
  final_entropy_ = values[4];
  last_error_ = values[5];
  first_gap_ = values[6];
  has_settled_ = values[7] != 0;
}

}  // namespace quench::training
