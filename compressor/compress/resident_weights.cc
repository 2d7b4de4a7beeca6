#include "compressor/compress/resident_weights.h"

#include "compressor/graph/integer_weights.h"

namespace quench::quantizer {

ResidentWeights::ResidentWeights(const OnnxModel& model)
    : model_(model), zeros_(graph::integer_weights(model)), values_(model.weights.size()) {
  uint64_t elements = 0;
  for (size_t w = 0; w < model.weights.size(); ++w) {
    if (is_float_type(model.weights[w].dtype) || zeros_[w]) elements += model.weights[w].elements();
  }
  resident_ = elements <= kResidentElements;
}

SharedValues ResidentWeights::values(size_t weight) const {
  const auto read_values = [&] {
    const Weight& own = model_.weights[weight];
    return std::make_shared<const std::vector<float>>(zeros_[weight] ? graph::read_integers(own, *zeros_[weight])
                                                                     : read_float(own));
  };
  if (!resident_) return read_values();
  const std::lock_guard lock(mutex_);
  if (!values_[weight]) values_[weight] = read_values();
  return values_[weight];
}

}  // namespace quench::quantizer
