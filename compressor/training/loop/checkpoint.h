// Named tensors and texts in one file, which appears complete or not at all: what a training needs to go on.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>

#include "compressor/training/distributed/communicator.h"

namespace quench::training {

struct Checkpoint {
  std::map<std::string, torch::Tensor> tensors;
  std::map<std::string, std::string> texts;

  // Throws quench::Error: no space left, say.
  void save(const std::filesystem::path& path) const;
  // Rank 0's file, on all ranks, whose disks need not have it; alone, `communicator` may be null. Tensors lie on the
  // CPU. Throws quench::Error for files that are missing, damaged or something else.
  static Checkpoint load(const std::filesystem::path& path, Communicator* communicator = nullptr);

  // The tensor `name`, which must be there with that shape and type.
  const torch::Tensor& tensor(const std::string& name, torch::IntArrayRef shape, torch::ScalarType type) const;
  // Copies the tensor `name`, which must be there with the same shape and type, into `target`.
  void restore(const std::string& name, torch::Tensor& target) const;
};

// A checkpoint that is needed no more. Leaves alone what is no regular file.
void remove_checkpoint(const std::filesystem::path& path);

}  // namespace quench::training
