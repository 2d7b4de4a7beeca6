#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/cli/program.h"
#include "compressor/compress/model_check.h"
#include "compressor/report/json.h"
#include "compressor/report/text.h"

namespace quench::cli {

void add_check(CLI::App& app) {
  struct Arguments {
    std::string file;
    uint64_t max_memory = 0;
    ShapeOptions shapes;
    JsonOption json;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("check", "Say what is in a model, whether it runs, what compress will do");
  command->add_option("file", arguments->file, "a .onnx or .quench file")->required()->type_name("MODEL");
  arguments->shapes.add_to(*command);
  add_max_memory(*command, arguments->max_memory);
  arguments->json.add_to(*command);
  command->callback([arguments] {
    FileUse files;
    files.reads_model(arguments->file);
    arguments->json.declare(files);
    const quantizer::ModelCheck check =
        quantizer::check_model(arguments->file, arguments->shapes.get(), arguments->max_memory);
    for (const std::string& warning : check.warnings) print_warning(warning);
    arguments->json.show(report::to_text(check), report::to_json(check));
    if (!check.refusal.empty()) throw Finished{kDoesNotRun};
  });
}

}  // namespace quench::cli
