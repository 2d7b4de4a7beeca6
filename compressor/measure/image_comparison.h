// Image codecs compared: learned ones and those that Debian has as programs, on the same pictures with as many bytes.
//
// Each picture has a budget of bytes for each rate. A learned codec makes its largest file within it. A peer has two of
// its settings next to each other, of which one takes more: it counts as the point between their files that has the
// budget's bytes, linearly over the logarithm of the bytes, since none should lose for being told its size in coarse
// steps. Where even a codec's smallest file is above the budget, or its largest is below, that file counts as it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "compressor/data/image.h"
#include "compressor/measure/image_codec.h"
#include "compressor/measure/peer_codec.h"

namespace quench::measure {

// A file of a picture, or the point between two.
struct CodedPicture {
  double bytes = 0;
  double psnr = 0;  // dB; infinite where the pictures are equal
  double ms_ssim = 0;
  std::string setting;  // of a learned codec the quality; of a peer the option's value, "30 to 31" between two
};

// The middle of a picture as a file has it; a peer's file is one that fits, not between two.
struct CodedMiddle {
  CodedPicture file;  // of the whole picture
  data::Picture pixels;
};

struct ImageComparison {
  struct Picture {
    std::string file;  // without folders
    int width = 0, height = 0;
    data::Picture middle = {};  // without pixels where it is not shown
  };
  struct Codec {
    std::string name;
    std::string command;                           // of a peer; empty: a learned codec
    std::vector<std::vector<CodedPicture>> files;  // [picture][rate]
    std::vector<CodedMiddle> middles = {};         // [picture], of those that are shown, at the first rate
    bool is_peer() const { return !command.empty(); }
  };
  struct LeftOut {
    std::string name, reason;
  };

  std::vector<double>
      rates;  // bits per pixel; or qualities of the first codec, the bytes of whose files are the budgets
  bool by_quality = false;
  std::vector<Picture> pictures;
  std::vector<Codec> codecs;  // learned ones first
  std::vector<LeftOut> left_out;

  size_t shown() const;  // pictures
};

inline constexpr int kMiddleSide = 128;  // pixels

struct ComparisonOptions {
  struct Learned {
    std::string name;
    ImageCodec* codec = nullptr;  // borrowed
  };
  std::vector<Learned> learned;
  std::vector<const Peer*> peers;
  std::vector<double> rates;
  bool by_quality = false;
  size_t shown = 0;                                                    // pictures, from the first, to keep middles of
  std::filesystem::path folder;                                        // for the peers' files, which go away again
  int threads = 1;                                                     // for the peers
  std::function<void(std::string_view stage, double share)> progress;  // share 0 to 1 of the stage
};

// Transparency is left out, of all codecs alike. A peer that is not installed, or whose programs fail on a picture, is
// left out and listed. Throws quench::Error for a picture that cannot be read or has a side below kLeastMsSsimSide, and
// where no codec is left.
ImageComparison compare_codecs(const std::vector<std::filesystem::path>& pictures, const ComparisonOptions& options);

// The mean over the pictures of bits per pixel, PSNR and MS-SSIM.
struct MeanRate {
  double bits_per_pixel = 0, psnr = 0, ms_ssim = 0;
};
MeanRate mean_of(const ImageComparison& comparison, const ImageComparison::Codec& codec, size_t rate);

// On how many pictures `codec` is better than `peer` with no more bytes.
struct Wins {
  size_t ms_ssim = 0, psnr = 0;
};
Wins wins_of(const ImageComparison::Codec& codec, const ImageComparison::Codec& peer, size_t rate);

// The point between two files that has `bytes`, which is from the first's to the second's.
CodedPicture between(const CodedPicture& within, const CodedPicture& above, double bytes);

}  // namespace quench::measure
