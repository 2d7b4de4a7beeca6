#include <zlib.h>

#include <cstring>

#include "compressor/data/files.h"
#include "compressor/data/npy.h"
#include "formats/base/atomic_file.h"
#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::data {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22;
constexpr uint32_t kInZip64 = 0xffffffff;
constexpr uint16_t kStored = 0, kDeflated = 8;
// Deflate cannot do better than 1032 to 1: a larger claim is hostile.
constexpr uint64_t kMaxDeflateRatio = 1032;

struct Member {
  std::string name;
  uint16_t method = 0;
  uint16_t flags = 0;
  uint32_t crc = 0;
  uint64_t stored = 0, size = 0, offset = 0;
};

class ZipReader {
 public:
  ZipReader(std::span<const std::byte> file, std::string_view name) : file_(file), name_(name) {}

  std::vector<Member> members() const {
    const size_t end = find_end();
    const uint64_t count = number(end + 10, 2);
    uint64_t at = number(end + 16, 4);
    std::vector<Member> members;
    uint64_t stored = 0;
    for (uint64_t i = 0; i < count; ++i) {
      if (!holds(at, kCentralSize) || number(at, 4) != kCentralSignature) fail("its directory is damaged");
      const uint64_t name_length = number(at + 28, 2), extra = number(at + 30, 2), comment = number(at + 32, 2);
      if (!holds(at + kCentralSize, name_length + extra + comment)) fail("its directory is damaged");
      members.push_back(member_at(at, name_length, extra));
      // Members that share bytes are how small archives become endless ones.
      if (members.back().stored > file_.size() - stored) fail("its members overlap");
      stored += members.back().stored;
      at += kCentralSize + name_length + extra + comment;
    }
    return members;
  }

  std::vector<std::byte> content(const Member& member) const {
    if (member.flags & 1) fail("it is encrypted");
    if (!holds(member.offset, kLocalSize) || number(member.offset, 4) != kLocalSignature) fail("a member is damaged");
    const uint64_t skip = kLocalSize + number(member.offset + 26, 2) + number(member.offset + 28, 2);
    if (!holds(member.offset + skip, member.stored)) fail("a member is truncated");
    const std::span<const std::byte> stored = file_.subspan(member.offset + skip, member.stored);
    std::vector<std::byte> bytes =
        member.method == kStored ? std::vector(stored.begin(), stored.end()) : inflated(member, stored);
    if (bytes.size() != member.size || crc_of(bytes) != member.crc) fail("a member's checksum does not match");
    return bytes;
  }

  static uint32_t crc_of(std::span<const std::byte> bytes) {
    return static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw Error::make("{}: this .npz file cannot be read: {}", name_, what);
  }

  bool holds(uint64_t at, uint64_t bytes) const { return at <= file_.size() && bytes <= file_.size() - at; }

  uint64_t number(uint64_t at, size_t bytes) const {
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = (value << 8) | std::to_integer<uint64_t>(file_[at + i]);
    return value;
  }

  // The end record lies behind everything but a comment of up to 65,535 bytes.
  size_t find_end() const {
    if (file_.size() < kEndSize) fail("it is not a ZIP archive");
    const size_t last = file_.size() - kEndSize;
    const size_t first = last > 0xffff ? last - 0xffff : 0;
    for (size_t at = last + 1; at-- > first;) {
      if (number(at, 4) == kEndSignature) return at;
    }
    fail("it is not a ZIP archive");
  }

  Member member_at(uint64_t at, uint64_t name_length, uint64_t extra_length) const {
    Member member;
    member.flags = static_cast<uint16_t>(number(at + 8, 2));
    member.method = static_cast<uint16_t>(number(at + 10, 2));
    member.crc = static_cast<uint32_t>(number(at + 16, 4));
    member.stored = number(at + 20, 4);
    member.size = number(at + 24, 4);
    member.offset = number(at + 42, 4);
    member.name.assign(reinterpret_cast<const char*>(file_.data()) + at + kCentralSize, name_length);
    read_zip64(at + kCentralSize + name_length, extra_length, member);
    return member;
  }

  // Fields that do not fit 32 bits follow in an extra record, in this order.
  void read_zip64(uint64_t at, uint64_t length, Member& member) const {
    const uint64_t end = at + length;
    while (end - at >= 4) {
      const uint64_t id = number(at, 2), bytes = number(at + 2, 2);
      at += 4;
      if (bytes > end - at) return;
      if (id == 1) {
        uint64_t field = at;
        for (uint64_t* value : {&member.size, &member.stored, &member.offset}) {
          if (*value != kInZip64) continue;
          if (field + 8 > at + bytes) fail("its directory is damaged");
          *value = number(field, 8);
          field += 8;
        }
      }
      at += bytes;
    }
  }

  std::vector<std::byte> inflated(const Member& member, std::span<const std::byte> stored) const {
    if (member.method != kDeflated) fail("a member is compressed by another method than deflate");
    if (member.size / kMaxDeflateRatio > stored.size()) fail("a member claims an impossible size");
    std::vector<std::byte> out(member.size);
    z_stream stream{};
    if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail("zlib could not start");
    int code = Z_OK;
    size_t taken = 0, made = 0;
    while (code == Z_OK) {
      constexpr size_t kStep = size_t{1} << 30;  // zlib counts in 32 bits
      const size_t take = std::min(stored.size() - taken, kStep), make = std::min(out.size() - made, kStep);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(stored.data() + taken));
      stream.avail_in = static_cast<uInt>(take);
      stream.next_out = reinterpret_cast<Bytef*>(out.data() + made);
      stream.avail_out = static_cast<uInt>(make);
      code = ::inflate(&stream, Z_NO_FLUSH);
      taken += take - stream.avail_in;
      made += make - stream.avail_out;
    }
    ::inflateEnd(&stream);
    if (code != Z_STREAM_END || made != out.size()) fail("a member's data is damaged");
    return out;
  }

  std::span<const std::byte> file_;
  std::string_view name_;
};

class ZipWriter {
 public:
  explicit ZipWriter(const std::filesystem::path& path) : path_(path), file_(AtomicFile::create(path.string())) {
    check(file_.status());
  }

  void add(std::string_view name, std::span<const std::byte> content) {
    if (file_->size() + content.size() + name.size() + directory_.size() + 1024 > kInZip64) {
      throw Error::make("{}: an .npz file of over 4 GiB cannot be written; write fewer samples", path_.string());
    }
    const uint64_t offset = file_->size();
    std::string shared;  // fields that local and central headers have in common
    put(shared, 20, 2);  // version needed
    put(shared, 0, 2);
    put(shared, kStored, 2);
    put(shared, 0, 2);
    put(shared, 0x21, 2);  // 1 January 1980: no clock in the output
    put(shared, ZipReader::crc_of(content), 4);
    put(shared, content.size(), 4);
    put(shared, content.size(), 4);
    put(shared, name.size(), 2);
    put(shared, 0, 2);
    std::string local;
    put(local, kLocalSignature, 4);
    check(file_->write(local + shared + std::string(name)));
    check(file_->write(content));
    put(directory_, kCentralSignature, 4);
    put(directory_, 20, 2);
    directory_ += shared;
    put(directory_, 0, 2);
    put(directory_, 0, 2);
    put(directory_, 0, 2);
    put(directory_, 0, 4);
    put(directory_, offset, 4);
    directory_ += name;
    ++members_;
  }

  void finish() {
    const uint64_t offset = file_->size();
    std::string end;
    put(end, kEndSignature, 4);
    put(end, 0, 4);
    put(end, members_, 2);
    put(end, members_, 2);
    put(end, directory_.size(), 4);
    put(end, offset, 4);
    put(end, 0, 2);
    check(file_->write(directory_ + end));
    check(file_->commit());
  }

 private:
  static void put(std::string& out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 255);
  }

  static void check(const Status& status) {
    if (!status.ok()) throw Error(status.detail());
  }

  std::filesystem::path path_;
  Result<AtomicFile> file_;
  std::string directory_;
  uint64_t members_ = 0;
};

}  // namespace

std::map<std::string, Array> parse_npz(std::span<const std::byte> file, std::string_view name,
                                       const WantedArray& wanted) {
  const ZipReader zip(file, name);
  std::vector<Member> members = zip.members();
  std::erase_if(members, [](const Member& member) { return !member.name.ends_with(".npy"); });
  std::vector<std::string> names;
  names.reserve(members.size());
  for (const Member& member : members) names.push_back(member.name.substr(0, member.name.size() - 4));
  std::map<std::string, Array> arrays;
  for (size_t i = 0; i < members.size(); ++i) {
    const Member& member = members[i];
    const std::string& key = names[i];
    if (wanted && !wanted(key, names)) continue;
    arrays[key] = parse_npy(zip.content(member), fmt::format("{}: array '{}'", name, printable(key)));
  }
  return arrays;
}

std::map<std::string, Array> read_npz(const std::filesystem::path& path, const WantedArray& wanted) {
  return parse_npz(read_file(path), path.string(), wanted);
}

void write_npz(const std::filesystem::path& path, const std::vector<std::pair<std::string, Array>>& arrays) {
  ZipWriter zip(path);
  for (const auto& [name, array] : arrays) zip.add(name + ".npy", npy_bytes(array));
  zip.finish();
}

}  // namespace quench::data
