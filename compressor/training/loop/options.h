// What tuning and training have in common: data, loss, loop. No libtorch here, so that the program's command line need
// not know it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compressor/data/dataset.h"
#include "compressor/training/ode_options.h"
#include "compressor/training/training_record.h"

namespace quench::training {

// A value of an option, as users write it.
template <typename Value>
struct Named {
  const char* name;
  Value value;
};

// The name of a value in its table.
template <typename Value, size_t kCount>
std::string name_in(const Named<Value> (&names)[kCount], Value value) {
  for (const Named<Value>& each : names) {
    if (each.value == value) return each.name;
  }
  return "unknown";
}

enum class OptimizerKind : uint8_t { kSgd, kAdam };

inline constexpr Named<OptimizerKind> kOptimizers[] = {{"sgd", OptimizerKind::kSgd}, {"adam", OptimizerKind::kAdam}};

// Of the learning rate over the run.
//     kCosine    from the full rate to 0
//     kStep      divided by 10 after half and after three quarters of the epochs
//     kOneCycle  rises over the first quarter, then falls to 0 (Smith and Topin 2018; linear both ways)
enum class RateSchedule : uint8_t { kCosine, kStep, kOneCycle };

inline constexpr Named<RateSchedule> kRateSchedules[] = {
    {"cosine", RateSchedule::kCosine}, {"step", RateSchedule::kStep}, {"one-cycle", RateSchedule::kOneCycle}};

inline constexpr Named<solver::Gradient> kGradients[] = {{"stored", solver::Gradient::kStored},
                                                         {"recomputed", solver::Gradient::kRecompute},
                                                         {"adjoint", solver::Gradient::kAdjoint}};

// visit_options.h says of each option whether a run that goes on needs the same.
struct LoopOptions {
  // Specs of data/dataset.h. "cifar10:DIR", "mnist:DIR" and "synthetic:shapes" mean their training split, and then
  // `test_data` is by default their test split; otherwise no accuracy is measured where `test_data` is empty.
  std::string data, test_data;
  data::DatasetOptions preprocessing;
  uint64_t samples = 0;  // of an epoch; 0: all
  // Samples of the training data that are not trained on: epochs and rounds are judged by them, not by the test data.
  uint64_t validation = 0;

  int epochs = 10;      // at least 1
  int64_t batch = 128;  // of all processes together
  OptimizerKind optimizer = OptimizerKind::kSgd;
  RateSchedule schedule = RateSchedule::kCosine;
  double learning_rate = 0.02;
  double momentum = 0.9;
  double weight_decay = 0;  // of tensors with two and more dimensions
  bool augment = true;      // images: pad by an eighth and crop, mirror half of them
  // The model's first output is the log density of each sample in nats, whose mean over the samples is raised: no labels,
  // no teacher. A second input has noise of -1 and 1 in the samples' shape, drawn anew for each sample of an epoch.
  bool likelihood = false;
  double drop_path = 0;  // of the values of each join of a network of columns; see drop_path.h. 0: none is left out

  std::filesystem::path teacher;      // an .onnx or .quench file to learn from
  double temperature = 4;             // of the distillation of class scores (Hinton et al. 2015)
  std::optional<double> label_share;  // of the labels in the loss, 0 to 1; the rest is the teacher's

  std::string device = "cpu";  // cpu, cuda, cuda:1
  bool bfloat16 = true;        // autocast, where the device is faster with it
  bool recompute = false;      // activations in the backward pass, in place of keeping them
  OdeOptions ode;              // where it has blocks, neither bfloat16 nor recompute
  int threads = 1;
  uint64_t seed = 1;

  std::filesystem::path checkpoint;  // empty: none
  double checkpoint_minutes = 5;
  bool resume = false;  // go on from the checkpoint

  std::function<void(std::string_view stage, double share)> progress;
  // After each epoch, in the first process: the records of all epochs, the new one last.
  std::function<void(std::span<const TrainingRecord>)> on_epoch;
};

// Whether this machine computes faster in bfloat16 on the device.
bool bfloat16_pays(const std::string& device);

}  // namespace quench::training
