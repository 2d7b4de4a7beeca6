// Shapes, element types and tensors of the runtime: plain values, nothing here owns memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "formats/base/element_type.h"

namespace quench::rt {

inline constexpr int kMaxRank = 8;
inline constexpr size_t kAlignment = 64;  // of every tensor, scratch block and packed weight, in bytes

// Bytes of one element; 0 for a type that the runtime does not store (strings, 4-bit, complex and 8-bit float types, unknown numbers).
constexpr int64_t size_of(ElementType type) {
  const bool stored = (type >= ElementType::kFloat32 && type <= ElementType::kUint64 && type != ElementType::kString) ||
                      type == ElementType::kBfloat16;
  return stored ? element_bits(type) / 8 : 0;
}

// The runtime computes float16, bfloat16 and float64 tensors in float32: they are converted where they enter (weights, graph inputs)
// and leave (graph outputs), so kernels never see those three.
//
// The type in which values of `type` are computed: float32 for every floating-point type, itself otherwise.
// Cast, ConstantOfShape and the like apply it to the type that their attribute names.
constexpr ElementType compute_type(ElementType type) {
  return type == ElementType::kFloat16 || type == ElementType::kBfloat16 || type == ElementType::kFloat64
             ? ElementType::kFloat32
             : type;
}

// Dimensions of a tensor, outermost first. Rank 0 is a scalar with one element.
struct Shape {
  int rank = 0;
  int64_t dims[kMaxRank] = {};

  Shape() = default;
  constexpr Shape(std::initializer_list<int64_t> sizes) {
    for (int64_t size : sizes) {
      if (rank < kMaxRank) dims[rank++] = size;
    }
  }

  int64_t& operator[](int axis) { return dims[axis]; }
  int64_t operator[](int axis) const { return dims[axis]; }
  std::span<const int64_t> view() const { return {dims, static_cast<size_t>(rank)}; }

  // Product of the dimensions [first, last). The shape must have passed `valid`.
  int64_t elements(int first, int last) const {
    int64_t product = 1;
    for (int axis = first; axis < last; ++axis) product *= dims[axis];
    return product;
  }
  int64_t elements() const { return elements(0, rank); }

  // True if the rank is in [0, kMaxRank], no dimension is negative and `element_bytes` times any product of them fits
  // 62 bits, zero-sized dimensions not counted: kernels may multiply sizes without checking again.
  bool valid(int64_t element_bytes = 1) const {
    if (rank < 0 || rank > kMaxRank) return false;
    int64_t product = element_bytes;
    for (int axis = 0; axis < rank; ++axis) {
      if (dims[axis] < 0) return false;
      if (dims[axis] == 0) continue;
      if (product > (int64_t{1} << 62) / dims[axis]) return false;
      product *= dims[axis];
    }
    return true;
  }

  constexpr bool operator==(const Shape& other) const {
    if (rank != other.rank) return false;
    for (int axis = 0; axis < rank; ++axis) {
      if (dims[axis] != other.dims[axis]) return false;
    }
    return true;
  }
};

// How the elements lie in memory. The shape stays logical: a tensor N x C x H x W in kChannelsLast still has the shape
// {N, C, H, W}, while its memory order is N, H, W, C. Only tensors of rank 4 are ever kChannelsLast.
enum class Layout : uint8_t { kRowMajor, kChannelsLast };

struct Tensor {
  ElementType type = ElementType::kUndefined;
  Layout layout = Layout::kRowMajor;
  Shape shape;
  void* data = nullptr;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
  int64_t elements() const { return shape.elements(); }
  int64_t bytes() const { return shape.elements() * size_of(type); }
  size_t size_bytes() const { return static_cast<size_t>(bytes()); }  // of a tensor that has its memory
};

// strides[axis]: elements between neighbours along the logical axis, as `layout` says.
inline void compute_strides(const Shape& shape, Layout layout, int64_t strides[kMaxRank]) {
  if (layout == Layout::kChannelsLast && shape.rank == 4) {
    strides[1] = 1;
    strides[3] = shape[1];
    strides[2] = shape[1] * shape[3];
    strides[0] = shape[1] * shape[3] * shape[2];
    return;
  }
  int64_t step = 1;
  for (int axis = shape.rank - 1; axis >= 0; --axis) {
    strides[axis] = step;
    step *= shape[axis];
  }
}

// Both layouts of this shape are the same bytes, so that a conversion is free.
inline bool layouts_coincide(const Shape& shape) {
  return shape.rank != 4 || shape[1] == 1 || (shape[2] == 1 && shape[3] == 1);
}

}  // namespace quench::rt
