#include "compressor/compress/resident_weights.h"

namespace quench::quantizer {

ResidentWeights::ResidentWeights(const OnnxModel& model) : model_(model), values_(model.weights.size()) {
  uint64_t elements = 0;
  for (const Weight& weight : model.weights) {
    if (is_float_type(weight.dtype)) elements += weight.elements();
  }
  resident_ = elements <= kResidentElements;
}

SharedValues ResidentWeights::values(size_t weight) const {
  const auto read_values = [&] {
    return std::make_shared<const std::vector<float>>(read_float(model_.weights[weight]));
  };
  if (!resident_) return read_values();
  const std::lock_guard lock(mutex_);
  if (!values_[weight]) values_[weight] = read_values();
  return values_[weight];
}

}  // namespace quench::quantizer
