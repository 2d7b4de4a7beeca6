// Small .quench files for the tests, a reader over bytes of their own, and damage to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/container/reader.h"
#include "formats/container/writer.h"
#include "formats/entropy/coder.h"

namespace quench::container {

using FileBytes = std::vector<std::byte>;

// Memory with the alignment that the reader asks for.
class AlignedMemory {
 public:
  explicit AlignedMemory(uint64_t size);
  std::span<std::byte> span() const { return {memory_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte[], Free> memory_;
  size_t size_;
};

// A reader together with the memory of its tables.
struct OpenFile {
  AlignedMemory memory;
  Reader reader;
};

// Opens a file; the bytes must outlive the result.
Result<std::unique_ptr<OpenFile>> open_file(std::span<const std::byte> file, const Limits& limits = {});

// Everything that can be decoded from a file, one after the other: graph, tensors as bytes, as float32, as indices.
Result<FileBytes> decode_everything(std::span<const std::byte> file, const Limits& limits = {});

// Limits under which decode_everything() stays fast and small on any bytes.
Limits small_limits();

// A few hundred bytes that use every encoding, every kind of codebook and scale, and metadata.
FileBytes sample_file();

// An entropy model of the coder, fitted to nothing in particular.
std::vector<uint8_t> default_model(entropy::Coder coder);

// Makes all checksums match again after damage, as far as header and section table still make sense.
void reseal(FileBytes& file);

// A section as it is stored, for tests that build files by hand.
struct RawSection {
  uint64_t kind;
  uint64_t flags;
  FileBytes stored;
  uint64_t decoded;
};
// The sections of a sound file, and the file that has the header's counts of `like` and these sections.
std::vector<RawSection> sections_of(std::span<const std::byte> file);
FileBytes assemble(std::span<const std::byte> like, const std::vector<RawSection>& sections);
// The same file with no section coded, so that damage to its tables goes straight to the parser.
FileBytes without_section_coding(std::span<const std::byte> file);

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace quench::container
