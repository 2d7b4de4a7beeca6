// The binary decisions that make up a level, and the contexts that they are coded in. Shared by the two ends of the
// arithmetic coder.
//
//     is it 0? -> does its sign contradict the prediction? -> is its magnitude above 1, 2, .. 14? -> Exp-Golomb code of
//     the rest
// Where large magnitudes are expected, the Exp-Golomb code takes the place of the unary one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/entropy/binary_model.h"
#include "formats/entropy/level_context.h"

namespace quench::entropy {

inline constexpr uint32_t kUnaryFlags = 14;
inline constexpr uint32_t kWideScale = 13;    // from this scale bucket on, magnitudes are Exp-Golomb coded
inline constexpr uint32_t kMaxExponent = 16;  // of a magnitude up to 65535, and a bit of room
inline constexpr uint32_t kTailSets = 1 + kScaleBuckets - kWideScale;

// Contexts of an Exp-Golomb code of a value >= 1: its exponent in unary, then the two highest bits of its mantissa.
template <typename Bit>
struct TailContexts {
  Bit exponent[kMaxExponent];
  Bit mantissa[kMaxExponent + 1][3];
};

// `Bit` is an AdaptiveBit in the coders, a count in the fitter, an initial probability in the model.
template <typename Bit>
struct LevelContexts {
  Bit zero[kTrustBuckets][kScaleBuckets];
  Bit contrary[kTrustBuckets][kScaleBuckets];
  Bit above[2][kTrustBuckets][kUnaryFlags][kScaleBuckets];  // [contrary][trust][magnitude - 1][scale]
  TailContexts<Bit> tail[kTailSets];                        // [0] behind the unary flags, then by scale
};

inline constexpr size_t kLevelContexts = sizeof(LevelContexts<uint8_t>);

// How a model stores its initial probabilities: as steps on a logistic scale, each as the difference from a similar
// context's that was stored before.
inline constexpr uint32_t kProbabilitySteps = 64;

inline uint32_t expected_step(std::span<const uint8_t> steps, size_t context) {
  if (context % kScaleBuckets != 0) return steps[context - 1];
  return context >= kScaleBuckets ? steps[context - kScaleBuckets] : kProbabilitySteps / 2;
}

// 65536 / (1 + exp((32 - step) / 4)), rounded; within 1 .. 65535.
inline constexpr uint16_t kStepProbability[kProbabilitySteps] = {
    22,    28,    36,    47,    60,    77,    98,    126,   162,   208,   267,   342,   439,   562,   720,   922,
    1179,  1506,  1921,  2446,  3108,  3938,  4971,  6249,  7812,  9702,  11955, 14595, 17625, 21025, 24743, 28693,
    32768, 36843, 40793, 44511, 47911, 50941, 53581, 55834, 57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030,
    64357, 64614, 64816, 64974, 65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508};

// The decisions that a difference of steps is coded in.
template <typename Bit>
struct StepContexts {
  Bit changed[2];  // by whether the one before changed
  Bit negative;
  Bit above[kProbabilitySteps];
};

// Reads a model without its coder byte: the probabilities of a 1 that every chunk starts with.
Status parse_arithmetic_model(std::span<const uint8_t> body, LevelContexts<uint16_t>& initial);

}  // namespace quench::entropy
