#include "tests/formats/container/golden_files.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "formats/entropy/encoder.h"
#include "tests/formats/entropy/sample_streams.h"

namespace quench::container {
namespace {

using entropy::Coder;
using entropy::StreamLayout;
using entropy::Trellis;

void check(const Status& status) {
  if (!status.ok()) std::abort();
}

template <typename T>
T value_of(const Result<T>& result) {
  check(result.status());
  return *result;
}

// A binary floating-point number of `mantissa` and `exponent` bits, rounded to nearest even.
uint32_t narrowed(double value, int mantissa, int exponent) {
  const int bias = (1 << (exponent - 1)) - 1;
  const uint32_t sign = std::signbit(value) ? 1u << (mantissa + exponent) : 0;
  const uint32_t infinity = ((1u << exponent) - 1) << mantissa;
  if (value == 0) return sign;
  const int scale = std::max(std::ilogb(value), 1 - bias);
  const double rounded = std::nearbyint(std::ldexp(std::fabs(value), mantissa - scale));
  const double bits = std::ldexp(scale + bias - 1, mantissa) + rounded;
  return sign | (bits < infinity ? static_cast<uint32_t>(bits) : infinity);
}

float widened(uint32_t bits, int mantissa, int exponent) {
  const uint32_t sign = (bits >> (mantissa + exponent) & 1) << 31;
  const uint32_t fraction = bits & ((1u << mantissa) - 1);
  const int power = static_cast<int>(bits >> mantissa & ((1u << exponent) - 1));
  if (power == (1 << exponent) - 1) return std::bit_cast<float>(sign | 0x7F800000 | fraction << (23 - mantissa));
  const double whole = power == 0 ? 0 : std::ldexp(1.0, mantissa);
  const int bias = (1 << (exponent - 1)) - 1;
  const double magnitude = std::ldexp(whole + fraction, std::max(power, 1) - bias - mantissa);
  return static_cast<float>(sign != 0 ? -magnitude : magnitude);
}

template <typename T>
void append(FileBytes& out, T value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

FileBytes narrowed(const std::vector<float>& values, ElementType type) {
  FileBytes bytes;
  for (const float value : values) {
    if (type == ElementType::kFloat32) append(bytes, value);
    if (type == ElementType::kFloat64) append(bytes, double{value});
    if (type == ElementType::kFloat16) append(bytes, static_cast<uint16_t>(narrowed(value, 10, 5)));
    if (type == ElementType::kBfloat16) append(bytes, static_cast<uint16_t>(narrowed(value, 7, 8)));
  }
  return bytes;
}

std::vector<float> widened(const FileBytes& bytes, ElementType type) {
  std::vector<float> values;
  const auto each = [&bytes](auto sample, auto visit) {
    for (size_t i = 0; i < bytes.size(); i += sizeof sample) {
      std::memcpy(&sample, bytes.data() + i, sizeof sample);
      visit(sample);
    }
  };
  if (type == ElementType::kFloat32) each(float{}, [&](float v) { values.push_back(v); });
  if (type == ElementType::kFloat64) each(double{}, [&](double v) { values.push_back(static_cast<float>(v)); });
  if (type == ElementType::kFloat16) each(uint16_t{}, [&](uint16_t v) { values.push_back(widened(v, 10, 5)); });
  if (type == ElementType::kBfloat16) each(uint16_t{}, [&](uint16_t v) { values.push_back(widened(v, 7, 8)); });
  return values;
}

std::vector<float> centers_of(const Codebook& codebook) {
  if (!codebook.is_uniform) return codebook.centers;
  std::vector<float> centers;
  for (uint32_t j = 0; j < codebook.entries; ++j) {
    centers.push_back(codebook.step * (static_cast<float>(j) - static_cast<float>(codebook.zero_symbol)));
  }
  return centers;
}

// Indices near the zero symbol; `skip` of about log2(symbols) leaves a handful that are not it.
std::vector<uint16_t> small_indices(StreamLayout layout, uint32_t seed, int skip = 0) {
  std::mt19937 random(seed);
  std::vector<uint16_t> indices;
  for (uint64_t i = 0; i < layout.symbols(); ++i) {
    const int magnitude = std::max(std::countr_zero(static_cast<uint32_t>(random()) | 1u << 31) - skip, 0);
    const bool negative = layout.zero_symbol != 0 && random() % 3 == 0;
    const int index = static_cast<int>(layout.zero_symbol) + (negative ? -magnitude : magnitude);
    indices.push_back(static_cast<uint16_t>(std::clamp(index, 0, static_cast<int>(layout.alphabet) - 1)));
  }
  return indices;
}

std::vector<uint16_t> any_indices(StreamLayout layout, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint16_t> indices(layout.symbols());
  for (uint16_t& index : indices) index = static_cast<uint16_t>(random() % layout.alphabet);
  return indices;
}

// A quantized tensor to be; the layout's alphabet and zero symbol are the codebook's.
struct Part {
  uint32_t codebook = 0;
  uint32_t model = 0;
  StreamLayout layout;
  std::vector<uint16_t> indices;
  ElementType type = ElementType::kFloat32;
  uint64_t surplus = 0;  // values of the last vector that the tensor has not
  ScaleKind scales = ScaleKind::kNone;
  float largest = 1;
  std::vector<uint8_t> codes;
  uint64_t scale_inner = 1;
};

class Builder {
 public:
  explicit Builder(std::string name, int written = 1) : writer_(Writer::in_memory()) {
    golden_.name = std::move(name);
    golden_.written = written;
    golden_.graph = "graph of the file " + golden_.name;
  }

  uint32_t add(const Codebook& codebook) {
    codebooks_.push_back(codebook);
    return value_of(writer_.add_codebook(codebook));
  }

  // A model fitted to the parts that will use it.
  uint32_t add(Coder coder, const std::vector<Part>& parts) {
    entropy::ModelFitter fitter(coder);
    for (const Part& part : parts) {
      check(fitter.add(layout_of(part), std::span<const uint16_t>(part.indices)));
    }
    return value_of(writer_.add_entropy_model(fitter.finish()));
  }

  void add(const Part& part) {
    const Codebook& codebook = codebooks_[part.codebook];
    coded::Tensor tensor;
    tensor.type = part.type;
    tensor.element_count = part.indices.size() * codebook.dimension - part.surplus;
    tensor.codebook = part.codebook;
    tensor.entropy_model = part.model;
    tensor.indices = part.indices;
    tensor.rows = part.layout.rows;
    tensor.channels = part.layout.channels;
    tensor.inner = part.layout.inner;
    tensor.trellis = part.layout.trellis;
    tensor.scales.kind = part.scales;
    tensor.scales.largest = part.largest;
    tensor.scales.codes = part.codes;
    tensor.scales.inner = part.scale_inner;
    check(writer_.add_quantized(tensor));

    const std::vector<float> centers = centers_of(codebook);
    GoldenTensor expected{part.type, tensor.element_count, {}, {}, part.indices};
    for (uint64_t e = 0; e < tensor.element_count; ++e) {
      const float center = centers[part.indices[e / codebook.dimension] * codebook.dimension + e % codebook.dimension];
      expected.values.push_back(scale_at(part, e) * center);
    }
    expected.bytes = narrowed(expected.values, part.type);
    expected.values = widened(expected.bytes, part.type);
    golden_.tensors.push_back(std::move(expected));
  }

  void add(ElementType type, uint64_t elements, const FileBytes& bytes) {
    check(writer_.add_lossless(type, bytes, elements));
    golden_.tensors.push_back({type, elements, bytes, widened(bytes, type), {}});
  }
  template <typename T>
  void add(ElementType type, const std::vector<T>& elements) {
    const auto bytes = std::as_bytes(std::span(elements));
    add(type, elements.size(), FileBytes(bytes.begin(), bytes.end()));
  }

  StreamLayout layout_of(const Part& part) const {
    const Codebook& codebook = codebooks_[part.codebook];
    StreamLayout layout = part.layout;
    layout.alphabet = codebook.entries;
    layout.zero_symbol = codebook.zero_symbol;
    return layout;
  }
  Part small(uint32_t codebook, StreamLayout layout, uint32_t seed, int skip = 0) const {
    Part part;
    part.codebook = codebook;
    part.layout = layout;
    part.indices = small_indices(layout_of(part), seed, skip);
    follow_trellis(part);
    return part;
  }
  Part any(uint32_t codebook, StreamLayout layout, uint32_t seed) const {
    Part part;
    part.codebook = codebook;
    part.layout = layout;
    part.indices = any_indices(layout_of(part), seed);
    follow_trellis(part);
    return part;
  }

  void set_graph(std::string graph, bool terse = false) {
    golden_.graph = std::move(graph);
    golden_.terse = terse;
  }

  GoldenFile finish() {
    check(writer_.set_graph(bytes_of(golden_.graph), golden_.terse));
    golden_.file = value_of(writer_.finish_bytes());
    return std::move(golden_);
  }

 private:
  void follow_trellis(Part& part) const {
    if (part.layout.trellis == Trellis::kNone) return;
    entropy::testing::SampleStream sample{layout_of(part), std::move(part.indices)};
    put_on_trellis(sample);
    part.indices = std::move(sample.indices);
  }
  // 2^(-code / 16) of the largest, by two products of float32.
  static float scale_at(const Part& part, uint64_t element) {
    if (part.scales == ScaleKind::kNone) return 1;
    if (part.scales == ScaleKind::kTensor) return part.largest;
    const uint8_t code = part.codes[element / part.scale_inner % part.codes.size()];
    const float scale = part.largest * static_cast<float>(std::exp2(-(code % 16) / 16.0));
    return scale * static_cast<float>(std::exp2(-(code / 16)));
  }

  GoldenFile golden_;
  Writer writer_;
  std::vector<Codebook> codebooks_;
};

// Both a model and its parts, added in order.
void add_all(Builder& builder, Coder coder, std::vector<Part> parts) {
  const uint32_t model = builder.add(coder, parts);
  for (Part& part : parts) {
    part.model = model;
    builder.add(part);
  }
}

// One stream, and 512 symbols in four; a level without code, and levels beyond the model's range.
GoldenFile huffman() {
  Builder builder("huffman");
  const uint32_t levels = builder.add(Codebook::uniform(0.125f, 31, 15));
  const uint32_t ternary = builder.add(Codebook::uniform(0.5f, 3, 1));
  const uint32_t wide = builder.add(Codebook::uniform(0x1p-10f, 2001, 1000));
  const uint32_t single = builder.add(Codebook::uniform(1, 1, 0));
  std::vector<Part> parts = {builder.small(levels, {4, 3, 9}, 1), builder.small(ternary, {7, 73, 1}, 2, 1),
                             builder.small(ternary, {8, 64, 1}, 3, 1), builder.small(ternary, {9, 13, 9}, 4, 2)};
  add_all(builder, Coder::kHuffman, parts);
  builder.add(builder.any(wide, {2, 5, 3}, 5));
  builder.add(builder.small(single, {2, 5, 1}, 6));
  return builder.finish();
}

// 8, 16 and 32 lanes; more lines than lanes, and fewer; segments of unequal length; escapes; a model without sign.
GoldenFile rans() {
  Builder builder("rans");
  const uint32_t levels = builder.add(Codebook::uniform(0.125f, 31, 15));
  const uint32_t ternary = builder.add(Codebook::uniform(0.5f, 3, 1));
  const uint32_t wide = builder.add(Codebook::uniform(0x1p-10f, 2001, 1000));
  const uint32_t sorted = builder.add(Codebook::table({0, 0, 0.5f, 0.25f, -0.5f, 0.5f, 1, -1}, 2, 0));
  add_all(builder, Coder::kRans,
          {builder.small(levels, {4, 3, 9}, 1), builder.small(levels, {11, 2, 4}, 2),
           builder.small(ternary, {3, 300, 1}, 3, 2), builder.small(ternary, {70, 60, 1}, 4, 6),
           builder.small(ternary, {50, 37, 9}, 5, 8)});
  builder.add(builder.any(wide, {2, 5, 3}, 6));
  add_all(builder, Coder::kRans, {builder.small(sorted, {5, 4, 4}, 7), builder.small(sorted, {6, 10, 1}, 8)});
  return builder.finish();
}

// Every kind of context: signed and unsigned kernels, square or not, none; unary, Exp-Golomb and wide magnitudes; more
// channels than sums are kept for.
GoldenFile arithmetic() {
  Builder builder("arithmetic", 2);
  const uint32_t levels = builder.add(Codebook::uniform(0.125f, 31, 15));
  const uint32_t ternary = builder.add(Codebook::uniform(0.5f, 3, 1));
  const uint32_t wide = builder.add(Codebook::uniform(0x1p-15f, 65536, 32768));
  const uint32_t sorted = builder.add(Codebook::table({0, 0, 0.5f, 0.25f, -0.5f, 0.5f, 1, -1}, 2, 0));
  add_all(
      builder, Coder::kArithmetic,
      {builder.small(levels, {6, 5, 9}, 1), builder.small(levels, {3, 4, 5}, 2), builder.small(levels, {5, 9, 1}, 3),
       builder.small(levels, {1, 2, 70}, 4), builder.small(ternary, {2, 5000, 1}, 5, 9)});
  builder.add(builder.any(wide, {2, 4, 4}, 6));
  add_all(builder, Coder::kArithmetic, {builder.small(sorted, {5, 4, 4}, 7), builder.small(sorted, {6, 10, 1}, 8)});
  return builder.finish();
}

// Dimensions 2, 4 and 8; the last vector with surplus values; scales that end within a vector.
GoldenFile vectors() {
  Builder builder("vectors");
  const uint32_t pairs = builder.add(Codebook::table({0, 0, 0.1f, -0.2f, 0.3f, 1e-9f, -0.7f, 0.7f}, 2, 0));
  std::vector<float> half, eights;
  for (int i = 0; i < 4 * 5; ++i) half.push_back(static_cast<float>(i * i % 23 - 9) / 16);
  for (int i = 0; i < 8 * 3; ++i) eights.push_back(static_cast<float>(i % 7 - 3) * 0.37f);
  const uint32_t fours = builder.add(Codebook::table(half, 4, 0));
  const uint32_t of_eight = builder.add(Codebook::table(eights, 8, 1));
  Part a = builder.any(pairs, {3, 5, 1}, 1), b = builder.small(fours, {2, 2, 9}, 2),
       c = builder.any(of_eight, {3, 3, 1}, 3);
  Part d = builder.any(pairs, {5, 3, 1}, 4);
  b.surplus = 3;
  b.scales = ScaleKind::kTensor;
  b.largest = 0.3f;
  c.surplus = 7;
  c.scales = ScaleKind::kChannel;
  c.largest = 2.5f;
  c.codes = {0, 3, 40, 17, 1};
  c.scale_inner = 13;
  d.scales = ScaleKind::kChannel;  // 30 elements in 6 channels of 5, the layout's rows being 5
  d.largest = -1;
  d.codes = {9, 8, 7, 6, 5, 4};
  d.scale_inner = 5;
  add_all(builder, Coder::kHuffman, {a});
  add_all(builder, Coder::kArithmetic, {b, d});
  add_all(builder, Coder::kRans, {c});
  return builder.finish();
}

// Tables of single centers, as float32 and as float16, and one whose indices take two bytes.
GoldenFile table() {
  Builder builder("table", 2);
  const uint32_t exact = builder.add(Codebook::table({-1.1f, -0.0f, 1e-40f, 0.1f, 3e38f}, 1, 1));
  const uint32_t half = builder.add(Codebook::table({-65504, -0.0f, 0x1p-24f, 0x1.8p-15f, 1.5f, 65504}, 1, 2));
  std::vector<float> many;
  for (int i = 0; i < 300; ++i) many.push_back(static_cast<float>(i - 150) * 0.25f);
  const uint32_t large = builder.add(Codebook::table(many, 1, 150));
  add_all(builder, Coder::kHuffman, {builder.any(exact, {2, 3, 4}, 1)});
  add_all(builder, Coder::kRans, {builder.any(half, {4, 7, 1}, 2)});
  add_all(builder, Coder::kArithmetic, {builder.any(large, {5, 6, 1}, 3)});
  return builder.finish();
}

template <typename T>
std::vector<T> units(uint32_t seed, size_t count, uint64_t high, uint64_t noise) {
  std::mt19937_64 random(seed);
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(high + random() % noise);
  return values;
}

// A tensor of every type, with planes that are constant, coded and stored.
GoldenFile planes() {
  Builder builder("planes");
  using E = ElementType;
  for (const E type : {E::kUint8, E::kInt8, E::kFloat8E4M3FN, E::kFloat8E4M3FNUZ, E::kFloat8E5M2, E::kFloat8E5M2FNUZ}) {
    const auto number = static_cast<uint32_t>(type);
    builder.add(type, units<uint8_t>(number, 60, 250, 3));
  }
  builder.add(E::kBool, units<uint8_t>(9, 70, 0, 2));
  for (const E type : {E::kUint4, E::kInt4}) {
    const std::vector<uint8_t> pairs = units<uint8_t>(static_cast<uint32_t>(type), 41, 17, 2);
    const auto bytes = std::as_bytes(std::span(pairs));
    builder.add(type, 81, {bytes.begin(), bytes.end()});
  }
  for (const E type : {E::kUint16, E::kInt16, E::kFloat16, E::kBfloat16}) {
    builder.add(type, units<uint16_t>(static_cast<uint32_t>(type), 24, 0xBF00, 256));
  }
  for (const E type : {E::kFloat32, E::kUint32, E::kInt32}) {
    builder.add(type, units<uint32_t>(static_cast<uint32_t>(type), 24, 0x3F7FFD00, 1024));
  }
  builder.add(E::kComplex64, 12,
              narrowed(std::vector<float>{1, -1, 2, -2, 3, -3, 4,  -4,  5,  -5,  6,  -6,
                                          7, -7, 8, -8, 9, -9, 10, -10, 11, -11, 12, -12},
                       E::kFloat32));
  for (const E type : {E::kFloat64, E::kUint64, E::kInt64}) {
    builder.add(type, units<uint64_t>(static_cast<uint32_t>(type), 16, 0xBFEFFFFFFFFFFD00, 1024));
  }
  builder.add(E::kComplex128, 4, narrowed(std::vector<float>{1, -1, 2, -2, 3, -3, 4, -4}, E::kFloat64));
  // What must not be lost: a quiet and a signalling NaN, infinities, both zeros, a subnormal.
  const uint32_t special[] = {0x7FC00001, 0x7F800001, 0x7F800000, 0xFF800000, 0, 0x80000000, 1, 0x3F800000};
  builder.add(E::kFloat32, std::vector<uint32_t>(std::begin(special), std::end(special)));
  builder.add(E::kFloat16, std::vector<uint16_t>{0x7E01, 0x7C00, 0xFC00, 0, 0x8000, 1, 0x03FF, 0x7BFF});
  builder.add(E::kFloat64, std::vector<double>{0.1, -1e300, 1e-300, 16777217, 3.4028235677973366e38, -0.0});
  return builder.finish();
}

template <typename T>
std::vector<T> ramp(size_t count, uint64_t first, uint64_t step) {
  std::vector<T> values;
  for (size_t i = 0; i < count; ++i) values.push_back(static_cast<T>(first + i * step + i / 9));
  return values;
}

// Integers that differ little from one to the next, around the ends of their types, too.
GoldenFile delta() {
  Builder builder("delta");
  using E = ElementType;
  builder.add(E::kUint8, ramp<uint8_t>(60, 200, 3));
  builder.add(E::kInt8, ramp<uint8_t>(60, 100, 1));
  builder.add(E::kUint16, ramp<uint16_t>(60, 65000, 17));
  builder.add(E::kInt16, ramp<uint16_t>(60, 32700, 2));
  builder.add(E::kUint32, ramp<uint32_t>(60, 0xFFFFFF00, 33));
  builder.add(E::kInt32, ramp<uint32_t>(60, 0x7FFFFF00, uint64_t{0} - 257));
  builder.add(E::kUint64, ramp<uint64_t>(60, uint64_t{0} - 300, 10));
  builder.add(E::kInt64, ramp<uint64_t>(60, 1000, uint64_t{0} - 30));
  builder.add(E::kFloat16, ramp<uint16_t>(60, 0x3C00, 5));
  builder.add(E::kUint4, 119, [] {
    FileBytes bytes;
    for (int i = 0; i < 60; ++i) bytes.push_back(static_cast<std::byte>(17 * (i % 15)));
    return bytes;
  }());
  return builder.finish();
}

// One scale, a scale per row, per channel within, and per element of the innermost dimension; all 256 codes.
GoldenFile channel_scales() {
  Builder builder("channel-scales", 2);
  const uint32_t codebook = builder.add(Codebook::uniform(0.1f, 15, 7));
  std::vector<Part> parts;
  for (uint32_t i = 0; i < 5; ++i) parts.push_back(builder.small(codebook, {4, 3, 4}, i + 1));
  parts.push_back(builder.small(codebook, {64, 1, 4}, 6, 1));
  parts[1].scales = ScaleKind::kTensor;
  parts[1].largest = 1.7f;
  for (uint32_t i = 2; i < 6; ++i) parts[i].scales = ScaleKind::kChannel;
  parts[2].codes = {0, 16, 5, 255};  // rows
  parts[2].scale_inner = 12;
  parts[2].largest = 3.3f;
  parts[3].codes = {7, 0, 33};  // channels
  parts[3].scale_inner = 4;
  parts[3].largest = -0.9f;
  parts[4].codes = {15, 1, 0, 250, 100, 31, 32, 47, 48, 2, 3, 4};  // the two inner dimensions together
  parts[4].scale_inner = 1;
  parts[4].largest = 1e-30f;
  for (int code = 0; code < 256; ++code) parts[5].codes.push_back(static_cast<uint8_t>(code));
  parts[5].scale_inner = 1;
  parts[5].largest = 0.77f;
  add_all(builder, Coder::kArithmetic, parts);
  return builder.finish();
}

// Declared types that the product is rounded to: ties, overflow to infinity, subnormals, zero.
GoldenFile float16() {
  Builder builder("float16", 2);
  const uint32_t fine = builder.add(Codebook::uniform(0x1.004p0f, 31, 15));
  const uint32_t coarse = builder.add(Codebook::uniform(5000, 31, 15));
  const uint32_t odd =
      builder.add(Codebook::table({0.1f, -0.0f, 1e-7f, -3e-8f, 65519.996f, 65520, 3.3895314e38f}, 1, 1));
  std::vector<Part> parts;
  for (const ElementType type : {ElementType::kFloat16, ElementType::kBfloat16, ElementType::kFloat64}) {
    for (const uint32_t codebook : {fine, coarse, odd}) {
      Part part =
          codebook == odd ? builder.any(codebook, {2, 8, 1}, 3) : builder.small(codebook, {3, 4, 3}, codebook + 1);
      part.type = type;
      parts.push_back(part);
    }
    Part scaled = builder.small(fine, {4, 9, 1}, 9);
    scaled.type = type;
    scaled.scales = ScaleKind::kChannel;
    scaled.largest = 0x1p-13f;
    scaled.codes = {0, 100, 177, 255};
    scaled.scale_inner = 9;
    parts.push_back(scaled);
  }
  add_all(builder, Coder::kArithmetic, parts);
  return builder.finish();
}

// Codebooks and models that several tensors share, in no order, among tensors that have none; a codebook without use.
GoldenFile shared() {
  Builder builder("shared");
  const uint32_t codebooks[] = {builder.add(Codebook::uniform(0.25f, 7, 3)), builder.add(Codebook::uniform(0.5f, 5, 2)),
                                builder.add(Codebook::table({9, 8, 7}, 1, 0)),
                                builder.add(Codebook::uniform(0.75f, 7, 3))};
  std::vector<Part> parts;
  for (const uint32_t which : {3, 0, 3, 1, 0, 0, 3}) {
    Part part = builder.small(codebooks[which], {3, 4, 2}, static_cast<uint32_t>(parts.size()) + 1);
    part.layout.rows = 3;
    parts.push_back(part);
  }
  const uint32_t models[] = {builder.add(Coder::kHuffman, parts), builder.add(Coder::kArithmetic, parts),
                             builder.add(Coder::kRans, parts)};
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].model = models[(i * 2 + 2) % 3];
    builder.add(parts[i]);
    if (i % 2 == 0) builder.add(ElementType::kInt64, std::vector<int64_t>{int64_t(i), -1, 3});
  }
  return builder.finish();
}

// More than one chunk, by each of the ways to cut a stream, and of the planes of units of each width.
GoldenFile chunks() {
  Builder builder("chunks");
  const uint32_t ternary = builder.add(Codebook::uniform(0.5f, 3, 1));
  const uint32_t pairs = builder.add(Codebook::table({0, 0, 1, -2, 0.5f, 0.25f}, 2, 0));
  const uint32_t single = builder.add(Codebook::uniform(1, 1, 0));
  Part in_rows = builder.small(ternary, {3, 100000, 1}, 1, 15);
  in_rows.scales = ScaleKind::kChannel;
  in_rows.codes = {0, 4, 8};
  in_rows.scale_inner = 100000;
  Part in_pairs = builder.small(pairs, {1, 30000, 9}, 2, 15);
  in_pairs.surplus = 1;
  add_all(builder, Coder::kRans, {in_rows, in_pairs});
  Part in_channels = builder.small(ternary, {1, 30000, 9}, 3, 15);
  in_channels.type = ElementType::kFloat16;
  add_all(builder, Coder::kArithmetic, {in_channels, builder.small(ternary, {1, 1, 262150}, 4, 15)});
  builder.add(builder.small(single, {3, 100000, 1}, 5));

  using E = ElementType;
  constexpr size_t kUnits = 131072;
  std::vector<uint8_t> bytes(kUnits + 100);
  for (size_t i = 0; i < bytes.size(); i += 20011) bytes[i] = static_cast<uint8_t>(i);
  builder.add(E::kInt8, bytes);
  builder.add(E::kUint4, 2 * (kUnits + 100) - 1, [&bytes] {
    const auto span = std::as_bytes(std::span(bytes));
    return FileBytes(span.begin(), span.end());
  }());
  std::vector<float> floats(kUnits + 5, 1.5f);
  floats.back() = -2;
  builder.add(E::kFloat32, floats);
  builder.add(E::kFloat16, std::vector<uint16_t>(kUnits + 3, 0x3C01));
  builder.add(E::kComplex64, (kUnits + 6) / 2, narrowed(std::vector<float>(kUnits + 6, 0.25f), E::kFloat32));
  std::vector<uint32_t> rising;
  for (uint32_t i = 0; i < 2 * kUnits + 3; ++i) rising.push_back(i * 3);
  builder.add(E::kInt32, rising);
  return builder.finish();
}

// Protocol Buffers by hand.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  return out + static_cast<char>(value);
}
std::string field(uint32_t number, std::string_view bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}
std::string field(uint32_t number, uint64_t value) { return varint(number << 3) + varint(value); }

// A TensorProto of uint8: dims, type, name; stripped unless it has data.
std::string tensor(std::string_view name, std::vector<uint64_t> dims, std::string_view raw_data = {}) {
  std::string out;
  for (const uint64_t dim : dims) out += field(1, dim);
  out += field(2, 2) + field(8, name);
  return raw_data.empty() ? out : out + field(9, raw_data);
}

// Stripped tensors in every place of a ModelProto, each of another size, among some that are not stripped.
GoldenFile graph() {
  Builder builder("graph");
  const std::string inner = field(1, field(5, field(5, tensor("of a node of a branch", {3})))) +
                            field(5, tensor("of a branch", {2, 2})) +
                            field(15, field(1, tensor("", {5})) + field(2, tensor("", {6})));
  const std::string attributes =
      field(5, field(1, "value") + field(5, tensor("of a node", {1, 1}))) +
      field(5, field(1, "value") + field(5, tensor("kept", {2}, "ab"))) +
      field(5, field(1, "list") + field(10, tensor("first", {2})) + field(10, tensor("empty", {0, 4}))) +
      field(5, field(1, "then_branch") + field(6, inner)) +
      field(5, field(1, "sparse") + field(22, field(1, tensor("", {7})) + field(2, tensor("", {8, 1})))) +
      field(5, field(1, "lists") + field(11, field(5, tensor("of a list", {9}))) +
                   field(23, field(1, tensor("", {10})) + field(2, tensor("", {11}))));
  const std::string main =
      field(1, attributes + field(4, "If")) + field(2, "main") + field(5, tensor("weight", {3, 4})) +
      field(5, tensor("kept, too", {1}, "c")) + field(5, tensor("scalar", {})) +
      field(15, field(1, tensor("sparse values", {14})) + field(2, tensor("sparse indices", {15})));
  const std::string training =
      field(1, field(5, tensor("initialization", {16}))) + field(2, field(5, tensor("algorithm", {17})));
  const std::string function = field(1, "f") + field(7, field(5, field(5, tensor("of a function", {18})))) +
                               field(11, field(5, tensor("default", {19})));
  builder.set_graph(field(1, 8) + field(7, main) + field(8, field(2, 17)) + field(20, training) + field(25, function));
  for (const uint32_t size : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 14, 15, 16, 17, 18, 19}) {
    builder.add(ElementType::kUint8, units<uint8_t>(size, size, 0, 256));
  }
  return builder.finish();
}

// Terse names, and so many scale codes that they have a section of their own.
GoldenFile terse() {
  Builder builder("terse");
  const uint32_t codebook = builder.add(Codebook::uniform(0.25f, 7, 3));
  std::vector<Part> parts;
  std::mt19937 random(13);
  for (uint32_t i = 0; i < 3; ++i) {
    parts.push_back(builder.small(codebook, {60, 1, 2}, i + 1));
    parts[i].scales = ScaleKind::kChannel;
    parts[i].scale_inner = 2;
    parts[i].largest = 1.5f;
    for (int c = 0; c < 60; ++c) parts[i].codes.push_back(static_cast<uint8_t>(random() % 8 + random() % 8));
  }
  add_all(builder, Coder::kRans, parts);
  const auto node = [](const std::string& op) {
    return field(1, field(1, "a") + field(1, "+") + field(2, "a") + field(4, op));
  };
  const std::string main = field(1, field(1, "x") + field(1, "+") + field(2, "a") + field(4, "MatMul")) +
                           node("MatMul") + node("MatMul") + field(5, tensor("", {2, 60})) +
                           field(5, tensor("", {60, 2})) + field(5, tensor("", {2, 60}));
  builder.set_graph(field(1, 8) + field(7, main) + field(8, field(2, 17)), true);
  return builder.finish();
}

}  // namespace

// Down columns, more than are decoded at a time, and along rows, under every coder; two symbols, of which one is coded;
// wide indices; more than one chunk.
GoldenFile trellis() {
  Builder builder("trellis");
  const uint32_t levels = builder.add(Codebook::uniform(0.125f, 32, 16));
  const uint32_t single = builder.add(Codebook::uniform(0.5f, 2, 0));
  const uint32_t wide = builder.add(Codebook::uniform(0x1p-15f, 65536, 32768));
  const uint32_t uneven = builder.add(Codebook::table({-0.5f, -0.3f, 0, 0.1f, 0.4f, 1}, 1, 2));
  for (const Coder coder : {Coder::kHuffman, Coder::kRans, Coder::kArithmetic}) {
    std::vector<Part> parts;
    for (const Trellis trellis : {Trellis::kDownColumns, Trellis::kAlongRows}) {
      parts.push_back(builder.small(levels, {30, 9, 9, 1, 0, trellis}, 1));
      parts.push_back(builder.any(wide, {20, 5, 1, 1, 0, trellis}, 2));
      parts.push_back(builder.any(single, {5, 4, 1, 1, 0, trellis}, 3));
      parts.push_back(builder.small(uneven, {7, 6, 1, 1, 0, trellis}, 4));
    }
    if (coder == Coder::kArithmetic)
      parts.push_back(builder.small(uneven, {400, 700, 1, 1, 0, Trellis::kDownColumns}, 5, 9));
    add_all(builder, coder, parts);
  }
  return builder.finish();
}

std::vector<GoldenFile> golden_files() {
  return {huffman(),        rans(),    arithmetic(), vectors(), table(), planes(), delta(),
          channel_scales(), float16(), shared(),     chunks(),  graph(), terse(),  trellis()};
}

}  // namespace quench::container
