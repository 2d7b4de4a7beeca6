#include "compressor/training/tune.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compressor/graph/simplify.h"
#include "compressor/training/loop/measure.h"
#include "compressor/training/loop/process.h"
#include "compressor/training/loop/trainer.h"
#include "compressor/training/quantization/coded_export.h"
#include "compressor/training/quantization/sensitivity.h"
#include "formats/error.h"

namespace quench::training {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kQuantizedElements = 1024;  // smaller tensors cost little, and matter much
constexpr double kFirstRatio = 20;            // of the search for the smallest file
constexpr double kRatioFactor = 1.3;          // at most, from one round to the next
constexpr double kLeastShare = 0.25;          // of such a step, or of the bracket
constexpr double kLaterRate = 1. / 3;         // of the learning rate, once there is a file that is good enough
constexpr int kSearchRounds = 6;
constexpr double kSearchPrecision = 1.04;
constexpr int kTargetRounds = 5;
constexpr double kRounding = 1e-9;  // of a difference of accuracies
constexpr double kDefaultStep = 1.5;
constexpr double kCodedShare = 0.9;  // of the order-0 entropy that indices take, which are coded with contexts

// What came of a round of the search; a ratio of 0: there was none.
struct Trial {
  double ratio = 0;
  double drop = 0;  // infinite where the file could not be made as small as that
};

// The nearer the loss is to the tolerated one, the smaller the change; within a bracket, where the loss would be that
// if it grew evenly with the ratio's logarithm.
double next_ratio(const Trial& good, const Trial& bad, double tolerated) {
  const auto share = [](double part, double whole) {
    return std::clamp(part / std::max(whole, kRounding), kLeastShare, 1.0);
  };
  if (bad.ratio == 0) return good.ratio * std::pow(kRatioFactor, share(tolerated - good.drop, tolerated));
  if (good.ratio == 0) return bad.ratio / std::pow(kRatioFactor, share(bad.drop - tolerated, tolerated));
  const double within =
      std::isfinite(bad.drop) ? std::min(share(tolerated - good.drop, bad.drop - good.drop), 1 - kLeastShare) : 0.5;
  return good.ratio * std::pow(bad.ratio / good.ratio, within);
}

OnnxModel with_properties(OnnxModel model, const quantizer::FileNotes::Pairs& properties) {
  quantizer::set_properties(model.proto, properties);
  return model;
}

quantizer::StoragePolicy storage_policy(const TuneOptions& options) {
  return {.include = {}, .exclude = options.exclude};
}

std::vector<std::string> quantized_names(const GraphModule& module, const TuneOptions& options) {
  quantizer::check_patterns(module.model(), storage_policy(options));
  std::vector<std::string> names;
  for (const auto& [name, tensor] : module.parameters()) {
    const bool large = tensor.dim() >= 2 && tensor.numel() >= kQuantizedElements;
    if (large && !quantizer::matches(options.exclude, name)) names.push_back(name);
  }
  if (names.empty()) {
    throw Error::make("{}: has no weights of {} and more elements to quantize", module.model().name,
                      kQuantizedElements);
  }
  return names;
}

AnnealerOptions annealer_options(const TuneOptions& options, std::optional<double> target_bytes) {
  AnnealerOptions result;
  result.target_bytes = target_bytes;
  result.quantizer.dimension = options.dimension;
  result.quantizer.centers = options.centers;
  result.quantizer.codebook = options.codebook;
  result.quantizer.channel_scales = options.channel_scales;
  result.quantizer.learn_scales = options.learn_scales;
  result.quantizer.seed = options.loop.seed;
  result.schedule = static_cast<HardnessSchedule>(options.annealing);
  result.sigma = options.sigma;
  result.sigma_growth = options.sigma_growth;
  result.soft_share = options.soft_share;
  result.beta = options.beta;
  result.price = options.price;
  return result;
}

class RemovedAtTheEnd {
 public:
  explicit RemovedAtTheEnd(fs::path path) : path_(std::move(path)) {}
  RemovedAtTheEnd(const RemovedAtTheEnd&) = delete;
  RemovedAtTheEnd& operator=(const RemovedAtTheEnd&) = delete;
  ~RemovedAtTheEnd() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }

 private:
  fs::path path_;
};

// One model on its way from trained to shipped.
class Tuning {
 public:
  Tuning(const fs::path& input, const TuneOptions& options)
      : input_(input),
        options_(options),
        process_(options.loop),
        model_(with_properties(load_trainable(input), options.notes.properties)),
        module_(model_, process_.device(), &process_.communicator()),
        normalized_(find_normalized_weights(model_)),
        teacher_(open_teacher(options.loop.teacher.empty() ? input : options.loop.teacher, process_.device(),
                              options.loop.threads)) {
    make_positive(module_, normalized_);
  }

  TuneReport run(const fs::path& output);

 private:
  void make_annealer(std::optional<double> target_bytes);
  double entropy_for(double bytes);
  bool train(const LoopOptions& loop);
  bool train_round(int round, double ratio, bool goes_on);
  bool harden(Trainer& trainer);
  void search(const fs::path& output, double before);
  struct Shipped {
    quantizer::CompressReport file;
    std::vector<double> paper_ratios;
  };
  Shipped ship(const fs::path& output) const;
  void report(Shipped shipped);
  double target_bytes(double ratio) const { return static_cast<double>(model_.file_bytes) / ratio; }
  std::optional<double> first_target() const;
  TestResult measure_file(const fs::path& path, const data::Dataset* data, Communicator* communicator) const;
  TestResult judge(const fs::path& path) const;
  int rank() const { return process_.communicator().rank(); }
  bool is_leader() const { return rank() == 0; }
  fs::path round_checkpoint(int round) const;
  void remove_checkpoints() const;

  struct Snapshot {
    NamedTensors parameters, buffers, annealer;
  };
  Snapshot snapshot() const;
  void restore(const Snapshot& snapshot);

  fs::path input_;
  const TuneOptions& options_;
  Process process_;
  OnnxModel model_;
  GraphModule module_;
  std::vector<NormalizedWeight> normalized_;
  std::unique_ptr<Teacher> teacher_;
  std::unique_ptr<Annealer> annealer_;
  TuneReport report_;
};

void Tuning::make_annealer(std::optional<double> target_bytes) {
  const std::vector<std::string> names = quantized_names(module_, options_);
  AnnealerOptions annealing = annealer_options(options_, target_bytes);
  if (!options_.equal_steps) {
    Trainer trainer(module_, teacher_.get(), options_.loop, process_.communicator());
    annealing.quantizer.tensor_steps = trainer.balanced_steps(names, options_.channel_scales);
  }
  const auto size = [this] {
    const CodedExport file(module_, annealer_->quantizer(), storage_policy(options_), options_.coder,
                           options_.notes.metadata);
    // Ranks whose sums differ in their last bits must not decide differently whether it is small enough.
    return static_cast<uint64_t>(process_.communicator().of_leader(static_cast<int64_t>(file.coded().size().bytes)));
  };
  const auto make = [&](double step) {
    WeightBindingOptions& quantizer = annealing.quantizer;
    quantizer.step = step;
    for (auto& [name, factor] : quantizer.tensor_steps) factor = std::min(factor, std::max(1.0, kCoarsestStep / step));
    annealer_ = std::make_unique<Annealer>(module_.parameters(), names, annealing, size);
  };
  make(options_.step.value_or(kDefaultStep));
  if (options_.step || !target_bytes) return;
  make(step_for_rate(module_.parameters(), names, annealing.quantizer.tensor_steps, options_.channel_scales,
                     entropy_for(*target_bytes)));
}

// The order-0 entropy of the quantized weights, in bits per weight, at which the file has that size: by what a file of
// the present weights holds beside its indices.
double Tuning::entropy_for(double bytes) {
  torch::NoGradGuard no_grad;
  WeightBinding& quantizer = annealer_->quantizer();
  quantizer.quantize(module_.parameters());
  annealer_->measure_file();
  const double bytes_per_bit = static_cast<double>(quantizer.weight_count()) * kCodedShare / 8;
  const double rest = static_cast<double>(annealer_->file_bytes()) - quantizer.entropy() * bytes_per_bit;
  return (bytes - rest) / bytes_per_bit;
}

std::optional<double> Tuning::first_target() const {
  if (options_.ratio) return target_bytes(*options_.ratio);
  if (!options_.bits) return std::nullopt;
  return *options_.bits * static_cast<double>(stored_weights(model_)) / 8;
}

// Each rank measures its share of the data where there is a communicator.
TestResult Tuning::measure_file(const fs::path& path, const data::Dataset* data, Communicator* communicator) const {
  if (!data) return {};
  const bool is_original = path == input_;
  if (is_original && data->class_count() == 0) return {};  // it is as good as itself
  const std::unique_ptr<Teacher> file = open_teacher(path, torch::kCPU, options_.loop.threads);
  std::unique_ptr<Teacher> original;
  if (!is_original) original = open_teacher(input_, torch::kCPU, options_.loop.threads);
  return measure(*file, input_batch(model_), *data, is_original ? file.get() : original.get(), communicator);
}

// By what rounds are chosen: the validation split, or else the test data.
TestResult Tuning::judge(const fs::path& path) const {
  const auto open = options_.loop.validation > 0 ? open_validation_data : open_test_data;
  return measure_file(path, open(model_, options_.loop).get(), &process_.communicator());
}

fs::path Tuning::round_checkpoint(int round) const {
  fs::path path = options_.loop.checkpoint;
  if (!path.empty() && round > 0) path += fmt::format(".{}", round);
  return path;
}

// Whether the target is reached. `loop`: of this round.
bool Tuning::train(const LoopOptions& loop) {
  Trainer trainer(module_, teacher_.get(), loop, process_.communicator());
  trainer.set_annealer(annealer_.get(), [this] { keep_positive(module_, normalized_); });
  trainer.set_earlier(report_.records);
  TuneOptions options = options_;
  options.loop = loop;
  report_.records = trainer.run(run_key(options));
  return harden(trainer);
}

// From the weights of the last step to those of the file. Statistics and scales change the size of the file once more,
// so that it takes a margin where they make it larger than the target.
bool Tuning::harden(Trainer& trainer) {
  double margin = 0;
  for (int round = 0; round < kTargetRounds && annealer_->enforce_target(margin); ++round) {
    trainer.estimate_statistics(kStatisticsBatches, trainer.hard_weights());
    snap_scales(module_, annealer_->quantizer(), normalized_);
    annealer_->measure_file();
    const double excess = annealer_->excess();
    if (excess <= 0) return true;
    margin += excess;
  }
  return false;
}

Tuning::Shipped Tuning::ship(const fs::path& output) const {
  Shipped shipped;
  shipped.file.input_bytes = model_.file_bytes;
  const CodedExport file(module_, annealer_->quantizer(), storage_policy(options_), options_.coder,
                         options_.notes.metadata);
  file.coded().save(output, shipped.file);
  shipped.paper_ratios = file.coded().paper_ratios();
  return shipped;
}

void Tuning::report(Shipped shipped) {
  report_.file = std::move(shipped.file);
  report_.paper_ratios = std::move(shipped.paper_ratios);
}

// A round of the search: from the model as it came, or going on from the last round that was good enough.
bool Tuning::train_round(int round, double ratio, bool goes_on) {
  LoopOptions loop = options_.loop;
  loop.checkpoint = round_checkpoint(round);
  const bool has_begun = round == 0 || fs::exists(loop.checkpoint);
  loop.resume = options_.loop.resume && process_.communicator().of_leader(has_begun ? 1 : 0) != 0;
  if (goes_on) {
    loop.epochs = std::max(1, loop.epochs / 2);
    loop.learning_rate *= kLaterRate;
    annealer_->go_on(target_bytes(ratio));
  } else {
    make_annealer(target_bytes(ratio));
  }
  return train(loop);
}

Tuning::Snapshot Tuning::snapshot() const {
  Snapshot copy;
  for (const auto& [name, tensor] : module_.parameters()) copy.parameters[name] = tensor.detach().clone();
  for (const auto& [name, tensor] : module_.buffers()) copy.buffers[name] = tensor.clone();
  if (!annealer_) return copy;
  for (const auto& [name, tensor] : annealer_->state()) copy.annealer[name] = tensor.detach().clone();
  return copy;
}

void Tuning::restore(const Snapshot& copy) {
  torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : module_.parameters()) tensor.copy_(copy.parameters.at(name));
  for (auto& [name, tensor] : module_.buffers()) tensor.copy_(copy.buffers.at(name));
  if (!copy.annealer.empty()) annealer_->set_state(copy.annealer);
}

// The ratio falls until a file is good, each round from the model as it came, or grows, each going on from the last
// good one, until the loss is too large; then the bracket is narrowed. Each rank tries a file of its own, since ranks
// need not have a folder in common.
void Tuning::search(const fs::path& output, double before) {
  Trial good, bad;
  double ratio = options_.ratio.value_or(kFirstRatio);
  Snapshot last = snapshot();
  if (!options_.loop.resume) remove_checkpoints();  // an earlier search's
  for (int round = 0; round < kSearchRounds; ++round) {
    const fs::path trial = fs::path(output) += is_leader() ? ".trial" : fmt::format(".trial.{}", rank());
    const RemovedAtTheEnd removed(trial);
    const bool reached = train_round(round, ratio, good.ratio > 0);
    const Shipped shipped = ship(trial);
    const double drop = 100 * (before - judge(trial).accuracy.value_or(0));
    const auto bytes = process_.communicator().of_leader(static_cast<int64_t>(shipped.file.output_bytes));
    const double file_ratio = static_cast<double>(model_.file_bytes) / static_cast<double>(bytes);
    const bool is_good = reached && drop <= *options_.max_drop + kRounding;
    if (is_leader() && options_.on_round) {
      options_.on_round({file_ratio, reached ? std::optional(drop) : std::nullopt, is_good});
    }
    if (is_good) {
      good = {file_ratio, drop};  // it may be smaller than was asked for
      last = snapshot();
      report(shipped);
      if (is_leader()) fs::rename(trial, output);
    } else {
      bad = {ratio, reached ? drop : std::numeric_limits<double>::infinity()};
      if (good.ratio == 0) bad.ratio = std::min(ratio, file_ratio);  // the smallest file there is, or too small
      restore(last);
    }
    if (bad.ratio > 0 && good.ratio > 0 && bad.ratio / good.ratio < kSearchPrecision) break;
    ratio = next_ratio(good, bad, *options_.max_drop);
  }
  if (good.ratio == 0) {
    throw Error::make("{}: even {:.1f} times smaller it loses more than {} points: try more epochs or a smaller ratio",
                      input_.string(), bad.ratio, *options_.max_drop);
  }
}

TuneReport Tuning::run(const fs::path& output) {
  const std::unique_ptr<data::Dataset> test = open_test_data(model_, options_.loop);
  const TestResult before = judge(input_);
  if (options_.max_drop && !before.accuracy) {
    throw Error("--max-drop needs test data with labels, of as many classes as the model has scores");
  }
  if (options_.max_drop) {
    search(output, *before.accuracy);
  } else {
    make_annealer(first_target());
    if (!train(options_.loop)) {
      const double target = static_cast<double>(annealer_->file_bytes()) - annealer_->excess();
      throw Error::make("{}: the file cannot be made as small as {} bytes, it has {}", input_.string(),
                        static_cast<uint64_t>(target), annealer_->file_bytes());
    }
    if (is_leader()) report(ship(output));
  }
  if (!is_leader()) return {};
  if (options_.loop.validation > 0) {
    const std::unique_ptr<data::Dataset> validation = open_validation_data(model_, options_.loop);
    report_.validation_before = before.accuracy;
    report_.validation_after = measure_file(output, validation.get(), nullptr).accuracy;
    report_.accuracy_before = measure_file(input_, test.get(), nullptr).accuracy;
  } else {
    report_.accuracy_before = before.accuracy;
  }
  const TestResult after = measure_file(output, test.get(), nullptr);
  report_.accuracy_after = after.accuracy;
  report_.snr_db = after.snr_db;
  remove_checkpoints();
  return std::move(report_);
}

void Tuning::remove_checkpoints() const {
  for (int round = 0; round < kSearchRounds && is_leader(); ++round) remove_checkpoint(round_checkpoint(round));
}

}  // namespace

TuneReport tune(const fs::path& input, const fs::path& output, const TuneOptions& options) {
  std::error_code ignored;
  if (fs::equivalent(input, output, ignored))
    throw Error::make("{}: output and input are the same file", input.string());
  return run_torch([&] { return Tuning(input, options).run(output); });
}

}  // namespace quench::training
