#include "compressor/training/loop/trainer.h"

#include <algorithm>
#include <cmath>

#include "compressor/training/autocast.h"
#include "compressor/training/loop/clock.h"
#include "compressor/training/loop/drop_path.h"
#include "compressor/training/loop/measure.h"
#include "compressor/training/quantization/sensitivity.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

constexpr int64_t kSensitivityBatches = 2;
constexpr int64_t kEpochStatisticsBatches = 20;

// Keeps running statistics as they are, whatever passes with statistics of the batch are made meanwhile.
class StatisticsGuard {
 public:
  explicit StatisticsGuard(NamedTensors& buffers) : buffers_(buffers) {
    for (const auto& [name, buffer] : buffers) copies_[name] = buffer.clone();
  }
  StatisticsGuard(const StatisticsGuard&) = delete;
  StatisticsGuard& operator=(const StatisticsGuard&) = delete;
  ~StatisticsGuard() {
    for (auto& [name, buffer] : buffers_) buffer.copy_(copies_.at(name));
  }

 private:
  NamedTensors& buffers_;
  NamedTensors copies_;
};

// Finite if and only if all values are (and their squares).
Tensor magnitude(const std::vector<Tensor>& tensors) {
  torch::NoGradGuard no_grad;
  return torch::stack(at::_foreach_norm(tensors, 2)).sum();
}

}  // namespace

Trainer::Trainer(GraphModule& module, Teacher* teacher, const LoopOptions& options, Communicator& communicator)
    : module_(module),
      teacher_(teacher),
      options_(options),
      communicator_(communicator),
      data_(module.model(), options, teacher != nullptr, communicator),
      task_(module.model().name, data_.class_count(), teacher != nullptr, options, communicator),
      steps_(data_.batches().count() * options.epochs) {
  if (!options.ode.blocks.empty()) module_.integrate_blocks(options.ode);
  if (options.recompute) module_.recompute_activations();
}

void Trainer::set_annealer(Annealer* annealer, std::function<void()> after_step) {
  annealer_ = annealer;
  after_step_ = std::move(after_step);
}

std::vector<Tensor> Trainer::trained_tensors() const {
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : module_.parameters()) tensors.push_back(tensor);
  if (annealer_) {
    for (const auto& [name, tensor] : annealer_->quantizer().learned()) tensors.push_back(tensor);
  }
  return tensors;
}

// Matrices decay; biases, scales and what the quantizer learns do not.
void Trainer::make_optimizer() {
  std::vector<Tensor> matrices, others;
  for (const auto& [name, tensor] : module_.parameters()) (tensor.dim() >= 2 ? matrices : others).push_back(tensor);
  if (annealer_) {
    for (const auto& [name, tensor] : annealer_->quantizer().learned()) others.push_back(tensor);
  }
  optimizer_ = std::make_unique<Optimizer>(matrices, others, options_);
}

double Trainer::rate_at(int64_t step) const {
  return learning_rate(options_, static_cast<double>(step) / static_cast<double>(steps_));
}

Batch Trainer::to_device(const Batch& batch) const {
  const auto moved = [this](const Tensor& tensor) { return tensor.defined() ? tensor.to(module_.device()) : tensor; };
  const Tensor inputs = moved(batch.inputs);
  return {inputs.dim() == 4 ? inputs.contiguous(torch::MemoryFormat::ChannelsLast) : inputs, moved(batch.labels),
          moved(batch.noise)};
}

Tensors Trainer::forward(const Batch& batch, GraphModule::Mode mode, const NamedTensors& weights) {
  const Autocast autocast(module_.device(), options_.bfloat16);
  NamedTensors inputs = {{module_.inputs()[0], batch.inputs}};
  if (batch.noise.defined()) inputs[module_.inputs()[1]] = batch.noise;
  return module_.forward(inputs, mode, weights);
}

// Of ODE blocks that cannot be solved one wants to know when.
template <typename Body>
auto Trainer::at_this_step(const Body& body) const {
  try {
    return body();
  } catch (const GraphModule::NoSolution& error) {
    throw Error::make("{}; this was {}: where the loss has risen before it, {}", error.what(), this_step(), way_out());
  }
}

// The host waits for the device once: where the loss is read, when all but the last of the work is under way.
double Trainer::step(const Batch& made) {
  const Batch batch = to_device(made);
  const Tensors taught = teacher_ ? teacher_->outputs(batch.inputs) : Tensors();
  WeightBinding::Pass pass;
  if (annealer_) {
    annealer_->begin_step(progress_.step, steps_);
    pass = annealer_->quantizer().quantize(module_.parameters());
  }
  draw_paths();
  const int64_t before = module_.evaluations();
  const Tensors outputs = at_this_step([&] { return forward(batch, GraphModule::Mode::kTrain, pass.weights); });
  const int64_t between = module_.evaluations();
  task_.check(outputs, taught);
  const Tensor task = task_.loss(outputs, taught, batch);
  Tensor total = task;
  // Each rank adds its part of the rate, which all have alike.
  if (annealer_ && annealer_->beta() > 0) total = total + pass.rate * (annealer_->beta() / communicator_.size());
  optimizer_->zero_grad();
  at_this_step([&] { total.backward(); });
  if (module_.integrates_blocks()) count_evaluations(between - before, module_.evaluations() - between);
  Tensor loss = task.detach().clone();
  communicator_.all_reduce_sum({loss});
  reduce_gradients();
  if (annealer_) {
    if (annealer_->wants_gap()) observe_gap(batch, taught, loss.item<double>());
    annealer_->quantizer().precondition_gradients();
  }
  module_.set_paths({});  // in training steps only
  optimizer_->step(rate_at(progress_.step));
  // Quantized weights are finite whatever becomes of those behind them, so that the loss does not tell.
  const Tensor numbers = torch::stack({loss, magnitude(trained_tensors()).to(loss.scalar_type())}).cpu();
  const double value = numbers[0].item<double>();
  check_finite(value, "loss is");
  check_finite(numbers[1].item<double>(), "weights are");
  if (after_step_) after_step_();  // before the file is measured: it holds positive scales only
  if (annealer_) {
    annealer_->quantizer().rearrange();
    annealer_->end_step();
  }
  return value;
}

std::string Trainer::this_step() const {
  return fmt::format("step {} (epoch {})", progress_.step + 1, progress_.step / data_.batches().count() + 1);
}

std::string Trainer::way_out() const {
  return "try a smaller --learning-rate" +
         (checkpointing_->has_saved() ? "; the last good checkpoint is " + options_.checkpoint.string() : "");
}

void Trainer::check_finite(double value, const char* what) const {
  if (std::isfinite(value)) return;
  throw Error::make("the {} not finite at {}: {}", what, this_step(), way_out());
}

// Each process takes steps of its own.
void Trainer::count_evaluations(int64_t forward, int64_t backward) {
  const Tensor counts = torch::tensor({static_cast<double>(forward), static_cast<double>(backward)}, torch::kFloat64);
  communicator_.all_reduce_sum({counts});
  progress_.evaluations.forward += counts[0].item<double>();
  progress_.evaluations.backward += counts[1].item<double>();
}

void Trainer::draw_paths() {
  if (options_.drop_path == 0 || module_.joins().empty()) return;
  module_.set_paths(
      training::draw_paths(module_.joins(), module_.columns(), options_.drop_path, options_.seed, progress_.step));
}

// A parameter on a path that was left out has a gradient of zero, in one process and in many.
void Trainer::reduce_gradients() {
  std::vector<Tensor> gradients;
  for (Tensor& tensor : trained_tensors()) {
    if (!tensor.grad().defined()) tensor.mutable_grad() = torch::zeros_like(tensor);
    gradients.push_back(tensor.grad());
  }
  communicator_.all_reduce_sum(gradients);
}

void Trainer::observe_gap(const Batch& batch, const Tensors& taught, double soft_loss) {
  torch::NoGradGuard no_grad;
  const StatisticsGuard guard(module_.buffers());
  const Tensors outputs = forward(batch, GraphModule::Mode::kTrain, hard_weights());
  Tensor loss = task_.loss(outputs, taught, batch).detach().clone();
  communicator_.all_reduce_sum({loss});
  annealer_->observe_gap(loss.item<double>() - soft_loss);
}

std::map<std::string, double> Trainer::balanced_steps(const std::vector<std::string>& names, bool per_channel) {
  torch::NoGradGuard no_grad;
  const StatisticsGuard guard(module_.buffers());
  std::vector<Batch> batches;
  std::vector<Tensors> clean;
  data_.batches().start(0);
  for (int64_t i = 0; i < std::min(kSensitivityBatches, data_.batches().count()); ++i) {
    batches.push_back(to_device(data_.batches().next()));
    clean.push_back(forward(batches.back(), GraphModule::Mode::kTrain, {}));
    task_.check(clean.back(), clean.back());
  }
  double done = 0;
  const auto change = [&](const NamedTensors& weights) {
    Tensor sum = torch::zeros({1});
    for (size_t i = 0; i < batches.size(); ++i) {
      const Tensors noisy = forward(batches[i], GraphModule::Mode::kTrain, weights);
      sum += task_.imitation(noisy, clean[i], batches[i].inputs.size(0)).cpu();
    }
    communicator_.all_reduce_sum({sum});
    if (options_.progress) options_.progress("measuring", ++done / static_cast<double>(names.size()));
    return sum.item<double>();
  };
  return training::balanced_steps(module_.parameters(), names, per_channel, change, options_.seed);
}

void Trainer::set_judged_form(std::function<OnnxModel(const OnnxModel&)> judged_form) {
  judged_form_ = std::move(judged_form);
}

void Trainer::set_earlier(std::vector<TrainingRecord> records) {
  if (!records.empty()) progress_.seconds = records.back().seconds;
  progress_.records = std::move(records);
}

NamedTensors Trainer::hard_weights() {
  if (!annealer_) return {};
  torch::NoGradGuard no_grad;
  return annealer_->quantizer().hard_weights(module_.parameters());
}

std::vector<TrainingRecord> Trainer::run(RunKey key) {
  const SignalCatcher signals;
  Batches& batches = data_.batches();
  make_optimizer();
  key.add("an epoch of", fmt::format("{} batches", batches.count()));  // the data behind one spec may have changed
  checkpointing_ = std::make_unique<Checkpointing>(Checkpointing::Parts{module_, annealer_, *optimizer_},
                                                   std::move(key), options_, communicator_);
  if (options_.resume) progress_ = checkpointing_->load();
  share_first_values();
  start_ = monotonic_seconds() - progress_.seconds;
  while (progress_.step < steps_) {
    const auto epoch = static_cast<int>(progress_.step / batches.count());
    const int64_t first = progress_.step % batches.count();
    if (first == 0) {
      progress_.loss_sum = 0;
      progress_.evaluations = {};
    }
    batches.start(epoch, first);
    for (int64_t i = first; i < batches.count(); ++i) {
      progress_.loss_sum += step(batches.next());
      ++progress_.step;
      if (options_.progress) {
        options_.progress("training", static_cast<double>(progress_.step) / static_cast<double>(steps_));
      }
      if (i + 1 == batches.count()) finish_epoch(epoch);
      save_or_stop(signals);
    }
  }
  return progress_.records;
}

// The first rank's, on all of them.
void Trainer::share_first_values() {
  std::vector<Tensor> shared = trained_tensors();
  for (auto& [name, buffer] : module_.buffers()) shared.push_back(buffer);
  if (annealer_) {
    for (const auto& [name, tensor] : annealer_->quantizer().state()) shared.push_back(tensor);
  }
  communicator_.broadcast(shared);
}

// At the end of a step: all ranks stop at the same one.
void Trainer::save_or_stop(const SignalCatcher& signals) {
  Tensor stop = torch::full({1}, signals.has_caught() ? 1.0f : 0.0f);
  communicator_.all_reduce_sum({stop});
  const bool asked = stop.item<float>() > 0;
  progress_.seconds = monotonic_seconds() - start_;
  if (asked || checkpointing_->is_due() || progress_.step == steps_) checkpointing_->save(progress_);
  if (!asked) return;
  throw Error::make("stopped by a signal at step {} of {}{}", progress_.step, steps_,
                    options_.checkpoint.empty() ? "" : "; --resume goes on from " + options_.checkpoint.string());
}

void Trainer::finish_epoch(int epoch) {
  TrainingRecord record;
  record.epoch = epoch + 1;
  record.epochs = options_.epochs;
  record.step = progress_.step;
  record.learning_rate = rate_at(progress_.step - 1);
  record.loss = progress_.loss_sum / static_cast<double>(data_.batches().count());
  if (module_.integrates_blocks()) {
    const auto passes = static_cast<double>(data_.batches().count() * communicator_.size());
    record.evaluations = {progress_.evaluations.forward / passes, progress_.evaluations.backward / passes};
  }
  if (annealer_) {
    annealer_->measure_file();
    record.quantization = annealer_->record(module_.model().file_bytes);
  }
  if (data_.judging()) evaluate(record);
  record.seconds = monotonic_seconds() - start_;
  progress_.records.push_back(record);
  if (is_leader() && options_.on_epoch) options_.on_epoch(progress_.records);
}

// By the runtime, as the file that ships is run.
void Trainer::evaluate(TrainingRecord& record) {
  const auto result = [&](const NamedTensors& weights) {
    // Running statistics lag behind weights that jump from center to center: accuracy with them is points too low.
    const StatisticsGuard guard(module_.buffers());
    estimate_statistics(kEpochStatisticsBatches, weights);
    OnnxModel model = module_.to_onnx(weights);
    if (judged_form_) model = judged_form_(model);
    const std::unique_ptr<Teacher> judged = runtime_teacher(model, options_.threads);
    if (!options_.likelihood) return measure(*judged, input_batch(model), *data_.judging(), teacher_, &communicator_);
    TestResult densities;
    densities.log_likelihood = log_likelihood(*judged, *data_.judging(), &communicator_);
    return densities;
  };
  const TestResult hard = result(hard_weights());
  record.accuracy = hard.accuracy;
  record.test_loss = hard.loss;
  record.snr_db = hard.snr_db;
  record.log_likelihood = hard.log_likelihood;
  if (!hard.accuracy || !annealer_ || !annealer_->is_soft()) return;
  torch::NoGradGuard no_grad;
  record.soft_accuracy = result(annealer_->quantizer().soft_weights(module_.parameters())).accuracy;
}

void Trainer::estimate_statistics(int64_t batches, const NamedTensors& weights) {
  if (module_.buffers().empty()) return;
  torch::NoGradGuard no_grad;
  module_.reset_statistics();
  data_.batches().start(options_.epochs);
  for (int64_t i = 0; i < std::min(batches, data_.batches().count()); ++i) {
    forward(to_device(data_.batches().next()), GraphModule::Mode::kEstimate, weights);
  }
}

}  // namespace quench::training
