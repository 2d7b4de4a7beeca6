// Index streams for the tests and the benchmark of the coders, drawn from a seed.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "formats/entropy/decoder.h"
#include "formats/entropy/encoder.h"
#include "tests/formats/random.h"

namespace quench::entropy::testing {

using ::quench::testing::Random;

struct SampleStream {
  StreamLayout layout;
  std::vector<uint16_t> indices;

  std::vector<uint8_t> narrow() const { return {indices.begin(), indices.end()}; }
};

// Laplace levels of mean magnitude `scale` times a log-normal factor per row and one per channel, with correlation
// along `inner`.
inline SampleStream make_stream(Random& random, StreamLayout layout, double scale, double correlation = 0.4) {
  SampleStream sample{layout, {}};
  std::vector<double> channel_scale(layout.channels);
  for (double& factor : channel_scale) factor = std::exp(0.4 * random.normal());
  for (uint64_t row = 0; row < layout.rows; ++row) {
    const double row_scale = scale * std::exp(0.4 * random.normal());
    for (uint64_t channel = 0; channel < layout.channels; ++channel) {
      double before = 0;
      for (uint64_t i = 0; i < layout.inner; ++i) {
        const double value = row_scale * channel_scale[channel] * random.laplace() + correlation * before;
        before = value;
        double index = std::floor(value + 0.5) + layout.zero_symbol;
        if (layout.zero_symbol == 0) index = std::fabs(index);
        index = std::fmin(std::fmax(index, 0), layout.alphabet - 1);
        sample.indices.push_back(static_cast<uint16_t>(index));
      }
    }
  }
  return sample;
}

inline SampleStream make_uniform_stream(Random& random, StreamLayout layout) {
  SampleStream sample{layout, {}};
  for (uint64_t i = 0; i < layout.symbols(); ++i)
    sample.indices.push_back(static_cast<uint16_t>(random.below(layout.alphabet)));
  return sample;
}

inline SampleStream make_constant_stream(StreamLayout layout, uint16_t index) {
  return {layout, std::vector<uint16_t>(layout.symbols(), index)};
}

// The nearest indices, from the first on, that follow the layout's trellis: STREAMS.md's rule once more.
inline void put_on_trellis(SampleStream& sample) {
  constexpr uint8_t kNext[8][2] = {{0, 2}, {5, 7}, {1, 3}, {6, 4}, {2, 0}, {4, 6}, {3, 1}, {7, 5}};
  for (uint64_t c = 0; c < chunk_count(sample.layout); ++c) {
    const Chunk chunk = chunk_at(sample.layout, c);
    const uint64_t width = chunk.layout.channels * chunk.layout.inner;
    std::vector<uint8_t> states(width);
    for (uint64_t i = 0; i < chunk.layout.symbols(); ++i) {
      const bool along = sample.layout.trellis == Trellis::kAlongRows;
      uint8_t& state = states[along ? 0 : i % width];
      if (along && i % width == 0) state = 0;
      uint16_t& index = sample.indices[chunk.first_symbol + i];
      index = static_cast<uint16_t>(index / 2 * 2 + state % 2);
      state = kNext[state][index / 2 % 2];
    }
  }
}

// Layouts and sources that the coders must get right, small enough to try them all.
inline std::vector<SampleStream> sample_streams() {
  Random random(1);
  std::vector<SampleStream> samples;
  const StreamLayout shapes[] = {{1, 1, 1, 0, 0},    {1, 1, 2, 0, 0},    {1, 1, 16, 0, 0},   {1, 1, 64, 0, 0},
                                 {1, 1, 65, 0, 0},   {1, 1, 700, 0, 0},  {3, 1, 1, 0, 0},    {1, 5, 1, 0, 0},
                                 {10, 64, 1, 0, 0},  {64, 10, 1, 0, 0},  {16, 3, 9, 0, 0},   {16, 16, 9, 0, 0},
                                 {33, 7, 9, 0, 0},   {32, 32, 9, 0, 0},  {7, 5, 25, 0, 0},   {5, 3, 49, 0, 0},
                                 {9, 1, 9, 0, 0},    {2, 3000, 1, 0, 0}, {1, 9000, 1, 0, 0}, {40, 24, 5, 0, 0},
                                 {70, 33, 12, 0, 0}, {6, 130, 16, 0, 0}, {1, 1, 5000, 0, 0}, {130, 140, 1, 0, 0},
                                 {3, 2, 100, 0, 0},  {1, 300, 9, 0, 0},  {17, 257, 4, 0, 0}, {2, 1, 64, 0, 0}};
  struct Source {
    uint32_t alphabet, zero_symbol;
    double scale;
  };
  const Source sources[] = {{2, 0, 0.5},       {3, 1, 0.7},       {15, 7, 1.5},     {16, 0, 2},
                            {31, 15, 0.1},     {255, 120, 6},     {256, 0, 30},     {256, 128, 40},
                            {2001, 1000, 200}, {65536, 32768, 4}, {65536, 0, 9000}, {65536, 65535, 3}};
  for (StreamLayout layout : shapes) {
    for (const Source& source : sources) {
      layout.alphabet = source.alphabet;
      layout.zero_symbol = source.zero_symbol;
      if (layout.symbols() > 2000 && samples.size() % 3 != 0 && source.alphabet > 300) continue;
      samples.push_back(make_stream(random, layout, source.scale));
    }
    for (const Source& source :
         {Source{2, 0, 0.5}, Source{62, 30, 3}, Source{256, 128, 20}, Source{65536, 32768, 60}}) {
      for (const Trellis trellis : {Trellis::kDownColumns, Trellis::kAlongRows}) {
        samples.push_back(make_stream(
            random, {layout.rows, layout.channels, layout.inner, source.alphabet, source.zero_symbol, trellis},
            source.scale));
        put_on_trellis(samples.back());
      }
    }
    samples.push_back(make_uniform_stream(random, {layout.rows, layout.channels, layout.inner, 200, 99}));
    samples.push_back(make_constant_stream({layout.rows, layout.channels, layout.inner, 200, 99}, 99));
    samples.push_back(make_constant_stream({layout.rows, layout.channels, layout.inner, 200, 99}, 199));
    samples.push_back(make_constant_stream({layout.rows, layout.channels, layout.inner, 1, 0}, 0));
  }
  samples.push_back({{0, 4, 9, 15, 7}, {}});
  samples.push_back({{4, 0, 9, 15, 7}, {}});
  samples.push_back({{0, 0, 0, 1, 0}, {}});
  samples.push_back({{0, 4, 9, 16, 8, Trellis::kAlongRows}, {}});
  return samples;
}

// A decoder with the memory that it needs.
class OwnedDecoder {
 public:
  explicit OwnedDecoder(std::span<const uint8_t> model) {
    const Result<size_t> needed = Decoder::memory_bytes(model);
    if (!needed.ok()) {
      status_ = needed.status();
      return;
    }
    memory_.reset(static_cast<uint8_t*>(::operator new(*needed, kAlignment)));
    Result<Decoder> decoder = Decoder::create(model, {memory_.get(), *needed});
    status_ = decoder.status();
    if (decoder.ok()) decoder_ = *decoder;
  }

  const Status& status() const { return status_; }
  const Decoder& operator*() const { return decoder_; }

  template <typename Index>
  Status decode(std::span<const uint8_t> stream, const StreamLayout& layout, std::vector<Index>& out,
                bool reference = false) {
    out.assign(layout.symbols(), Index{0});
    const Decoder decoder = reference ? decoder_.reference() : decoder_;
    return decoder.decode(stream, layout, std::span<Index>(out), {scratch_.get(), kDecodeScratch});
  }
  std::span<uint8_t> scratch() { return {scratch_.get(), kDecodeScratch}; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(uint8_t* bytes) const { ::operator delete(bytes, kAlignment); }
  };
  Status status_;
  Decoder decoder_;
  std::unique_ptr<uint8_t, Free> memory_;
  std::unique_ptr<uint8_t, Free> scratch_{static_cast<uint8_t*>(::operator new(kDecodeScratch, kAlignment))};
};

inline std::vector<uint8_t> fit(Coder coder, std::span<const SampleStream> samples) {
  ModelFitter fitter(coder);
  for (const SampleStream& sample : samples)
    static_cast<void>(fitter.add(sample.layout, std::span<const uint16_t>(sample.indices)));
  return fitter.finish();
}

}  // namespace quench::entropy::testing
