#include "compressor/data/idx.h"

#include <zlib.h>

#include <algorithm>

#include "compressor/data/files.h"
#include "formats/error.h"

namespace quench::data {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
constexpr int kGzip = 16 + MAX_WBITS;  // zlib's way of asking for gzip's header
constexpr uint32_t kUnsignedBytes = 8;

// One gzip member after the other.
class GzipReader {
 public:
  explicit GzipReader(const std::filesystem::path& path) : path_(path), file_(read_file(path, kMaxBytes)) {
    if (::inflateInit2(&stream_, kGzip) != Z_OK) fail("zlib could not start");
    stream_.next_in = reinterpret_cast<Bytef*>(file_.data());
    stream_.avail_in = static_cast<uInt>(file_.size());
  }
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;
  ~GzipReader() { ::inflateEnd(&stream_); }

  // Up to `wanted` bytes more, fewer only where the file ends.
  std::vector<std::byte> read(uint64_t wanted) {
    std::vector<std::byte> bytes;
    while (bytes.size() < wanted && !has_ended_) {
      const size_t at = bytes.size();
      constexpr uint64_t kStep = 1 << 20;  // memory grows with what is really there, not with what a header claims
      bytes.resize(std::min(wanted, at + kStep));
      stream_.next_out = reinterpret_cast<Bytef*>(bytes.data() + at);
      stream_.avail_out = static_cast<uInt>(bytes.size() - at);
      inflate();
      bytes.resize(bytes.size() - stream_.avail_out);
    }
    return bytes;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error::make("{}: this is no gzipped IDX file of bytes: {}", path_.string(), what);
  }

 private:
  // Until there is no room or the file ends.
  void inflate() {
    while (stream_.avail_out > 0 && !has_ended_) {
      const int code = ::inflate(&stream_, Z_NO_FLUSH);
      if (code == Z_STREAM_END) {
        has_ended_ = stream_.avail_in == 0;
        if (!has_ended_ && ::inflateReset(&stream_) != Z_OK) fail("its data is damaged");
      } else if (code == Z_BUF_ERROR) {
        fail("it ends too early");
      } else if (code != Z_OK) {
        fail(stream_.total_out == 0 ? "it, or its end, is not compressed by gzip" : "its data is damaged");
      }
    }
  }

  std::filesystem::path path_;
  std::vector<std::byte> file_;
  z_stream stream_{};
  bool has_ended_ = false;
};

uint32_t big_endian(const std::vector<std::byte>& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<uint32_t>(bytes[at + i]);
  return value;
}

}  // namespace

IdxArray read_idx(const std::filesystem::path& path, size_t rank) {
  GzipReader reader(path);
  const size_t header_size = 4 + 4 * rank;
  const std::vector<std::byte> header = reader.read(header_size);
  if (header.size() < header_size) reader.fail("it ends too early");
  if (big_endian(header, 0) != (kUnsignedBytes << 8 | rank)) {
    reader.fail(
        fmt::format("it begins with {:08x}, not with {:08x}", big_endian(header, 0), kUnsignedBytes << 8 | rank));
  }
  IdxArray array;
  uint64_t count = 1;
  for (size_t d = 0; d < rank; ++d) {
    const uint32_t dim = big_endian(header, 4 + 4 * d);
    array.dims.push_back(dim);
    count = std::min(count * dim, 2 * kMaxBytes);  // each factor is below 2^32
  }
  if (count > kMaxBytes) reader.fail("it claims more than 1 GiB");
  array.bytes = reader.read(count);
  if (array.bytes.size() < count) reader.fail(fmt::format("it has {} bytes of {}", array.bytes.size(), count));
  if (!reader.read(1).empty()) reader.fail("there is more in it than its header says");
  return array;
}

}  // namespace quench::data
