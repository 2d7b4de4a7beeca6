// `quench codec eval`: rate and quality of image codecs, learned ones and others.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "compressor/cli/codec_files.h"
#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/cli/temporary_folder.h"
#include "compressor/data/files.h"
#include "compressor/data/image.h"
#include "compressor/measure/image_comparison.h"
#include "compressor/report/image_comparison.h"
#include "compressor/report/json.h"
#include "compressor/report/progress.h"
#include "formats/base/printable.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAll = "all";
constexpr const char* kNone = "none";
constexpr size_t kCrops = 4;  // pictures

struct Arguments {
  std::string input, against = kAll, plot, crops;
  std::vector<std::string> prefixes, bpp, qualities;
  int threads = 0;
  JsonOption json;
};

std::string peer_names() {
  std::string names;
  for (const measure::Peer& peer : measure::peers()) names += (names.empty() ? "" : ", ") + std::string(peer.name);
  return names;
}

std::vector<const measure::Peer*> peers_of(const std::string& against) {
  std::vector<const measure::Peer*> found;
  if (against == kNone) return found;
  const std::vector<std::string> wanted = parts_of(against);
  for (const measure::Peer& peer : measure::peers()) {
    if (against == kAll || std::find(wanted.begin(), wanted.end(), peer.name) != wanted.end()) found.push_back(&peer);
  }
  for (const std::string& name : wanted) {
    const bool is_known = std::any_of(found.begin(), found.end(), [&](const auto* peer) { return peer->name == name; });
    if (against == kAll || is_known) continue;
    throw UsageError(fmt::format("--against: '{}' is none of {}", printable(name), peer_names()));
  }
  return found;
}

// Ascending, each once.
std::vector<double> rates_of(const Arguments& arguments) {
  std::vector<double> rates = numbers_of(arguments.qualities.empty() ? arguments.bpp : arguments.qualities);
  if (rates.empty()) return {0.2, 0.3, 0.4, 0.6};
  std::sort(rates.begin(), rates.end());
  rates.erase(std::unique(rates.begin(), rates.end()), rates.end());
  return rates;
}

// The last part of the prefix, or all of it where two are the same.
std::string name_of(const std::vector<std::string>& prefixes, const std::string& prefix) {
  const auto last = [](const std::string& path) { return fs::path(path).filename().string(); };
  const auto same = std::count_if(prefixes.begin(), prefixes.end(),
                                  [&](const std::string& other) { return last(other) == last(prefix); });
  return same > 1 ? prefix : last(prefix);
}

std::vector<measure::ImageCodec> open_codecs(const Arguments& arguments) {
  std::vector<measure::ImageCodec> codecs;
  for (const std::string& prefix : arguments.prefixes) {
    codecs.emplace_back(read_network(codec_file(prefix, "encoder")), read_network(codec_file(prefix, "decoder")),
                        prefix, resolve_threads(arguments.threads));
  }
  return codecs;
}

// Everything that can be wrong before the work begins; returns the pictures.
std::vector<fs::path> declare(const Arguments& arguments) {
  FileUse files;
  for (const std::string& prefix : arguments.prefixes) {
    files.reads_model(codec_file(prefix, "encoder"));
    files.reads_model(codec_file(prefix, "decoder"));
  }
  std::vector<fs::path> pictures = {arguments.input};
  if (fs::is_directory(arguments.input)) pictures = files_in(arguments.input, data::is_image_name);
  for (const fs::path& picture : pictures) files.reads(picture);
  arguments.json.declare(files);
  if (!arguments.plot.empty()) files.writes(arguments.plot);
  if (!arguments.crops.empty()) files.writes(arguments.crops);
  return pictures;
}

void write_text(const std::string& file, const std::string& text) {
  data::write_file(file, std::as_bytes(std::span(text)));
}

void run(const Arguments& arguments) {
  if (arguments.prefixes.empty() && !arguments.qualities.empty())
    throw UsageError("--quality is one of a codec: give it with --codec, or give --bpp");
  measure::ComparisonOptions options;
  options.peers = peers_of(arguments.against);
  if (arguments.prefixes.empty() && options.peers.empty())
    throw UsageError("there is nothing to measure: give --codec, or others with --against");
  options.rates = rates_of(arguments);
  options.by_quality = !arguments.qualities.empty();
  options.threads = resolve_threads(arguments.threads);
  options.shown = arguments.crops.empty() ? 0 : kCrops;
  const std::vector<fs::path> pictures = declare(arguments);
  std::vector<measure::ImageCodec> codecs = open_codecs(arguments);
  for (size_t i = 0; i < codecs.size(); ++i)
    options.learned.push_back({name_of(arguments.prefixes, arguments.prefixes[i]), &codecs[i]});
  const TemporaryFolder folder;
  options.folder = folder.path();
  report::Progress progress;
  options.progress = [&](std::string_view stage, double share) { progress.update(stage, share); };
  const measure::ImageComparison comparison = measure::compare_codecs(pictures, options);
  progress.finish();
  if (!arguments.plot.empty()) write_text(arguments.plot, report::rate_curves(comparison));
  if (!arguments.crops.empty()) write_text(arguments.crops, report::middles(comparison));
  arguments.json.show(report::to_text(comparison), report::to_json(comparison));
}

}  // namespace

void add_codec_eval(CLI::App& codec) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = codec.add_subcommand("eval", "Measure rate and quality, also of JPEG, WebP, AVIF and others");
  command->add_option("input", arguments->input, "a PNG or JPEG file, or a folder of them")
      ->required()
      ->type_name("IN");
  command
      ->add_option("--codec", arguments->prefixes,
                   "of PREFIX.encoder.quench and PREFIX.decoder.quench, or .onnx; may be repeated")
      ->type_name("PREFIX")
      ->allow_extra_args(false);
  CLI::Option* bpp =
      command->add_option("--bpp", arguments->bpp, "at most so many bits per pixel; default 0.2,0.3,0.4,0.6")
          ->check(above_zero())
          ->type_name("B,...")
          ->allow_extra_args(false);
  command
      ->add_option("--quality", arguments->qualities,
                   "instead: of the first codec; the others get as many bytes as its files have")
      ->check(above_zero())
      ->type_name("Q,...")
      ->allow_extra_args(false)
      ->excludes(bpp);
  command
      ->add_option("--against", arguments->against,
                   "other codecs, of " + peer_names() + "; default: all that are installed")
      ->type_name("all|none|NAME,...");
  command->add_option("--plot", arguments->plot, "an .svg file of quality over rate")->type_name("FILE");
  command
      ->add_option("--crops", arguments->crops,
                   "an .svg file to look at: the middles of the first 4 pictures and what each codec makes of them, at "
                   "the lowest rate")
      ->type_name("FILE");
  add_threads(*command, arguments->threads);
  arguments->json.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
