#include "compressor/data/npy.h"

#include <gtest/gtest.h>

#include <cstring>

#include "compressor/data/files.h"
#include "tests/compressor/data/temporary_folder.h"

namespace quench::data {
namespace {

// What NumPy 1.24 writes for numpy.save(f, numpy.arange(6, dtype="<i2").reshape(2, 3)).
constexpr std::string_view kNumpyFile =
    "934e554d5059010076007b276465736372273a20273c6932272c2027666f727472616e5f6f72646572273a2046616c73652c20277368"
    "617065273a2028322c2033292c207d202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "202020202020202020202020202020202020200a000001000200030004000500";

// And for numpy.savez_compressed(f, x=numpy.full((4, 3), 1.5, "f4"), y=numpy.arange(4)).
constexpr std::string_view kNumpyArchive =
    "504b030414000000080000002100f0e24e7a4c000000b000000005001400782e6e707901001000b0000000000000004c000000000000"
    "009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9366a2aea3a09e965f54529498179f5f94920a12774bcc294e058a17672416"
    "a402f91a263a0ac69a3a0ab50a64032e068603f6a46000504b030414000000080000002100c3c3dad14f000000a00000000500140079"
    "2e6e707901001000a0000000000000004f000000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9369a1aea3a09e96"
    "5f54529498179f5f94920a12774bcc294e058a17672416a402f91a263a9a3a0ab50a14002e06286084d24c509a194a0300504b010214"
    "0314000000080000002100f0e24e7a4c000000b0000000050000000000000000000000800100000000782e6e7079504b010214031400"
    "0000080000002100c3c3dad14f000000a0000000050000000000000000000000800183000000792e6e7079504b050600000000020002"
    "0066000000090100000000";

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

// A version 1.0 file with this header and this many bytes of data.
std::string npy_with(const std::string& header, size_t data_bytes) {
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 255);
  file += static_cast<char>(header.size() >> 8);
  return file + header + std::string(data_bytes, '\0');
}

std::string parse_error(const std::string& file) {
  return error_of([&] { parse_npy(bytes_of(file), "x.npy"); });
}

TEST(Npy, ReadsWhatNumpyWrites) {
  const Array array = parse_npy(bytes_of(from_hex(kNumpyFile)), "numpy");
  EXPECT_EQ(array.type, ElementType::kInt16);
  EXPECT_EQ(array.dims, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(array.to_int64(), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
}

TEST(Npy, WritesWhatNumpyWrites) {
  const std::string expected = from_hex(kNumpyFile);
  const Array array = parse_npy(bytes_of(expected), "numpy");
  const std::vector<std::byte> written = npy_bytes(array);
  ASSERT_EQ(written.size(), expected.size());
  EXPECT_EQ(std::memcmp(written.data(), expected.data(), expected.size()), 0);
}

TEST(Npy, EveryTypeAndRankComesBackUnchanged) {
  const TemporaryFolder folder;
  constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kFloat64, ElementType::kFloat16,
                                    ElementType::kUint8,   ElementType::kInt8,    ElementType::kUint16,
                                    ElementType::kInt16,   ElementType::kUint32,  ElementType::kInt32,
                                    ElementType::kUint64,  ElementType::kInt64,   ElementType::kBool};
  const std::vector<std::vector<int64_t>> shapes = {{}, {1}, {5}, {0, 3}, {2, 3, 4}, {1, 1, 1, 1, 1, 7}};
  for (const ElementType type : kTypes) {
    for (const std::vector<int64_t>& dims : shapes) {
      Array array{type, dims, {}};
      array.bytes.resize(element_bytes(type, array.elements()));
      for (size_t i = 0; i < array.bytes.size(); ++i) array.bytes[i] = static_cast<std::byte>(i * 37);
      write_npy(folder / "x.npy", array);
      const Array again = read_npy(folder / "x.npy");
      EXPECT_EQ(again.type, type);
      EXPECT_EQ(again.dims, dims);
      EXPECT_EQ(again.bytes, array.bytes);
      EXPECT_EQ((std::filesystem::file_size(folder / "x.npy") - array.bytes.size()) % 64, 0u)
          << "header is not aligned";
    }
  }
}

TEST(Npy, Bfloat16BecomesFloat32) {
  Array array{ElementType::kBfloat16, {2}, std::vector<std::byte>(4)};
  array.bytes[1] = std::byte{0x40};  // 2.0
  const Array again = parse_npy(npy_bytes(array), "x");
  EXPECT_EQ(again.type, ElementType::kFloat32);
  EXPECT_EQ(again.to_float(), (std::vector<float>{2.0f, 0.0f}));
}

TEST(Npy, RefusesWhatItDoesNotMean) {
  const auto header = [](const std::string& descr, const std::string& order, const std::string& shape) {
    return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
  };
  EXPECT_EQ(parse_error(npy_with(header("'<f4'", "False", "(2,)"), 8)), "");
  EXPECT_EQ(parse_error(npy_with(header("'<f4'", "True", "(2, 3)"), 24)),
            "x.npy: Fortran order is not supported; save it with numpy.ascontiguousarray");
  EXPECT_NE(parse_error(npy_with(header("'>f4'", "False", "(2,)"), 8)).find("'>f4' is not supported"),
            std::string::npos);
  EXPECT_NE(parse_error(npy_with(header("'|O'", "False", "(2,)"), 8)).find("not supported"), std::string::npos);
  EXPECT_NE(parse_error(npy_with(header("[('a', '<f4')]", "False", "(2,)"), 8)).find("structured"), std::string::npos);
  EXPECT_EQ(parse_error(npy_with(header("'<f4'", "False", "(2, 3)"), 20)),
            "x.npy: shape 2x3 does not fit the 20 bytes of data in the file");
}

TEST(Npy, HostileHeaders) {
  const std::string huge = "9223372036854775807";
  for (const std::string& shape : {"(" + huge + ", " + huge + ")", std::string("(4294967296, 4294967296, 4)"),
                                   std::string("(-1,)"), std::string("(99999999999999999999,)"), std::string("(1"),
                                   std::string("1,)"), "(" + std::string(40000, '1') + ",)"}) {
    EXPECT_NE(parse_error(npy_with("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + "}", 16)), "")
        << shape;
  }
  for (const char* text : {"", "{", "{}", "{'descr': '<f4'}", "{'descr'}", "{'other': 1}", "['descr']",
                           "{'descr': '<f4}", "{'shape': (2,), 'descr': '<f4', 'fortran_order': Maybe}"}) {
    EXPECT_NE(parse_error(npy_with(text, 8)), "") << text;
  }
  std::string long_header = npy_with("{}", 0);
  long_header[8] = '\xff';
  long_header[9] = '\xff';
  EXPECT_EQ(parse_error(long_header), "x.npy: the file ends within its header");
}

TEST(Npy, EveryPrefixIsRefused) {
  const std::string file = from_hex(kNumpyFile);
  for (size_t length = 0; length < file.size(); ++length) EXPECT_NE(parse_error(file.substr(0, length)), "") << length;
}

TEST(Npz, ReadsWhatNumpyDeflates) {
  const auto arrays = parse_npz(bytes_of(from_hex(kNumpyArchive)), "numpy");
  ASSERT_EQ(arrays.size(), 2u);
  EXPECT_EQ(arrays.at("x").dims, (std::vector<int64_t>{4, 3}));
  EXPECT_EQ(arrays.at("x").to_float(), std::vector<float>(12, 1.5f));
  EXPECT_EQ(arrays.at("y").to_int64(), (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(Npz, ComesBackUnchangedAndWithoutAClock) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> labels = {7, -8};
  const std::vector<std::pair<std::string, Array>> arrays = {{"x", Array::float32({2, 3}, values)},
                                                             {"y", Array::int64({2}, labels)}};
  write_npz(folder / "a.npz", arrays);
  write_npz(folder / "b.npz", arrays);
  EXPECT_EQ(read_file(folder / "a.npz"), read_file(folder / "b.npz"));
  const auto again = read_npz(folder / "a.npz");
  EXPECT_EQ(again.at("x").to_float(), values);
  EXPECT_EQ(again.at("y").to_int64(), labels);
}

TEST(Npz, DamageIsAnErrorAndNeverACrash) {
  const std::string file = from_hex(kNumpyArchive);
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_NE(error_of([&] { parse_npz(bytes_of(file.substr(0, length)), "x.npz"); }), "") << length;
  }
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    std::string damaged = file;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    error_of([&] { parse_npz(bytes_of(damaged), "x.npz"); });  // many bits do not matter: times, attributes
  }
}

TEST(Npz, AMemberCannotClaimAnImpossibleSize) {
  std::string file = from_hex(kNumpyArchive);
  const size_t entry = file.find("PK\x01\x02");
  ASSERT_NE(entry, std::string::npos);
  file.replace(entry + 24, 4, "\xff\xff\xff\x7f");
  EXPECT_NE(error_of([&] { parse_npz(bytes_of(file), "x.npz"); }).find("impossible size"), std::string::npos);
}

}  // namespace
}  // namespace quench::data
