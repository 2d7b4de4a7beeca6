#include "formats/onnx/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "formats/error.h"

namespace quench {

namespace {

// O_NONBLOCK: a named pipe would otherwise wait for a writer before it can be refused.
int open_regular(const std::string& name, struct stat& status) {
  const int descriptor = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw Error::make("{}: cannot be opened: {}", name, std::strerror(errno));
  const int error = ::fstat(descriptor, &status) != 0 ? errno : 0;
  if (error == 0 && S_ISREG(status.st_mode)) return descriptor;
  ::close(descriptor);
  if (error != 0) throw Error::make("{}: cannot be examined: {}", name, std::strerror(error));
  throw Error::make("{}: is not a regular file", name);
}

}  // namespace

std::shared_ptr<const InputFile> InputFile::open(const std::filesystem::path& path) {
  std::shared_ptr<InputFile> file(new InputFile);
  file->name_ = path.string();
  struct stat status {};
  file->descriptor_ = open_regular(file->name_, status);
  file->size_ = static_cast<uint64_t>(status.st_size);
  file->device_ = status.st_dev;
  file->inode_ = status.st_ino;
  return file;
}

std::shared_ptr<const InputFile> InputFile::open_for_each_read(const std::filesystem::path& path) {
  std::shared_ptr<InputFile> file = std::const_pointer_cast<InputFile>(open(path));
  ::close(std::exchange(file->descriptor_, -1));
  return file;
}

std::shared_ptr<const InputFile> InputFile::from_bytes(std::vector<std::byte> bytes, std::string name) {
  std::shared_ptr<InputFile> file(new InputFile);
  file->name_ = std::move(name);
  file->size_ = bytes.size();
  file->bytes_ = std::move(bytes);
  file->in_memory_ = true;
  return file;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

int InputFile::open_again() const {
  struct stat status {};
  const int descriptor = open_regular(name_, status);
  if (status.st_dev == device_ && status.st_ino == inode_) return descriptor;
  ::close(descriptor);
  throw Error::make("{}: was replaced while it was read", name_);
}

void InputFile::read(uint64_t offset, std::span<std::byte> out) const {
  if (out.empty()) return;
  if (offset > size_ || out.size() > size_ - offset) throw Error::make("{}: truncated at byte {}", name_, size_);
  if (in_memory_) {
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
  } else if (descriptor_ >= 0) {
    read_from(descriptor_, offset, out);
  } else {
    struct Closer {
      int descriptor;
      ~Closer() { ::close(descriptor); }
    };
    const Closer file{open_again()};
    read_from(file.descriptor, offset, out);
  }
}

void InputFile::read_from(int descriptor, uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error::make("{}: cannot be read at byte {}: {}", name_, offset, std::strerror(errno));
    if (count == 0) throw Error::make("{}: became shorter while it was read, at byte {}", name_, offset);
    out = out.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
}

void WireReader::fail(const std::string& what) const {
  throw Error::make("{}: {} at byte {}", file_.name(), what, position_);
}

std::byte WireReader::next(uint64_t end) {
  if (position_ >= end || position_ >= file_.size()) fail("truncated");
  if (position_ < window_begin_ || position_ - window_begin_ >= window_.size()) {
    window_.resize(std::min<uint64_t>(kWindow, file_.size() - position_));
    window_begin_ = position_;
    file_.read(position_, window_);
  }
  return window_[position_++ - window_begin_];
}

uint64_t WireReader::read_varint(uint64_t end) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    const uint64_t byte = static_cast<uint64_t>(next(end));
    if (shift == 63 && byte > 1) break;
    value |= (byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  fail("not protobuf: a number of more than 64 bits");
}

WireTag WireReader::read_tag(uint64_t end) {
  const uint64_t tag = read_varint(end);
  const uint64_t field = tag >> 3;
  const uint32_t type = tag & 7;
  if (field == 0 || field >= (uint64_t{1} << 29)) fail("not protobuf: an impossible field number");
  if (type == 3 || type == 4 || type > 5) fail("not ONNX: an impossible wire type");
  return {static_cast<uint32_t>(field), static_cast<WireType>(type)};
}

uint64_t WireReader::read_length(uint64_t end) {
  const uint64_t length = read_varint(end);
  if (length > end - position_) fail("truncated: a field is longer than what contains it,");
  return length;
}

void WireReader::read(std::span<std::byte> out, uint64_t end) {
  if (position_ > end || out.size() > end - position_) fail("truncated");
  // Short values are mostly inside the window already; long ones must not be copied through it.
  if (out.size() <= 16) {
    for (std::byte& byte : out) byte = next(end);
    return;
  }
  file_.read(position_, out);
  position_ += out.size();
}

void WireReader::skip_value(WireType type, uint64_t end) {
  uint64_t length = 0;
  switch (type) {
    case WireType::kVarint:
      read_varint(end);
      return;
    case WireType::kFixed64:
      length = 8;
      break;
    case WireType::kFixed32:
      length = 4;
      break;
    case WireType::kBytes:
      length = read_length(end);
      break;
  }
  if (length > end - position_) fail("truncated");
  position_ += length;
}

}  // namespace quench
