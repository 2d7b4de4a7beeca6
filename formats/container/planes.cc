#include "formats/container/planes.h"

#include <bit>
#include <cstring>

namespace quench::container {
namespace {

template <typename Unit>
void split(std::span<const std::byte> units, UnitLayout layout, std::span<std::byte> planes) {
  const size_t count = units.size() / sizeof(Unit);
  Unit previous = 0;
  for (size_t i = 0; i < count; ++i) {
    Unit unit;
    std::memcpy(&unit, units.data() + i * sizeof(Unit), sizeof(Unit));
    const Unit original = unit;
    if (layout.delta) unit = static_cast<Unit>(unit - previous);
    if (layout.rotated) unit = std::rotl(unit, 1);
    previous = original;
    for (size_t p = 0; p < sizeof(Unit); ++p) {
      planes[p * count + i] = static_cast<std::byte>(unit >> (8 * (sizeof(Unit) - 1 - p)));
    }
  }
}

template <typename Unit>
void merge(std::span<const std::byte> planes, UnitLayout layout, std::span<std::byte> units) {
  const size_t count = units.size() / sizeof(Unit);
  Unit previous = 0;
  for (size_t i = 0; i < count; ++i) {
    Unit unit = 0;
    for (size_t p = 0; p < sizeof(Unit); ++p) {
      unit =
          static_cast<Unit>(unit | Unit{static_cast<uint8_t>(planes[p * count + i])} << (8 * (sizeof(Unit) - 1 - p)));
    }
    if (layout.rotated) unit = std::rotr(unit, 1);
    if (layout.delta) unit = static_cast<Unit>(unit + previous);
    previous = unit;
    std::memcpy(units.data() + i * sizeof(Unit), &unit, sizeof(Unit));
  }
}

}  // namespace

UnitLayout unit_layout(ElementType type, bool delta) {
  switch (type) {
    case ElementType::kFloat16:
    case ElementType::kUint16:
    case ElementType::kInt16:
      return {2, false, delta};
    case ElementType::kBfloat16:
      return {2, true, delta};
    case ElementType::kFloat32:
    case ElementType::kComplex64:
      return {4, true, delta};
    case ElementType::kInt32:
    case ElementType::kUint32:
      return {4, false, delta};
    case ElementType::kFloat64:
    case ElementType::kComplex128:
      return {8, true, delta};
    case ElementType::kInt64:
    case ElementType::kUint64:
      return {8, false, delta};
    default:
      return {1, false, delta};
  }
}

void split_planes(std::span<const std::byte> units, UnitLayout layout, std::span<std::byte> planes) {
  switch (layout.width) {
    case 2:
      return split<uint16_t>(units, layout, planes);
    case 4:
      return split<uint32_t>(units, layout, planes);
    case 8:
      return split<uint64_t>(units, layout, planes);
    default:
      return split<uint8_t>(units, layout, planes);
  }
}

void merge_planes(std::span<const std::byte> planes, UnitLayout layout, std::span<std::byte> units) {
  switch (layout.width) {
    case 2:
      return merge<uint16_t>(planes, layout, units);
    case 4:
      return merge<uint32_t>(planes, layout, units);
    case 8:
      return merge<uint64_t>(planes, layout, units);
    default:
      return merge<uint8_t>(planes, layout, units);
  }
}

}  // namespace quench::container
