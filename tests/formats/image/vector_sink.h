// A sink in a std::vector, and the coders' calls with one.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "formats/image/index_decoder.h"
#include "formats/image/index_encoder.h"

namespace quench::image::testing {

class VectorSink : public ByteSink {
 public:
  // `most`: growing beyond it fails.
  explicit VectorSink(size_t most = SIZE_MAX) : most_(most) {
    grow = [](ByteSink& sink, size_t wanted) {
      auto& self = static_cast<VectorSink&>(sink);
      if (wanted > self.most_) return false;
      self.bytes_.resize(wanted);
      self.data = self.bytes_.data();
      self.capacity = wanted;
      return true;
    };
  }
  VectorSink(const VectorSink&) = delete;
  VectorSink& operator=(const VectorSink&) = delete;

  std::vector<uint8_t> bytes() const { return {data, data + size}; }

 private:
  size_t most_;
  std::vector<uint8_t> bytes_;
};

inline std::span<uint8_t> index_scratch() {
  alignas(64) static uint8_t scratch[index_scratch_size(kMaxChannels)];
  return scratch;
}

inline std::vector<uint8_t> encoded_indices(const IndexLayout& layout, std::span<const uint8_t> prior,
                                            std::span<const uint8_t> indices) {
  VectorSink sink;
  const Status status = encode_indices(layout, prior, indices, index_scratch(), sink);
  if (!status.ok()) throw std::runtime_error(status.detail());
  return sink.bytes();
}

}  // namespace quench::image::testing
