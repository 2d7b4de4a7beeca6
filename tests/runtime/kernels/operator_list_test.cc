// The list of operators that runtime/README.md gives is the registry's.
#include <gtest/gtest.h>

#include <fstream>
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
      const std::string domain = kernel.domain;
      names.insert(domain.empty() ? kernel.op : domain + "." + kernel.op);
    }
  }
  return names;
}

// The words of the quoted lines ("> Abs Add ...") of the page; those behind a "domain:" are of that domain.
Names told() {
  std::ifstream page(QUENCH_SOURCE_DIR "/runtime/README.md");
  Names names;
  std::string domain;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("> ")) continue;
    std::istringstream words(line.substr(2));
    for (std::string word; words >> word;) {
      if (word.ends_with(':')) {
        domain = word.substr(0, word.size() - 1) + ".";
      } else {
        names.insert(domain + word);
      }
    }
  }
  return names;
}

TEST(OperatorList, IsThatOfTheRegistry) { EXPECT_EQ(told(), registered()); }

}  // namespace
}  // namespace quench::rt
