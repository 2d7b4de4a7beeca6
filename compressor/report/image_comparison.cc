#include "compressor/report/image_comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "compressor/data/image.h"
#include "compressor/report/markup.h"
#include "compressor/report/plot.h"
#include "compressor/report/table.h"
#include "formats/base/printable.h"

namespace quench::report {
namespace {

using measure::ImageComparison;
using measure::MeanRate;

constexpr auto kLeft = Table::Align::kLeft;
constexpr double kCurvesWidth = 760;  // pixels

// Of middles side by side.
constexpr size_t kColumns = 4;
constexpr double kTileSide = 2 * measure::kMiddleSide;
constexpr double kTileGap = 12, kHeadHeight = 26, kLabelHeight = 44;  // a label has two lines
constexpr size_t kMostName = 34;                                      // characters

std::string rate_text(const ImageComparison& comparison, size_t rate) {
  return fmt::format("{}{:g}{}", comparison.by_quality ? "quality " : "", comparison.rates[rate],
                     comparison.by_quality ? "" : " bpp");
}

std::string mean_table(const ImageComparison& comparison) {
  Table table({{"rate", kLeft}, {"codec", kLeft}, {"bits/pixel"}, {"PSNR dB"}, {"MS-SSIM"}, {"MS-SSIM dB"}});
  for (size_t r = 0; r < comparison.rates.size(); ++r) {
    if (r > 0) table.rule();
    for (const ImageComparison::Codec& codec : comparison.codecs) {
      const MeanRate mean = mean_of(comparison, codec, r);
      table.row({&codec == comparison.codecs.data() ? rate_text(comparison, r) : "", codec.name,
                 human_number(mean.bits_per_pixel, 4), human_number(mean.psnr, 2), human_number(mean.ms_ssim, 4),
                 human_number(ms_ssim_db(mean.ms_ssim), 2)});
    }
  }
  return table.text();
}

std::string wins_table(const ImageComparison& comparison, const ImageComparison::Codec& codec) {
  std::vector<Table::Column> columns = {{printable(codec.name) + " against", kLeft}};
  for (size_t r = 0; r < comparison.rates.size(); ++r) columns.push_back({rate_text(comparison, r)});
  Table table(std::move(columns));
  for (const ImageComparison::Codec& peer : comparison.codecs) {
    if (!peer.is_peer()) continue;
    std::vector<std::string> cells = {peer.name};
    for (size_t r = 0; r < comparison.rates.size(); ++r) {
      const measure::Wins wins = wins_of(codec, peer, r);
      cells.push_back(fmt::format("{} ({})", wins.ms_ssim, wins.psnr));
    }
    table.row(std::move(cells));
  }
  return table.text();
}

LinePlot curves(const ImageComparison& comparison, const char* title, const char* label,
                double (*value)(const MeanRate&)) {
  LinePlot plot{title, "bits per pixel", label};
  for (const ImageComparison::Codec& codec : comparison.codecs) {
    Series series{codec.name};
    for (size_t r = 0; r < comparison.rates.size(); ++r) {
      const MeanRate mean = mean_of(comparison, codec, r);
      series.x.push_back(mean.bits_per_pixel);
      series.y.push_back(value(mean));
    }
    plot.series.push_back(std::move(series));
  }
  return plot;
}

struct Tile {
  const data::Picture* pixels;
  std::string name, label;
};

// The original, then the codecs.
std::vector<Tile> tiles_of(const ImageComparison& comparison, size_t p) {
  const ImageComparison::Picture& picture = comparison.pictures[p];
  std::vector<Tile> tiles = {{&picture.middle, "original", ""}};
  for (const ImageComparison::Codec& codec : comparison.codecs) {
    const auto& [file, pixels] = codec.middles[p];
    tiles.push_back(
        {&pixels, codec.name,
         fmt::format("{:.3f} bpp, MS-SSIM {:.4f}", 8 * file.bytes / picture.width / picture.height, file.ms_ssim)});
  }
  return tiles;
}

std::string drawn(const Tile& tile, double x, double y) {
  return fmt::format(R"-(<image x="{0:.0f}" y="{1:.0f}" width="{2}" height="{3}" style="image-rendering: pixelated" )-"
                     R"-(href="data:image/png;base64,{4}"/><text class="label" x="{0:.0f}" y="{5:.0f}">{6}</text>)-"
                     R"-(<text x="{0:.0f}" y="{7:.0f}">{8}</text>)-"
                     "\n",
                     x, y, 2 * tile.pixels->width, 2 * tile.pixels->height,
                     base64(data::encode_png(*tile.pixels, tile.name)), y + kTileSide + 16,
                     escape(shorten(tile.name, kMostName)), y + kTileSide + 32, tile.label);
}

}  // namespace

double ms_ssim_db(double ms_ssim) { return -10 * std::log10(1 - ms_ssim); }

std::string to_text(const ImageComparison& comparison) {
  const size_t count = comparison.pictures.size();
  bool has_peers = false;
  for (const ImageComparison::Codec& codec : comparison.codecs) has_peers = has_peers || codec.is_peer();
  std::string text =
      fmt::format("{} picture{}\n\n{}", count, count == 1 ? "" : "s, means over them", mean_table(comparison));
  for (const ImageComparison::Codec& codec : comparison.codecs) {
    if (codec.is_peer() || !has_peers) continue;
    text += fmt::format("\nbetter on so many of {} with no more bytes, by MS-SSIM (by PSNR)\n\n{}", count,
                        wins_table(comparison, codec));
  }
  if (!comparison.left_out.empty()) text += "\n";
  for (const ImageComparison::LeftOut& each : comparison.left_out)
    text += fmt::format("left out: {}: {}\n", each.name, printable(each.reason, 1000));
  return text;
}

std::string rate_curves(const ImageComparison& comparison) {
  const std::vector<LinePlot> plots = {
      curves(comparison, "MS-SSIM over rate", "MS-SSIM, dB",
             [](const MeanRate& mean) { return ms_ssim_db(mean.ms_ssim); }),
      curves(comparison, "PSNR over rate", "PSNR, dB", [](const MeanRate& mean) { return mean.psnr; })};
  return to_svg_file(plots, kCurvesWidth);
}

std::string middles(const ImageComparison& comparison) {
  const size_t columns = std::min(kColumns, comparison.codecs.size() + 1);
  const double step = kTileSide + kTileGap, width = static_cast<double>(columns) * step - kTileGap;
  std::string out;
  double y = 0;
  for (size_t p = 0; p < comparison.shown(); ++p) {
    const ImageComparison::Picture& picture = comparison.pictures[p];
    out += fmt::format(R"(<text class="label" x="0" y="{:.0f}">{}: the middle of {} x {} pixels</text>)", y + 14,
                       escape(shorten(picture.file, kMostName)), picture.width, picture.height);
    y += kHeadHeight;
    const std::vector<Tile> tiles = tiles_of(comparison, p);
    for (size_t i = 0; i < tiles.size(); ++i) {
      if (i > 0 && i % columns == 0) y += kTileSide + kLabelHeight;
      out += drawn(tiles[i], static_cast<double>(i % columns) * step, y);
    }
    y += kTileSide + kLabelHeight;
  }
  return to_svg_file("Pictures and what codecs make of them", width, y, out);
}

}  // namespace quench::report
