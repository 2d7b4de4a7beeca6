// The characters of text that may be no UTF-8 at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quench {

struct Character {
  uint32_t code = 0;
  size_t bytes = 1;
  bool is_valid = false;
};

// The first character of `text`, which is not empty; of one byte where it is no UTF-8.
Character first_character(std::string_view text);

// Whether it does nothing to a terminal or to how a line reads: it is valid and no control character (C0, DEL, C1),
// turns no direction of writing, is not invisible and no line separator.
bool is_printable(const Character& character);

}  // namespace quench
