#include "runtime/image/codec.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "formats/image/layout.h"

namespace quench::image {

namespace {

constexpr uint64_t kDefaultNetworkBytes = uint64_t{160} << 20;
constexpr const char* kNoCodec = "this is no codec of images";

bool is_named(const quench_value_info& info, const char* name) {
  return info.name_length == std::strlen(name) && std::memcmp(info.name, name, info.name_length) == 0;
}

}  // namespace

Network::~Network() {
  quench_session_release(session_);
  quench_model_release(model_);
}

Status Network::failed(const quench_status& status) const {
  return Status::error(static_cast<StatusCode>(status.code), "the %s: %s", what_, status.message)
      .at(static_cast<uint64_t>(status.offset));
}

Status Network::find(bool is_input, const char* name, int32_t& index) const {
  const int32_t count = is_input ? quench_model_input_count(model_) : quench_model_output_count(model_);
  quench_status status = QUENCH_STATUS_INIT;
  for (index = 0; index < count; ++index) {
    quench_value_info info;
    const auto describe = is_input ? quench_model_input : quench_model_output;
    if (describe(model_, index, &info, &status) != QUENCH_OK) return failed(status);
    if (is_named(info, name)) return Status();
  }
  return Status::error(StatusCode::kInvalidArgument, "the %s has no %s '%s': %s", what_, is_input ? "input" : "output",
                       name, kNoCodec);
}

Status Network::open(std::span<const std::byte> file, const quench_image_options& options, const char* what,
                     const char* input, const char* output) {
  what_ = what;
  quench_status status = QUENCH_STATUS_INIT;
  quench_model_options model_options = {};
  model_options.size = sizeof model_options;
  model_options.allocator = options.allocator;
  if (quench_model_open_memory(file.data(), file.size(), &model_options, &model_, &status) != QUENCH_OK) {
    return failed(status);
  }
  QUENCH_RETURN_IF_ERROR(find(true, input, input_));
  QUENCH_RETURN_IF_ERROR(find(true, "quality", quality_input_));
  QUENCH_RETURN_IF_ERROR(find(false, output, output_));
  QUENCH_RETURN_IF_ERROR(find(false, "prior", prior_output_));
  quench_session_options session_options = {};
  session_options.size = sizeof session_options;
  session_options.allocator = options.allocator;
  session_options.max_memory_bytes = options.max_network_bytes ? options.max_network_bytes : kDefaultNetworkBytes;
  session_options.threads = options.threads;
  session_options.parallel_for = options.parallel_for;
  session_options.parallel_for_user = options.parallel_for_user;
  session_options.cancelled = options.cancelled;
  session_options.cancelled_user = options.cancelled_user;
  if (quench_session_create(model_, &session_options, &session_, &status) != QUENCH_OK) return failed(status);
  return Status();
}

Status Network::read_number(const char* key, double& number) const {
  const char* text = nullptr;
  size_t length = 0;
  char digits[32] = {};
  if (quench_model_metadata(model_, key, &text, &length, nullptr) == QUENCH_OK && length < sizeof digits) {
    std::memcpy(digits, text, length);
  }
  char* end = digits;
  number = std::strtod(digits, &end);
  if (end == digits || *end != '\0' || !std::isfinite(number)) {
    return Status::error(StatusCode::kInvalidArgument, "the %s's metadata has no number '%s': %s", what_, key,
                         kNoCodec);
  }
  return Status();
}

int64_t Network::input_channels() const {
  quench_value_info info;
  if (quench_model_input(model_, input_, &info, nullptr) != QUENCH_OK || info.rank != 4) return -1;
  return info.shape[1];
}

Status Network::prepare(const int64_t (&shape)[4]) {
  constexpr int64_t kQualityShape[] = {1, 1};
  quench_status status = QUENCH_STATUS_INIT;
  if (quench_session_set_input_shape(session_, input_, shape, 4, &status) != QUENCH_OK ||
      quench_session_set_input_shape(session_, quality_input_, kQualityShape, 2, &status) != QUENCH_OK ||
      quench_session_prepare(session_, &status) != QUENCH_OK) {
    return failed(status);
  }
  uint64_t arena = 0;
  if (quench_session_arena_bytes(session_, &arena, &status) != QUENCH_OK) return failed(status);
  return Status();
}

Status Network::run(const void* data, const int64_t (&shape)[4], float quality, quench_tensor& output) {
  constexpr int64_t kQualityShape[] = {1, 1};
  quench_status status = QUENCH_STATUS_INIT;
  if (quench_session_set_input(session_, input_, data, shape, 4, &status) != QUENCH_OK ||
      quench_session_set_input(session_, quality_input_, &quality, kQualityShape, 2, &status) != QUENCH_OK ||
      quench_session_run(session_, &status) != QUENCH_OK ||
      quench_session_output(session_, output_, &output, &status) != QUENCH_OK) {
    return failed(status);
  }
  return Status();
}

Status Network::prior(quench_tensor& table) const {
  quench_status status = QUENCH_STATUS_INIT;
  if (quench_session_output(session_, prior_output_, &table, &status) != QUENCH_OK) return failed(status);
  return Status();
}

uint64_t Network::peak_bytes() const { return quench_model_peak_bytes(model_) + quench_session_peak_bytes(session_); }

Status Codec::open(std::span<const std::byte> encoder_file, std::span<const std::byte> decoder_file,
                   const quench_image_options& options) {
  if (encoder_file.empty() && decoder_file.empty()) {
    return Status::error(StatusCode::kInvalidArgument, "a codec has an encoder, a decoder or both; both are missing");
  }
  // The smallest image there is tells the shapes.
  const float quality = 1;
  if (!encoder_file.empty()) {
    QUENCH_RETURN_IF_ERROR(encoder.open(encoder_file, options, "encoder", "image", "indices"));
    const float pixels[3 * kLatentPixels * kLatentPixels] = {};
    quench_tensor indices{};
    QUENCH_RETURN_IF_ERROR(encoder.run(pixels, {1, 3, kLatentPixels, kLatentPixels}, quality, indices));
    if (indices.type != QUENCH_UINT8 || indices.rank != 4 || indices.shape[2] != 1 || indices.shape[3] != 1) {
      return Status::error(StatusCode::kShape, "the encoder's indices are not uint8 [1, channels, 1, 1]: %s", kNoCodec);
    }
    QUENCH_RETURN_IF_ERROR(read_network(encoder, indices.shape[1]));
  }
  if (!decoder_file.empty()) {
    QUENCH_RETURN_IF_ERROR(decoder.open(decoder_file, options, "decoder", "indices", "image"));
    const uint8_t indices[kMaxChannels] = {};
    const int64_t wanted = decoder.input_channels();
    if (wanted < 1 || wanted > kMaxChannels) {
      return Status::error(StatusCode::kShape, "the decoder's indices are not uint8 [1, channels, height, width]: %s",
                           kNoCodec);
    }
    quench_tensor image;
    QUENCH_RETURN_IF_ERROR(decoder.run(indices, {1, wanted, 1, 1}, quality, image));
    QUENCH_RETURN_IF_ERROR(read_network(decoder, wanted));
  }
  return Status();
}

Status Codec::read_network(Network& network, int64_t network_channels) {
  quench_tensor table;
  QUENCH_RETURN_IF_ERROR(network.prior(table));
  double zero_number = 0, qualities_number = 0;
  QUENCH_RETURN_IF_ERROR(network.read_number("codec.zero", zero_number));
  QUENCH_RETURN_IF_ERROR(network.read_number("codec.qualities", qualities_number));
  if (table.type != QUENCH_UINT8 || table.rank != 3 || table.shape[0] != network_channels || table.shape[2] < 1 ||
      table.shape[2] >= kMaxLevels ||
      table.shape[1] !=
          prior_rows(static_cast<uint32_t>(network_channels), static_cast<uint32_t>(table.shape[2] + 1))) {
    return Status::error(StatusCode::kShape, "the codec's prior is not uint8 [channels, rows, levels - 1]");
  }
  if (!(qualities_number >= 1 && qualities_number < 256)) {
    return Status::error(StatusCode::kInvalidArgument, "a codec has 1 to 255 qualities");
  }
  const IndexLayout layout{static_cast<uint32_t>(network_channels), static_cast<uint32_t>(table.shape[2] + 1),
                           static_cast<uint32_t>(zero_number >= 0 && zero_number < 256 ? zero_number : 255), 1, 1};
  QUENCH_RETURN_IF_ERROR(check_index_layout(layout));
  const std::span<const uint8_t> bytes(static_cast<const uint8_t*>(table.data), layout.prior_size());
  const uint32_t its_identity = codec_identity(layout.channels, layout.levels, layout.zero, bytes);
  if (prior && its_identity != identity) {
    return Status::error(StatusCode::kInvalidArgument, "the encoder and the decoder are not of one codec");
  }
  if (prior) return Status();
  if (!prior.allocate(memory, bytes.size())) return rt::out_of_memory();
  std::memcpy(prior.data(), bytes.data(), bytes.size());
  identity = its_identity;
  channels = layout.channels;
  levels = layout.levels;
  zero = layout.zero;
  qualities = qualities_number;
  return Status();
}

MemorySink::MemorySink(rt::Memory& memory) : memory_(&memory) {
  grow = [](ByteSink& sink, size_t wanted) {
    auto& self = static_cast<MemorySink&>(sink);
    void* larger = self.memory_->allocate(wanted);
    if (!larger) return false;
    if (self.size > 0) std::memcpy(larger, self.data, self.size);
    self.memory_->release(self.data, self.capacity);
    self.data = static_cast<uint8_t*>(larger);
    self.capacity = wanted;
    return true;
  };
}

Status check_pixels(const quench_image_pixels* pixels) {
  if (!pixels || !pixels->data) {
    return Status::error(StatusCode::kInvalidArgument, "pixels and their data must not be NULL");
  }
  const int format = pixels->format;
  if (format != QUENCH_IMAGE_GREY8 && format != QUENCH_IMAGE_RGB8 && format != QUENCH_IMAGE_RGBA8) {
    return Status::error(StatusCode::kInvalidArgument, "there is no format %d of pixels", format);
  }
  if (pixels->row_bytes / static_cast<size_t>(format) < pixels->width) {
    return Status::error(StatusCode::kInvalidArgument, "rows of %zu bytes cannot hold %u pixels of %d",
                         pixels->row_bytes, pixels->width, format);
  }
  return Status();
}

}  // namespace quench::image
