#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <set>
#include <sstream>

#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/data/files.h"
#include "compressor/report/training_page.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

using report::Quantity;

struct Arguments {
  std::vector<std::string> metrics;
  std::string output;
  Quantity value = Quantity::kAccuracy;
};

report::TrainingRun read_metrics(const std::string& path) {
  const std::vector<std::byte> bytes = data::read_file(path);
  std::istringstream file(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  report::TrainingRun run{std::filesystem::path(path).stem().string(), {}};
  size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    try {
      run.records.push_back(training::training_record(line));
    } catch (const Error& error) {
      throw Error::make("{}: line {}: {}", path, number, error.what());
    }
  }
  if (run.records.empty()) throw Error::make("{}: has no epochs", path);
  return run;
}

// By their whole paths where files of several folders have one name.
void name_apart(std::vector<report::TrainingRun>& runs, const std::vector<std::string>& paths) {
  std::set<std::string> names;
  for (const report::TrainingRun& run : runs) names.insert(run.name);
  for (size_t i = 0; i < runs.size() && names.size() < runs.size(); ++i) runs[i].name = paths[i];
}

void run(const Arguments& arguments) {
  FileUse files;
  for (const std::string& path : arguments.metrics) files.reads(path);
  files.writes(arguments.output);
  std::vector<report::TrainingRun> runs;
  for (const std::string& path : arguments.metrics) runs.push_back(read_metrics(path));
  name_apart(runs, arguments.metrics);
  const std::string picture = report::training_curves(runs, arguments.value);
  data::write_file(arguments.output, std::as_bytes(std::span(picture)));
}

}  // namespace

void add_plot(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("plot", "Draw the courses of trainings in one picture");
  command->add_option("metrics", arguments->metrics, "files that --metrics of train and tune wrote")
      ->required()
      ->type_name("METRICS");
  command->add_option("-o,--output", arguments->output, "the .svg file to write")->required()->type_name("OUT");
  command->add_option("--value", arguments->value, "what to draw; default accuracy")
      ->transform(one_of<Quantity>({{"accuracy", Quantity::kAccuracy},
                                    {"snr", Quantity::kSnr},
                                    {"likelihood", Quantity::kLikelihood},
                                    {"loss", Quantity::kLoss},
                                    {"entropy", Quantity::kEntropy},
                                    {"flips", Quantity::kFlips},
                                    {"ratio", Quantity::kRatio}}))
      ->type_name("accuracy|snr|likelihood|loss|entropy|flips|ratio")
      ->default_str("");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
