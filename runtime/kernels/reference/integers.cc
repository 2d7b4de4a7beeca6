#include "runtime/kernels/reference/integers.h"

namespace quench::rt {
namespace {

template <typename T>
void load_from(const T* source, int64_t step, int64_t count, int64_t* block) {
  // A sign of int8 is a sign of int64.
  for (int64_t i = 0; i < count; ++i) block[i] = source[i * step];  // NOLINT(bugprone-signed-char-misuse)
}

template <typename T>
void store_to(const int64_t* block, int64_t step, int64_t count, T* target) {
  for (int64_t i = 0; i < count; ++i) target[i * step] = static_cast<T>(block[i]);
}

}  // namespace

void load_integers(const Tensor& tensor, int64_t offset, int64_t step, int64_t count, int64_t* block) {
  switch (tensor.type) {
    case ElementType::kInt8:
      return load_from(tensor.as<int8_t>() + offset, step, count, block);
    case ElementType::kUint8:
      return load_from(tensor.as<uint8_t>() + offset, step, count, block);
    case ElementType::kInt16:
      return load_from(tensor.as<int16_t>() + offset, step, count, block);
    case ElementType::kUint16:
      return load_from(tensor.as<uint16_t>() + offset, step, count, block);
    case ElementType::kInt32:
      return load_from(tensor.as<int32_t>() + offset, step, count, block);
    case ElementType::kUint32:
      return load_from(tensor.as<uint32_t>() + offset, step, count, block);
    case ElementType::kBool:
      for (int64_t i = 0; i < count; ++i) block[i] = tensor.as<uint8_t>()[offset + i * step] != 0;
      return;
    default:
      return load_from(tensor.as<int64_t>() + offset, step, count, block);
  }
}

void store_integers(const int64_t* block, const Tensor& tensor, int64_t offset, int64_t step, int64_t count) {
  switch (size_of(tensor.type)) {
    case 1:
      return store_to(block, step, count, tensor.as<uint8_t>() + offset);
    case 2:
      return store_to(block, step, count, tensor.as<uint16_t>() + offset);
    case 4:
      return store_to(block, step, count, tensor.as<uint32_t>() + offset);
    default:
      return store_to(block, step, count, tensor.as<int64_t>() + offset);
  }
}

int64_t load_integer(const Tensor& tensor, int64_t offset) {
  int64_t value = 0;
  load_integers(tensor, offset, 0, 1, &value);
  return value;
}

}  // namespace quench::rt
