// Square pieces of photographs to learn from.
//
//     Pictures pictures(data::picture_files("photos"), 192);
//     torch::Tensor batch = pictures.pieces(mix(seed, step), 0, 8, 192);
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

namespace quench::training {

class Pictures {
 public:
  // Reads the pictures into memory, three bytes a pixel; those with a side below `least` are left out. `progress` gets
  // the share that is read. Throws quench::Error for files that are no pictures, and where none is large enough.
  Pictures(const std::vector<std::filesystem::path>& files, int64_t least,
           const std::function<void(double)>& progress = nullptr);

  size_t size() const { return pictures_.size(); }
  int64_t pixels() const { return ends_.back(); }
  const std::filesystem::path& file(size_t index) const { return files_[index]; }
  // uint8 [height, width, 3].
  const torch::Tensor& picture(size_t index) const { return pictures_[index]; }

  // Pieces `first` to `first` + `count` of side `side`, at most the constructor's `least`: float32 [count, 3, side, side],
  // 0 to 255. Each is drawn from all places of all pictures, and turned and mirrored; what it is depends on `key` and its
  // number alone.
  torch::Tensor pieces(uint64_t key, int64_t first, int64_t count, int64_t side) const;

 private:
  std::vector<std::filesystem::path> files_;
  std::vector<torch::Tensor> pictures_;
  std::vector<int64_t> ends_;  // pixels of the pictures up to each
};

// The pictures of a folder, PNG and JPEG, by name. Throws quench::Error where there are none.
std::vector<std::filesystem::path> picture_files(const std::filesystem::path& folder);

}  // namespace quench::training
