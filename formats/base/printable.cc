#include "formats/base/printable.h"

#include <algorithm>
#include <cstdint>

namespace quench {
namespace {

struct Character {
  uint32_t code = 0;
  size_t bytes = 1;
  bool is_valid = false;
};

// The first character of `text`, which is not empty; of one byte where it is no UTF-8.
Character first_of(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < bytes) return {};
  uint32_t code = lead & (0x7Fu >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (code < kSmallest[bytes] || code > 0x10FFFF || is_surrogate) return {};
  return {code, bytes, true};
}

bool is_harmless(uint32_t code) {
  struct Range {
    uint32_t first, last;
  };
  constexpr Range kHarmful[] = {{0, 0x1F},         {0x7F, 0x9F},     {0xAD, 0xAD},     {0x61C, 0x61C},
                                {0x180E, 0x180E},  {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},
                                {0xFE00, 0xFE0F},  {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF},
                                {0xE0000, 0xE0FFF}};
  return std::none_of(std::begin(kHarmful), std::end(kHarmful),
                      [&](const Range& range) { return code >= range.first && code <= range.last; });
}

}  // namespace

std::string printable(std::string_view text, size_t max_bytes) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const Character character = first_of(text.substr(at));
    if (at + character.bytes > max_bytes) return result + "...";
    if (character.is_valid && is_harmless(character.code)) {
      result.append(text.substr(at, character.bytes));
    } else {
      result += '?';
    }
    at += character.bytes;
  }
  return result;
}

}  // namespace quench
