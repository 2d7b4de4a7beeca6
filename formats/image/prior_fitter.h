// The prior that both ends of the index coder start from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "formats/image/index_model.h"

namespace quench::image {

// Counts how decisions fall, and turns that into a codec's prior. One object per codec:
//
//     PriorFitter fitter(channels, levels, zero);
//     for each picture: fitter.add(height, width, indices);      // in latents, cut into tiles here
//     std::vector<uint8_t> prior = fitter.finish();               // channels x kPriorContexts x (levels - 1)
class PriorFitter {
 public:
  PriorFitter(uint32_t channels, uint32_t levels, uint32_t zero);

  // `indices`: channels x height x width of any size, each below `levels`.
  void add(uint32_t height, uint32_t width, std::span<const uint8_t> indices);
  std::vector<uint8_t> finish() const;

 private:
  struct Count {
    uint64_t of[2] = {0, 0};
  };

  IndexLayout layout_;
  std::vector<Count> counts_;  // as the prior
};

}  // namespace quench::image
