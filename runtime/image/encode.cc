// From pixels to a .qim file.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/image/writer.h"
#include "runtime/image/codec.h"

namespace quench::image {

namespace {

class ImageEncoder {
 public:
  ImageEncoder(Codec& codec, const quench_image_pixels& pixels) : codec_(codec), pixels_(pixels) {}

  Status encode(float quality, ByteSink& file) {
    QUENCH_RETURN_IF_ERROR(make_header(quality));
    QUENCH_RETURN_IF_ERROR(find_indices());
    MemorySink streams(codec_.memory), lengths(codec_.memory);
    Writer writer(header_, streams, lengths);
    QUENCH_RETURN_IF_ERROR(add_indices(writer));
    for (uint32_t i = 0; header_.has_alpha && i < header_.tiles(); ++i) {
      const TileArea area = header_.tile_pixels(i);
      QUENCH_RETURN_IF_ERROR(writer.add_alpha(
          i, {pixel(area.left, area.top) + 3, area.height, area.width, 4, static_cast<int64_t>(pixels_.row_bytes)}));
    }
    return writer.finish(file);
  }

 private:
  Status make_header(float quality) {
    if (!codec_.encoder.is_open()) return Status::error(StatusCode::kNotReady, "the codec was opened without encoder");
    if (!(quality >= 1 && quality <= codec_.qualities)) {
      return Status::error(StatusCode::kInvalidArgument, "quality %g: this codec has 1 to %g",
                           static_cast<double>(quality), codec_.qualities);
    }
    header_.width = pixels_.width;
    header_.height = pixels_.height;
    header_.quality = static_cast<uint16_t>(std::lround(quality * kQualityUnit));
    header_.is_grey = pixels_.format == QUENCH_IMAGE_GREY8;
    header_.has_alpha = pixels_.format == QUENCH_IMAGE_RGBA8 && !is_opaque();
    header_.channels = codec_.channels;
    header_.levels = codec_.levels;
    header_.zero = codec_.zero;
    header_.codec = codec_.identity;
    const Status status = check_header(header_);
    return status.ok() ? status : Status::error(StatusCode::kInvalidArgument, "%s", status.detail());
  }

  bool is_opaque() const {
    for (uint32_t y = 0; y < pixels_.height; ++y) {
      const uint8_t* alpha = pixel(0, y) + 3;
      for (uint32_t x = 0; x < pixels_.width; ++x) {
        if (alpha[size_t{x} * 4] != 255) return false;
      }
    }
    return true;
  }

  // Runs the network, and puts together what it finds.
  Status find_indices() {
    const uint32_t latent_height = header_.latent_height(), latent_width = header_.latent_width();
    uint32_t most = 0;
    const auto prepare = [&](uint32_t height, uint32_t width) {
      return codec_.encoder.prepare({1, 3, int64_t{height} * kLatentPixels, int64_t{width} * kLatentPixels});
    };
    QUENCH_RETURN_IF_ERROR(choose_windows(latent_height, latent_width, prepare, most));
    const Windows rows(latent_height, most), columns(latent_width, most);
    const size_t height = size_t{rows.size()} * kLatentPixels, width = size_t{columns.size()} * kLatentPixels;
    rt::Block window(codec_.memory, 3 * height * width * sizeof(float));
    const size_t latents = size_t{latent_height} * latent_width;
    if (!window || !indices_.allocate(codec_.memory, header_.channels * latents)) return rt::out_of_memory();
    for (uint32_t row = 0; row < rows.count(); ++row) {
      for (uint32_t column = 0; column < columns.count(); ++column) {
        cut_window(rows[row].begin, height, columns[column].begin, width, static_cast<float*>(window.data()));
        quench_tensor found;
        QUENCH_RETURN_IF_ERROR(codec_.encoder.run(window.data(),
                                                  {1, 3, static_cast<int64_t>(height), static_cast<int64_t>(width)},
                                                  static_cast<float>(header_.quality) / kQualityUnit, found));
        if (found.type != QUENCH_UINT8 || found.rank != 4 || found.shape[1] != header_.channels ||
            found.shape[2] != rows.size() || found.shape[3] != columns.size()) {
          return Status::error(StatusCode::kShape,
                               "the encoder's indices are not uint8 [1, channels, height / 8, width / 8]");
        }
        paste_core(rows[row], columns[column], static_cast<const uint8_t*>(found.data), rows.size(), columns.size());
      }
    }
    return Status();
  }

  // Pixels as 3 x height x width floats; beyond the image, its last row and column are repeated.
  void cut_window(uint32_t top, size_t height, uint32_t left, size_t width, float* to) const {
    const size_t samples = static_cast<size_t>(pixels_.format);
    for (size_t y = 0; y < height; ++y) {
      const size_t row = std::min(size_t{top} * kLatentPixels + y, size_t{pixels_.height} - 1);
      const uint8_t* from = static_cast<const uint8_t*>(pixels_.data) + row * pixels_.row_bytes;
      for (size_t sample = 0; sample < 3; ++sample) {
        float* line = to + (sample * height + y) * width;
        const size_t offset = samples == 1 ? 0 : sample;
        for (size_t x = 0; x < width; ++x) {
          const size_t column = std::min(size_t{left} * kLatentPixels + x, size_t{pixels_.width} - 1);
          line[x] = from[column * samples + offset];
        }
      }
    }
  }

  void paste_core(const Window& row, const Window& column, const uint8_t* from, size_t height, size_t width) {
    auto* to = static_cast<uint8_t*>(indices_.data());
    for (uint32_t channel = 0; channel < header_.channels; ++channel) {
      for (uint32_t y = row.core_begin; y < row.core_end; ++y) {
        const uint8_t* line = from + (channel * height + (y - row.begin)) * width + (column.core_begin - column.begin);
        const size_t at = (size_t{channel} * header_.latent_height() + y) * header_.latent_width() + column.core_begin;
        std::memcpy(to + at, line, column.core_end - column.core_begin);
      }
    }
  }

  Status add_indices(Writer& writer) {
    rt::Block tile(codec_.memory, header_.tile_layout(0).symbols()),
        scratch(codec_.memory, index_scratch_size(header_.channels));
    if (!tile || !scratch) return rt::out_of_memory();
    for (uint32_t i = 0; i < header_.tiles(); ++i) {
      const TileArea area = header_.tile(i);
      auto* to = static_cast<uint8_t*>(tile.data());
      for (uint32_t channel = 0; channel < header_.channels; ++channel) {
        for (uint32_t y = area.top; y < area.top + area.height; ++y, to += area.width) {
          const size_t line = size_t{channel} * header_.latent_height() + y;
          std::memcpy(to, static_cast<const uint8_t*>(indices_.data()) + line * header_.latent_width() + area.left,
                      area.width);
        }
      }
      QUENCH_RETURN_IF_ERROR(writer.add_indices(
          i, codec_.prior_table(), {static_cast<const uint8_t*>(tile.data()), header_.tile_layout(i).symbols()},
          {static_cast<uint8_t*>(scratch.data()), static_cast<size_t>(scratch.bytes())}));
    }
    return Status();
  }

  const uint8_t* pixel(uint32_t x, uint32_t y) const {
    return static_cast<const uint8_t*>(pixels_.data) + pixels_.row_bytes * y +
           size_t{x} * static_cast<size_t>(pixels_.format);
  }

  Codec& codec_;
  quench_image_pixels pixels_;
  ImageHeader header_;
  rt::Block indices_;  // channels x latent height x latent width
};

}  // namespace

Status encode_image(Codec& codec, const quench_image_pixels& pixels, float quality, ByteSink& file) {
  return ImageEncoder(codec, pixels).encode(quality, file);
}

}  // namespace quench::image
