// The prior that both ends of the index coder start from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "formats/image/index_model.h"

namespace quench::image {

// Turns the indices of many pictures into a codec's prior:
//
//     PriorFitter fitter(channels, levels, zero);
//     for each picture: fitter.add(height, width, indices);      // in latents, cut into tiles here
//     std::vector<uint8_t> prior = fitter.finish();               // channels x prior_rows() x (levels - 1)
//
// Weights of the linear predictions are those of least squares, to which finish() takes some seconds; indices of a channel
// are counted from their predictions where that makes them much smaller. Then probabilities are counted as the coder meets
// them. The pictures are kept until then.
class PriorFitter {
 public:
  PriorFitter(uint32_t channels, uint32_t levels, uint32_t zero);

  // `indices`: channels x height x width of any size, each below `levels`.
  void add(uint32_t height, uint32_t width, std::span<const uint8_t> indices);
  std::vector<uint8_t> finish() const;

 private:
  struct Tile {
    IndexLayout layout;
    std::vector<uint8_t> indices;
  };

  struct Sample;
  struct Fit {
    std::vector<double> weights;
    int shift;
  };

  template <typename Features, typename Target>
  static Fit fit(const std::vector<Sample>& samples, size_t size, Features&& find_features, Target&& target);
  static Fit fit_levels(const std::vector<Sample>& samples, uint32_t channel);
  static Fit fit_distances(const std::vector<Sample>& samples, uint32_t channel);
  static bool move_centers(std::vector<Sample>& samples, uint32_t channel, const Fit& levels);
  void fit_weights(std::vector<uint8_t>& prior) const;
  void count_decisions(std::vector<uint8_t>& prior) const;

  IndexLayout layout_;
  std::vector<Tile> tiles_;
};

}  // namespace quench::image
