#include "runtime/session/c_support.h"

#include <string_view>

#include "formats/base/utf8.h"

namespace quench::rt {

namespace {

// Messages hold names from files, and end on terminals. Cut between two characters.
void copy_printable(std::string_view text, char* to, size_t room) {
  for (size_t at = 0, length = 0; at < text.size();) {
    const Character character = first_character(text.substr(at));
    const bool is_kept = is_printable(character);
    const size_t bytes = is_kept ? character.bytes : 1;
    if (length + bytes >= room) break;
    std::memcpy(to + length, is_kept ? text.data() + at : "?", bytes);
    length += bytes;
    to[length] = '\0';
    at += character.bytes;
  }
}

}  // namespace

quench_code report(const Status& from, quench_status* to) {
  if (to) {
    to->code = static_cast<quench_code>(from.code());
    to->offset = from.offset();
    to->message[0] = '\0';
    if (!from.ok()) copy_printable(from.detail(), to->message, sizeof to->message);
  }
  return static_cast<quench_code>(from.code());
}

Status null_argument(const char* what) {
  return Status::error(StatusCode::kInvalidArgument, "%s must not be NULL", what);
}

Status read_allocator(const quench_allocator& given, Allocator& allocator) {
  if ((given.allocate == nullptr) != (given.release == nullptr)) {
    return Status::error(StatusCode::kInvalidArgument, "an allocator needs both functions, or none");
  }
  allocator = {given.allocate, given.release, given.user};
  return Status();
}

}  // namespace quench::rt
