// How an image whose latents are too many for the networks at once is cut: cores that tile it, each within a window that the
// networks see. All windows have the same size, so that one plan does for all.
#pragma once

#include <algorithm>
#include <cstdint>

namespace quench::image {

// What a core has of its window around it, unless the image ends there. A latent's network sees about ten more to each
// side; the outermost of them count for so little that pixels differ by less than one level.
inline constexpr uint32_t kHalo = 8;

// Along one side, in latents.
struct Window {
  uint32_t begin;  // of the window
  uint32_t core_begin, core_end;
};

class Windows {
 public:
  // `most`: of a window's side, above 2 * kHalo.
  Windows(uint32_t latents, uint32_t most) : latents_(latents), size_(std::min(latents, most)) {
    if (latents <= most) return;
    // The first and the last core have one halo inside the image, and those between two; then as small as their number
    // allows.
    count_ = (latents - 2 * kHalo + most - 2 * kHalo - 1) / (most - 2 * kHalo);
    step_ = (latents - 2 * kHalo + count_ - 1) / count_;
    size_ = step_ + 2 * kHalo;
  }

  uint32_t count() const { return count_; }
  uint32_t size() const { return size_; }

  Window operator[](uint32_t i) const {
    const uint32_t begin = i == 0 ? 0 : kHalo + i * step_;
    const uint32_t end = i + 1 == count_ ? latents_ : kHalo + (i + 1) * step_;
    const uint32_t wanted = begin < kHalo ? 0 : begin - kHalo;
    return {std::min(wanted, latents_ - size_), begin, end};
  }

 private:
  uint32_t latents_;
  uint32_t count_ = 1;
  uint32_t step_ = 0;
  uint32_t size_;
};

}  // namespace quench::image
