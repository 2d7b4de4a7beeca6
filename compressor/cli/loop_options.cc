#include "compressor/cli/loop_options.h"

#include <fmt/format.h>

#include "compressor/data/files.h"
#include "compressor/report/training_page.h"

namespace quench::cli {
namespace {

using Records = std::span<const training::TrainingRecord>;

void write_text(const std::filesystem::path& path, const std::string& text) {
  data::write_file(path, std::as_bytes(std::span(text)));
}

void write_metrics(const std::filesystem::path& path, Records records) {
  std::string lines;
  for (const training::TrainingRecord& record : records) lines += to_json_line(record) + '\n';
  write_text(path, lines);
}

}  // namespace

using training::LoopOptions;
using training::RateSchedule;

void LoopArguments::add_to(CLI::App& command, const LoopOptions& defaults) {
  add_data_to(command);
  add_loop_to(command, defaults);
  add_classifier_loop_to(command);
  preprocessing_.add_to(command);
}

void LoopArguments::add_data_to(CLI::App& command) {
  const std::string data = "Data and loss";
  command
      .add_option("--data", options_.data,
                  "cifar10:DIR, mnist:DIR, synthetic:shapes (their training images), a folder of images, .npy or .npz")
      ->required()
      ->type_name("SPEC")
      ->group(data);
  command
      .add_option("--test-data", options_.test_data,
                  "to measure accuracy or SNR on; default: the test images of cifar10:, mnist: and synthetic:")
      ->type_name("SPEC")
      ->group(data);
  command
      .add_option("--validation", options_.validation,
                  "training samples to keep apart: epochs and --max-drop are judged by them, not by the test data")
      ->check(above_zero())
      ->type_name("N")
      ->group(data);
  command.add_option("--samples", options_.samples, "of an epoch; default: all")
      ->check(above_zero())
      ->type_name("N")
      ->group(data);
  command.add_option("--teacher", options_.teacher, "an .onnx file to imitate, or a .quench file on the CPU")
      ->type_name("MODEL")
      ->group(data);
  command.add_option("--temperature", options_.temperature, "of the imitation of class scores; default 4")
      ->check(above_zero())
      ->type_name("T")
      ->group(data);
  label_share_option_ =
      command.add_option("--label-share", label_share_, "of the labels in the loss beside a teacher; default 0.1")
          ->check(CLI::Range(0.0, 1.0))
          ->type_name("S")
          ->group(data);
  command.add_flag("--no-augment", no_augment_, "do not shift and mirror samples of 1 to 4 channels x height x width")
      ->group(data);
}

void LoopArguments::add_loop_to(CLI::App& command, const LoopOptions& defaults) {
  options_ = defaults;
  const std::string loop = "Loop", record = "Records";
  command.add_option("--epochs", options_.epochs, fmt::format("default {}", defaults.epochs))
      ->check(CLI::Range(1, 100000))
      ->type_name("N")
      ->group(loop);
  command.add_option("--batch", options_.batch, fmt::format("of all processes together; default {}", defaults.batch))
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("N")
      ->group(loop);
  command
      .add_option("--schedule", options_.schedule,
                  fmt::format("of the learning rate; default {}; step: a tenth after 1/2 and 3/4 of the epochs",
                              defaults.schedule == RateSchedule::kOneCycle ? "one-cycle" : "cosine"))
      ->transform(one_of(training::kRateSchedules))
      ->type_name("cosine|step|one-cycle")
      ->default_str("")
      ->group(loop);
  command
      .add_option("--learning-rate", options_.learning_rate,
                  fmt::format("the highest; default {}", defaults.learning_rate))
      ->check(above_zero())
      ->type_name("R")
      ->group(loop);
  command.add_option("--device", options_.device, "default cpu")->type_name("cpu|cuda|cuda:N")->group(loop);
  command.add_flag("--float32", float32_, "compute in float32 even where the device is faster in bfloat16")
      ->group(loop);
  command.add_option("--seed", options_.seed, "of everything random; default 1")->type_name("S")->group(loop);
  command.add_option("--threads", threads_, "default: all processors; results depend on it")
      ->check(CLI::Range(1, 256))
      ->type_name("N")
      ->group(loop);
  checkpoint_option_ =
      command.add_option("--checkpoint", options_.checkpoint, "default OUT.checkpoint; removed at the end")
          ->type_name("FILE")
          ->group(record);
  command.add_option("--checkpoint-minutes", options_.checkpoint_minutes, "between two of them; default 5")
      ->check(above_zero())
      ->type_name("M")
      ->group(record);
  command.add_flag("--resume", options_.resume, "go on from the checkpoint")->group(record);
  command.add_option("--metrics", metrics_, "a line of JSON for each epoch")->type_name("FILE")->group(record);
  command.add_option("--page", page_, "the course of the training with plots, as HTML")
      ->type_name("FILE")
      ->group(record);
}

void LoopArguments::add_classifier_loop_to(CLI::App& command) {
  const std::string loop = "Loop";
  command.add_option("--optimizer", options_.optimizer, "default sgd, with Nesterov's momentum")
      ->transform(one_of(training::kOptimizers))
      ->type_name("sgd|adam")
      ->default_str("")
      ->group(loop);
  command.add_option("--momentum", options_.momentum, "default 0.9")
      ->check(CLI::Range(0.0, 0.9999))
      ->type_name("M")
      ->group(loop);
  command.add_option("--weight-decay", options_.weight_decay, fmt::format("default {}", options_.weight_decay))
      ->check(at_least_zero())
      ->type_name("W")
      ->group(loop);
  command
      .add_option("--drop-path", options_.drop_path,
                  fmt::format("how often a column is left out of a join; default {}", options_.drop_path))
      ->check(CLI::Range(0.0, 0.9))
      ->type_name("P")
      ->group(loop);
  command
      .add_flag("--recompute", options_.recompute,
                "compute activations again in the backward pass: less memory, a third more time")
      ->group(loop);
}

LoopOptions LoopArguments::get(FileUse files, const std::filesystem::path& output, const std::string& title,
                               const JsonOption& json, report::Progress& progress, const std::string& note,
                               const std::function<std::string()>& figure) const {
  LoopOptions options = options_;
  options.preprocessing = preprocessing_.get();
  if (label_share_option_ && label_share_option_->count() > 0) options.label_share = label_share_;
  options.augment = !no_augment_;
  options.bfloat16 = !float32_ && training::bfloat16_pays(options.device);
  options.threads = resolve_threads(threads_);
  if (checkpoint_option_->count() == 0) options.checkpoint = output.string() + ".checkpoint";
  files.reads_model(options.teacher);
  files.reads_data(options.data);
  files.reads_data(options.test_data);
  files.writes(output, FileUse::Place::kFile);
  files.may_write(output.string() + ".data");  // of an .onnx file that exceeds 2 GB
  for (const std::filesystem::path& file : {std::filesystem::path(options.checkpoint), metrics_, page_}) {
    if (!file.empty()) files.writes(file);
  }
  json.declare(files);
  options.progress = [&progress](std::string_view stage, double share) { progress.update(stage, share); };
  options.on_epoch = [&progress, title, note, figure, metrics = metrics_, page = page_,
                      lines = json.is_printed() ? stderr : stdout](Records records) {
    if (!metrics.empty()) write_metrics(metrics, records);
    if (!page.empty()) write_text(page, report::training_page(title, records, figure ? figure() : ""));
    progress.finish();
    fmt::print(lines, "{}{}\n", report::to_line(records.back()), note);
    std::fflush(lines);
  };
  return options;
}

}  // namespace quench::cli
