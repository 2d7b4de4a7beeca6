#include "compressor/measure/peer_codec.h"

#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "compressor/data/files.h"
#include "compressor/measure/child_program.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

namespace fs = std::filesystem;

std::string itself(int setting) { return std::to_string(setting); }
std::string from_one(int setting) { return std::to_string(setting + 1); }
std::string quantizer(int setting) { return std::to_string(63 - setting); }

// Files that become 2 % larger, or about so, with each setting.
std::string falling(double first, int setting) { return fmt::format("{:.4g}", first * std::pow(0.98, setting)); }
std::string ratio(int setting) { return falling(500, setting); }
std::string distance(int setting) { return falling(25, setting); }

// libjpeg-turbo decodes in this program, too. OpenJPEG's reader of PNGs makes samples linear where a chunk says that they
// are sRGB.
const std::array<Peer, 6> kPeers = {{
    {"jpeg",
     "libjpeg-turbo-progs",
     "jpg",
     100,
     from_one,
     {"cjpeg", "-progressive", "-optimize", "-quality", "{option}", "-outfile", "{file}", "{ppm}"},
     {}},
    {"openjpeg",
     "libopenjp2-tools",
     "jp2",
     300,
     ratio,
     {"opj_compress", "-I", "-r", "{option}", "-i", "{ppm}", "-o", "{file}"},
     {"opj_decompress", "-i", "{file}", "-o", "{decoded}"}},
    {"webp",
     "webp",
     "webp",
     101,
     itself,
     {"cwebp", "-quiet", "-m", "6", "-q", "{option}", "{png}", "-o", "{file}"},
     {"dwebp", "-quiet", "{file}", "-o", "{decoded}"}},
    {"avif",
     "libavif-bin",
     "avif",
     64,
     quantizer,
     {"avifenc", "-s", "4", "--min", "0", "--max", "63", "-a", "end-usage=q", "-a", "cq-level={option}", "{png}",
      "{file}"},
     {"avifdec", "{file}", "{decoded}"}},
    {"heic",
     "libheif-examples",
     "heic",
     101,
     itself,
     {"heif-enc", "-p", "chroma=444", "-q", "{option}", "{png}", "-o", "{file}"},
     {"heif-convert", "{file}", "{decoded}"}},
    {"jxl",
     "libjxl-tools",
     "jxl",
     270,
     distance,
     {"cjxl", "--num_threads=1", "-d", "{option}", "{png}", "{file}"},
     {"djxl", "--num_threads=1", "{file}", "{decoded}"}},
}};

// What stands for the names in braces.
struct Words {
  std::string option, picture, file, decoded;  // picture: without a suffix
};

std::vector<std::string> filled(const std::vector<const char*>& words, const Words& with) {
  const std::array<std::pair<std::string_view, std::string>, 5> values = {{{"{option}", with.option},
                                                                           {"{png}", with.picture + ".png"},
                                                                           {"{ppm}", with.picture + ".ppm"},
                                                                           {"{file}", with.file},
                                                                           {"{decoded}", with.decoded}}};
  std::vector<std::string> result;
  for (std::string word : words) {
    for (const auto& [name, value] : values) {
      const size_t at = word.find(name);
      if (at == std::string::npos) continue;
      word.replace(at, name.size(), value);
      break;
    }
    result.push_back(std::move(word));
  }
  return result;
}

void write_ppm(const fs::path& path, const data::Picture& picture) {
  const std::string header =
      fmt::format("P{}\n{} {}\n255\n", picture.samples == 1 ? 5 : 6, picture.width, picture.height);
  data::write_file(path, std::as_bytes(std::span(header)), std::as_bytes(std::span(picture.pixels)));
}

}  // namespace

std::span<const Peer> peers() { return kPeers; }

std::string what_is_missing(const Peer& peer) {
  for (const std::vector<const char*>* words : {&peer.encode, &peer.decode}) {
    if (!words->empty() && !is_installed(words->front()))
      return fmt::format("{} is not installed; Debian has it in the package {}", words->front(), peer.package);
  }
  return {};
}

std::string command_of(const Peer& peer) {
  return fmt::format("{}", fmt::join(filled(peer.encode, {"Q", "IN", fmt::format("OUT.{}", peer.suffix), ""}), " "));
}

PeerFiles::PeerFiles(const Peer& peer, const data::Picture& picture, fs::path folder)
    : peer_(peer), folder_(std::move(folder)) {
  fs::create_directory(folder_);
  data::write_png(folder_ / "picture.png", picture);
  write_ppm(folder_ / "picture.ppm", picture);
}

PeerFiles::~PeerFiles() {
  std::error_code error;
  fs::remove_all(folder_, error);
}

fs::path PeerFiles::file_of(int setting) const { return folder_ / fmt::format("{}.{}", setting, peer_.suffix); }

void PeerFiles::run(const std::vector<const char*>& words, int setting) const {
  run_program(filled(words, {peer_.option(setting), folder_ / "picture", file_of(setting), folder_ / "decoded.png"}),
              folder_ / "log");
}

uint64_t PeerFiles::encode(int setting) const {
  run(peer_.encode, setting);
  std::error_code error;
  const uint64_t bytes = fs::file_size(file_of(setting), error);
  if (error || bytes == 0) throw Error::make("{}: ended well, but wrote no file", peer_.encode.front());
  return bytes;
}

data::Picture PeerFiles::decode(int setting) const {
  if (peer_.decode.empty()) return data::read_picture(file_of(setting));
  const fs::path decoded = folder_ / "decoded.png";
  fs::remove(decoded);
  run(peer_.decode, setting);
  if (!fs::exists(decoded)) throw Error::make("{}: ended well, but wrote no file", peer_.decode.front());
  return data::read_picture(decoded);
}

}  // namespace quench::measure
