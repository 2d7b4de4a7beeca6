#include "formats/entropy/arithmetic_model.h"

#include "formats/entropy/range_decoder.h"

namespace quench::entropy {

Status parse_arithmetic_model(std::span<const uint8_t> body, LevelContexts<uint16_t>& initial) {
  RangeDecoder decoder(body);
  StepContexts<AdaptiveBit> contexts;
  uint8_t steps[kLevelContexts];
  auto* probabilities = reinterpret_cast<uint16_t*>(&initial);
  uint32_t changed = 0;
  for (size_t i = 0; i < kLevelContexts; ++i) {
    int32_t step = static_cast<int32_t>(expected_step({steps, i}, i));
    changed = decoder.decode(contexts.changed[changed]);
    if (changed != 0) {
      const bool negative = decoder.decode(contexts.negative) != 0;
      int32_t difference = 1;
      while (difference < static_cast<int32_t>(kProbabilitySteps) && decoder.decode(contexts.above[difference]) != 0)
        ++difference;
      step += negative ? -difference : difference;
    }
    if (step < 0 || step >= static_cast<int32_t>(kProbabilitySteps)) {
      return Status::error(StatusCode::kCorrupt, "an initial probability of the entropy model is out of range");
    }
    steps[i] = static_cast<uint8_t>(step);
    probabilities[i] = kStepProbability[step];
  }
  return decoder.finish();
}

}  // namespace quench::entropy
