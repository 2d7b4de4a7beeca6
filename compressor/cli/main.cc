// The `quench` program. Commands that need LibTorch are in a program of their own, `quench-training`, so that the
// others start without it: this one hands over to it.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "compressor/cli/commands.h"
#include "compressor/cli/program.h"

namespace {

constexpr const char* kTrainingProgram = "quench-training";

bool is_training_command(int argc, char** argv) {
  const auto is = [&](int i, const char* word) { return i < argc && std::strcmp(argv[i], word) == 0; };
  return is(1, "tune") || is(1, "train") || (is(1, "codec") && is(2, "train"));
}

// Where this program is, else where PATH says. Returns only when that fails.
int hand_over(char** argv) {
  // LibTorch's OpenMP threads spin while they wait, and take the processors from the runtime's threads, which run the
  // teacher. A short spin suits both; OpenMP reads this before main() begins.
  ::setenv("GOMP_SPINCOUNT", "10000", 0);
  std::error_code error;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) ::execv((own.parent_path() / kTrainingProgram).c_str(), argv);
  ::execvp(kTrainingProgram, argv);
  fmt::print(stderr, "quench: error: '{}' needs the program {}, which is not installed: build Quench with LibTorch\n",
             argv[1], kTrainingProgram);
  return 1;
}

}  // namespace

// What CLI11 throws while options are declared is a slip in this program, and ends it.
int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape)
  if (is_training_command(argc, argv)) return hand_over(argv);
  CLI::App app("Makes ONNX models small, and runs what it made.\n");
  quench::cli::set_up(app);
  quench::cli::add_check(app);
  quench::cli::add_compress(app);
  app.add_subcommand("tune", "Fine-tune a model while its weights harden, to a .quench file");
  quench::cli::add_unpack(app);
  quench::cli::add_inspect(app);
  quench::cli::add_run(app);
  quench::cli::add_eval(app);
  quench::cli::add_bench(app);
  quench::cli::add_data(app);
  app.add_subcommand("train", "Train a residual network, an ODE network or a flow to .onnx files");
  quench::cli::add_plot(app);
  CLI::App& codec = quench::cli::add_codec(app);
  quench::cli::add_codec_files(codec);
  quench::cli::add_codec_eval(codec);
  quench::cli::add_codec_compress(codec);
  codec.add_subcommand("train", "Train the two networks of an image codec on photographs");
  return quench::cli::run_program(app, argc, argv);
}
