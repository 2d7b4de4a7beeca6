#include "compressor/training/tune.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/loop_options.h"
#include "compressor/cli/options.h"
#include "compressor/cli/provenance.h"
#include "compressor/data/preprocessing.h"
#include "compressor/report/json.h"
#include "compressor/report/text.h"

namespace quench::cli {
namespace {

using training::TuneOptions;
using training::TuneReport;

struct Arguments {
  std::string model, output;
  TuneOptions options;
  LoopArguments loop;
  std::string labels;
  const CLI::App* command = nullptr;
  JsonOption json;
};

quantizer::FileNotes notes_of(const Arguments& arguments) {
  quantizer::FileNotes notes{provenance(arguments.model, *arguments.command), {}};
  const PreprocessingOptions& preprocessing = arguments.loop.preprocessing();
  if (preprocessing.is_given())
    notes.properties.emplace_back(data::kPreprocessingKey, data::to_text(preprocessing.get()));
  const std::string labels = read_labels(arguments.labels);
  if (!labels.empty()) notes.properties.emplace_back(data::kLabelsKey, labels);
  return notes;
}

std::string to_line(const training::SearchRound& round) {
  if (!round.drop) return fmt::format("{:.2f} times smaller: no smaller file can be made", round.ratio);
  const std::string change = *round.drop < 0 ? "gains" : "loses";
  return fmt::format("{:.2f} times smaller: {} {:.2f} points, {}", round.ratio, change, std::abs(*round.drop),
                     round.is_kept ? "kept" : "too much");
}

void run(const Arguments& arguments) {
  report::Progress progress;
  TuneOptions options = arguments.options;
  const std::string title = std::filesystem::path(arguments.model).filename().string();
  FileUse files;
  files.reads_model(arguments.model);
  files.reads(arguments.labels);
  options.loop = arguments.loop.get(files, arguments.output, title, arguments.json, progress);
  options.loop.preprocessing = arguments.loop.preprocessing().get(arguments.model);
  options.notes = notes_of(arguments);
  options.on_round = [&](const training::SearchRound& round) {
    progress.finish();
    std::FILE* lines = arguments.json.is_printed() ? stderr : stdout;
    fmt::print(lines, "{}\n", to_line(round));
    std::fflush(lines);
  };
  const TuneReport report = training::tune(arguments.model, arguments.output, options);
  progress.finish();
  if (report.file.output_bytes == 0) return;  // another process has written it
  arguments.json.show(report::to_text(report, arguments.model, arguments.output), report::to_json(report));
}

void add_size_options(CLI::App& command, TuneOptions& options) {
  const std::string group = "Size";
  const SizeOptions size = add_size(command, options.ratio, options.bits, group);
  auto* drop = command
                   .add_option("--max-drop", options.max_drop,
                               "the smallest file that loses at most this many points of accuracy on the test data; "
                               "the search begins at --ratio, or 20")
                   ->check(at_least_zero())
                   ->type_name("P")
                   ->group(group);
  drop->excludes(size.bits);
  command.add_option("--exclude", options.exclude, "keep these weights bit-exact; may be repeated")
      ->type_name("PATTERN")
      ->allow_extra_args(false)
      ->group(group);
}

void add_method_options(CLI::App& command, TuneOptions& options) {
  const std::string group = "Method";
  command
      .add_option("--annealing", options.annealing,
                  "hard (default): hard values with soft gradients; exponential: the paper's; gap: a controller")
      ->transform(one_of(training::kAnnealings))
      ->type_name("hard|exponential|gap")
      ->default_str("")
      ->group(group);
  command.add_option("--sigma", options.sigma, "hardness at first, with soft values; default 0.4")
      ->check(above_zero())
      ->type_name("S")
      ->group(group);
  command
      .add_option("--sigma-growth", options.sigma_growth,
                  "by which sigma grows over the soft steps, if exponential; default 20")
      ->check(CLI::Range(1.0, 1e6))
      ->type_name("F")
      ->group(group);
  command.add_option("--soft-share", options.soft_share, "of the steps that have soft values; default 0.4")
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("S")
      ->group(group);
  command
      .add_option("--beta", options.beta,
                  "loss per bit per weight; with soft values 0.1 at first, steered to a size; with hard ones 0")
      ->check(at_least_zero())
      ->type_name("B")
      ->group(group);
  command
      .add_option("--price", options.price,
                  "squared distance per bit, in units of the step; with hard values 0.1 at first, steered to a size")
      ->check(at_least_zero())
      ->type_name("P")
      ->group(group);
  command.add_option("--dimension", options.dimension, "of the codebook's vectors; default 1")
      ->check(CLI::IsMember({1, 2, 4, 8}).description(""))
      ->type_name("1|2|4|8")
      ->group(group);
  command.add_option("--centers", options.centers, "of a codebook at most; default 75")
      ->check(CLI::Range(2, 65535))
      ->type_name("L")
      ->group(group);
  command
      .add_option("--step", options.step,
                  "spacing of the first centers over a tensor's rms, on average; default: by the size, 1.5 without one")
      ->check(above_zero())
      ->type_name("X")
      ->group(group);
  command
      .add_flag("--equal-steps", options.equal_steps,
                "the same for all tensors, however much each one's noise changes the outputs")
      ->group(group);
  command.add_option("--codebook", options.codebook, "one for the model (default), or one for each tensor")
      ->transform(one_of(training::kCodebooks))
      ->type_name("model|tensor")
      ->default_str("")
      ->group(group);
  command.add_flag("--channel-scales", options.channel_scales, "a scale for each output channel while training")
      ->group(group);
  command.add_flag("--learn-scales", options.learn_scales, "learn the scales too")->group(group);
  add_coder(command, options.coder, group);
}

}  // namespace

void add_tune(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("tune", "Fine-tune a model while its weights harden, to a .quench file");
  command->add_option("model", arguments->model, "an .onnx file")->required()->type_name("MODEL");
  command->add_option("-o,--output", arguments->output, "the .quench file to write")->required()->type_name("OUT");
  arguments->json.add_to(*command);
  command->add_option("--labels", arguments->labels, "names of the classes, a line each, for the file to carry")
      ->type_name("FILE");
  arguments->command = command;
  add_size_options(*command, arguments->options);
  add_method_options(*command, arguments->options);
  arguments->loop.add_to(*command, arguments->options.loop);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
