// The weights of a model as float32 values that are read and converted once, however often they are asked for.
//
//     ResidentWeights weights(model);
//     std::shared_ptr<const std::vector<float>> values = weights.values(3);
//
// A model of more than kResidentElements float weights is too large to be held: its weights are read anew each time, so
// that memory stays near the largest tensor.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
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

  // Float weights only. Any number of threads may ask at once. Throws quench::Error where the file cannot be read.
  SharedValues values(size_t weight) const;

 private:
  const OnnxModel& model_;
  bool resident_;
  mutable std::mutex mutex_;
  mutable std::vector<SharedValues> values_;
};

}  // namespace quench::quantizer
