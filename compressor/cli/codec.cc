// `quench codec encode | decode | info`: images as .qim files.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "compressor/cli/codec_files.h"
#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/data/files.h"
#include "compressor/data/image.h"
#include "compressor/measure/image_codec.h"
#include "compressor/report/progress.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string input, output, codec;
  double quality = 0, bpp = 0;
  uint64_t bytes = 0;
  int threads = 0;
  JsonOption json;
};

// What is done to each of the input files: one, or all in a folder whose names fit.
struct Job {
  fs::path input, output;
};

std::vector<Job> find_jobs(const Arguments& arguments, bool (*fits)(const fs::path&), const char* extension,
                           FileUse& files) {
  std::vector<Job> jobs;
  const fs::path input = arguments.input, output = arguments.output;
  if (!fs::is_directory(input)) {
    jobs.push_back({input, output});
  } else {
    for (const fs::path& file : files_in(input, fits))
      jobs.push_back({file, output / file.filename().replace_extension(extension)});
    std::error_code error;
    fs::create_directories(output, error);
    if (!fs::is_directory(output)) {
      throw Error::make("{}: this must be a folder, as {} is one", output.string(), input.string());
    }
  }
  for (const Job& job : jobs) files.reads(job.input);
  for (const Job& job : jobs) files.writes(job.output, FileUse::Place::kFile);
  return jobs;
}

// Calls work(job) for each, which returns a line about it.
template <typename Work>
void do_jobs(const std::vector<Job>& jobs, const char* stage, Work&& work) {
  report::Progress progress;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (jobs.size() > 1) progress.update(stage, static_cast<double>(i) / static_cast<double>(jobs.size()));
    const std::string line = work(jobs[i]);
    progress.finish();
    fmt::print("{}\n", line);
  }
}

uint64_t most_bytes(const Arguments& arguments, const data::Picture& picture) {
  if (arguments.bytes > 0) return arguments.bytes;
  return static_cast<uint64_t>(arguments.bpp * picture.width * picture.height / 8);
}

void encode(const Arguments& arguments) {
  if (arguments.quality == 0 && arguments.bpp == 0 && arguments.bytes == 0)
    throw UsageError("how good or how small is not said: --quality, --bpp or --bytes");
  FileUse files;
  const fs::path network = codec_file(arguments.codec, "encoder");
  files.reads_model(network);
  const std::vector<Job> jobs = find_jobs(arguments, data::is_image_name, ".qim", files);
  measure::ImageCodec codec(read_network(network), {}, network.string(), resolve_threads(arguments.threads));
  do_jobs(jobs, "encoding", [&](const Job& job) {
    const data::Picture picture = data::read_picture(job.input);
    measure::ImageCodec::File file;
    try {
      file = arguments.quality > 0 ? codec.encode(picture, arguments.quality)
                                   : codec.encode_within(picture, most_bytes(arguments, picture));
    } catch (const Error& error) {
      throw Error::make("{}: {}", job.input.string(), error.what());
    }
    data::write_file(job.output, file.bytes);
    return fmt::format("{}: {} x {} pixels, quality {:.2f}, {} bytes, {:.3f} bits per pixel{}", job.output.string(),
                       picture.width, picture.height, file.quality, file.bytes.size(),
                       8.0 * static_cast<double>(file.bytes.size()) / picture.width / picture.height,
                       picture.had_16_bits ? "; its samples of 16 bits became 8" : "");
  });
}

bool is_qim_name(const fs::path& path) { return path.extension() == ".qim"; }

void decode(const Arguments& arguments) {
  FileUse files;
  const fs::path network = codec_file(arguments.codec, "decoder");
  files.reads_model(network);
  const std::vector<Job> jobs = find_jobs(arguments, is_qim_name, ".png", files);
  measure::ImageCodec codec({}, read_network(network), network.string(), resolve_threads(arguments.threads));
  do_jobs(jobs, "decoding", [&](const Job& job) {
    const data::Picture picture = codec.decode(data::read_file(job.input), job.input.string());
    data::write_png(job.output, picture);
    return fmt::format("{}: {} x {} pixels", job.output.string(), picture.width, picture.height);
  });
}

void info(const Arguments& arguments) {
  const std::vector<std::byte> file = data::read_file(arguments.input);
  const quench_image_info image = measure::read_image_info(file, arguments.input);
  const double bpp = 8.0 * static_cast<double>(file.size()) / image.width / image.height;
  const uint64_t rest = file.size() - image.index_bytes - image.alpha_bytes;
  const std::string codec = fmt::format("{:08x}", image.codec);
  const nlohmann::ordered_json json = {{"width", image.width},
                                       {"height", image.height},
                                       {"quality", image.quality},
                                       {"grey", image.is_grey != 0},
                                       {"alpha", image.has_alpha != 0},
                                       {"bytes", file.size()},
                                       {"bits_per_pixel", bpp},
                                       {"index_bytes", image.index_bytes},
                                       {"alpha_bytes", image.alpha_bytes},
                                       {"other_bytes", rest},
                                       {"codec", codec},
                                       {"channels", image.channels},
                                       {"levels", image.levels}};
  const char* const kind = image.is_grey != 0 ? "grey" : image.has_alpha != 0 ? "colour, with transparency" : "colour";
  const std::string text = fmt::format(
      "{} x {} pixels, {}\nquality {:.2f} of codec {} ({} channels, {} levels)\n"
      "{} bytes, {:.3f} bits per pixel: picture {}, transparency {}, the rest {}\n",
      image.width, image.height, kind, image.quality, codec, image.channels, image.levels, file.size(), bpp,
      image.index_bytes, image.alpha_bytes, rest);
  arguments.json.show(text, json.dump(2) + "\n");
}

void add_files(CLI::App& command, Arguments& arguments, const char* input, const char* output) {
  command.add_option("input", arguments.input, input)->required()->type_name("IN");
  command.add_option("-o,--output", arguments.output, output)->required()->type_name("OUT");
  command.add_option("--codec", arguments.codec, "of PREFIX.encoder.quench and PREFIX.decoder.quench, or .onnx")
      ->required()
      ->type_name("PREFIX");
  add_threads(command, arguments.threads);
}

}  // namespace

CLI::App& add_codec(CLI::App& app) {
  CLI::App* command = app.add_subcommand("codec", "Images as small .qim files, by a learned codec");
  command->require_subcommand(1);
  return *command;
}

void add_codec_files(CLI::App& codec) {
  auto encoding = std::make_shared<Arguments>();
  CLI::App* command = codec.add_subcommand("encode", "Make .qim files of PNG and JPEG images");
  add_files(*command, *encoding, "a PNG or JPEG file, or a folder of them", "the .qim file, or a folder for them");
  CLI::Option* quality =
      command->add_option("--quality", encoding->quality, "from 1, the smallest, to what the codec has, e.g. 3.5")
          ->check(above_zero())
          ->type_name("Q");
  CLI::Option* bpp = command->add_option("--bpp", encoding->bpp, "instead: at most so many bits per pixel, all counted")
                         ->check(above_zero())
                         ->type_name("B")
                         ->excludes(quality);
  command->add_option("--bytes", encoding->bytes, "instead: at most so many bytes")
      ->check(above_zero())
      ->type_name("N")
      ->excludes(quality)
      ->excludes(bpp);
  command->callback([encoding] { encode(*encoding); });

  auto decoding = std::make_shared<Arguments>();
  command = codec.add_subcommand("decode", "Make PNG images of .qim files");
  add_files(*command, *decoding, "a .qim file, or a folder of them", "the PNG file, or a folder for them");
  command->callback([decoding] { decode(*decoding); });

  auto asked = std::make_shared<Arguments>();
  command = codec.add_subcommand("info", "Say what is in a .qim file");
  command->add_option("file", asked->input, "a .qim file")->required()->type_name("FILE");
  asked->json.add_to(*command);
  command->callback([asked] {
    FileUse files;
    files.reads(asked->input);
    asked->json.declare(files);
    info(*asked);
  });
}

}  // namespace quench::cli
