// Text for HTML and SVG.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace quench::report {

// Text as it may stand between tags and in quoted attributes, of XML too. Names come from models, so anything may be
// in them: bytes that are no UTF-8, control characters and marks that turn the direction of text become U+FFFD,
// newlines and tabs become spaces.
std::string escape(std::string_view text);

// UTF-8 text of at most `characters`, the rest cut out in the middle, where layers' names differ the least. Not
// escaped.
std::string shorten(std::string_view text, size_t characters);

// Bytes in letters, for a data: URL (RFC 4648, padded).
std::string base64(std::span<const std::byte> bytes);

// Roughly how wide a text gets in a sans-serif font, in ems; rather too much than too little.
double width_in_ems(std::string_view text);

}  // namespace quench::report
