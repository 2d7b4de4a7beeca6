// What infer functions share: checks of inputs, axes and integer lists.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/contract/kernel.h"

namespace quench::rt {

// A set of element types, one bit per ElementType number.
using TypeSet = uint32_t;

template <typename... Types>
constexpr TypeSet type_set(Types... types) {
  return ((1u << static_cast<int>(types)) | ...);
}

// False for numbers that are no ElementType; an attribute may hold any.
constexpr bool contains(TypeSet set, ElementType type) {
  const auto number = static_cast<uint32_t>(type);
  return number < 32 && (set >> number & 1) != 0;
}

inline constexpr TypeSet kFloatType = type_set(ElementType::kFloat32);
inline constexpr TypeSet kIndexTypes = type_set(ElementType::kInt32, ElementType::kInt64);
inline constexpr TypeSet kNumberTypes =
    type_set(ElementType::kFloat32, ElementType::kInt32, ElementType::kInt64, ElementType::kUint8);
inline constexpr TypeSet kBoolType = type_set(ElementType::kBool);
// Everything that a tensor at run time can be.
inline constexpr TypeSet kAllTypes =
    type_set(ElementType::kFloat32, ElementType::kUint8, ElementType::kInt8, ElementType::kUint16, ElementType::kInt16,
             ElementType::kInt32, ElementType::kInt64, ElementType::kBool, ElementType::kUint32, ElementType::kUint64);

// The node has `required` inputs up front and at most `most` in all, its first output is wanted, and input 0 (if it
// must be there) has a type of the set.
Status check_node(const InferContext& context, int required, int most, TypeSet types);

// Input `index` is there and has a type of the set.
Status check_type(const InferContext& context, int index, TypeSet types);

// Input `index` is there and has the type of input 0.
Status check_same_type(const InferContext& context, int index);

// `axis` in [-rank, rank) becomes `*result` in [0, rank).
Status normalize_axis(int64_t axis, int rank, int* result);

// The shape that both broadcast to, by NumPy's rules; kShape if there is none. `result` may be `a` or `b`.
Status broadcast_shapes(const Shape& a, const Shape& b, Shape* result);

// A short list of integers out of an attribute or a constant input.
struct IntList {
  static constexpr int kCapacity = 2 * kMaxRank;

  bool present = false;
  int count = 0;
  int64_t values[kCapacity] = {};

  int64_t operator[](int index) const { return values[index]; }
  std::span<const int64_t> view() const { return {values, static_cast<size_t>(count)}; }
};

// The integers of attribute `name`; not `present` if the node has none.
Status read_attribute(const InferContext& context, std::string_view name, IntList* list);

// The integers of input `index`, a constant int32 or int64 tensor of rank 0 or 1; not `present` if the node omits it.
Status read_input(InferContext& context, int index, IntList* list);

// Element `index` of a tensor of any type; bool is 0 or 1.
double number_at(const Tensor& tensor, int64_t index);

// The number in input `index`, a constant tensor of one element.
Status read_number(InferContext& context, int index, double* number);

// The same of a number that must be an integer in [least, most]; the fraction is cut off. Leaves `number` as it is if the
// node omits the input.
Status read_integer(InferContext& context, int index, int64_t least, int64_t most, int64_t* number);

// The element type, as the runtime computes it, that the attribute `name` has the number of; kUnsupportedType if there is
// no such type. Without the attribute: `otherwise`.
Status read_type(const InferContext& context, std::string_view name, ElementType otherwise, ElementType* type);

// Marks the axes of the list, each in [-rank, rank) and none twice.
Status mark_axes(const IntList& axes, int rank, bool marked[kMaxRank]);

}  // namespace quench::rt
