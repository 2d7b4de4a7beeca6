// A codec: its networks, and what stands in them of the index coder.
#pragma once

#include <quench/image.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/base/status.h"
#include "formats/image/byte_sink.h"
#include "formats/image/index_model.h"
#include "runtime/contract/memory.h"
#include "runtime/image/windows.h"

namespace quench::image {

// One of the two networks, with the session that runs it.
class Network {
 public:
  Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  ~Network();

  // `what` ("encoder"), `input` and `output` name it and its main values.
  Status open(std::span<const std::byte> file, const quench_image_options& options, const char* what, const char* input,
              const char* output);
  bool is_open() const { return session_ != nullptr; }

  // A number of the model's metadata.
  Status read_number(const char* key, double& number) const;
  // Of the main input, as the model declares it; -1 where it is open.
  int64_t input_channels() const;

  // Whether the network can compute on that shape with its memory.
  Status prepare(const int64_t (&shape)[4]);
  // Results are valid until the next run. `data` is as the input's type says.
  Status run(const void* data, const int64_t (&shape)[4], float quality, quench_tensor& output);
  Status prior(quench_tensor& table) const;

  uint64_t peak_bytes() const;

 private:
  Status failed(const quench_status& status) const;
  Status find(bool is_input, const char* name, int32_t& index) const;

  const char* what_ = "";
  quench_model* model_ = nullptr;
  quench_session* session_ = nullptr;
  int32_t input_ = 0, quality_input_ = 0, output_ = 0, prior_output_ = 0;
};

struct Codec {
  explicit Codec(const rt::Memory& of_this) : memory(of_this) {}

  Status open(std::span<const std::byte> encoder_file, std::span<const std::byte> decoder_file,
              const quench_image_options& options);

  rt::Memory memory;
  Network encoder, decoder;
  uint32_t channels = 0, levels = 0, zero = 0;
  double qualities = 1;
  rt::Block prior;
  uint32_t identity = 0;

  std::span<const uint8_t> prior_table() const {
    return {static_cast<const uint8_t*>(prior.data()), static_cast<size_t>(prior.bytes())};
  }

 private:
  Status read_network(Network& network, int64_t network_channels);
};

// A sink in the codec's memory.
class MemorySink : public ByteSink {
 public:
  explicit MemorySink(rt::Memory& memory);
  MemorySink(const MemorySink&) = delete;
  MemorySink& operator=(const MemorySink&) = delete;
  ~MemorySink() { memory_->release(data, capacity); }

 private:
  rt::Memory* memory_;
};

// The largest windows, of latents, with which a network's memory does for an image of height x width latents.
// prepare(window height, window width) says whether it does.
template <typename Prepare>
Status choose_windows(uint32_t height, uint32_t width, Prepare&& prepare, uint32_t& most) {
  Status status;
  for (const uint32_t side : {176u, 144u, 112u, 80u, 64u, 48u, 32u}) {
    most = side;
    status = prepare(Windows(height, side).size(), Windows(width, side).size());
    if (status.code() != StatusCode::kOutOfMemory && status.code() != StatusCode::kLimit) break;
  }
  return status;
}

// Into or out of the caller's pixels.
Status decode_image(Codec& codec, std::span<const uint8_t> file, const quench_image_pixels& pixels);
Status encode_image(Codec& codec, const quench_image_pixels& pixels, float quality, ByteSink& file);

// Pixels with data, whose format is one and whose rows are long enough.
Status check_pixels(const quench_image_pixels* pixels);

}  // namespace quench::image
