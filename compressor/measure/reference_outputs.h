// Outputs that were computed elsewhere, as by ONNX Runtime, to compare a model's with. A folder has either
//     *.npz       one file for each sample, in the order of their names, with arrays named as the outputs; or
//     NAME.npy    one file for each output, named as `quench run` names them, with the samples along the first axis.
// What is of one sample has the output's shape for a batch of one, or that without its first axis.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "compressor/data/array.h"
#include "compressor/graph/evaluator.h"

namespace quench::measure {

class ReferenceOutputs {
 public:
  // `samples`: how many the data have. Throws quench::Error with the name of what is missing or does not fit.
  ReferenceOutputs(std::filesystem::path folder, const std::vector<std::string>& outputs, uint64_t samples);

  // In the shapes and types of `own`, a run's outputs for the samples `indices` and others, `rows` in all. For a single
  // row in its own shape, where that has as many axes.
  std::vector<graph::HostTensor> at(std::span<const uint64_t> indices, uint64_t rows,
                                    const std::vector<graph::HostTensor>& own) const;

 private:
  graph::HostTensor sample(size_t output, uint64_t index, const graph::HostTensor& own, uint64_t rows) const;

  std::filesystem::path folder_;
  std::vector<std::string> outputs_;
  std::vector<std::filesystem::path> files_;  // of samples, or of outputs
  std::vector<data::Array> whole_;            // of outputs; empty: there are files of samples
};

}  // namespace quench::measure
