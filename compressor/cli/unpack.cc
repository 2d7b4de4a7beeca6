#include <memory>

#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/compress/compress.h"

namespace quench::cli {

void add_unpack(CLI::App& app) {
  struct Arguments {
    std::string file, output;
    uint64_t max_memory = 0;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("unpack", "Turn a .quench file back into an ONNX model");
  command->add_option("file", arguments->file, "a .quench file")->required()->type_name("FILE");
  command->add_option("-o,--output", arguments->output, "the .onnx file to write")->required()->type_name("OUT");
  add_max_memory(*command, arguments->max_memory);
  command->callback([arguments] {
    FileUse files;
    files.reads(arguments->file);
    files.writes(arguments->output);
    files.may_write(arguments->output + ".data");  // where the model exceeds 2 GB
    quantizer::unpack(arguments->file, arguments->output, arguments->max_memory);
  });
}

}  // namespace quench::cli
