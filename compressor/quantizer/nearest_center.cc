#include "compressor/quantizer/nearest_center.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compressor/quantizer/nearest_center.cc"
// clang-format off
#include "formats/base/simd_dispatch.h"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace quench::quantizer {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// No fused multiply-add: the choice between two near centers must not depend on the processor.
template <size_t kDimension>
void search_dimension(const float* vectors, size_t count, const float* coordinates, const float* penalties,
                      size_t stride, uint32_t* indices, float* costs) {
  const hn::ScalableTag<float> tag;
  const hn::RebindToSigned<decltype(tag)> index_tag;
  const size_t lanes = hn::Lanes(tag);
  for (size_t i = 0; i < count; ++i) {
    const float* vector = vectors + i * kDimension;
    auto best = hn::Set(tag, std::numeric_limits<float>::infinity());
    auto best_index = hn::Zero(index_tag);
    auto index = hn::Iota(index_tag, 0);
    const auto advance = hn::Set(index_tag, static_cast<int32_t>(lanes));
    for (size_t j = 0; j < stride; j += lanes) {
      auto cost = hn::LoadU(tag, penalties + j);
      for (size_t k = 0; k < kDimension; ++k) {
        const auto gap = hn::Sub(hn::LoadU(tag, coordinates + k * stride + j), hn::Set(tag, vector[k]));
        cost = hn::Add(cost, hn::Mul(gap, gap));
      }
      const auto better = hn::Lt(cost, best);
      best = hn::IfThenElse(better, cost, best);
      best_index = hn::IfThenElse(hn::RebindMask(index_tag, better), index, best_index);
      index = hn::Add(index, advance);
    }
    const auto least = hn::MinOfLanes(tag, best);
    const auto none = hn::Set(index_tag, std::numeric_limits<int32_t>::max());
    const auto candidates = hn::IfThenElse(hn::RebindMask(index_tag, hn::Eq(best, least)), best_index, none);
    indices[i] = static_cast<uint32_t>(hn::GetLane(hn::MinOfLanes(index_tag, candidates)));
    if (costs != nullptr) costs[i] = hn::GetLane(least);
  }
}

void search_all(const float* vectors, size_t count, size_t dimension, const float* coordinates, const float* penalties,
                size_t stride, uint32_t* indices, float* costs) {
  switch (dimension) {
    case 1:
      return search_dimension<1>(vectors, count, coordinates, penalties, stride, indices, costs);
    case 2:
      return search_dimension<2>(vectors, count, coordinates, penalties, stride, indices, costs);
    case 4:
      return search_dimension<4>(vectors, count, coordinates, penalties, stride, indices, costs);
    default:
      return search_dimension<8>(vectors, count, coordinates, penalties, stride, indices, costs);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quench::quantizer
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quench::quantizer {

QUENCH_SIMD_EXPORT(search_all);

NearestCenter::NearestCenter(std::span<const float> coordinates, std::span<const float> penalties) {
  constexpr size_t kWidestVector = 16;
  const size_t count = penalties.size();
  dimension_ = coordinates.size() / count;
  stride_ = (count + kWidestVector - 1) / kWidestVector * kWidestVector;
  coordinates_.assign(dimension_ * stride_, 0.0f);
  penalties_.assign(stride_, std::numeric_limits<float>::infinity());
  std::copy(penalties.begin(), penalties.end(), penalties_.begin());
  for (size_t k = 0; k < dimension_; ++k) {
    const std::span<const float> coordinate = coordinates.subspan(k * count, count);
    std::copy(coordinate.begin(), coordinate.end(), coordinates_.begin() + static_cast<ptrdiff_t>(k * stride_));
  }
}

void NearestCenter::search(const float* vectors, size_t count, uint32_t* indices, float* costs) const {
  QUENCH_SIMD_CALL(search_all)
  (vectors, count, dimension_, coordinates_.data(), penalties_.data(), stride_, indices, costs);
}

}  // namespace quench::quantizer
#endif
