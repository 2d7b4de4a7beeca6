// The weights of a model as float32 values that are read and converted once, however often they are asked for; those of
// 8-bit integers (graph/integer_weights.h) as their integers less the one that stands for 0.
//
//     ResidentWeights weights(model);
//     std::shared_ptr<const std::vector<float>> values = weights.values(3);
//
// A model of more than kResidentElements such weights is too large to be held: its weights are read anew each time, so
// that memory stays near the largest tensor.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "formats/onnx/model_file.h"

namespace quench::quantizer {

constexpr uint64_t kResidentElements = uint64_t{1} << 24;

using SharedValues = std::shared_ptr<const std::vector<float>>;

class ResidentWeights {
 public:
  // `model` must outlive this object with its weights as they are.
  explicit ResidentWeights(const OnnxModel& model);

  const OnnxModel& model() const { return model_; }
  bool resident() const { return resident_; }

  // The integer that stands for 0; nothing for all but 8-bit weights.
  std::optional<int32_t> zero(size_t weight) const { return zeros_[weight]; }

  // Float and 8-bit weights only. Any number of threads may ask at once. Throws quench::Error where the file cannot be read.
  SharedValues values(size_t weight) const;

 private:
  const OnnxModel& model_;
  std::vector<std::optional<int32_t>> zeros_;  // per weight
  bool resident_;
  mutable std::mutex mutex_;
  mutable std::vector<SharedValues> values_;
};

}  // namespace quench::quantizer
