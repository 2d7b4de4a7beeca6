// Sounds like speech, for models of which no recording is at hand.
#pragma once

#include <span>

#include "compressor/measure/seeded_random.h"

namespace quench::measure {

constexpr int kSampleRate = 16000;  // of all sounds here, in samples a second

// Fills one channel with speech-like sound by the source-filter model (Fant 1960): vowels, a train of pulses whose
// pitch glides, through three resonances, and hisses, which are noise through one, different each time, and pauses
// between them, over a floor of noise 30 to 60 dB below. What recordings have and white noise has not is here:
// neighbouring values of vowels are nearly equal (correlation 0.8 to 1), and high frequencies lie tens of decibels
// below low ones. The level, the root mean square of all, is drawn between 0.03, of a recording within -1 and 1, and
// 1, of one that is normalized.
void draw_sound(std::span<float> samples, Random& random);

}  // namespace quench::measure
