// What a file carries besides the model: where it comes from, preprocessing, labels; and who uses it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "compressor/data/npy.h"
#include "tests/compressor/cli/program.h"
#include "tests/compressor/compress/small_model.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using quantizer::read_bytes;
using testing::contains;

// y is the mean of x, a picture, in each channel.
constexpr const char* kMeans =
    "g (float[1, 3, 32, 32] x) => (float[1, 3] y) { a = GlobalAveragePool(x) y = Flatten(a) }";

class Notes : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_file(folder_ / "m.onnx", testing::parse_text(kMeans).SerializeAsString());
    std::ofstream(at("labels.txt"), std::ios::binary) << "red\r\ngreen\r\nblue\r\n";
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  static Json json_of(const std::vector<std::string>& arguments) {
    const Outcome outcome = run_program(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }
  // Of the outputs for a picture: by the channel.
  std::vector<float> means(std::vector<std::string> command) const {
    const std::string out = at("y.npy");
    command.insert(command.end(), {"--input", QUENCH_PICTURE, "--output", out});
    const Outcome outcome = run_program(command);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return data::read_npy(out).to_float();
  }
  void compress(const std::vector<std::string>& more) const {
    std::vector<std::string> command = {"compress", at("m.onnx"), "-o", at("m.quench")};
    command.insert(command.end(), more.begin(), more.end());
    const Outcome outcome = run_program(command);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(Notes, SayWhereAFileComesFrom) {
  quantizer::write_model(folder_ / "small.onnx", quantizer::make_small_model({.channels = 8}));
  SaveOptions external;
  external.external_data = SaveOptions::ExternalData::kAlways;
  save(folder_ / "external.onnx", load(folder_ / "small.onnx"), external);
  const auto notes = [&](const std::string& model, const std::vector<std::string>& more) {
    std::vector<std::string> command = {"compress", at(model), "-o", at("a b.quench"), "--seed", "7", "--threads", "1"};
    command.insert(command.end(), more.begin(), more.end());
    EXPECT_EQ(run_program(command).code, 0);
    return json_of({"inspect", at("a b.quench"), "--json"})["metadata"];
  };
  const Json metadata = notes("small.onnx", {"--json", at("report"), "--coder=rans"});
  EXPECT_EQ(metadata["tool"], run_program({"--version"}).out.substr(0, metadata["tool"].get<std::string>().size()));
  EXPECT_EQ(metadata["options"], "compress --seed 7 --coder=rans");
  EXPECT_EQ(metadata["source_bytes"], std::to_string(fs::file_size(at("small.onnx"))));
  const Json other = notes("external.onnx", {});
  EXPECT_EQ(other["source_bytes"],
            std::to_string(fs::file_size(at("external.onnx")) + fs::file_size(at("external.onnx.data"))));
  EXPECT_NE(other["source_crc32c"], metadata["source_crc32c"]);
  fs::copy_file(at("small.onnx"), at("copy.onnx"));
  EXPECT_EQ(notes("copy.onnx", {})["source_crc32c"], metadata["source_crc32c"]);
}

TEST_F(Notes, PreprocessingThatIsGivenIsUsedEverAfter) {
  const std::vector<float> plain = means({"run", at("m.onnx")});
  compress({"--preset", "bytes", "--order", "bgr"});
  EXPECT_EQ(json_of({"inspect", at("m.quench"), "--json"})["metadata"]["quench.preprocessing"], "scale=1 order=bgr");
  EXPECT_EQ(run_program({"unpack", at("m.quench"), "-o", at("again.onnx")}).code, 0);
  for (const char* file : {"m.quench", "again.onnx"}) {
    const std::vector<float> stored = means({"run", at(file)});
    for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(stored[c], 255 * plain[2 - c], 1e-2) << file;
    // Told otherwise.
    const std::vector<float> other = means({"run", at(file), "--mean", "0.5"});
    for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(other[c], plain[c] - 0.5f, 1e-5) << file;
  }
  // eval as run.
  fs::create_directory(at("pictures"));
  fs::copy_file(QUENCH_PICTURE, at("pictures/frog.png"));
  fs::create_directory(at("reference"));
  data::write_npy(folder_ / "reference/y.npy", data::Array::float32({1, 3}, means({"run", at("m.quench")})));
  std::vector<std::string> eval = {"eval",        at("m.quench"),  "--data", at("pictures"),
                                   "--reference", at("reference"), "--json"};
  EXPECT_EQ(json_of(eval)["identical"], true);
  eval.insert(eval.end(), {"--order", "rgb"});
  EXPECT_EQ(json_of(eval)["identical"], false);
  compress({});
  EXPECT_FALSE(json_of({"inspect", at("m.quench"), "--json"})["metadata"].contains("quench.preprocessing"));
}

TEST_F(Notes, ArraysAreNotPreprocessedByWhatTheFileSays) {
  compress({"--preset", "bytes", "--mean", "7"});
  data::write_npy(folder_ / "x.npy", data::Array::float32({1, 3, 32, 32}, std::vector<float>(3072, 2)));
  ASSERT_EQ(run_program({"run", at("m.quench"), "--input", at("x.npy"), "--output", at("y.npy")}).code, 0);
  EXPECT_EQ(data::read_npy(at("y.npy")).to_float(), (std::vector<float>{2, 2, 2}));
  EXPECT_EQ(run_program({"run", at("m.quench"), "--input", at("x.npy"), "--mean", "1"}).code, 1);
  // --reference of the array as it is.
  fs::create_directory(at("reference"));
  data::write_npy(folder_ / "reference/y.npy", data::Array::float32({1, 3}, std::vector<float>{2, 2, 2}));
  EXPECT_EQ(json_of({"eval", at("m.quench"), "--data", at("x.npy"), "--reference", at("reference"),
                     "--json"})["outputs"][0]["largest_error"],
            0);
}

TEST_F(Notes, LabelsNameTheClassesOfARun) {
  compress({"--labels", at("labels.txt")});
  const Outcome outcome = run_program({"run", at("m.quench"), "--input", QUENCH_PICTURE});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  for (const char* name : {"red", "green", "blue"}) EXPECT_TRUE(contains(outcome.out, name));
  EXPECT_FALSE(contains(run_program({"run", at("m.onnx"), "--input", QUENCH_PICTURE}).out, "blue"));
  std::ofstream(at("empty.txt")) << "\n\n";
  for (const char* file : {"empty.txt", "missing.txt", "m.onnx"}) {
    const Outcome refused = run_program({"compress", at("m.onnx"), "-o", at("o.quench"), "--labels", at(file)});
    EXPECT_EQ(refused.code, 1) << file;
    EXPECT_FALSE(fs::exists(at("o.quench")));
  }
}

TEST_F(Notes, WhatAFileSaysMayBeNonsense) {
  onnx::ModelProto model = testing::parse_text(kMeans);
  onnx::StringStringEntryProto* property = model.add_metadata_props();
  property->set_key("quench.preprocessing");
  property->set_value("mean=\x1b[2J");
  testing::write_file(folder_ / "m.onnx", model.SerializeAsString());
  const Outcome outcome = run_program({"run", at("m.onnx"), "--input", QUENCH_PICTURE});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(contains(outcome.err, "its metadata, quench.preprocessing: "));
  EXPECT_EQ(outcome.err.find('\x1b'), std::string::npos);
  EXPECT_EQ(run_program({"run", at("m.onnx"), "--input", QUENCH_PICTURE, "--order", "rgb"}).code, 0);
}

}  // namespace
}  // namespace quench::cli
