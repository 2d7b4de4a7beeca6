#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/measure/benchmark.h"
#include "compressor/report/json.h"
#include "compressor/report/text.h"

namespace quench::cli {

void add_bench(CLI::App& app) {
  struct Arguments {
    std::string file;
    measure::BenchmarkOptions options;
    ShapeOptions shapes;
    JsonOption json;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("bench", "Measure a .quench file's load, decoding, latency and memory");
  command->add_option("file", arguments->file, "a .quench file")->required()->type_name("FILE");
  command->add_option("--threads", arguments->options.threads, "default 1")->check(CLI::Range(1, 256))->type_name("N");
  command->add_option("--runs", arguments->options.runs, "default 50")->check(CLI::Range(1, 1000000))->type_name("N");
  arguments->shapes.add_to(*command);
  add_max_memory(*command, arguments->options.max_memory);
  arguments->json.add_to(*command);
  command->callback([arguments] {
    FileUse files;
    files.reads(arguments->file);
    arguments->json.declare(files);
    measure::BenchmarkOptions options = arguments->options;
    options.shapes = arguments->shapes.get();
    const measure::Benchmark benchmark = measure::benchmark(arguments->file, options);
    arguments->json.show(report::to_text(benchmark), report::to_json(benchmark));
  });
}

}  // namespace quench::cli
