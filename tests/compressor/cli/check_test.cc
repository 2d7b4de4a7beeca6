// `quench check`: what it says of a model, and that this is what compress and the runtime do.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/compressor/cli/program.h"
#include "tests/compressor/compress/small_model.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::cli {
namespace {

using Json = nlohmann::json;
using testing::contains;

class Check : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  std::string small_model() const {
    quantizer::write_model(folder_ / "small.onnx", quantizer::make_small_model({.channels = 12}));
    return at("small.onnx");
  }

  // Writes it and says where.
  std::string model(const std::string& text) const {
    testing::write_file(folder_ / "m.onnx", testing::parse_text(text).SerializeAsString());
    return at("m.onnx");
  }

  static Json json_of(const std::vector<std::string>& arguments, int code) {
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Check, SaysOfEachWeightWhatCompressDoes) {
  const std::string onnx = small_model();
  const Json check = json_of({"check", onnx, "--json"}, 0);
  const Json report = json_of({"compress", onnx, "-o", at("o.quench"), "--json"}, 0);
  std::map<std::string, bool> quantized;
  for (const Json& weight : check["weights"]) quantized[weight["name"]] = weight["quantized"];
  ASSERT_EQ(quantized.size(), report["tensors"].size());
  for (const Json& tensor : report["tensors"]) {
    const bool is_quantized = tensor["method"] == "codebook" || tensor["method"] == "grid";
    EXPECT_EQ(quantized.at(tensor["name"]), is_quantized) << tensor["name"];
  }
  EXPECT_TRUE(check["runs"]);
  EXPECT_TRUE(check["missing"].empty());
  EXPECT_EQ(check["bytes"], report["input_bytes"]);
  EXPECT_GT(check["run_ms"], 0);
  EXPECT_GT(check["compress_seconds"], 0);
  EXPECT_GT(check["compress_bytes"], check["run_bytes"]);
}

TEST_F(Check, OfACompressedFile) {
  ASSERT_EQ(run_program({"compress", small_model(), "-o", at("o.quench")}).code, 0);
  const Json check = json_of({"check", at("o.quench"), "--json"}, 0);
  EXPECT_EQ(check["format"], "quench");
  EXPECT_TRUE(std::ranges::any_of(check["weights"], [](const Json& weight) { return bool{weight["quantized"]}; }));
  EXPECT_TRUE(check["compress_seconds"].is_null());
  const Outcome text = run_program({"check", at("o.quench")});
  EXPECT_TRUE(contains(text.out, "runs on made-up inputs: "));
  EXPECT_FALSE(contains(text.out, "compress takes"));
}

TEST_F(Check, WhatTheRuntimeLacksIsNamedAndEndsWithCode3) {
  const std::string onnx = model(
      "g (float[1, 4] x, bool c) => (float[1, 4] y) { a = Relu(x) b = own.domain.Frobnicate(a) y = If(c) <then_branch "
      "= t "
      "() => (float[1, 4] p) { p = own.domain.Twist(b) }, else_branch = e () => (float[1, 4] q) { q = Relu(b) }> }");
  const Json check = json_of({"check", onnx, "--json"}, 3);
  EXPECT_EQ(check["missing"], Json({"own.domain.Frobnicate", "own.domain.Twist"}));
  EXPECT_EQ(check["nodes"], 5);
  EXPECT_FALSE(check["runs"]);
  EXPECT_TRUE(check["run_ms"].is_null());
  const Outcome text = run_program({"check", onnx});
  EXPECT_EQ(text.code, 3);
  EXPECT_TRUE(contains(text.out, "the runtime lacks own.domain.Frobnicate, own.domain.Twist"));
  EXPECT_TRUE(contains(text.out, "lacks it: node 'b'"));
  EXPECT_TRUE(contains(text.out, "does not run on made-up inputs: "));
  const Outcome compressed = run_program({"compress", onnx, "-o", at("o.quench")});
  EXPECT_EQ(compressed.code, 0) << compressed.err;
  EXPECT_TRUE(contains(compressed.out, "the runtime lacks own.domain.Frobnicate, own.domain.Twist"));
  EXPECT_EQ(run_program({"check", at("o.quench")}).code, 3);
}

TEST_F(Check, OpenSizesComeWithTheOptionThatGivesThem) {
  std::string weight = "float[40, 2] w = {0.5";
  for (int i = 1; i < 80; ++i) weight += ", 0." + std::to_string(i);
  const std::string onnx = model("g (float[batch, width] a, float[1, 40] b) => (float[batch, 2] y) <" + weight +
                                 "}> { s = Add(a, b) y = MatMul(s, w) }");
  const Outcome wrong = run_program({"check", onnx});
  EXPECT_EQ(wrong.code, 3);
  EXPECT_TRUE(contains(wrong.out, "batch x width"));
  EXPECT_TRUE(contains(wrong.out, "--dim batch=N --dim width=N"));
  EXPECT_TRUE(contains(wrong.out, "--dim and --shape say others"));
  const Outcome right = run_program({"check", onnx, "--dim", "width=40"});
  EXPECT_EQ(right.code, 0) << right.out;
  EXPECT_TRUE(contains(right.out, "batch x 40"));
  EXPECT_EQ(run_program({"check", onnx, "--shape", "a=3x40"}).code, 0);
  EXPECT_EQ(run_program({"check", onnx, "--dim", "height=40"}).code, 1);
}

TEST_F(Check, SaysWhyAWeightStaysAsItIs) {
  std::string integers = "int64[12] table = {0";
  std::string mask = "float[1, 20] mask = {0";
  for (int i = 1; i < 12; ++i) integers += ", " + std::to_string(i);
  for (int i = 1; i < 20; ++i) mask += i % 2 != 0 ? ", 1" : ", 0";
  const std::string onnx = model("g (float[3, 20] x) => (float[3, 20] y, float[12, 20] z) <" + integers + "}, " + mask +
                                 "}> { y = Mul(x, mask) z = Gather(x, table) }");
  const Json check = json_of({"check", onnx, "--json"}, 3);  // the table leads beyond x
  ASSERT_EQ(check["weights"].size(), 2);
  std::map<std::string, std::string> reasons;
  for (const Json& weight : check["weights"]) reasons[weight["name"]] = weight["reason"];
  EXPECT_TRUE(contains(reasons.at("table"), "no floating-point numbers"));
  EXPECT_TRUE(contains(reasons.at("mask"), "not learned"));
}

}  // namespace
}  // namespace quench::cli
