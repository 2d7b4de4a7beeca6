// The `quench-training` program: the commands of `quench` that need LibTorch.
#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "compressor/cli/commands.h"
#include "compressor/cli/program.h"

namespace {

// Each step frees its tensors and asks for the same again. Memory that goes back to the system in between comes cleared
// page by page, which is a tenth of a step.
void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kMost = 1 << 30, kMostOnce = 32 << 20;  // what the C library takes today, and took before 2.35
  if (::mallopt(M_MMAP_THRESHOLD, kMost) == 0) ::mallopt(M_MMAP_THRESHOLD, kMostOnce);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  ::mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace

// What CLI11 throws while options are declared is a slip in this program, and ends it.
int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape)
  keep_freed_memory();
  CLI::App app("Trains and tunes ONNX models.\n");
  quench::cli::set_up(app);
  quench::cli::add_tune(app);
  quench::cli::add_train(app);
  quench::cli::add_codec_train(*app.add_subcommand("codec", "Images as files of an image codec of networks"));
  return quench::cli::run_program(app, argc, argv);
}
