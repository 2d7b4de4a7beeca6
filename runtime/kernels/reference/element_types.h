// From an element type at run time to a C++ type.
#pragma once

#include <cstdint>

#include "formats/base/status.h"
#include "runtime/contract/tensor.h"

namespace quench::rt {

template <typename T>
struct TypeTag {
  using type = T;
};

// Calls function(TypeTag<T>()) for the types that arithmetic is done in (kNumberTypes); function returns a Status.
template <typename Function>
Status with_number_type(ElementType type, const Function& function) {
  switch (type) {
    case ElementType::kFloat32:
      return function(TypeTag<float>());
    case ElementType::kUint8:
      return function(TypeTag<uint8_t>());
    case ElementType::kInt32:
      return function(TypeTag<int32_t>());
    case ElementType::kInt64:
      return function(TypeTag<int64_t>());
    default:
      return Status(StatusCode::kUnsupportedType);
  }
}

// The same for every type that a tensor can have at run time (kAllTypes); bool is uint8_t.
template <typename Function>
Status with_any_type(ElementType type, const Function& function) {
  switch (type) {
    case ElementType::kInt8:
      return function(TypeTag<int8_t>());
    case ElementType::kBool:
      return function(TypeTag<uint8_t>());
    case ElementType::kUint16:
      return function(TypeTag<uint16_t>());
    case ElementType::kInt16:
      return function(TypeTag<int16_t>());
    case ElementType::kUint32:
      return function(TypeTag<uint32_t>());
    case ElementType::kUint64:
      return function(TypeTag<uint64_t>());
    default:
      return with_number_type(type, function);
  }
}

}  // namespace quench::rt
