// Image codecs to compare with, as the programs that Debian has of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "compressor/data/image.h"

namespace quench::measure {

// Each is told to code as well as it can in bearable time, without subsampled colours where that is a choice and no
// habit of the format.
struct Peer {
  const char* name;
  const char* package;  // of Debian
  const char* suffix;   // of its files
  int settings;         // from 0, the smallest files, to this - 1
  std::string (*option)(int setting);
  // With {png} or {ppm}, the picture; {option}; {file}, the encoder's; {decoded}, a PNG.
  std::vector<const char*> encode, decode;  // no decoder: read_picture() is one
};

std::span<const Peer> peers();

// Empty, or which of its programs is missing and which package has it.
std::string what_is_missing(const Peer& peer);

// The encoder's command line: "cwebp -quiet -m 6 -q Q IN.png -o OUT.webp".
std::string command_of(const Peer& peer);

// A peer's files of one picture, in a folder of their own that goes away with this. Each function throws quench::Error
// where a program fails.
class PeerFiles {
 public:
  PeerFiles(const Peer& peer, const data::Picture& picture, std::filesystem::path folder);
  PeerFiles(const PeerFiles&) = delete;
  PeerFiles& operator=(const PeerFiles&) = delete;
  ~PeerFiles();

  // Returns the file's bytes.
  uint64_t encode(int setting) const;
  // Of a file that was made.
  data::Picture decode(int setting) const;

 private:
  std::filesystem::path file_of(int setting) const;
  void run(const std::vector<const char*>& words, int setting) const;

  const Peer& peer_;
  std::filesystem::path folder_;
};

}  // namespace quench::measure
