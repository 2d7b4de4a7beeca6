#include "compressor/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
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
  std::vector<std::string> files;
  std::string output, y_label;
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

std::string picture_of_runs(const Arguments& arguments) {
  std::vector<report::TrainingRun> runs;
  for (const std::string& path : arguments.files) runs.push_back(read_metrics(path));
  name_apart(runs, arguments.files);
  return report::training_curves(runs, arguments.value);
}

bool is_table(const std::string& path) { return std::filesystem::path(path).extension() == ".csv"; }

std::vector<std::string> cells_of(std::string line) {
  if (line.ends_with('\r')) line.pop_back();
  std::vector<std::string> cells;
  std::istringstream row(line + ",");  // so that an empty last cell is one
  for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
  return cells;
}

double number_of(const std::string& cell) {
  double number = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), number);
  return error == std::errc() && end == cell.data() + cell.size() ? number : std::nan("");
}

// The other columns over the first one. A cell that is no number is a gap.
std::string picture_of_table(const Arguments& arguments) {
  const std::string& path = *std::ranges::find_if(arguments.files, is_table);
  if (arguments.files.size() != 1) throw Error::make("{}: a table is drawn alone", path);
  const std::vector<std::byte> bytes = data::read_file(path);
  std::istringstream file(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> names = cells_of(line);
  if (names.size() < 2) throw Error::make("{}: line 1: not the names of at least two columns", path);
  report::LinePlot plot{std::filesystem::path(path).stem().string(), names[0], arguments.y_label, {}, {}, {}};
  for (size_t c = 1; c < names.size(); ++c) plot.series.push_back({names[c], {}, {}});
  for (size_t number = 2; std::getline(file, line); ++number) {
    if (line.empty() || line == "\r") continue;
    const std::vector<std::string> cells = cells_of(line);
    if (cells.size() != names.size()) {
      throw Error::make("{}: line {}: {} columns, not {}", path, number, cells.size(), names.size());
    }
    for (size_t c = 1; c < cells.size(); ++c) {
      plot.series[c - 1].x.push_back(number_of(cells[0]));
      plot.series[c - 1].y.push_back(number_of(cells[c]));
    }
  }
  constexpr double kWidth = 720;
  return report::to_svg_file(plot, kWidth);
}

void run(const Arguments& arguments) {
  FileUse files;
  for (const std::string& path : arguments.files) files.reads(path);
  files.writes(arguments.output);
  const std::string picture =
      std::ranges::any_of(arguments.files, is_table) ? picture_of_table(arguments) : picture_of_runs(arguments);
  data::write_file(arguments.output, std::as_bytes(std::span(picture)));
}

}  // namespace

void add_plot(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("plot", "Draw the courses of trainings, or a table, in one picture");
  command->add_option("files", arguments->files, "files that --metrics of train and tune wrote, or one .csv table")
      ->required()
      ->type_name("FILES");
  command->add_option("-o,--output", arguments->output, "the .svg file to write")->required()->type_name("OUT");
  command->add_option("--y-label", arguments->y_label, "of a table: what its columns but the first are")
      ->type_name("TEXT");
  command->add_option("--value", arguments->value, "of metrics: what to draw; default accuracy")
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
