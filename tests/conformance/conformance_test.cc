// Runs ONNX's official backend cases through the runtime. A case counts if the runtime has all of its operators; it may
// then be left out only for an element type that is not meant to be there, or for training.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "tests/conformance/backend_case.h"

namespace quench {
namespace {

std::filesystem::path data_folder() {
  const char* variable = std::getenv("QUENCH_ONNX_TESTDATA");
  return variable ? variable : QUENCH_ONNX_TESTDATA;
}

std::vector<std::filesystem::path> case_folders() {
  std::vector<std::filesystem::path> folders;
  for (const char* group : {"node", "simple", "pytorch-operator", "pytorch-converted"}) {
    const std::filesystem::path folder = data_folder() / group;
    if (!std::filesystem::exists(folder)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (std::filesystem::exists(entry.path() / "model.onnx")) folders.push_back(entry.path());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

struct Table {
  int passed = 0;
  std::map<std::string, std::string> failed;                 // by name: why
  std::map<std::string, std::vector<std::string>> left_out;  // by reason: names
};

Table run_all(rt::KernelSet kernels) {
  Table table;
  for (const auto& folder : case_folders()) {
    const BackendCase backend_case(folder);
    const Outcome outcome = backend_case.run(kernels);
    if (outcome.kind == Outcome::kPassed) {
      ++table.passed;
    } else if (outcome.kind == Outcome::kFailed) {
      table.failed[backend_case.name()] = outcome.reason;
    } else {
      table.left_out[outcome.reason].push_back(backend_case.name());
    }
  }
  return table;
}

void print(const Table& table) {
  size_t left_out = 0;
  for (const auto& [reason, names] : table.left_out) left_out += names.size();
  std::printf("%d passed, %zu failed, %zu left out:\n", table.passed, table.failed.size(), left_out);
  for (const auto& [reason, names] : table.left_out) {
    std::printf("%5zu  %-55s e.g. %s\n", names.size(), reason.c_str(), names.front().c_str());
  }
  for (const auto& [name, reason] : table.failed) std::printf("FAILED %s: %s\n", name.c_str(), reason.c_str());
}

void check(rt::KernelSet kernels) {
  if (!std::filesystem::exists(data_folder() / "node")) {
    GTEST_SKIP() << "no ONNX backend cases in " << data_folder()
                 << ": install libonnx-testdata, or set QUENCH_ONNX_TESTDATA";
  }
  const Table table = run_all(kernels);
  print(table);
  EXPECT_TRUE(table.failed.empty());
  // What passed with ONNX 1.12's cases when this was written. Fewer means that an operator or a type got lost.
  constexpr int kFloor = 1012;
  EXPECT_GE(table.passed, kFloor);
}

TEST(Conformance, ReferenceKernels) { check(rt::KernelSet::kReference); }
TEST(Conformance, FastKernels) { check(rt::KernelSet::kFast); }

}  // namespace
}  // namespace quench
