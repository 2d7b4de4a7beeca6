// The compressor's one exception, thrown by formats/onnx and compressor/*.
//
// The message is one line that names the file, the node or tensor, what is wrong and what to do; the command line prints
// it behind "quench: error: " and exits 1.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace quench {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;

  // throw Error::make("{}: tensor '{}' holds NaN", path, name);
  template <typename... Args>
  static Error make(fmt::format_string<Args...> format, Args&&... args) {
    return Error(fmt::format(format, std::forward<Args>(args)...));
  }
};

}  // namespace quench
