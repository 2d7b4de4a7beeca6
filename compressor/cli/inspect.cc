#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/report/json.h"
#include "compressor/report/text.h"

namespace quench::cli {

void add_inspect(CLI::App& app) {
  struct Arguments {
    std::string file;
    JsonOption json;
    uint64_t max_memory = 0;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("inspect", "Show where the bytes of a .quench file go");
  command->add_option("file", arguments->file, "a .quench file")->required()->type_name("FILE");
  arguments->json.add_to(*command);
  add_max_memory(*command, arguments->max_memory);
  command->callback([arguments] {
    FileUse files;
    files.reads(arguments->file);
    arguments->json.declare(files);
    const measure::Inspection inspection = measure::inspect(arguments->file, arguments->max_memory);
    arguments->json.show(report::to_text(inspection), report::to_json(inspection));
  });
}

}  // namespace quench::cli
