// The `quench-training` program: the commands of `quench` that need LibTorch.
#include "compressor/cli/commands.h"
#include "compressor/cli/program.h"

int main(int argc, char** argv) {
  CLI::App app("Trains and tunes ONNX models.\n");
  quench::cli::set_up(app);
  quench::cli::add_tune(app);
  quench::cli::add_train(app);
  return quench::cli::run_program(app, argc, argv);
}
