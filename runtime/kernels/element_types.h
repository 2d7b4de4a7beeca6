// From an element type at run time to a C++ type.
#pragma once

#include <cstdint>

#include "formats/status.h"
#include "runtime/core/tensor.h"

namespace quench::rt {

template <typename T>
struct ElementType {
  using type = T;
};

// Calls function(ElementType<T>()) for the types that arithmetic is done in (kNumberTypes); function returns a Status.
template <typename Function>
Status with_number_type(DType type, const Function& function) {
  switch (type) {
    case DType::kFloat:
      return function(ElementType<float>());
    case DType::kUint8:
      return function(ElementType<uint8_t>());
    case DType::kInt32:
      return function(ElementType<int32_t>());
    case DType::kInt64:
      return function(ElementType<int64_t>());
    default:
      return Status(StatusCode::kUnsupportedType);
  }
}

// The same for every type that a tensor can have at run time (kAllTypes); bool is uint8_t.
template <typename Function>
Status with_any_type(DType type, const Function& function) {
  switch (type) {
    case DType::kInt8:
      return function(ElementType<int8_t>());
    case DType::kBool:
      return function(ElementType<uint8_t>());
    case DType::kUint16:
      return function(ElementType<uint16_t>());
    case DType::kInt16:
      return function(ElementType<int16_t>());
    case DType::kUint32:
      return function(ElementType<uint32_t>());
    case DType::kUint64:
      return function(ElementType<uint64_t>());
    default:
      return with_number_type(type, function);
  }
}

}  // namespace quench::rt
