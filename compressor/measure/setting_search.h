// Which of an encoder's settings gives a file of a wanted size.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

namespace quench::measure {

class SettingSearch {
 public:
  // Settings from 0 to `count` - 1, of which higher ones give larger files by and large. `encode` returns the bytes of
  // the file at a setting, and is asked for each at most once.
  SettingSearch(int count, std::function<uint64_t(int setting)> encode);

  // Two settings next to each other, of which the first gives a file of at most `most` bytes and the second does not.
  // Where even the lowest setting takes more, within is -1; where even the highest fits, above is the count.
  struct Neighbours {
    int within = 0, above = 0;
  };
  Neighbours around(uint64_t most);

  uint64_t bytes(int setting);

 private:
  int count_;
  std::function<uint64_t(int)> encode_;
  std::map<int, uint64_t> known_;
};

}  // namespace quench::measure
