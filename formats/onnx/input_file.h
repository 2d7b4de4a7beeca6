// A file to read ranges from, and a buffered reader of protobuf wire bytes over a part of it.
//
// Wire format: https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace quench {

// A regular file, or bytes in memory. Reading is safe from several threads. Errors are quench::Error beginning with the
// name.
class InputFile {
 public:
  // The file stays open, so that it can be replaced on disk while it is read.
  static std::shared_ptr<const InputFile> open(const std::filesystem::path& path);
  // It is opened anew for each read, since a model may have more files than a process may have open. One that was
  // replaced in between is an error.
  static std::shared_ptr<const InputFile> open_for_each_read(const std::filesystem::path& path);
  static std::shared_ptr<const InputFile> from_bytes(std::vector<std::byte> bytes, std::string name);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& name() const { return name_; }
  uint64_t size() const { return size_; }
  void read(uint64_t offset, std::span<std::byte> out) const;

 private:
  InputFile() = default;
  // A descriptor of the file, which is the one that was opened first.
  int open_again() const;
  void read_from(int descriptor, uint64_t offset, std::span<std::byte> out) const;

  std::string name_;
  int descriptor_ = -1;
  bool in_memory_ = false;
  uint64_t device_ = 0, inode_ = 0;
  std::vector<std::byte> bytes_;
  uint64_t size_ = 0;
};

enum class WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct WireTag {
  uint32_t field = 0;
  WireType type = WireType::kVarint;
};

class WireReader {
 public:
  explicit WireReader(const InputFile& file) : file_(file) {}

  const InputFile& file() const { return file_; }
  uint64_t position() const { return position_; }
  void seek(uint64_t position) { position_ = position; }

  // Each reads what ends at or before `end`, and throws quench::Error ("truncated", or what is wrong) otherwise.
  uint64_t read_varint(uint64_t end);
  WireTag read_tag(uint64_t end);
  uint64_t read_length(uint64_t end);  // of a kBytes field; position() + length <= end
  void read(std::span<std::byte> out, uint64_t end);
  void skip_value(WireType type, uint64_t end);

  [[noreturn]] void fail(const std::string& what) const;

 private:
  std::byte next(uint64_t end);

  static constexpr size_t kWindow = 64 * 1024;

  const InputFile& file_;
  uint64_t position_ = 0;
  uint64_t window_begin_ = 0;
  std::vector<std::byte> window_;
};

}  // namespace quench
