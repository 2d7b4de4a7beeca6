#include "compressor/training/loop/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <sstream>

#include "compressor/data/files.h"
#include "compressor/measure/runner.h"
#include "compressor/report/json.h"
#include "compressor/report/training_page.h"
#include "compressor/training/loop/autocast.h"
#include "compressor/training/loop/losses.h"
#include "compressor/training/loop/measure.h"
#include "compressor/training/loop/process.h"
#include "compressor/training/quantization/sensitivity.h"
#include "formats/base/error.h"

namespace quench::training {
namespace {

using report::TrainingRecord;
using torch::Tensor;

constexpr double kDefaultLabelShare = 0.1;  // beside a teacher
constexpr int64_t kSensitivityBatches = 2;
constexpr int64_t kEpochStatisticsBatches = 20;

volatile std::sig_atomic_t signal_received = 0;

void on_signal(int number) { signal_received = number; }

// Until it is destroyed, SIGINT and SIGTERM only set a flag.
class SignalCatcher {
 public:
  SignalCatcher() : interrupt_(std::signal(SIGINT, on_signal)), terminate_(std::signal(SIGTERM, on_signal)) {
    signal_received = 0;
  }
  SignalCatcher(const SignalCatcher&) = delete;
  SignalCatcher& operator=(const SignalCatcher&) = delete;
  ~SignalCatcher() {
    std::signal(SIGINT, interrupt_);
    std::signal(SIGTERM, terminate_);
  }

 private:
  void (*interrupt_)(int);
  void (*terminate_)(int);
};

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

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool is_spec(const std::string& spec, std::string_view kind) { return spec.starts_with(kind); }

Tensor optimizer_state(torch::optim::Optimizer& optimizer) {
  torch::serialize::OutputArchive archive;
  optimizer.save(archive);
  std::ostringstream stream;
  archive.save_to(stream);
  const std::string bytes = std::move(stream).str();
  Tensor tensor = torch::empty({static_cast<int64_t>(bytes.size())}, torch::kUInt8);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

void set_optimizer_state(torch::optim::Optimizer& optimizer, const Tensor& state, const torch::Device& device) {
  torch::serialize::InputArchive archive;
  archive.load_from(static_cast<const char*>(state.data_ptr()), static_cast<size_t>(state.numel()), device);
  optimizer.load(archive);
}

// Finite if and only if all values are.
double sum_of(const std::vector<Tensor>& tensors) {
  torch::NoGradGuard no_grad;
  Tensor sum = torch::zeros({}, tensors.front().options());
  for (const Tensor& tensor : tensors) sum += tensor.sum();
  return sum.item<double>();
}

}  // namespace

std::vector<int64_t> input_dims(const OnnxModel& model) {
  const std::vector<measure::ValueSpec> inputs = measure::declared_inputs(model.proto.graph());
  if (inputs.size() != 1)
    throw Error::make("{}: has {} inputs; training takes models with one", model.name, inputs.size());
  return inputs.front().dims;
}

std::string training_spec(const std::string& spec) {
  if (is_spec(spec, "cifar10:")) return "cifar10-train:" + spec.substr(std::strlen("cifar10:"));
  if (is_spec(spec, "synthetic:") && spec.find(",split=") == std::string::npos) return spec + ",split=train";
  return spec;
}

Trainer::Trainer(GraphModule& module, Teacher* teacher, uint64_t original_bytes, const LoopOptions& options,
                 Communicator& communicator)
    : module_(module),
      teacher_(teacher),
      original_bytes_(original_bytes),
      options_(options),
      communicator_(communicator),
      device_(module.device()) {
  open_data();
}

Trainer::~Trainer() = default;

void Trainer::open_data() {
  data::DatasetOptions preprocessing = options_.preprocessing;
  preprocessing.model_input = input_dims(module_.model());
  dataset_ = data::open_dataset(training_spec(options_.data), preprocessing);
  if (const std::string spec = test_spec(options_); !spec.empty()) {
    test_dataset_ = data::open_dataset(spec, preprocessing);
  }
  const int64_t own_batch = options_.batch / communicator_.size();
  if (const int64_t batch = input_batch(module_.model()); teacher_ && batch > 0 && batch != own_batch) {
    throw Error::make("{}: takes batches of {}: give --batch {}", module_.model().name, batch,
                      batch * communicator_.size());
  }
  BatchOptions batches;
  batches.batch = options_.batch;
  batches.samples = options_.samples;
  batches.augment = options_.augment;
  batches.seed = options_.seed;
  batches.rank = communicator_.rank();
  batches.ranks = communicator_.size();
  batches_ = std::make_unique<Batches>(*dataset_, batches);
  steps_ = batches_->count() * options_.epochs;
  if (!teacher_ && dataset_->class_count() == 0) {
    throw Error::make("{}: there are no labels: a teacher is needed to learn from", options_.data);
  }
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

void Trainer::make_optimizer() {
  std::vector<Tensor> matrices, others;
  for (const auto& [name, tensor] : module_.parameters()) (tensor.dim() >= 2 ? matrices : others).push_back(tensor);
  if (annealer_) {
    for (const auto& [name, tensor] : annealer_->quantizer().learned()) others.push_back(tensor);
  }
  const auto groups = [&](auto group_options) {
    std::vector<torch::optim::OptimizerParamGroup> result;
    auto decayed = group_options;
    decayed.weight_decay(options_.weight_decay);
    result.emplace_back(matrices, std::make_unique<decltype(decayed)>(decayed));
    result.emplace_back(others, std::make_unique<decltype(group_options)>(group_options));
    return result;
  };
  if (options_.optimizer == OptimizerKind::kSgd) {
    const auto sgd =
        torch::optim::SGDOptions(options_.learning_rate).momentum(options_.momentum).nesterov(options_.momentum > 0);
    optimizer_ = std::make_unique<torch::optim::SGD>(groups(sgd), sgd);
  } else {
    const auto adam = torch::optim::AdamOptions(options_.learning_rate);
    optimizer_ = std::make_unique<torch::optim::Adam>(groups(adam), adam);
  }
}

double Trainer::learning_rate(int64_t step) const {
  const double share = static_cast<double>(step) / static_cast<double>(steps_);
  switch (options_.schedule) {
    case RateSchedule::kCosine:
      return options_.learning_rate * 0.5 * (1 + std::cos(M_PI * share));
    case RateSchedule::kStep:
      return options_.learning_rate * (share < 0.5 ? 1 : share < 0.75 ? 0.1 : 0.01);
    case RateSchedule::kOneCycle:
      return options_.learning_rate * (share < 0.25 ? 0.04 + 0.96 * share / 0.25 : (1 - share) / 0.75);
  }
  return options_.learning_rate;
}

Tensor Trainer::to_device(const Tensor& inputs) const {
  const Tensor moved = inputs.to(device_);
  return moved.dim() == 4 ? moved.contiguous(torch::MemoryFormat::ChannelsLast) : moved;
}

Tensors Trainer::forward(const Tensor& inputs, GraphModule::Mode mode, const NamedTensors& weights) {
  const Autocast autocast(device_, options_.bfloat16);
  return module_.forward({{module_.inputs().front(), inputs}}, mode, weights);
}

void Trainer::check_outputs(const Tensors& outputs, const Tensors& taught) const {
  const int64_t classes = dataset_->class_count();
  const bool labels_count = !teacher_ || options_.label_share != 0.0;
  if (labels_count && outputs.size() == 1 && outputs[0].dim() == 2 && outputs[0].size(1) > 1 &&
      outputs[0].size(1) < classes) {
    throw Error::make("{}: there are labels up to {}, but the model's scores are for {} classes{}", options_.data,
                      classes - 1, outputs[0].size(1),
                      teacher_ ? "; --label-share 0 leaves labels out of account" : "");
  }
  if (!teacher_ && !scores_of(outputs, classes, false)) {
    throw Error::make("{}: has labels of {} classes, but the model's output is not one score for each", options_.data,
                      classes);
  }
  if (!teacher_) return;
  bool alike = taught.size() == outputs.size(), has_floats = false;
  for (size_t i = 0; i < outputs.size() && alike; ++i) {
    if (!outputs[i].is_floating_point()) continue;
    has_floats = true;
    alike = taught[i].defined() && taught[i].is_floating_point() && taught[i].sizes() == outputs[i].sizes();
  }
  if (!alike) throw Error("the teacher's outputs are not of the number, types and shapes of the model's");
  if (!has_floats) throw Error::make("{}: none of its outputs are floats to learn from", module_.model().name);
}

// `own`: samples of this rank.
Tensor Trainer::imitation(const Tensors& outputs, const Tensors& taught, int64_t own) const {
  const std::optional<Tensor> scores = scores_of(outputs, dataset_->class_count(), true);
  return scores ? distillation(*scores, taught[0].flatten(1), options_.temperature, options_.batch)
                : output_matching(outputs, taught, own, options_.batch, &communicator_);
}

Tensor Trainer::task_loss(const Tensors& outputs, const Tensors& taught, const Batch& batch) const {
  const std::optional<Tensor> scores = scores_of(outputs, dataset_->class_count(), teacher_ != nullptr);
  if (!teacher_) return cross_entropy(*scores, batch.labels.to(device_), options_.batch);
  const Tensor imitated = imitation(outputs, taught, batch.inputs.size(0));
  const double share = options_.label_share.value_or(kDefaultLabelShare);
  if (!scores || share == 0) return imitated;
  return share * cross_entropy(*scores, batch.labels.to(device_), options_.batch) + (1 - share) * imitated;
}

double Trainer::step(const Batch& batch) {
  for (auto& group : optimizer_->param_groups()) group.options().set_lr(learning_rate(step_));
  const Tensor inputs = to_device(batch.inputs);
  const Tensors taught = teacher_ ? teacher_->outputs(inputs) : Tensors();
  SoftToHard::Pass pass;
  if (annealer_) {
    annealer_->begin_step(step_, steps_);
    pass = annealer_->quantizer().quantize(module_.parameters());
  }
  const Tensors outputs = forward(inputs, GraphModule::Mode::kTrain, pass.weights);
  check_outputs(outputs, taught);
  const Tensor task = task_loss(outputs, taught, batch);
  Tensor total = task;
  // Each rank adds its part of the rate, which all have alike.
  if (annealer_ && annealer_->beta() > 0) total = total + pass.rate * (annealer_->beta() / communicator_.size());
  optimizer_->zero_grad();
  total.backward();
  Tensor loss = task.detach().clone();
  communicator_.all_reduce_sum({loss});
  const double value = loss.item<double>();
  check_finite(value, "loss is");
  reduce_gradients();
  if (annealer_) {
    if (annealer_->wants_gap()) observe_gap(batch, taught, value);
    annealer_->quantizer().precondition_gradients();
  }
  optimizer_->step();
  // Quantized weights are finite whatever becomes of those behind them, so that the loss does not tell.
  check_finite(sum_of(trained_tensors()), "weights are");
  if (after_step_) after_step_();  // before the file is measured: it holds positive scales only
  if (annealer_) {
    annealer_->quantizer().rearrange();
    annealer_->end_step();
  }
  return value;
}

void Trainer::check_finite(double value, const char* what) const {
  if (std::isfinite(value)) return;
  throw Error::make("the {} not finite at step {} (epoch {}): try a smaller --learning-rate{}", what, step_ + 1,
                    step_ / batches_->count() + 1,
                    has_checkpoint_ ? "; the last good checkpoint is " + options_.checkpoint.string() : "");
}

void Trainer::reduce_gradients() {
  if (communicator_.is_alone()) return;
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
  const Tensors outputs = forward(to_device(batch.inputs), GraphModule::Mode::kTrain, hard_weights());
  Tensor loss = task_loss(outputs, taught, batch).detach().clone();
  communicator_.all_reduce_sum({loss});
  annealer_->observe_gap(loss.item<double>() - soft_loss);
}

std::map<std::string, double> Trainer::balanced_steps(const std::vector<std::string>& names, bool per_channel) {
  torch::NoGradGuard no_grad;
  const StatisticsGuard guard(module_.buffers());
  std::vector<Tensor> inputs;
  std::vector<Tensors> clean;
  batches_->start(0);
  for (int64_t i = 0; i < std::min(kSensitivityBatches, batches_->count()); ++i) {
    inputs.push_back(to_device(batches_->next().inputs));
    clean.push_back(forward(inputs.back(), GraphModule::Mode::kTrain, {}));
    check_outputs(clean.back(), clean.back());
  }
  double done = 0;
  const auto change = [&](const NamedTensors& weights) {
    Tensor sum = torch::zeros({1});
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Tensors noisy = forward(inputs[i], GraphModule::Mode::kTrain, weights);
      sum += imitation(noisy, clean[i], inputs[i].size(0)).cpu();
    }
    communicator_.all_reduce_sum({sum});
    if (options_.progress) options_.progress("measuring", ++done / static_cast<double>(names.size()));
    return sum.item<double>();
  };
  return training::balanced_steps(module_.parameters(), names, per_channel, change, options_.seed);
}

void Trainer::set_earlier(std::vector<TrainingRecord> records) {
  if (!records.empty()) earlier_seconds_ = records.back().seconds;
  records_ = std::move(records);
}

NamedTensors Trainer::hard_weights() {
  if (!annealer_) return {};
  torch::NoGradGuard no_grad;
  return annealer_->quantizer().hard_weights(module_.parameters());
}

std::vector<TrainingRecord> Trainer::run() {
  const SignalCatcher signals;
  make_optimizer();
  if (options_.resume) load_checkpoint();
  std::vector<Tensor> shared = trained_tensors();
  for (auto& [name, buffer] : module_.buffers()) shared.push_back(buffer);
  if (annealer_) {
    for (const auto& [name, tensor] : annealer_->quantizer().state()) shared.push_back(tensor);
  }
  communicator_.broadcast(shared);
  start_ = last_checkpoint_ = now();
  while (step_ < steps_) {
    const auto epoch = static_cast<int>(step_ / batches_->count());
    const int64_t first = step_ % batches_->count();
    if (first == 0) loss_sum_ = 0;
    batches_->start(epoch, first);
    for (int64_t i = first; i < batches_->count(); ++i) {
      loss_sum_ += step(batches_->next());
      ++step_;
      if (options_.progress) {
        options_.progress("training", static_cast<double>(step_) / static_cast<double>(steps_));
      }
      if (i + 1 == batches_->count()) finish_epoch(epoch);
      interrupt_if_asked();
    }
  }
  return records_;
}

// At the end of a step: all ranks stop at the same one.
void Trainer::interrupt_if_asked() {
  Tensor stop = torch::full({1}, signal_received != 0 ? 1.0f : 0.0f);
  communicator_.all_reduce_sum({stop});
  const bool asked = stop.item<float>() > 0;
  const bool due = now() - last_checkpoint_ >= 60 * options_.checkpoint_minutes;
  if (asked || due || step_ == steps_) save_checkpoint();
  if (!asked) return;
  throw Error::make("stopped by a signal at step {} of {}{}", step_, steps_,
                    options_.checkpoint.empty() ? "" : "; --resume goes on from " + options_.checkpoint.string());
}

double Trainer::seconds() const { return earlier_seconds_ + now() - start_; }

void Trainer::finish_epoch(int epoch) {
  TrainingRecord record;
  record.epoch = epoch + 1;
  record.epochs = options_.epochs;
  record.step = step_;
  record.learning_rate = learning_rate(step_ - 1);
  record.loss = loss_sum_ / static_cast<double>(batches_->count());
  if (annealer_) {
    annealer_->measure_file();
    record.quantization = annealer_->record(original_bytes_);
  }
  if (test_dataset_) evaluate(record);
  record.seconds = seconds();
  records_.push_back(record);
  if (!is_leader()) return;
  if (!options_.metrics.empty()) {
    std::string lines;
    for (const TrainingRecord& each : records_) lines += report::to_json_line(each) + '\n';
    data::write_file(options_.metrics, std::as_bytes(std::span(lines)));
  }
  if (!options_.page.empty()) {
    const std::string page =
        report::training_page(std::filesystem::path(module_.model().name).filename().string(), records_);
    data::write_file(options_.page, std::as_bytes(std::span(page)));
  }
  if (options_.on_epoch) options_.on_epoch(record);
}

// By the runtime, as the file that ships is run, on the test data.
void Trainer::evaluate(TrainingRecord& record) {
  const auto result = [&](const NamedTensors& weights) {
    // Running statistics lag behind weights that jump from center to center: accuracy with them is points too low.
    const StatisticsGuard guard(module_.buffers());
    if (!module_.buffers().empty()) estimate_statistics(kEpochStatisticsBatches, weights);
    const OnnxModel model = module_.to_onnx(weights);
    return measure(*runtime_teacher(model, options_.threads), input_batch(model), *test_dataset_, teacher_,
                   &communicator_);
  };
  const TestResult hard = result(hard_weights());
  record.accuracy = hard.accuracy;
  record.test_loss = hard.loss;
  record.snr_db = hard.snr_db;
  if (!hard.accuracy || !annealer_ || !annealer_->is_soft()) return;
  torch::NoGradGuard no_grad;
  record.soft_accuracy = result(annealer_->quantizer().soft_weights(module_.parameters())).accuracy;
}

void Trainer::estimate_statistics(int64_t batches, const NamedTensors& weights) {
  torch::NoGradGuard no_grad;
  module_.reset_statistics();
  batches_->start(options_.epochs);
  for (int64_t i = 0; i < std::min(batches, batches_->count()); ++i) {
    forward(to_device(batches_->next().inputs), GraphModule::Mode::kEstimate, weights);
  }
}

// What must be the same for a checkpoint to be gone on from.
std::string Trainer::fingerprint() const {
  const LoopOptions& of = options_;
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", module_.identity(), of.data,
                     of.teacher.string(), of.bfloat16, steps_, of.epochs, of.batch, of.samples, of.seed, of.augment,
                     static_cast<int>(of.optimizer), static_cast<int>(of.schedule), of.learning_rate, of.momentum,
                     of.weight_decay, of.temperature, of.label_share.value_or(-1),
                     annealer_ ? annealer_->fingerprint() : "");
}

void Trainer::save_checkpoint() {
  last_checkpoint_ = now();
  if (options_.checkpoint.empty() || !is_leader()) return;
  Checkpoint checkpoint;
  for (const auto& [name, tensor] : module_.parameters()) checkpoint.tensors["parameter." + name] = tensor;
  for (const auto& [name, tensor] : module_.buffers()) checkpoint.tensors["buffer." + name] = tensor;
  if (annealer_) {
    for (const auto& [name, tensor] : annealer_->state()) checkpoint.tensors["annealer." + name] = tensor;
  }
  checkpoint.tensors["optimizer"] = optimizer_state(*optimizer_);
  checkpoint.tensors["progress"] = torch::tensor({static_cast<double>(step_), loss_sum_, seconds()}, torch::kFloat64);
  checkpoint.texts["fingerprint"] = fingerprint();
  for (const TrainingRecord& record : records_) checkpoint.texts["records"] += report::to_json_line(record) + '\n';
  checkpoint.save(options_.checkpoint);
  has_checkpoint_ = true;
}

void Trainer::load_checkpoint() {
  const Checkpoint checkpoint = Checkpoint::load(options_.checkpoint, &communicator_);
  const auto found = checkpoint.texts.find("fingerprint");
  if (found == checkpoint.texts.end() || found->second != fingerprint()) {
    throw Error::make("{}: this checkpoint is of another model or of a run with other options",
                      options_.checkpoint.string());
  }
  try {
    restore(checkpoint);
  } catch (const std::exception&) {
    throw Error::make("{}: the checkpoint is damaged, or of another version of Quench", options_.checkpoint.string());
  }
}

void Trainer::restore(const Checkpoint& checkpoint) {
  for (auto& [name, tensor] : module_.parameters()) checkpoint.restore("parameter." + name, tensor);
  for (auto& [name, tensor] : module_.buffers()) checkpoint.restore("buffer." + name, tensor);
  NamedTensors state;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    if (name.starts_with("annealer.")) state[name.substr(std::strlen("annealer."))] = tensor;
  }
  if (annealer_) annealer_->set_state(state);
  set_optimizer_state(*optimizer_, checkpoint.tensors.at("optimizer"), device_);
  const auto progress = checkpoint.tensor("progress", {3}, torch::kFloat64).accessor<double, 1>();
  step_ = static_cast<int64_t>(progress[0]);
  loss_sum_ = progress[1];
  earlier_seconds_ = progress[2];
  has_checkpoint_ = true;
  records_.clear();  // the checkpoint's hold the earlier runs', too
  if (const auto records = checkpoint.texts.find("records"); records != checkpoint.texts.end()) {
    std::istringstream lines(records->second);
    for (std::string line; std::getline(lines, line);) records_.push_back(report::training_record(line));
  }
}

}  // namespace quench::training
