// Options that `quench tune` and `quench train` share.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "compressor/cli/options.h"
#include "compressor/report/progress.h"
#include "compressor/training/loop/options.h"

namespace quench::cli {

// The names in a table, for an option whose type name lists them already.
template <typename Value, size_t kCount>
CLI::Validator one_of(const training::Named<Value> (&names)[kCount]) {
  std::map<std::string, Value> values;
  for (const training::Named<Value>& each : names) values.emplace(each.name, each.value);
  return one_of(std::move(values));
}

class LoopArguments {
 public:
  void add_to(CLI::App& command, const training::LoopOptions& defaults);
  // The options of a training that has data and a loss of its own: what the loop does, and the records of it.
  void add_loop_to(CLI::App& command, const training::LoopOptions& defaults);
  // `files`: what the command itself reads; `output` and `json`: of the command; `title`: of the page. Throws
  // quench::Error where output, checkpoint, metrics, page or the file of `json` cannot be written (see FileUse). Progress
  // goes to `progress`; after each epoch come a line to standard output, or to standard error where JSON goes to standard
  // output, metrics and page; `note` ends each of these lines, and `figure` makes a figure of the page.
  training::LoopOptions get(FileUse files, const std::filesystem::path& output, const std::string& title,
                            const JsonOption& json, report::Progress& progress, const std::string& note = {},
                            const std::function<std::string()>& figure = nullptr) const;
  const PreprocessingOptions& preprocessing() const { return preprocessing_; }
  const std::filesystem::path& page() const { return page_; }  // empty: none is asked for

 private:
  void add_data_to(CLI::App& command);
  void add_classifier_loop_to(CLI::App& command);

  training::LoopOptions options_;
  PreprocessingOptions preprocessing_;
  std::filesystem::path metrics_, page_;
  double label_share_ = 0;
  bool no_augment_ = false, float32_ = false;
  CLI::Option* label_share_option_ = nullptr;
  CLI::Option* checkpoint_option_ = nullptr;
  int threads_ = 0;
};

}  // namespace quench::cli
