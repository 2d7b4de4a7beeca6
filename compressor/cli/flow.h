// `quench train flow`: a continuous normalizing flow (compressor/networks/flow.h) from points to a sampler and a density.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "compressor/cli/loop_options.h"
#include "compressor/cli/options.h"
#include "compressor/networks/flow.h"

namespace quench::cli {

class FlowArguments {
 public:
  // Options of flows alone; `command` has those of the loop already.
  void add_to(CLI::App& command);
  // These are for flows alone.
  const std::vector<const CLI::Option*>& own() const { return own_; }
  // And this for what else has other steps in its file than in training.
  const CLI::Option* export_steps() const { return command_->get_option("--export-steps"); }

  // Trains the flow that options and data say, and writes OUT.sampler.onnx and OUT.density.onnx for an `output` of
  // OUT.onnx. `options`: what else the command line says of the network.Throws quench::Error.
  void run(networks::FlowOptions options, const std::string& output, const LoopArguments& arguments,
           const JsonOption& json) const;

 private:
  training::LoopOptions with_defaults(training::LoopOptions loop) const;
  // Options of the loop that would do nothing.
  void check_options() const;

  const CLI::App* command_ = nullptr;
  std::vector<const CLI::Option*> own_;
  std::vector<int64_t> hidden_;
  std::string nonlinearity_ = "tanh", trace_;
  int export_steps_ = 32;
};

}  // namespace quench::cli
