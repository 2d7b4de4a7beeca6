// What the project brings along does what the README says of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "compressor/data/npy.h"
#include "tests/compressor/cli/program.h"
#include "tests/compressor/compress/small_model.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;

const fs::path kModels = fs::path(QUENCH_EXAMPLES) / "models";

TEST(Examples, TheBundledResNet20KnowsShapesThatItHasNotSeen) {
  const Outcome outcome = run_program(
      {"eval", (kModels / "resnet20-shapes.onnx").string(), "--data", "synthetic:shapes,count=1000", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_GT(nlohmann::json::parse(outcome.out)["top1"].get<double>(), 0.97);
}

TEST(Examples, TheTunedResNet32IsAThirtiethAndNamesThePictures) {
  const fs::path small = kModels / "resnet32-cifar10.quench", large = kModels / "resnet32-cifar10.onnx";
  EXPECT_LE(30 * fs::file_size(small), fs::file_size(large));
  const quantizer::TemporaryFolder folder;
  const std::string pictures = (folder / "pictures.npy").string(), scores = (folder / "scores.npy").string();
  const Outcome drawn = run_program({"data", (fs::path(QUENCH_EXAMPLES) / "pictures").string(), "--mean",
                                     "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "-o", pictures});
  ASSERT_EQ(drawn.code, 0) << drawn.err;
  const std::vector<int> expected = {0, 1, 2, 6, 8, 9};  // airplane, automobile, bird, frog, ship, truck
  for (const fs::path& model : {small, large}) {
    const Outcome outcome = run_program({"run", model.string(), "--input", pictures, "--output", scores});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const std::vector<float> values = data::read_npy(scores).to_float();
    ASSERT_EQ(values.size(), 10 * expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      const auto first = values.begin() + static_cast<std::ptrdiff_t>(10 * i);
      EXPECT_EQ(std::max_element(first, first + 10) - first, expected[i]) << model << ", picture " << i;
    }
  }
}

}  // namespace
}  // namespace quench::cli
