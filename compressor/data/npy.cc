#include "compressor/data/npy.h"

#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "compressor/data/files.h"
#include "formats/error.h"

namespace quench::data {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxRank = 32;

struct TypeCode {
  std::string_view descr;
  ElementType type;
};
constexpr std::array<TypeCode, 12> kTypes = {{{"<f4", ElementType::kFloat32},
                                              {"<f8", ElementType::kFloat64},
                                              {"<f2", ElementType::kFloat16},
                                              {"|u1", ElementType::kUint8},
                                              {"|i1", ElementType::kInt8},
                                              {"<u2", ElementType::kUint16},
                                              {"<i2", ElementType::kInt16},
                                              {"<u4", ElementType::kUint32},
                                              {"<i4", ElementType::kInt32},
                                              {"<u8", ElementType::kUint64},
                                              {"<i8", ElementType::kInt64},
                                              {"|b1", ElementType::kBool}}};

// The header is a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  Array parse() {
    expect('{');
    while (!accept('}')) {
      std::string_view key = quoted();
      expect(':');
      if (key == "descr") {
        read_type();
      } else if (key == "fortran_order") {
        read_order();
      } else if (key == "shape") {
        read_shape();
      } else {
        fail();
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!has_type_ || !has_order_ || !has_shape_) fail();
    return std::move(array_);
  }

 private:
  [[noreturn]] void fail() const { throw Error::make("{}: the .npy header is malformed", name_); }

  void skip_spaces() {
    while (!text_.empty() && text_[0] == ' ') text_.remove_prefix(1);
  }

  bool accept(char wanted) {
    skip_spaces();
    if (text_.empty() || text_[0] != wanted) return false;
    text_.remove_prefix(1);
    return true;
  }

  void expect(char wanted) {
    if (!accept(wanted)) fail();
  }

  bool accept_word(std::string_view word) {
    skip_spaces();
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  std::string_view quoted() {
    const char quote = accept('\'') ? '\'' : '"';
    if (quote == '"') expect('"');
    const size_t end = text_.find(quote);
    if (end == std::string_view::npos) fail();
    std::string_view content = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return content;
  }

  void read_type() {
    skip_spaces();
    if (text_.empty() || (text_[0] != '\'' && text_[0] != '"')) {
      throw Error::make("{}: structured arrays are not supported", name_);
    }
    const std::string_view descr = quoted();
    const auto same = [&](const TypeCode& code) {
      return descr == code.descr || (descr.size() == 3 && descr[0] == '=' && descr.substr(1) == code.descr.substr(1));
    };
    for (const TypeCode& code : kTypes) {
      if (!same(code)) continue;
      array_.type = code.type;
      has_type_ = true;
      return;
    }
    throw Error::make("{}: element type '{}' is not supported (little-endian floats, integers and bool are)", name_,
                      descr);
  }

  void read_order() {
    if (accept_word("True")) {
      throw Error::make("{}: Fortran order is not supported; save it with numpy.ascontiguousarray", name_);
    }
    if (!accept_word("False")) fail();
    has_order_ = true;
  }

  void read_shape() {
    expect('(');
    while (!accept(')')) {
      skip_spaces();
      int64_t dim = -1;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), dim);
      if (error != std::errc() || dim < 0 || array_.dims.size() == kMaxRank) fail();
      text_.remove_prefix(static_cast<size_t>(end - text_.data()));
      array_.dims.push_back(dim);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    has_shape_ = true;
  }

  std::string_view text_;
  std::string_view name_;
  Array array_;
  bool has_type_ = false, has_order_ = false, has_shape_ = false;
};

// Bytes that the shape asks for; nullopt where they exceed `limit`.
std::optional<uint64_t> checked_bytes(const Array& array, uint64_t limit) {
  uint64_t bytes = element_bits(array.type) / 8;
  for (int64_t dim : array.dims) {
    if (dim == 0) return 0;
  }
  for (int64_t dim : array.dims) {
    if (bytes > limit / static_cast<uint64_t>(dim)) return std::nullopt;
    bytes *= static_cast<uint64_t>(dim);
  }
  return bytes <= limit ? std::optional(bytes) : std::nullopt;
}

uint32_t little_endian(std::span<const std::byte> bytes) {
  uint32_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = (value << 8) | std::to_integer<uint32_t>(bytes[i]);
  return value;
}

std::string header_of(const Array& array, ElementType type) {
  std::string_view descr;
  for (const TypeCode& code : kTypes) {
    if (code.type == type) descr = code.descr;
  }
  if (descr.empty()) throw Error("NumPy has no element type for this array");
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': (", descr);
  for (size_t i = 0; i < array.dims.size(); ++i) {
    header += fmt::format("{}{}", i > 0 ? ", " : "", array.dims[i]);
  }
  if (array.dims.size() == 1) header += ',';
  header += "), }";
  // Magic, version, length, header and a newline fill a multiple of 64 bytes.
  const size_t unpadded = kMagic.size() + 4 + header.size() + 1;
  header.append((64 - unpadded % 64) % 64, ' ');
  header += '\n';
  return header;
}

}  // namespace

Array parse_npy(std::span<const std::byte> file, std::string_view name) {
  constexpr size_t kPrefix = 8;
  if (file.size() < kPrefix + 2 || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    throw Error::make("{}: this is not a .npy file", name);
  }
  const auto version = std::to_integer<int>(file[6]);
  if (version < 1 || version > 3) throw Error::make("{}: .npy version {} is not supported", name, version);
  const size_t length_bytes = version == 1 ? 2 : 4;
  const size_t begin = kPrefix + length_bytes;
  if (file.size() < begin) throw Error::make("{}: the file ends within its header", name);
  const size_t length = little_endian(file.subspan(kPrefix, length_bytes));
  if (file.size() - begin < length) throw Error::make("{}: the file ends within its header", name);
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + begin, length);
  Array array = HeaderParser(header, name).parse();
  const std::span<const std::byte> content = file.subspan(begin + length);
  const std::optional<uint64_t> bytes = checked_bytes(array, content.size());
  if (!bytes || *bytes != content.size()) {
    throw Error::make("{}: shape {} does not fit the {} bytes of data in the file", name, dims_text(array.dims),
                      content.size());
  }
  array.bytes.assign(content.begin(), content.end());
  return array;
}

Array read_npy(const std::filesystem::path& path) { return parse_npy(read_file(path), path.string()); }

namespace {

// All that stands before the values.
std::string prefix_of(const Array& array) {
  const std::string header = header_of(array, array.type);
  if (header.size() > 0xffff) throw Error("an array has too many dimensions for a .npy file");
  std::string prefix(kMagic);
  prefix += {'\x01', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  return prefix + header;
}

}  // namespace

std::vector<std::byte> npy_bytes(const Array& array) {
  if (array.type == ElementType::kBfloat16) return npy_bytes(Array::float32(array.dims, array.to_float()));
  const std::string prefix = prefix_of(array);
  std::vector<std::byte> file(prefix.size() + array.bytes.size());
  std::memcpy(file.data(), prefix.data(), prefix.size());
  if (!array.bytes.empty()) std::memcpy(file.data() + prefix.size(), array.bytes.data(), array.bytes.size());
  return file;
}

void write_npy(const std::filesystem::path& path, const Array& array) {
  if (array.type == ElementType::kBfloat16) return write_file(path, npy_bytes(array));
  const std::string prefix = prefix_of(array);
  write_file(path, std::as_bytes(std::span(prefix)), array.bytes);
}

}  // namespace quench::data
