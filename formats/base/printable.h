// Text from a file, a path or a command line, as it may appear in one line of a message or a table.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quench {

// Each byte or character that would do something to a terminal, or to how a line reads, becomes '?': control
// characters (C0, DEL, C1), those that turn the direction of writing, invisible ones, line separators, and bytes that
// are no UTF-8. What is longer than `max_bytes` is cut between two characters and ends in "...".
std::string printable(std::string_view text, size_t max_bytes = 100);

}  // namespace quench
