// How quantization hardens in the course of a training, and how the rate is steered to a target.
//
//     Annealer annealer(parameters, names, options, file_size);
//     annealer.begin_step(step, steps);
//     WeightBinding::Pass pass = annealer.quantizer().quantize(parameters);
//     loss = task + annealer.beta() * pass.rate;  ...  annealer.end_step();
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "compressor/training/quantization/weight_binding.h"
#include "compressor/training/training_record.h"

namespace quench::training {

//     kHard         hard values forward from the first step, soft gradients at a fixed hardness (Mentzer et al. 2018)
//     kExponential  soft values; sigma grows by a constant factor per step (Agustsson et al. 2017), then as kHard
//     kGap          soft values; a controller lets the gap between hard and soft loss fall like T / (T + t) (the same
//                   paper's schedule for image compression): sigma += K (gap(t) - T / (T + t) gap(0)); then as kHard
enum class HardnessSchedule : uint8_t { kHard, kExponential, kGap };

struct AnnealerOptions {
  WeightBindingOptions quantizer;
  HardnessSchedule schedule = HardnessSchedule::kHard;
  double sigma = 1;          // at first; with kHard all the time
  double sigma_growth = 20;  // kExponential: factor over the soft steps
  double soft_share = 0.4;   // of all steps that have soft values, 0 to 1; kHard has none
  // Loss per bit per weight: 0.1 with soft values, then steered where there is a target; 0 with hard ones.
  std::optional<double> beta;
  // Squared normalised distance per bit: 0 with soft values; 0.1 with hard ones, then steered where there is a target.
  std::optional<double> price;
  std::optional<double> target_bytes;  // of the file
};

class Annealer {
 public:
  // `file_size`: bytes of the file as it would be with the parameters' present hard values; asked now and then.
  Annealer(const NamedTensors& parameters, const std::vector<std::string>& names, const AnnealerOptions& options,
           std::function<uint64_t()> file_size);

  // Another training follows, to another target, with hard values, and codebook and price as they have become.
  void go_on(double target_bytes);

  WeightBinding& quantizer() { return quantizer_; }
  double beta() const { return soft_ ? beta_ : options_.beta.value_or(0); }

  void begin_step(int64_t step, int64_t steps);
  // After the pass of the step: steers the rate.
  void end_step();
  // Whether observe_gap is to be called in this step, with the hard less the soft task loss on its batch.
  bool wants_gap() const;
  void observe_gap(double gap);
  bool is_soft() const { return soft_; }

  // Asks file_size again, for the report of an epoch and for the goal.
  void measure_file();
  uint64_t file_bytes() const { return file_bytes_; }
  // Bytes of the last file less those of the target; 0 without one.
  double excess() const;
  // Raises the price until the file is smaller than the target by `margin` bytes, at the end of the training. False
  // where no price does that.
  bool enforce_target(double margin = 0);

  // Of the steps since the last call, which must not be none.
  TrainingRecord::Quantization record(uint64_t original_bytes);

  NamedTensors state() const;
  void set_state(const NamedTensors& state);  // throws as WeightBinding::set_state

 private:
  double soft_steps() const;
  bool is_held() const;
  void settle();
  double goal() const;

  AnnealerOptions options_;
  WeightBinding quantizer_;
  std::function<uint64_t()> file_size_;
  double beta_ = 0;
  double price_ = 0;
  int64_t step_ = 0, steps_ = 1;
  bool soft_ = false;
  double sigma_ = 1;
  double first_entropy_ = 0;  // bits per weight when the target came into force
  double final_entropy_ = 0;  // that the target asks for, by the last file
  double last_error_ = 0;     // relative, of the entropy
  double first_gap_ = 0;
  bool has_settled_ = false;  // at a price at which the file is small enough
  uint64_t file_bytes_ = 0;
};

}  // namespace quench::training
