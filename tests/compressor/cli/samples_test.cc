// Models with several inputs, and real data for them: what --data, --shape and --dim take.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
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

// y = image's row * w + state, z = tokens as numbers.
std::string two_inputs() {
  return "g (float[batch, 40] a, float[2, batch, 40] state, int64[batch, T] tokens) => (float[2, batch, 40] y, "
         "float[batch, T] z) <" +
         weight("w", 40, 40) + "> { b = MatMul(a, w) y = Add(b, state) z = Cast<to = 1>(tokens) }";
}

data::Array drawn(std::vector<int64_t> dims) {
  int64_t count = 1;
  for (const int64_t dim : dims) count *= dim;
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>((i * 7919) % 101) / 50 - 1);
  return data::Array::float32(std::move(dims), values);
}

TEST_F(Samples, SeveralInputsHaveDataInOneFileInAFolderOrOneByOne) {
  const std::string onnx = model("m.onnx", two_inputs()), quench = at("m.quench");
  data::write_npz(folder_ / "all.npz",
                  {{"a", drawn({9, 40})}, {"state", drawn({9, 2, 1, 40})}, {"tokens", drawn({9, 1, 5})}});
  fs::create_directory(folder_ / "samples");
  for (int k = 0; k < 5; ++k) {
    data::write_npz(folder_ / ("samples/" + std::to_string(k) + ".npz"),
                    {{"a", drawn({1, 40})}, {"state", drawn({2, 1, 40})}, {"tokens", drawn({1, 3 + k})}});
  }
  data::write_npy(folder_ / "a.npy", drawn({7, 40}));
  const std::vector<std::pair<int, Arguments>> table = {
      {9, {"--data", at("all.npz")}},
      {5, {"--data", at("samples")}},
      {14, {"--data", at("all.npz"), "--data", at("samples")}},
      {7, {"--data", "a=" + at("a.npy"), "--data", "state=zeros", "--data", "tokens=3", "--dim", "T=4"}},
      {9, {"--data", "a=" + at("all.npz") + ":a", "--data", "state=zeros", "--data", "tokens=" + at("all.npz")}}};
  for (const auto& [count, data] : table) {
    Arguments compress = {"compress", onnx, "-o", quench, "--json"},
              eval = {"eval", quench, "--against", onnx, "--json"};
    compress.insert(compress.end(), data.begin(), data.end());
    eval.insert(eval.end(), data.begin(), data.end());
    EXPECT_TRUE(json_of(compress)["calibrated"]) << data[1];
    const Json report = json_of(eval);
    EXPECT_EQ(report["samples"], count) << data[1];
    EXPECT_GT(report["snr_db"].get<double>(), 15) << data[1];
    // Between the two kinds of files both ways.
    std::swap(eval[1], eval[3]);
    EXPECT_GT(json_of(eval)["snr_db"].get<double>(), 15) << data[1];
  }
}

TEST_F(Samples, DataThatDoNotFitTheInputsAreOneLine) {
  const std::string onnx = model("m.onnx", two_inputs()), quench = at("m.quench");
  ASSERT_EQ(run_program({"compress", onnx, "-o", quench, "--quality", "lossless"}).code, 0);
  data::write_npz(folder_ / "some.npz", {{"a", drawn({9, 40})}, {"state", drawn({9, 2, 1, 40})}});
  const std::string a = "a=" + at("a.npy");
  data::write_npy(folder_ / "a.npy", drawn({7, 40}));
  const std::vector<std::pair<Arguments, std::string>> table = {
      {{at("some.npz")}, "some.npz: there is no array 'tokens' for the model's input of that name; it has a, state"},
      {{a, "state=zeros"}, "no data are given for input 'tokens' (--data tokens=SPEC)"},
      {{a, "state=zeros", "tokens=0"}, "--data tokens=0: the model leaves the shape of input 'tokens' open"},
      {{a, "states=zeros"}, "--data states=zeros: begins with the name of no input"},
      {{"synthetic:shapes"}, "the model has the inputs a, state, tokens"}};
  for (const auto& [data, message] : table) {
    for (Arguments command : {Arguments{"compress", onnx, "-o", at("o.quench")}, {"eval", quench, "--against", onnx}}) {
      for (const std::string& spec : data) command.insert(command.end(), {"--data", spec});
      expect_error(command, 1, message);
      EXPECT_FALSE(fs::exists(folder_ / "o.quench"));
    }
  }
  expect_error({"eval", quench, "--against", onnx, "--data", a, "--data", "state=zeros", "--data", "tokens=0", "--dim",
                "T=2", "--mean", "1"},
               1, "--mean, --std, --scale, --layout and --order are for images");
  expect_error({"eval", quench, "--against", onnx, "--data", at("some.npz"), "--dim", "U=2"}, 1,
               "there is no dimension 'U'; the model has T, batch");
  const std::string text = model("s.onnx", "g (string[N] text, float[N] x) => (float[N] y) { y = Relu(x) }");
  expect_error({"compress", text, "-o", quench, "--data", "text=zeros", "--data", "x=zeros"}, 1, "takes strings");
}

// Whatever the data have, an output without classes is compared alone; without a comparison nothing is left to say.
TEST_F(Samples, LabelsThatSayNothingAreLeftOut) {
  const std::string onnx = model("m.onnx", "g (float[N,3,8,8] image) => (float[N,3,8,8] y) { y = Neg(image) }");
  const Json report = json_of({"eval", onnx, "--against", onnx, "--data", "synthetic:shapes,count=3", "--json"});
  EXPECT_TRUE(report["top1"].is_null());
  EXPECT_TRUE(report["identical"]);
  expect_error({"eval", onnx, "--data", "synthetic:shapes,count=3"}, 1, "no output is one row of scores per sample");
}

TEST_F(Samples, EvalComparesEachOutput) {
  const std::string before =
      model("a.onnx",
            "g (float[N,3] x) => (float[N,3] equal, float[N,3] shifted, int64[N,3] whole, "
            "float[N,3] probabilities, float[N,3] embedding) { equal = Neg(x) "
            "zero = Constant<value = float[1] {0}>() shifted = Add(x, zero) "
            "ten = Constant<value = float[1] {10}>() tens = Mul(x, ten) whole = Cast<to = 7>(tens) "
            "probabilities = Softmax(x) embedding = Add(x, ten) }");
  const std::string after = model("b.onnx",
                                  "g (float[N,3] x) => (float[N,3] equal, float[N,3] shifted, int64[N,3] whole, "
                                  "float[N,3] probabilities, float[N,3] embedding) { equal = Neg(x) "
                                  "half = Constant<value = float[1] {0.5}>() shifted = Add(x, half) "
                                  "ten = Constant<value = float[1] {10}>() tens = Mul(x, ten) w = Cast<to = 7>(tens) "
                                  "one = Constant<value = int64[1] {1}>() whole = Add(w, one) y = Neg(x) "
                                  "probabilities = Softmax(y) embedding = Sub(x, ten) }");
  const std::vector<float> values = {1, 2, 3, 6, 5, 4, 1, 1, 1, 0, -1, 5};
  data::write_npy(folder_ / "x.npy", data::Array::float32({4, 3}, values));
  const Json report = json_of({"eval", after, "--against", before, "--data", at("x.npy"), "--json"});
  const Json& outputs = report["outputs"];
  ASSERT_EQ(outputs.size(), 5u);
  EXPECT_EQ(outputs[0]["identical"], true);
  EXPECT_EQ(outputs[0]["largest_error"], 0);
  EXPECT_EQ(outputs[1]["name"], "shifted");
  EXPECT_EQ(outputs[1]["largest_error"], 0.5);
  // Over the variance of the twelve numbers.
  EXPECT_NEAR(outputs[1]["snr_db"].get<double>(), 10 * std::log10((120 - 28.0 * 28 / 12) / (12 * 0.25)), 1e-6);
  EXPECT_EQ(outputs[2]["largest_error"], 1);
  EXPECT_EQ(outputs[3]["agreement"], 0.25) << "the third sample has three equal scores, and the first counts";
  EXPECT_EQ(outputs[4]["largest_error"], 20);
  for (const int without : {0, 1, 2, 4})
    EXPECT_TRUE(outputs[static_cast<size_t>(without)]["agreement"].is_null()) << without;
  EXPECT_TRUE(report["agreement"].is_null()) << "no output is what the model is for";
  const Outcome table = run_program({"eval", after, "--against", before, "--data", at("x.npy")});
  EXPECT_TRUE(testing::contains(table.out, "same class"));
  EXPECT_TRUE(testing::contains(table.out, "25.00 %"));
}

// As of NaN: agreement was 100 %.
TEST_F(Samples, InfiniteOutputsAreAnError) {
  const std::string onnx = model("m.onnx", "g (float[N,3] x) => (float[N,3] logits) { logits = Log(x) }");
  const std::vector<float> fine = {1, 2, 3}, zero = {1, 0, 3};
  data::write_npy(folder_ / "fine.npy", data::Array::float32({1, 3}, fine));
  data::write_npy(folder_ / "zero.npy", data::Array::float32({1, 3}, zero));
  EXPECT_EQ(json_of({"eval", onnx, "--against", onnx, "--data", at("fine.npy"), "--json"})["agreement"], 1.0);
  expect_error({"eval", onnx, "--against", onnx, "--data", at("zero.npy")}, 1,
               "1 of 3 values of output 'logits' are NaN or infinite, so that nothing can be said of it");
}

// Shapes may follow the values where the model leaves them open: what has another shape is lost, not an error.
TEST_F(Samples, OutputsOfAnotherShapeAreCounted) {
  const auto with_length = [&](const char* name, const std::string& length, const std::string& declared) {
    return model(name, "g (float[N,4] x) => (float[N," + declared +
                           "] y) { from = Constant<value = int64[1] {0}>() "
                           "to = Constant<value = int64[1] {" +
                           length +
                           "}>() axis = Constant<value = int64[1] {1}>() "
                           "y = Slice(x, from, to, axis) }");
  };
  const std::string two = with_length("a.onnx", "2", "K"), three = with_length("b.onnx", "3", "K");
  data::write_npy(folder_ / "x.npy", drawn({5, 4}));
  const Json report = json_of({"eval", two, "--against", three, "--data", at("x.npy"), "--batch", "2", "--json"});
  EXPECT_EQ(report["samples"], 5);
  EXPECT_EQ(report["outputs"][0]["other_shapes"], 3);
  EXPECT_TRUE(report["outputs"][0]["largest_error"].is_null());
  EXPECT_EQ(json_of({"eval", two, "--against", two, "--data", at("x.npy"), "--json"})["outputs"][0]["other_shapes"], 0);
  expect_error({"eval", with_length("c.onnx", "2", "2"), "--against", three, "--data", at("x.npy")}, 1,
               "output 'y' has another shape or type than 'y' of the model to compare with");
}

// What is measured is what nothing has been fitted to: the file is the same, whatever the held-out samples are.
TEST_F(Samples, CompressMeasuresOnSamplesThatItHasNotSeen) {
  const std::string onnx = model("m.onnx", two_inputs()), quench = at("m.quench");
  const auto write = [&](int64_t count, int64_t spoilt) {
    std::vector<float> rows = drawn({count, 40}).to_float();
    if (spoilt >= 0) std::fill_n(rows.begin() + 40 * spoilt, 40, 1000.f);
    data::write_npz(folder_ / "d.npz", {{"a", data::Array::float32({count, 40}, rows)},
                                        {"state", drawn({count, 2, 1, 40})},
                                        {"tokens", drawn({count, 1, 5})}});
  };
  const auto compressed = [&] {
    const Json report = json_of({"compress", onnx, "-o", quench, "--data", at("d.npz"), "--json"});
    return std::pair(testing::read_file(quench), report);
  };
  write(17, -1);
  const auto [file, report] = compressed();
  EXPECT_EQ(report["eval"]["samples"], 4);
  EXPECT_EQ(report["eval"]["outputs"].size(), 2u);
  for (int64_t spoilt = 0; spoilt < 17; ++spoilt) {
    write(17, spoilt);
    const auto [other_file, other_report] = compressed();
    const bool is_held_out = spoilt % 4 == 3;
    EXPECT_EQ(other_file == file, is_held_out) << spoilt;
    if (is_held_out) {
      EXPECT_NE(other_report["measured_snr_db"], report["measured_snr_db"]) << spoilt;
    }
  }
}

// Learned by heart, two samples gave a wake word of a 52nd and -2.5 dB on two others.
TEST_F(Samples, FewSamplesMeasureAndDoNotCalibrate) {
  const std::string onnx =
      model("m.onnx", "g (float[N,L] x) => (float[N,L] y) <" + weight("w", 40, 40) + "> { y = MatMul(x, w) }");
  for (const int64_t count : {1, 15, 16}) {
    data::write_npy(folder_ / "x.npy", drawn({count, 40}));
    const Arguments command = {"compress", onnx, "-o", at("m.quench"), "--data", at("x.npy")};
    Arguments with_json = command;
    with_json.emplace_back("--json");
    const Json report = json_of(with_json);
    EXPECT_EQ(report["on_data"], count == 16);
    EXPECT_EQ(report["eval"]["samples"], count == 16 ? 4 : count);
    const Outcome outcome = run_program(command);
    EXPECT_EQ(testing::contains(outcome.err, "too few samples to calibrate on, which takes 16"), count < 16);
    EXPECT_EQ(outcome.err.find("not calibrated"), std::string::npos) << outcome.err;  // has the samples' shape
  }
}

// Calibrated on twelve samples that are all the same, measured on four others.
TEST_F(Samples, CompressWarnsOfSamplesThatItHasLearnedByHeart) {
  const std::string onnx =
      model("m.onnx", "g (float[N,40] x) => (float[N,40] y) <" + weight("w", 40, 40) + "> { y = MatMul(x, w) }");
  std::vector<float> rows = drawn({16, 40}).to_float();
  const Arguments command = {"compress", onnx, "-o", at("m.quench"), "--data", at("x.npy"), "--bits", "4"};
  for (const bool is_poor : {true, false}) {
    for (int row = 0; is_poor && row < 16; ++row)
      if (row % 4 != 3) std::copy_n(rows.begin(), 40, rows.begin() + 40 * row);
    if (!is_poor) rows = drawn({400, 40}).to_float();
    data::write_npy(folder_ / "x.npy", data::Array::float32({static_cast<int64_t>(rows.size() / 40), 40}, rows));
    const Outcome outcome = run_program(command);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(outcome.err.find("dB worse than expected on samples that were held out") != std::string::npos, is_poor)
        << outcome.err << outcome.out;
  }
}

// It was an error behind the compression, with the file written.
TEST_F(Samples, CompressOfAModelWithInfiniteOutputsSaysThatItIsNotMeasured) {
  const std::string onnx = model("m.onnx", "g (float[N,40] x) => (float[N,40] y) <" + weight("w", 40, 40) +
                                               "> { z = MatMul(x, w) y = Reciprocal(z) }");
  std::vector<float> rows = drawn({8, 40}).to_float();
  std::fill_n(rows.begin() + 3 * 40, 40, 0.f);
  data::write_npy(folder_ / "x.npy", data::Array::float32({8, 40}, rows));
  const Outcome outcome = run_program({"compress", onnx, "-o", at("m.quench"), "--data", at("x.npy")});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(testing::contains(outcome.err, "quench: warning: not measured: "));
  EXPECT_TRUE(testing::contains(outcome.err, "are NaN or infinite"));
  EXPECT_EQ(outcome.out.find("measured on"), std::string::npos);
}

TEST_F(Samples, ChangedSamplesAreNamedByTheirFiles) {
  const auto with_sign = [&](const char* name, const char* op) {
    return model(name, std::string("g (float[N,3] a, float[N,3] b) => (float[N,3] logits) { c = ") + op +
                           "(a) logits = Add(b, c) }");
  };
  const std::string before = with_sign("a.onnx", "Abs"), after = with_sign("b.onnx", "Neg");
  fs::create_directory(folder_ / "samples");
  for (int k = 0; k < 3; ++k) {
    const std::vector<float> a = {k == 1 ? -1.f : 1.f, 0, 0}, b = {0, 0.5f, 0};
    data::write_npz(folder_ / ("samples/" + std::to_string(k) + ".npz"),
                    {{"a", data::Array::float32({1, 3}, a)}, {"b", data::Array::float32({1, 3}, b)}});
  }
  Arguments command = {"eval", after, "--against", before, "--data", at("samples"), "--changed", "1"};
  const Outcome outcome = run_program(command);
  EXPECT_TRUE(testing::contains(outcome.out, "changed    2 samples: " + at("samples/0.npz") + " (0 -> 1), ...\n"));
  command.push_back("--json");
  const Json changed = json_of(command)["changed"];
  ASSERT_EQ(changed.size(), 2u);
  EXPECT_EQ(changed[1]["sample"], 2);
  EXPECT_EQ(changed[1]["file"], at("samples/2.npz"));
  EXPECT_EQ(changed[1]["before"], 0);
  EXPECT_EQ(changed[1]["after"], 1);
  command[5] = "a=" + at("samples/0.npz") + ":a";
  command.insert(command.end(), {"--data", "b=" + at("samples/0.npz") + ":b"});
  EXPECT_FALSE(json_of(command)["changed"][0].contains("file"));
}

// Outputs that another program has computed: here, that `quench run` has.
TEST_F(Samples, EvalComparesWithOutputsThatWereComputedElsewhere) {
  const std::string onnx =
      model("m.onnx", "g (float[N,40] x) => (float[N,40] logits, float[2,N,40] state) <" + weight("w", 40, 40) +
                          "> { logits = MatMul(x, w) "
                          "to = Constant<value = int64[3] {2, 1, 40}>() "
                          "state = Expand(logits, to) }");
  const std::string quench = at("m.quench");
  ASSERT_EQ(run_program({"compress", onnx, "-o", quench}).code, 0);
  data::write_npy(folder_ / "x.npy", drawn({6, 40}));
  const std::vector<std::string> names = {"logits", "state"};
  std::map<std::string, std::vector<float>> all;
  fs::create_directory(folder_ / "files");
  for (int k = 0; k < 6; ++k) {
    const std::vector<float> values = drawn({6, 40}).to_float();
    data::write_npy(folder_ / "one.npy",
                    data::Array::float32({1, 40}, std::span(values).subspan(static_cast<size_t>(40 * k), 40)));
    ASSERT_EQ(run_program({"run", onnx, "--input", at("one.npy"), "--output", at("one/")}).code, 0);
    std::vector<std::pair<std::string, data::Array>> arrays;
    for (const std::string& name : names) {
      arrays.emplace_back(name, data::read_npy(folder_ / ("one/" + name + ".npy")));
      const std::vector<float> own = arrays.back().second.to_float();
      all[name].insert(all[name].end(), own.begin(), own.end());
    }
    data::write_npz(folder_ / ("files/" + std::to_string(k) + ".npz"), arrays);
  }
  fs::create_directory(folder_ / "arrays");
  data::write_npy(folder_ / "arrays/logits.npy", data::Array::float32({6, 40}, all["logits"]));
  data::write_npy(folder_ / "arrays/state.npy", data::Array::float32({6, 2, 1, 40}, all["state"]));
  const Json expected = json_of({"eval", quench, "--against", onnx, "--data", at("x.npy"), "--batch", "1", "--json"});
  EXPECT_LT(expected["snr_db"], 60);
  const auto compare = [&](const std::string& file, const std::string& folder) {
    return Arguments{"eval", file, "--reference", at(folder), "--data", at("x.npy"), "--json"};
  };
  for (const char* folder : {"files", "arrays"}) {
    const Json report = json_of(compare(quench, folder));
    EXPECT_EQ(report["outputs"], expected["outputs"]) << folder;
    EXPECT_EQ(report["changed"], expected["changed"]) << folder;
    EXPECT_EQ(json_of(compare(onnx, folder))["identical"], true) << folder;
    // Of a part of the samples, those that belong to them.
    Arguments some = compare(onnx, folder);
    some.insert(some.end(), {"--samples", "3"});
    EXPECT_EQ(json_of(some)["identical"], true) << folder;
  }
  expect_error({"eval", quench, "--reference", at("files")}, 2, "--data");
  expect_error({"eval", quench, "--reference", at("files"), "--against", onnx, "--data", at("x.npy")}, 2, "--against");
  expect_error(compare(quench, "nothing"), 1, "nothing: there is no such folder");
  data::write_npy(folder_ / "arrays/state.npy", data::Array::float32({12, 1, 40}, all["state"]));
  expect_error(compare(quench, "arrays"), 1, "state.npy: an array of 12x1x40 has no place for each of the 6 samples");
  data::write_npy(folder_ / "arrays/state.npy", data::Array::float32({6, 80}, all["state"]));
  expect_error(compare(quench, "arrays"), 1, "state.npy: output 'state' is of 80 there, and of 2x1x40 here");
  fs::remove(folder_ / "arrays/state.npy");
  expect_error(compare(quench, "arrays"), 1, "arrays: there are neither .npz files in it nor state.npy");
  all["logits"].resize(40);
  data::write_npz(folder_ / "files/3.npz", {{"logits", data::Array::float32({1, 40}, all["logits"])}});
  expect_error(compare(quench, "files"), 1, "3.npz: there is no array 'state'");
  fs::remove(folder_ / "files/3.npz");
  expect_error(compare(quench, "files"), 1, "files: there are 5 .npz files in it, and 6 samples in the data");
}

class AMetric : public Samples {
 protected:
  void SetUp() override {
    fs::create_directory(temporary());
    ::setenv("TMPDIR", temporary().c_str(), 1);
    onnx_ = model("m.onnx", "g (float[N,40] x) => (float[N,40] logits, float[2,N,40] state) <" + weight("w", 40, 40) +
                                "> { logits = MatMul(x, w) to = Constant<value = int64[3] {2, 1, 40}>() "
                                "state = Expand(logits, to) }");
    quench_ = at("m.quench");
    ASSERT_EQ(run_program({"compress", onnx_, "-o", quench_}).code, 0);
    data::write_npy(folder_ / "x.npy", drawn({6, 40}));
  }
  void TearDown() override {
    ::unsetenv("TMPDIR");
    // Another process removes it, which may take a moment where this one was killed.
    for (int wait = 0; wait < 500 && !fs::is_empty(temporary()); ++wait) ::usleep(10000);
    EXPECT_TRUE(fs::is_empty(temporary())) << "nothing is left";
  }

  // With characters that a shell would take for its own.
  std::string temporary() const { return at("it's a $place"); }
  Arguments eval(const std::string& metric) const {
    return {"eval", quench_, "--against", onnx_, "--data", at("x.npy"), "--metric", metric};
  }

  std::string onnx_, quench_;
};

TEST_F(AMetric, IsTheLastLineOfACommandThatSeesAllOutputs) {
  const std::string copy = "cp -r {original} " + at("before") + "; cp -r {compressed} " + at("after") + "; ";
  Arguments command = eval(copy + "echo first; ls {compressed}/state | wc -l; echo; echo ' '");
  const Outcome outcome = run_program(command);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(testing::contains(outcome.out, "\nmetric     6\n"));
  // What each model gives for a sample by itself.
  const std::vector<float> values = drawn({6, 40}).to_float();
  data::write_npy(folder_ / "one.npy", data::Array::float32({1, 40}, std::span(values).subspan(80, 40)));
  for (const auto& [file, folder] : {std::pair(onnx_, "before"), {quench_, "after"}}) {
    ASSERT_EQ(run_program({"run", file, "--input", at("one.npy"), "--output", at("one/")}).code, 0);
    for (const std::string name : {"logits", "state"}) {
      const data::Array own = data::read_npy(folder_ / ("one/" + name + ".npy"));
      const data::Array seen = data::read_npy(folder_ / (folder + ("/" + name) + "/000002.npy"));
      EXPECT_EQ(own.dims, seen.dims) << folder << name;
      EXPECT_EQ(own.bytes, seen.bytes) << folder << name;
    }
  }
  Arguments number = eval("echo 0.75 {original} {compressed} | cut -c 1-4"),
            text = eval("echo a {original}{compressed} | cut -c 1");
  number.push_back("--json");
  text.push_back("--json");
  EXPECT_EQ(json_of(number)["metric"], 0.75);
  EXPECT_EQ(json_of(text)["metric"], "a");
}

TEST_F(AMetric, ThatFailsIsAnError) {
  expect_error(eval("exit 3 # {original} {compressed}"), 1,
               "--metric: the command ended with exit code 3: exit 3 # {original} {compressed}");
  expect_error(eval("kill -9 $$ # {original} {compressed}"), 1, "--metric: the command was ended by signal 9");
  expect_error(eval("true {original} {compressed}"), 1, "--metric: the command printed nothing");
  expect_error(eval("echo 1; false {original} {compressed}"), 1, "ended with exit code 1");
  for (const char* command : {"echo 1", "echo {original}", "echo {compressed}"})
    expect_error(eval(command), 2, "--metric: the command must have {original} and {compressed} in it");
  expect_error({"eval", quench_, "--data", at("x.npy"), "--metric", "echo {original} {compressed}"}, 2,
               "--metric needs --against or --reference");
}

TEST_F(AMetric, WithoutAPlaceForItsFilesIsAnError) {
  ::setenv("TMPDIR", at("nowhere").c_str(), 1);
  expect_error(eval("echo {original} {compressed}"), 1, "there is no folder for temporary files: TMPDIR names none");
}

TEST_F(AMetric, LeavesNothingBehindWhenItIsKilled) {
  for (const int signal : {SIGKILL, SIGTERM, SIGINT}) {
    const pid_t process = start_program(eval("sleep 1 # {original} {compressed}"));
    for (int wait = 0; wait < 500 && fs::is_empty(temporary()); ++wait) ::usleep(10000);
    EXPECT_FALSE(fs::is_empty(temporary()));
    ::kill(process, signal);
    EXPECT_EQ(wait_for(process), 128 + signal);
    for (int wait = 0; wait < 500 && !fs::is_empty(temporary()); ++wait) ::usleep(10000);
    EXPECT_TRUE(fs::is_empty(temporary())) << signal;
  }
}

// Images are fitted to a shape that is given for an input that leaves its own open.
TEST_F(Samples, AShapeThatIsGivenCountsForRealImages) {
  const std::string onnx = model("m.onnx",
                                 "g (float[N,3,H,W] image) => (float[N,720] y) "
                                 "{ size = Constant<value = int64[2] {-1, 720}>() y = Reshape(image, size) }");
  const Arguments command = {"eval", onnx, "--against", onnx, "--data", "synthetic:shapes,count=3", "--json"};
  expect_error(command, 1, "Reshape");
  for (const Arguments& shape : {Arguments{"--shape", "image=1x3x12x20"}, {"--dim", "H=12", "--dim", "W=20"}}) {
    Arguments with_shape = command;
    with_shape.insert(with_shape.end(), shape.begin(), shape.end());
    EXPECT_EQ(json_of(with_shape)["samples"], 3);
  }
  Arguments wrong = command;
  wrong.insert(wrong.end(), {"--shape", "image=1x5x12x20"});
  expect_error(wrong, 1, "which images of 1 or 3 channels do not fit");
}

}  // namespace
}  // namespace quench::cli
