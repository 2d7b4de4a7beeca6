#include "compressor/measure/seeded_sound.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace quench::measure {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

// Two poles at a frequency, both in samples a second, with unit gain at 0.
class Resonance {
 public:
  Resonance(double frequency, double bandwidth) {
    const double radius = std::exp(-std::numbers::pi * bandwidth / kSampleRate);
    a_ = 2 * radius * std::cos(kTurn * frequency / kSampleRate);
    b_ = -radius * radius;
    gain_ = 1 - a_ - b_;
  }
  double operator()(double x) {
    const double y = gain_ * x + a_ * last_ + b_ * before_;
    before_ = last_;
    last_ = y;
    return y;
  }

 private:
  double a_ = 0, b_ = 0, gain_ = 1, last_ = 0, before_ = 0;
};

enum class Kind { kVowel, kHiss, kPause };

// A piece of sound of one kind, from 30 to 300 ms long.
class Segment {
 public:
  explicit Segment(Random& random)
      : kind_(random.uniform(0, 1) < 0.6 ? Kind::kVowel
              : random.coin()            ? Kind::kHiss
                                         : Kind::kPause),
        length_(static_cast<size_t>(random.uniform(0.03, 0.3) * kSampleRate)),
        loudness_(std::pow(10, random.uniform(-1, 0))),
        pitch_(80 * std::pow(4, random.uniform(0, 1))),  // 80 to 320
        glide_(std::pow(2, random.uniform(-0.5, 0.5) / static_cast<double>(length_))),
        phase_(random.uniform(0, 1)),
        resonances_{Resonance(random.uniform(250, 900), random.uniform(60, 150)),
                    Resonance(random.uniform(900, 2500), random.uniform(80, 200)),
                    Resonance(random.uniform(2500, 3800), random.uniform(120, 300))} {}

  size_t length() const { return length_; }

  double next(Random& random) {
    if (kind_ == Kind::kPause) return 0;
    double value = kind_ == Kind::kVowel ? pulse() : 0.3 * difference(random.normal(1));
    if (kind_ == Kind::kVowel) {
      value = tilt_ = 0.95 * tilt_ + value;  // as the voice falls by 6 dB an octave
      for (Resonance& resonance : resonances_) value = resonance(value);
    } else {
      value = resonances_.back()(value);
    }
    // It swells and fades with its first and last tenth.
    const double place = static_cast<double>(done_++) / static_cast<double>(length_);
    return loudness_ * value * std::clamp(10 * std::min(place, 1 - place), 0.0, 1.0);
  }

 private:
  // One each period, of zero mean.
  double pulse() {
    phase_ += pitch_ / kSampleRate;
    pitch_ *= glide_;
    const double mean = pitch_ / kSampleRate;
    if (phase_ < 1) return -mean;
    phase_ -= 1;
    return 1 - mean;
  }
  double difference(double value) {
    const double result = value - last_;
    last_ = value;
    return result;
  }

  Kind kind_;
  size_t length_, done_ = 0;
  double loudness_, pitch_, glide_, phase_, tilt_ = 0, last_ = 0;
  std::array<Resonance, 3> resonances_;
};

double level_of(std::span<const float> samples) {
  double power = 0;
  for (const float sample : samples) power += static_cast<double>(sample) * sample;
  return std::sqrt(power / static_cast<double>(std::max<size_t>(1, samples.size())));
}

std::vector<float> draw_segments(size_t length, Random& random) {
  std::vector<float> samples;
  while (samples.size() < length) {
    Segment segment(random);
    const size_t end = std::min(length, samples.size() + segment.length());
    while (samples.size() < end) samples.push_back(static_cast<float>(segment.next(random)));
  }
  return samples;
}

}  // namespace

void draw_sound(std::span<float> samples, Random& random) {
  // A short sound is a piece of one of two seconds, whose level it has: not the first breath of a vowel, made loud.
  constexpr int kTries = 8;
  const std::vector<float> all = draw_segments(std::max<size_t>(samples.size(), 2 * kSampleRate), random);
  const double whole = std::max(level_of(all), 1e-9);
  std::span<const float> piece;
  for (int i = 0; i < kTries && level_of(piece) < whole / 3; ++i) {
    const auto first = random.below(static_cast<int64_t>(all.size() - samples.size()) + 1);
    piece = std::span(all).subspan(static_cast<size_t>(first), samples.size());
  }
  const double level = std::pow(10, random.uniform(-1.5, 0));
  const double floor = level * std::pow(10, random.uniform(-3, -1.5));
  double hum = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    hum = 0.9 * hum + random.normal(0.44);  // noise of unit deviation, weaker at high frequencies
    samples[i] = static_cast<float>(level / whole * static_cast<double>(piece[i]) + floor * hum);
  }
}

}  // namespace quench::measure
