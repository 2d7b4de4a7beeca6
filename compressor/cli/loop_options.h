// Options that `quench tune` and `quench train` share.
#pragma once

#include <CLI/CLI.hpp>

#include "compressor/cli/options.h"
#include "compressor/report/progress.h"
#include "compressor/training/options.h"

namespace quench::cli {

class LoopArguments {
 public:
  void add_to(CLI::App& command, const training::LoopOptions& defaults);
  // `inputs` and `output`: of the command. Throws quench::Error where output, checkpoint, metrics or page would
  // overwrite one of these, the teacher or each other. Progress goes to `progress`, a line for each epoch to `lines`.
  training::LoopOptions get(std::vector<std::filesystem::path> inputs, const std::filesystem::path& output,
                            report::Progress& progress, std::FILE* lines) const;

 private:
  training::LoopOptions options_;
  PreprocessingOptions preprocessing_;
  double label_share_ = 0;
  bool no_augment_ = false, float32_ = false;
  CLI::Option* label_share_option_ = nullptr;
  CLI::Option* checkpoint_option_ = nullptr;
  int threads_ = 0;
};

}  // namespace quench::cli
