#include "compressor/data/array.h"

#include <cstring>

#include "formats/base/float16.h"
#include "formats/error.h"

namespace quench::data {
namespace {

template <typename To, typename From>
std::vector<To> widen(const Array& array) {
  std::vector<To> out(array.bytes.size() / sizeof(From));
  for (size_t i = 0; i < out.size(); ++i) {
    From value;
    std::memcpy(&value, array.bytes.data() + i * sizeof(From), sizeof(From));
    out[i] = static_cast<To>(value);  // int8 is a number: NOLINT(bugprone-signed-char-misuse)
  }
  return out;
}

template <typename To>
std::vector<To> widen_integers(const Array& array) {
  switch (array.type) {
    case ElementType::kUint8:
    case ElementType::kBool:
      return widen<To, uint8_t>(array);
    case ElementType::kInt8:
      return widen<To, int8_t>(array);
    case ElementType::kUint16:
      return widen<To, uint16_t>(array);
    case ElementType::kInt16:
      return widen<To, int16_t>(array);
    case ElementType::kUint32:
      return widen<To, uint32_t>(array);
    case ElementType::kInt32:
      return widen<To, int32_t>(array);
    case ElementType::kUint64:
      return widen<To, uint64_t>(array);
    case ElementType::kInt64:
      return widen<To, int64_t>(array);
    default:
      throw Error("an array of integers is needed here");
  }
}

template <typename T>
Array array_of(ElementType type, std::vector<int64_t> dims, std::span<const T> values) {
  Array array{type, std::move(dims), std::vector<std::byte>(values.size_bytes())};
  if (!values.empty()) std::memcpy(array.bytes.data(), values.data(), values.size_bytes());
  if (array.elements() != values.size()) throw Error("an array's shape and its number of values differ");
  return array;
}

}  // namespace

uint64_t Array::elements() const {
  uint64_t count = 1;
  for (int64_t dim : dims) count *= static_cast<uint64_t>(dim);
  return count;
}

std::vector<float> Array::to_float() const {
  if (!is_float(type)) return widen_integers<float>(*this);
  std::vector<float> values(elements());
  if (!convert_to_float32(bytes, type, values).ok()) throw Error("an array's shape and its bytes differ");
  return values;
}

std::vector<int64_t> Array::to_int64() const { return widen_integers<int64_t>(*this); }

Array Array::float32(std::vector<int64_t> dims, std::span<const float> values) {
  return array_of(ElementType::kFloat32, std::move(dims), values);
}

Array Array::int64(std::vector<int64_t> dims, std::span<const int64_t> values) {
  return array_of(ElementType::kInt64, std::move(dims), values);
}

std::string dims_text(std::span<const int64_t> dims) {
  if (dims.empty()) return "scalar";
  std::string text;
  for (int64_t dim : dims) {
    if (!text.empty()) text += 'x';
    text += dim < 0 ? "N" : std::to_string(dim);
  }
  return text;
}

}  // namespace quench::data
