#include "compressor/measure/image_comparison.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "compressor/data/image.h"
#include "compressor/measure/ms_ssim.h"
#include "compressor/measure/setting_search.h"
#include "formats/base/parallel.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

namespace fs = std::filesystem;
using Learned = ComparisonOptions::Learned;

// With `to` samples: grey as often as needed, or without how opaque a pixel is.
data::Picture with_samples(const data::Picture& picture, int to) {
  if (picture.samples == to) return picture;
  data::Picture result{picture.width, picture.height, to, picture.had_16_bits, {}};
  const auto from = static_cast<size_t>(picture.samples);
  for (size_t pixel = 0; pixel < picture.pixels.size(); pixel += from) {
    for (size_t sample = 0; sample < static_cast<size_t>(to); ++sample)
      result.pixels.push_back(picture.pixels[pixel + std::min(sample, from - 1)]);
  }
  return result;
}

data::Picture opaque(data::Picture picture) {
  return picture.samples == 4 ? with_samples(picture, 3) : std::move(picture);
}

data::Picture read_opaque(const fs::path& file) { return opaque(data::read_picture(file)); }

// As RGB, which a decoder may make of grey.
void score(CodedPicture& file, const data::Picture& original, const data::Picture& decoded) {
  const data::Picture a = with_samples(original, 3), b = with_samples(decoded, 3);
  file.psnr = psnr(a, b);
  file.ms_ssim = ms_ssim(a, b);
}

ImageCodec::File file_within(ImageCodec& codec, const data::Picture& picture, uint64_t most) {
  ImageCodec::File smallest = codec.encode(picture, 1);
  return smallest.bytes.size() >= most ? std::move(smallest) : codec.encode_within(picture, most);
}

CodedPicture coded(const data::Picture& picture, const ImageCodec::File& file, const data::Picture& decoded) {
  CodedPicture result;
  result.bytes = static_cast<double>(file.bytes.size());
  result.setting = fmt::format("{:.2f}", file.quality);
  score(result, picture, decoded);
  return result;
}

// A peer's files of one picture within each budget.
class PeerOnPicture {
 public:
  PeerOnPicture(const Peer& peer, const data::Picture& picture, const fs::path& folder)
      : peer_(peer),
        picture_(picture),
        files_(peer, picture, folder),
        search_(peer.settings, [this](int setting) { return files_.encode(setting); }) {}

  CodedPicture within(uint64_t most) {
    const SettingSearch::Neighbours found = search_.around(most);
    if (found.within < 0) return at(0);
    const CodedPicture within = at(found.within);
    return found.above == peer_.settings ? within : between(within, at(found.above), static_cast<double>(most));
  }

  // Of the largest file that fits, or the smallest.
  CodedMiddle middle_within(uint64_t most) {
    const int setting = std::max(search_.around(most).within, 0);
    return {at(setting), data::middle_of(files_.decode(setting), kMiddleSide)};
  }

 private:
  CodedPicture at(int setting) {
    CodedPicture file;
    file.bytes = static_cast<double>(search_.bytes(setting));
    file.setting = peer_.option(setting);
    score(file, picture_, files_.decode(setting));
    return file;
  }

  const Peer& peer_;
  const data::Picture& picture_;
  PeerFiles files_;
  SettingSearch search_;
};

class Comparison {
 public:
  Comparison(const std::vector<fs::path>& files, const ComparisonOptions& options) : files_(files), options_(options) {
    result_.rates = options.rates;
    result_.by_quality = options.by_quality;
  }

  ImageComparison run() {
    for (const fs::path& file : files_) add_picture(file);
    run_learned();
    run_peers();
    if (result_.codecs.empty()) {
      throw Error::make("no codec is left to measure: {}",
                        result_.left_out.empty() ? "none is asked for" : result_.left_out.front().reason);
    }
    return std::move(result_);
  }

 private:
  // Before the work, which may take hours.
  void add_picture(const fs::path& file) {
    const data::Picture picture = data::read_picture(file);
    if (std::min(picture.width, picture.height) < kLeastMsSsimSide) {
      throw Error::make("{}: a picture of {} x {} pixels is too small for MS-SSIM, which takes {} and more",
                        file.string(), picture.width, picture.height, kLeastMsSsimSide);
    }
    result_.pictures.push_back({file.filename().string(), picture.width, picture.height});
    if (result_.pictures.size() <= options_.shown)
      result_.pictures.back().middle = data::middle_of(opaque(picture), kMiddleSide);
    const double pixels = static_cast<double>(picture.width) * picture.height;
    budgets_.emplace_back();
    for (const double rate : options_.rates) budgets_.back().push_back(static_cast<uint64_t>(rate * pixels / 8));
  }

  void run_learned() {
    for (const Learned& learned : options_.learned) result_.codecs.push_back({learned.name, {}, {}});
    for (size_t p = 0; p < files_.size() && !options_.learned.empty(); ++p) {
      const data::Picture picture = read_opaque(files_[p]);
      for (size_t c = 0; c < options_.learned.size(); ++c) {
        show("the learned codecs", p * options_.learned.size() + c, files_.size() * options_.learned.size());
        try {
          add_learned_files(c, p, picture);
        } catch (const Error& error) {
          throw Error::make("{}: {}", files_[p].string(), error.what());
        }
      }
    }
  }

  void add_learned_files(size_t c, size_t p, const data::Picture& picture) {
    ImageCodec& codec = *options_.learned[c].codec;
    const bool sets_budgets = options_.by_quality && c == 0;
    std::vector<CodedPicture>& files = result_.codecs[c].files.emplace_back();
    for (size_t r = 0; r < options_.rates.size(); ++r) {
      const ImageCodec::File file =
          sets_budgets ? codec.encode(picture, options_.rates[r]) : file_within(codec, picture, budgets_[p][r]);
      if (sets_budgets) budgets_[p][r] = file.bytes.size();
      const data::Picture decoded = codec.decode(file.bytes, "a file of it");
      files.push_back(coded(picture, file, decoded));
      if (r == 0 && p < result_.shown())
        result_.codecs[c].middles.push_back({files.back(), data::middle_of(decoded, kMiddleSide)});
    }
  }

  // Pictures and peers at once; a peer that has failed is not asked again.
  void run_peers() {
    std::vector<ImageComparison::Codec> codecs;
    for (const Peer* peer : options_.peers) {
      failures_.push_back(what_is_missing(*peer));
      codecs.push_back({peer->name, command_of(*peer), std::vector<std::vector<CodedPicture>>(files_.size()),
                        std::vector<CodedMiddle>(result_.shown())});
    }
    const size_t peers = options_.peers.size(), jobs = files_.size() * peers;
    size_t done = 0;
    parallel_for(jobs, options_.threads, [&](size_t job) {
      const size_t picture = job / peers, peer = job % peers;
      add_peer_files(codecs[peer], peer, picture, fmt::format("{}", job));
      const std::lock_guard lock(mutex_);
      show("the other codecs", ++done, jobs);
    });
    for (size_t i = 0; i < peers; ++i) {
      if (failures_[i].empty()) {
        result_.codecs.push_back(std::move(codecs[i]));
      } else {
        result_.left_out.push_back({codecs[i].name, failures_[i]});
      }
    }
  }

  void add_peer_files(ImageComparison::Codec& codec, size_t peer, size_t p, const std::string& name) {
    {
      const std::lock_guard lock(mutex_);
      if (!failures_[peer].empty()) return;
    }
    try {
      const data::Picture picture = read_opaque(files_[p]);
      PeerOnPicture coder(*options_.peers[peer], picture, options_.folder / name);
      for (const uint64_t most : budgets_[p]) codec.files[p].push_back(coder.within(most));
      if (p < codec.middles.size()) codec.middles[p] = coder.middle_within(budgets_[p].front());
    } catch (const Error& error) {
      const std::lock_guard lock(mutex_);
      if (failures_[peer].empty()) failures_[peer] = fmt::format("{}: {}", files_[p].string(), error.what());
    }
  }

  void show(std::string_view stage, size_t done, size_t all) const {
    if (options_.progress) options_.progress(stage, static_cast<double>(done) / static_cast<double>(all));
  }

  const std::vector<fs::path>& files_;
  const ComparisonOptions& options_;
  ImageComparison result_;
  std::vector<std::vector<uint64_t>> budgets_;  // [picture][rate], bytes
  std::mutex mutex_;
  std::vector<std::string> failures_;  // of each peer; empty: none
};

}  // namespace

size_t ImageComparison::shown() const {
  return static_cast<size_t>(std::count_if(pictures.begin(), pictures.end(),
                                           [](const Picture& picture) { return !picture.middle.pixels.empty(); }));
}

ImageComparison compare_codecs(const std::vector<fs::path>& pictures, const ComparisonOptions& options) {
  return Comparison(pictures, options).run();
}

MeanRate mean_of(const ImageComparison& comparison, const ImageComparison::Codec& codec, size_t rate) {
  MeanRate mean;
  const auto count = static_cast<double>(comparison.pictures.size());
  for (size_t p = 0; p < comparison.pictures.size(); ++p) {
    const ImageComparison::Picture& picture = comparison.pictures[p];
    const CodedPicture& file = codec.files[p][rate];
    mean.bits_per_pixel += 8 * file.bytes / picture.width / picture.height / count;
    mean.psnr += file.psnr / count;
    mean.ms_ssim += file.ms_ssim / count;
  }
  return mean;
}

Wins wins_of(const ImageComparison::Codec& codec, const ImageComparison::Codec& peer, size_t rate) {
  Wins wins;
  for (size_t p = 0; p < codec.files.size(); ++p) {
    const CodedPicture &own = codec.files[p][rate], &other = peer.files[p][rate];
    if (own.bytes > other.bytes) continue;
    wins.ms_ssim += own.ms_ssim > other.ms_ssim ? 1 : 0;
    wins.psnr += own.psnr > other.psnr ? 1 : 0;
  }
  return wins;
}

CodedPicture between(const CodedPicture& within, const CodedPicture& above, double bytes) {
  if (bytes <= within.bytes) return within;
  const double share = std::log(bytes / within.bytes) / std::log(above.bytes / within.bytes);
  const auto mixed = [share](double a, double b) { return a == b ? a : a + share * (b - a); };
  return {bytes, mixed(within.psnr, above.psnr), mixed(within.ms_ssim, above.ms_ssim),
          fmt::format("{} to {}", within.setting, above.setting)};
}

}  // namespace quench::measure
