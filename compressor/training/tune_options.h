// What tune() is asked for. No libtorch here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compressor/compress/compress.h"
#include "compressor/training/loop/options.h"

namespace quench::training {

enum class Annealing : uint8_t { kHard, kExponential, kGap };  // see annealer.h

inline constexpr Named<Annealing> kAnnealings[] = {
    {"hard", Annealing::kHard}, {"exponential", Annealing::kExponential}, {"gap", Annealing::kGap}};

// Those that a training can keep to.
inline constexpr Named<quantizer::CodebookScope> kCodebooks[] = {{"model", quantizer::CodebookScope::kModel},
                                                                 {"tensor", quantizer::CodebookScope::kTensor}};

// A round of the search for the smallest file.
struct SearchRound {
  double ratio = 0;            // of its file
  std::optional<double> drop;  // percentage points; none where the file could not be made as small as it was to be
  bool is_kept = false;
};

// visit_options.h says of each option whether a run that goes on needs the same.
struct TuneOptions {
  LoopOptions loop;
  // Not bits with one of the others. Without any, the rate is what beta and price make of it.
  std::optional<double> ratio;  // bytes of the model's file over bytes of the .quench file
  std::optional<double> bits;   // bits per weight, everything in the file counted
  // Percentage points of accuracy: the smallest file that loses no more. The search begins at the ratio, 20 by default.
  std::optional<double> max_drop;
  std::function<void(const SearchRound&)> on_round;

  Annealing annealing = Annealing::kHard;
  int dimension = 1;
  uint32_t centers = 75;
  quantizer::CodebookScope codebook = quantizer::CodebookScope::kModel;
  bool channel_scales = false, learn_scales = false;
  bool equal_steps = false;  // for all tensors, in place of those of sensitivity.h
  // Spacing of the first centers, in units of a tensor's root mean square; the geometric mean over all weights,
  // but for tensors that it would make coarser than kCoarsestStep.
  // Default: what suits the size (see step_for_rate), 1.5 where there is none.
  std::optional<double> step;
  double sigma = 0.4, sigma_growth = 20, soft_share = 0.4;
  std::optional<double> beta, price;
  entropy::Coder coder = entropy::kDefaultCoder;
  std::vector<std::string> exclude;  // shell patterns of weights that are trained, but kept bit-exact
  quantizer::FileNotes notes;
};

}  // namespace quench::training
