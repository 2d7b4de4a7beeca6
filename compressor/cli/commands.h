// The commands of `quench`: each adds itself to the program, with the options that it takes, and runs when it is
// chosen.
#pragma once

#include <CLI/CLI.hpp>

namespace quench::cli {

void add_check(CLI::App& app);
void add_compress(CLI::App& app);
void add_unpack(CLI::App& app);
void add_inspect(CLI::App& app);
void add_run(CLI::App& app);
void add_eval(CLI::App& app);
void add_bench(CLI::App& app);
void add_data(CLI::App& app);
void add_plot(CLI::App& app);

// `codec`, whose own commands are added to what it returns.
CLI::App& add_codec(CLI::App& app);
void add_codec_files(CLI::App& codec);  // encode, decode, info
void add_codec_eval(CLI::App& codec);
void add_codec_compress(CLI::App& codec);

// Of `quench-training`.
void add_tune(CLI::App& app);
void add_train(CLI::App& app);
void add_codec_train(CLI::App& codec);

}  // namespace quench::cli
