// The list of operators that runtime/README.md gives is the registry's.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "runtime/kernels/registry.h"

namespace quench::rt {
namespace {

using Names = std::set<std::string>;

Names registered() {
  Names names;
  for (std::span<const Kernel> table : all_kernels(KernelSet::kFast)) {
    for (const Kernel& kernel : table) {
      if (std::string_view(kernel.domain).empty()) names.emplace(kernel.op);
    }
  }
  return names;
}

// The words of the quoted lines ("> Abs Add ...") of the page.
Names told() {
  std::ifstream page(QUENCH_SOURCE_DIR "/runtime/README.md");
  Names names;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("> ")) continue;
    std::istringstream words(line.substr(2));
    names.insert(std::istream_iterator<std::string>(words), {});
  }
  return names;
}

TEST(OperatorList, IsThatOfTheRegistry) { EXPECT_EQ(told(), registered()); }

}  // namespace
}  // namespace quench::rt
