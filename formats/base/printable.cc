#include "formats/base/printable.h"

#include "formats/base/utf8.h"

namespace quench {

std::string printable(std::string_view text, size_t max_bytes) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const Character character = first_character(text.substr(at));
    if (at + character.bytes > max_bytes) return result + "...";
    if (is_printable(character)) {
      result.append(text.substr(at, character.bytes));
    } else {
      result += '?';
    }
    at += character.bytes;
  }
  return result;
}

}  // namespace quench
