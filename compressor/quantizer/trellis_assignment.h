// The rate-distortion-optimised path through a trellis (formats/entropy/trellis.h) by Viterbi's algorithm:
// argmin over all paths of the sum of ||z - c||^2 + beta * bits.
//
//     TrellisAssigner assigner(trellis_codebook(reach), beta);
//     uint32_t state = 0;                                        // at the beginning of a column or a row of a chunk
//     TrellisAssigner::Workspace workspace;
//     assigner.assign(values, state, indices, workspace);        // 25 ns a value on an EPYC; state: where the next part begins
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "compressor/quantizer/codebook.h"
#include "compressor/quantizer/hard_assignment.h"
#include "formats/entropy/trellis.h"

namespace quench::quantizer {

// Spacing of the centers of symbols, in normalised units; those of indices lie half as far apart. At high rate the mean
// squared error is spacing^2 / 12 less 1.09 dB, which is that of codebooks learned at 0.1 squared distance per bit.
inline constexpr float kTrellisSpacing = 1.0625f;
// Squared distance per bit to go with it, nine tenths of the slope at high rate: of spacings of 1.0, 1.06, 1.13 and 1.25
// with a price of 0.1, ResNet-20 without data has at 20 times smaller 6.6, 7.2, 7.5 and 7.3 dB; this is the ratio of the
// third.
inline constexpr float kTrellisBeta = 0.09f;

// The symbols -reach to reach, all of no price. An even `reach` lets codebooks of different reach agree on which symbols
// are even.
Codebook trellis_codebook(uint32_t reach);

class TrellisAssigner {
 public:
  struct Workspace {
    struct Step {
      uint8_t later;        // bit s: the better way to state s comes from the later of its two states
      uint32_t symbols[4];  // the best of each subset: even and odd symbols of even states, then of odd ones
    };
    std::vector<Step> steps;
  };

  // symbols: made by trellis_codebook, with any code lengths. beta: squared distance per bit, at least 0.
  TrellisAssigner(const Codebook& symbols, float beta);

  // indices: one for each value, a path whatever the values are; index 2 * zero_symbol stands for 0. They begin in `state`
  // and end in the one that is left there.
  void assign(std::span<const float> values, uint32_t& state, std::span<uint32_t> indices, Workspace& workspace) const;

  // All values of a tensor, whose rows fit into chunks. indices and values in memory order.
  void assign_all(std::span<const float> values, const entropy::StreamLayout& layout, std::span<uint32_t> indices,
                  int threads) const;

  float center(uint32_t index) const { return kTrellisSpacing / 2 * (static_cast<float>(index) - zero_); }

 private:
  struct Subset {
    HardAssigner assigner;
    std::vector<float> centers, prices;
  };
  static Subset subset(const Codebook& symbols, float beta, uint32_t residue);

  float zero_;
  std::vector<Subset> subsets_;  // index % 4: 2 * parity of the symbol + parity of the state
};

}  // namespace quench::quantizer
