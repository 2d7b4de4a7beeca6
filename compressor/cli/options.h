// Options and habits that several commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "compressor/cli/file_use.h"
#include "compressor/data/dataset.h"
#include "compressor/measure/input_shapes.h"
#include "formats/entropy/coder.h"

namespace quench::cli {

// Wrong usage that the parser cannot see: exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// --preset, --mean, --std, --scale, --layout and --order.
class PreprocessingOptions {
 public:
  void add_to(CLI::App& command);
  bool is_given() const;
  data::DatasetOptions get() const;
  // What `file`, a model, says of its images, if nothing is given here and it says something. Throws quench::Error where
  // the file cannot be read, or what it says means nothing.
  data::DatasetOptions get(const std::filesystem::path& file, uint64_t max_memory = 0) const;

 private:
  std::string preset_, order_;
  std::vector<std::string> mean_, std_;  // as they were given
  std::optional<float> scale_;
  std::string layout_;
};

// --json [FILE].
class JsonOption {
 public:
  void add_to(CLI::App& command);
  // Prints `json` or writes it to the file if it was asked for, otherwise prints `text`. A file gets the JSON and the
  // terminal the text.
  void show(const std::string& text, const std::string& json) const;
  // Whether the report is all that may go to standard output.
  bool is_printed() const { return option_->count() > 0 && file_.empty(); }
  // The file as one of the command's outputs.
  void declare(FileUse& files) const;

 private:
  CLI::Option* option_ = nullptr;
  std::string file_;
};

// --labels FILE: a name for each class, a line each. Throws quench::Error where it cannot be read.
std::string read_labels(const std::filesystem::path& file);

// --threads; the default of 0 means all processors.
void add_threads(CLI::App& command, int& threads);
int resolve_threads(int threads);

// --max-memory; the default of 0 means what the file's size allows (see measure/quench_file.h).
void add_max_memory(CLI::App& command, uint64_t& bytes);

// --ratio and --bits, of which one may be given.
struct SizeOptions {
  CLI::Option *ratio, *bits;
};
SizeOptions add_size(CLI::App& command, std::optional<double>& ratio, std::optional<double>& bits,
                     const std::string& group);

// --coder.
void add_coder(CLI::App& command, entropy::Coder& coder, const std::string& group);

// --shape NAME=1x3x32x32 and --dim NAME=32, as often as there are inputs and dimensions.
class ShapeOptions {
 public:
  void add_to(CLI::App& command);
  measure::InputShapes get() const;

 private:
  std::vector<std::string> shapes_, dims_;  // as they were given
};

// --data [NAME=]SPEC, as often as there are inputs or files of samples (see measure/samples.h).
CLI::Option* add_data_option(CLI::App& command, std::vector<std::string>& data, const std::string& help);

// Replaces each name by its number.
CLI::Validator named_number(std::map<std::string, std::string> numbers);

// Names of values, for an option whose type name lists them already.
template <typename T>
CLI::Validator one_of(const std::map<std::string, T>& names) {
  std::map<std::string, std::string> numbers;
  for (const auto& [name, value] : names) numbers[name] = std::to_string(static_cast<int>(value));
  return named_number(std::move(numbers));
}

// What stands between the commas; CLI11's own way of cutting skips empty parts.
std::vector<std::string> parts_of(const std::string& list);
// Of lists that guard_options has seen.
std::vector<double> numbers_of(const std::vector<std::string>& lists);

// Of numbers; guard_options has seen to it that they are some.
CLI::Validator above_zero();
CLI::Validator at_least_zero();

// Makes every option of every command refuse values that none can mean: nothing (an unset variable of a shell), and for
// numbers what is not finite, absurdly large, or no number.
void guard_options(CLI::App& app);
// Throws UsageError where a value that may be left out is given as nothing, which CLI11 takes for left out.
void guard_empty_values(const CLI::App& app, std::span<char*> arguments);

void print_warning(const std::string& text);

}  // namespace quench::cli
