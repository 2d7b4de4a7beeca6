// Work on untrusted data by a library that may crash or hang over it, in a process of its own.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace quench {

// What `work` returns or, with `failed`, what the std::exception says that it throws.
struct Outcome {
  std::string text;
  bool failed = false;
};

// Runs `work` in a child of this process, which sees all memory as it is now and changes none of it. Nothing where it
// crashes, takes more than 1 GiB of memory, 4 s of processor time or 8 s in all. Throws std::bad_alloc where it does not
// end well and the limits of this process leave it less memory than that, quench::Error where no child can be made.
std::optional<Outcome> run_apart(const std::function<std::string()>& work);

}  // namespace quench
