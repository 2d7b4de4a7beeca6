#include "compressor/report/markup.h"

#include <cstdint>
#include <vector>

namespace quench::report {
namespace {

constexpr char32_t kReplacement = 0xfffd;

bool is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xc0) == 0x80; }

// Length of the character that a byte begins; 0 where it begins none.
size_t length_of(uint8_t first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  if (first >= 0xf0 && first < 0xf5) return 4;
  return 0;
}

// The next character, which is removed from the text; kReplacement for a byte that is part of none.
char32_t next_character(std::string_view& text) {
  const uint8_t first = static_cast<uint8_t>(text[0]);
  const size_t length = length_of(first);
  size_t found = 1;
  while (found < length && found < text.size() && is_continuation(text[found])) ++found;
  if (length == 0 || found < length) {
    text.remove_prefix(1);
    return kReplacement;
  }
  char32_t code = length == 1 ? first : first & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) code = code << 6 | (static_cast<uint8_t>(text[i]) & 0x3f);
  text.remove_prefix(length);
  const bool is_overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  return is_overlong || code > 0x10ffff ? kReplacement : code;
}

bool is_allowed(char32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  if ((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)) return false;  // directions
  return (code < 0xd800 || code > 0xdfff) && (code & 0xfffe) != 0xfffe;  // surrogates, no characters
}

void append(std::string& text, char32_t code) {
  const auto tail = [code](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0 | code >> 6);
    text += tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0 | code >> 12);
    text += tail(6);
    text += tail(0);
  } else {
    text += static_cast<char>(0xf0 | code >> 18);
    text += tail(12);
    text += tail(6);
    text += tail(0);
  }
}

void append_escaped(std::string& text, char32_t code) {
  switch (code) {
    case '&':
      text += "&amp;";
      break;
    case '<':
      text += "&lt;";
      break;
    case '>':
      text += "&gt;";
      break;
    case '"':
      text += "&quot;";
      break;
    case '\'':
      text += "&#39;";
      break;
    case '\n':
    case '\r':
    case '\t':
      text += ' ';
      break;
    default:
      append(text, is_allowed(code) ? code : kReplacement);
  }
}

}  // namespace

std::string escape(std::string_view text) {
  std::string escaped;
  while (!text.empty()) append_escaped(escaped, next_character(text));
  return escaped;
}

std::string shorten(std::string_view text, size_t characters) {
  std::vector<char32_t> all;
  for (std::string_view rest = text; !rest.empty();) all.push_back(next_character(rest));
  if (all.size() <= characters) return std::string(text);
  const size_t head = (characters - 1) / 2, tail = characters - 1 - head;
  std::string shortened;
  for (size_t i = 0; i < head; ++i) append(shortened, all[i]);
  append(shortened, 0x2026);  // an ellipsis
  for (size_t i = all.size() - tail; i < all.size(); ++i) append(shortened, all[i]);
  return shortened;
}

std::string base64(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const auto byte = [&](size_t i) { return at + i < bytes.size() ? std::to_integer<uint32_t>(bytes[at + i]) : 0; };
    const uint32_t three = byte(0) << 16 | byte(1) << 8 | byte(2);
    for (size_t i = 0; i < 4; ++i) text += at + i > bytes.size() ? '=' : kDigits[three >> (18 - 6 * i) & 63];
  }
  return text;
}

double width_in_ems(std::string_view text) {
  constexpr double kLatin = 0.58, kWide = 1.05;
  double width = 0;
  while (!text.empty()) width += next_character(text) < 0x1100 ? kLatin : kWide;
  return width;
}

}  // namespace quench::report
