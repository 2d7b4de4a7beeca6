// `quench codec compress`: the two networks of an image codec as .quench files, by what they cost in pictures.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "compressor/cli/codec_files.h"
#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/cli/temporary_folder.h"
#include "compressor/compress/codec_compression.h"
#include "compressor/data/files.h"
#include "compressor/data/image.h"
#include "compressor/report/progress.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string input, output, data;
  double max_loss = 0.001;
  int threads = 0;
  JsonOption json;
};

fs::path onnx_file(const std::string& prefix, const char* side) {
  fs::path file = prefix + "." + side + ".onnx";
  std::error_code error;
  if (!fs::exists(file, error)) throw Error::make("{}: there is no such file", file.string());
  return file;
}

void run(const Arguments& arguments) {
  FileUse files;
  const fs::path encoder = onnx_file(arguments.input, "encoder"), decoder = onnx_file(arguments.input, "decoder");
  const fs::path small_encoder = arguments.output + ".encoder.quench",
                 small_decoder = arguments.output + ".decoder.quench";
  files.reads_model(encoder);
  files.reads_model(decoder);
  files.reads_data(arguments.data);
  files.writes(small_encoder, FileUse::Place::kFile);
  files.writes(small_decoder, FileUse::Place::kFile);
  arguments.json.declare(files);
  const TemporaryFolder folder;
  report::Progress progress;
  quantizer::CodecCompressOptions options;
  options.max_loss = arguments.max_loss;
  options.threads = resolve_threads(arguments.threads);
  options.folder = folder.path();
  options.progress = [&](std::string_view stage, double share) { progress.update(stage, share); };
  const quantizer::CompressedCodec small =
      quantizer::compress_codec({encoder, decoder}, files_in(arguments.data, data::is_image_name), options);
  data::write_file(small_encoder, small.encoder);
  data::write_file(small_decoder, small.decoder);
  progress.finish();
  const size_t encoder_bytes = small.encoder.size(), decoder_bytes = small.decoder.size();
  const nlohmann::ordered_json json = {
      {"encoder_bytes", encoder_bytes}, {"decoder_bytes", decoder_bytes}, {"ms_ssim_loss", small.loss}};
  arguments.json.show(
      fmt::format("{}: {} bytes\n{}: {} bytes\nMS-SSIM lost at the same rates: {:.5f}\n", small_encoder.string(),
                  encoder_bytes, small_decoder.string(), decoder_bytes, small.loss),
      json.dump(2) + "\n");
}

}  // namespace

void add_codec_compress(CLI::App& codec) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = codec.add_subcommand("compress", "Make small .quench files of a codec's networks");
  command->add_option("input", arguments->input, "of PREFIX.encoder.onnx and PREFIX.decoder.onnx")
      ->required()
      ->type_name("PREFIX");
  command->add_option("-o,--output", arguments->output, "writes OUT.encoder.quench and OUT.decoder.quench")
      ->required()
      ->type_name("OUT");
  command->add_option("--data", arguments->data, "a folder of photographs, PNG or JPEG, to calibrate and judge on")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option("--max-loss", arguments->max_loss,
                   "the smallest that lose at most this much MS-SSIM each, at the same rates; default 0.001")
      ->check(above_zero())
      ->type_name("L");
  add_threads(*command, arguments->threads);
  arguments->json.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
