// From a .qim file to pixels.
#include <algorithm>
#include <cstring>

#include "formats/image/reader.h"
#include "runtime/image/codec.h"

namespace quench::image {

namespace {

uint8_t rounded(float value) {
  return value > 0 ? static_cast<uint8_t>(std::min(value + 0.5f, 255.0f)) : uint8_t{0};  // NaN: 0
}

// Where a tile lies in an array of channels x height x width latents.
void paste_tile(const TileArea& area, const ImageHeader& header, const uint8_t* tile, uint8_t* all) {
  for (uint32_t channel = 0; channel < header.channels; ++channel) {
    uint8_t* plane = all + size_t{channel} * header.latent_height() * header.latent_width();
    for (uint32_t row = 0; row < area.height; ++row, tile += area.width) {
      std::memcpy(plane + size_t{area.top + row} * header.latent_width() + area.left, tile, area.width);
    }
  }
}

class ImageDecoder {
 public:
  ImageDecoder(Codec& codec, const Reader& reader, const quench_image_pixels& pixels)
      : codec_(codec), reader_(reader), header_(reader.header()), pixels_(pixels) {}

  Status decode() {
    QUENCH_RETURN_IF_ERROR(check());
    QUENCH_RETURN_IF_ERROR(decode_indices());
    QUENCH_RETURN_IF_ERROR(decode_windows());
    return pixels_.format == QUENCH_IMAGE_RGBA8 ? decode_alpha() : Status();
  }

 private:
  Status check() const {
    if (!codec_.decoder.is_open()) return Status::error(StatusCode::kNotReady, "the codec was opened without decoder");
    if (header_.codec != codec_.identity || header_.channels != codec_.channels || header_.levels != codec_.levels ||
        header_.zero != codec_.zero) {
      return Status::error(StatusCode::kNotFound, "another codec made the file: %08x, and this one is %08x",
                           header_.codec, codec_.identity);
    }
    if (pixels_.width != header_.width || pixels_.height != header_.height) {
      return Status::error(StatusCode::kInvalidArgument, "the image has %u x %u pixels, and there is room for %u x %u",
                           header_.width, header_.height, pixels_.width, pixels_.height);
    }
    if (pixels_.format == QUENCH_IMAGE_GREY8 && !header_.is_grey) {
      return Status::error(StatusCode::kInvalidArgument, "the image is not grey; it can be decoded to RGB8 or RGBA8");
    }
    if (header_.quality > codec_.qualities * kQualityUnit) {
      return Status::error(StatusCode::kCorrupt, "the file's quality, %g, is beyond the codec's %g",
                           static_cast<double>(header_.quality) / kQualityUnit, codec_.qualities);
    }
    return Status();
  }

  Status decode_indices() {
    const size_t latents = size_t{header_.latent_height()} * header_.latent_width();
    rt::Block tile(codec_.memory, header_.tile_layout(0).symbols()),
        scratch(codec_.memory, index_scratch_size(header_.channels));
    if (!indices_.allocate(codec_.memory, header_.channels * latents) || !tile || !scratch) return rt::out_of_memory();
    for (uint32_t i = 0; i < header_.tiles(); ++i) {
      const std::span<uint8_t> symbols(static_cast<uint8_t*>(tile.data()), header_.tile_layout(i).symbols());
      QUENCH_RETURN_IF_ERROR(
          reader_.decode_indices(i, codec_.prior_table(), symbols,
                                 {static_cast<uint8_t*>(scratch.data()), static_cast<size_t>(scratch.bytes())}));
      paste_tile(header_.tile(i), header_, symbols.data(), static_cast<uint8_t*>(indices_.data()));
    }
    return Status();
  }

  Status decode_windows() {
    uint32_t most = 0;
    const auto prepare = [&](uint32_t height, uint32_t width) {
      return codec_.decoder.prepare({1, header_.channels, height, width});
    };
    QUENCH_RETURN_IF_ERROR(choose_windows(header_.latent_height(), header_.latent_width(), prepare, most));
    const Windows rows(header_.latent_height(), most), columns(header_.latent_width(), most);
    rt::Block window(codec_.memory, size_t{header_.channels} * rows.size() * columns.size());
    if (!window) return rt::out_of_memory();
    for (uint32_t row = 0; row < rows.count(); ++row) {
      for (uint32_t column = 0; column < columns.count(); ++column) {
        cut_window(rows[row], rows.size(), columns[column], columns.size(), static_cast<uint8_t*>(window.data()));
        quench_tensor image;
        const int64_t height = rows.size(), width = columns.size();
        QUENCH_RETURN_IF_ERROR(codec_.decoder.run(window.data(), {1, header_.channels, height, width},
                                                  static_cast<float>(header_.quality) / kQualityUnit, image));
        if (image.type != QUENCH_FLOAT32 || image.rank != 4 || image.shape[1] != 3 ||
            image.shape[2] != height * kLatentPixels || image.shape[3] != width * kLatentPixels) {
          return Status::error(StatusCode::kShape, "the decoder's image is not float32 [1, 3, 8 height, 8 width]");
        }
        write_core(rows[row], columns[column], static_cast<const float*>(image.data),
                   static_cast<size_t>(image.shape[2]), static_cast<size_t>(image.shape[3]));
      }
    }
    return Status();
  }

  void cut_window(const Window& row, uint32_t height, const Window& column, uint32_t width, uint8_t* to) const {
    const auto* from = static_cast<const uint8_t*>(indices_.data());
    for (uint32_t channel = 0; channel < header_.channels; ++channel) {
      for (uint32_t y = row.begin; y < row.begin + height; ++y, to += width) {
        const size_t line = size_t{channel} * header_.latent_height() + y;
        std::memcpy(to, from + line * header_.latent_width() + column.begin, width);
      }
    }
  }

  // `image`: the window's, 3 x height x width pixels.
  void write_core(const Window& row, const Window& column, const float* image, size_t height, size_t width) const {
    const uint32_t bottom = std::min(row.core_end * kLatentPixels, header_.height);
    const uint32_t left = column.core_begin * kLatentPixels;
    const uint32_t pixels = std::min(column.core_end * kLatentPixels, header_.width) - left;
    for (uint32_t y = row.core_begin * kLatentPixels; y < bottom; ++y) {
      const size_t in_window = size_t{y} - size_t{row.begin} * kLatentPixels;
      const float* red = image + in_window * width + (left - column.begin * kLatentPixels);
      write_row(red, red + height * width, red + 2 * height * width, pixels, pixel(left, y));
    }
  }

  void write_row(const float* red, const float* green, const float* blue, uint32_t count, uint8_t* to) const {
    const auto samples = static_cast<size_t>(pixels_.format);
    for (uint32_t x = 0; x < count; ++x, to += samples) {
      uint8_t rgb[3] = {rounded(red[x]), rounded(green[x]), rounded(blue[x])};
      if (header_.is_grey) rgb[0] = rgb[1] = rgb[2] = static_cast<uint8_t>((rgb[0] + rgb[1] + rgb[2] + 1) / 3);
      std::memcpy(to, rgb, std::min<size_t>(samples, 3));
      if (samples == 4) to[3] = 255;
    }
  }

  Status decode_alpha() const {
    for (uint32_t i = 0; header_.has_alpha && i < header_.tiles(); ++i) {
      const TileArea area = header_.tile_pixels(i);
      QUENCH_RETURN_IF_ERROR(reader_.decode_alpha(
          i, {pixel(area.left, area.top) + 3, area.height, area.width, 4, static_cast<int64_t>(pixels_.row_bytes)}));
    }
    return Status();
  }

  uint8_t* pixel(uint32_t x, uint32_t y) const {
    return static_cast<uint8_t*>(pixels_.data) + pixels_.row_bytes * y +
           size_t{x} * static_cast<size_t>(pixels_.format);
  }

  Codec& codec_;
  const Reader& reader_;
  const ImageHeader& header_;
  quench_image_pixels pixels_;
  rt::Block indices_;  // channels x latent height x latent width
};

}  // namespace

Status decode_image(Codec& codec, std::span<const uint8_t> file, const quench_image_pixels& pixels) {
  const Result<Reader> reader = Reader::open(file);
  QUENCH_RETURN_IF_ERROR(reader.status());
  return ImageDecoder(codec, *reader, pixels).decode();
}

}  // namespace quench::image
