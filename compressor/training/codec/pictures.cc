#include "compressor/training/codec/pictures.h"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>
#include <system_error>

#include "compressor/data/image.h"
#include "compressor/training/loop/counter_random.h"
#include "formats/error.h"

namespace quench::training {

using torch::Tensor;

Pictures::Pictures(const std::vector<std::filesystem::path>& files, int64_t least,
                   const std::function<void(double)>& progress) {
  for (size_t i = 0; i < files.size(); ++i) {
    const data::Image image = data::read_image(files[i]);
    if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(files.size()));
    if (std::min(image.width, image.height) < least) continue;
    Tensor pixels = torch::empty({image.height, image.width, 3}, torch::kUInt8);
    std::memcpy(pixels.data_ptr(), image.pixels.data(), image.pixels.size());
    files_.push_back(files[i]);
    pictures_.push_back(std::move(pixels));
    ends_.push_back((ends_.empty() ? 0 : ends_.back()) + int64_t{image.width} * image.height);
  }
  if (pictures_.empty()) {
    throw Error::make("{}: none of the {} pictures has {} pixels on both sides: give larger ones",
                      files.empty() ? std::string() : files.front().parent_path().string(), files.size(), least);
  }
}

Tensor Pictures::pieces(uint64_t key, int64_t first, int64_t count, int64_t side) const {
  std::vector<Tensor> pieces;
  for (int64_t i = first; i < first + count; ++i) {
    const uint64_t own = mix(key, static_cast<uint64_t>(i));
    const auto draw = [&](uint64_t what, int64_t below) {
      return static_cast<int64_t>(mix(own, what) % static_cast<uint64_t>(below));
    };
    const int64_t pixel = draw(0, pixels());
    const auto at = static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), pixel) - ends_.begin());
    const Tensor& picture = pictures_[at];
    const int64_t top = draw(1, picture.size(0) - side + 1), left = draw(2, picture.size(1) - side + 1);
    Tensor piece = picture.narrow(0, top, side).narrow(1, left, side);
    if (draw(3, 2) == 1) piece = piece.transpose(0, 1);
    if (draw(4, 2) == 1) piece = piece.flip(0);
    if (draw(5, 2) == 1) piece = piece.flip(1);
    pieces.push_back(piece);
  }
  return torch::stack(pieces).permute({0, 3, 1, 2}).to(torch::kFloat32);
}

std::vector<std::filesystem::path> picture_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (data::is_image_name(entry.path())) files.push_back(entry.path());
  }
  if (error) throw Error::make("{}: {}: give a folder of pictures", folder.string(), error.message());
  if (files.empty()) throw Error::make("{}: no PNG or JPEG file in it", folder.string());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace quench::training
