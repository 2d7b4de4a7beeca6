// Models with several inputs, and real data for them: what --data, --shape and --dim take.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "compressor/data/npy.h"
#include "tests/compressor/cli/program.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;
using Json = nlohmann::json;

// A weight for a model's text: numbers of about unit size, without a pattern that could be stored as one.
std::string weight(const std::string& name, int rows, int columns) {
  std::string text = "float[" + std::to_string(rows) + "," + std::to_string(columns) + "] " + name + " = {";
  uint64_t state = 1 + name.size() + static_cast<uint64_t>(rows);
  for (int i = 0; i < rows * columns; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    text += (i > 0 ? ", " : "") + std::to_string(static_cast<double>(state >> 40) / (1 << 23) - 1);
  }
  return text + "}";
}

class Samples : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  // Writes it and says where.
  std::string model(const std::string& name, const std::string& text) const {
    testing::write_file(folder_ / name, testing::parse_text(text).SerializeAsString());
    return at(name);
  }

  static Json json_of(const Arguments& arguments) {
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }

  static void expect_error(const Arguments& arguments, int code, const std::string& part) {
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_TRUE(testing::contains(outcome.err, part));
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Samples, ADimensionIsGivenByItsNameInEveryCommandThatTakesShapes) {
  const std::string onnx = model("m.onnx", "g (float[batch, width] a, float[1, width] b) => (float[batch, 40] y) <" +
                                               weight("w", 40, 40) + "> { sum = Add(a, b) y = MatMul(sum, w) }");
  const std::string quench = at("m.quench");
  EXPECT_FALSE(json_of({"compress", onnx, "-o", quench, "--json"})["calibrated"]);
  EXPECT_TRUE(json_of({"compress", onnx, "-o", quench, "--dim", "width=40", "--json"})["calibrated"]);
  EXPECT_EQ(json_of({"eval", quench, "--against", onnx, "--dim", "width=40", "--json"})["samples"], 64);
  EXPECT_EQ(run_program({"bench", quench, "--runs", "1", "--dim", "width=40", "--dim", "batch=2"}).code, 0);
  EXPECT_EQ(run_program({"bench", quench, "--runs", "1"}).code, 1);
  // A whole shape counts more than a dimension.
  expect_error({"bench", quench, "--dim", "width=40", "--shape", "a=2x39"}, 1, "39 and 40");
  for (Arguments command : {Arguments{"compress", onnx, "-o", quench}, {"bench", quench}}) {
    command.insert(command.end(), {"--dim", "height=3"});
    expect_error(command, 1, "--dim: there is no dimension 'height'; the model has batch, width");
  }
  for (const char* wrong : {"width", "width=", "width=0", "width=-1", "width=2x3", "=3", "width=3.5"})
    expect_error({"bench", quench, "--dim", wrong}, 2, "give --dim NAME=32");
  expect_error({"bench", quench, "--dim", "width=1", "--dim", "width=2"}, 2, "width=2: this name has been given");
  expect_error({"bench", quench, "--shape", "a=1x1", "--shape", "a=1x1"}, 2, "a=1x1: this name has been given");
}

}  // namespace
}  // namespace quench::cli
