#include "compressor/measure/setting_search.h"

#include <utility>

namespace quench::measure {

SettingSearch::SettingSearch(int count, std::function<uint64_t(int)> encode)
    : count_(count), encode_(std::move(encode)) {}

uint64_t SettingSearch::bytes(int setting) {
  const auto found = known_.find(setting);
  if (found != known_.end()) return found->second;
  return known_[setting] = encode_(setting);
}

SettingSearch::Neighbours SettingSearch::around(uint64_t most) {
  Neighbours found{-1, count_};
  for (const auto& [setting, bytes] : known_) {
    if (bytes > most) {
      found.above = setting;
      break;
    }
    found.within = setting;
  }
  while (found.above - found.within > 1) {
    const int middle = found.within + (found.above - found.within) / 2;
    (bytes(middle) <= most ? found.within : found.above) = middle;
  }
  return found;
}

}  // namespace quench::measure
