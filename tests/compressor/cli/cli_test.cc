// The program end to end, in a folder of its own: compress, inspect, eval, run, unpack, bench, data, plot.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "compressor/data/npy.h"
#include "compressor/report/json.h"
#include "tests/compressor/cli/program.h"
#include "tests/compressor/compress/small_model.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Arguments = std::vector<std::string>;
using quantizer::read_bytes;

constexpr const char* kData = "synthetic:shapes,count=64";

Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

void write_text(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

// One line on stderr, nothing on stdout.
void expect_error(const Outcome& outcome, int code, const std::string& part) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("quench: error: ")) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
}

// A small model and its compressed form, made once.
class Cli : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    common_ = new quantizer::TemporaryFolder();
    quantizer::write_model(*common_ / "model.onnx", quantizer::make_small_model({.channels = 12, .nan_weight = false}));
    compressed_ = new Outcome(run_program({"compress", onnx(), "-o", quench(), "--json"}));
  }
  static void TearDownTestSuite() {
    delete compressed_;
    delete common_;
  }
  void SetUp() override { ASSERT_EQ(compressed_->code, 0) << compressed_->err; }

  static std::string onnx() { return (*common_ / "model.onnx").string(); }
  static std::string quench() { return (*common_ / "model.quench").string(); }
  std::string path(const char* name) const { return (folder_ / name).string(); }

  static Json json_of(const Outcome& outcome) {
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out);
  }

  static quantizer::TemporaryFolder* common_;
  static Outcome* compressed_;
  quantizer::TemporaryFolder folder_;
};

quantizer::TemporaryFolder* Cli::common_ = nullptr;
Outcome* Cli::compressed_ = nullptr;

TEST_F(Cli, CompressReportsWhatItDid) {
  const Json report = json_of(*compressed_);
  EXPECT_EQ(report["input_bytes"], fs::file_size(onnx()));
  EXPECT_EQ(report["output_bytes"], fs::file_size(quench()));
  EXPECT_NEAR(report["ratio"].get<double>(),
              static_cast<double>(fs::file_size(onnx())) / static_cast<double>(fs::file_size(quench())), 1e-9);
  EXPECT_GT(report["ratio"].get<double>(), 3);
  EXPECT_GT(report["paper_ratio"].get<double>(), 3);
  EXPECT_GT(report["bits_per_weight"].get<double>(), 1);
  uint64_t weights = 0;
  bool has_convolution = false;
  for (const Json& tensor : report["tensors"]) {
    for (const char* key :
         {"name", "elements", "bits_per_weight", "entropy", "bytes_before", "bytes_after", "codebook", "snr_db"}) {
      EXPECT_TRUE(tensor.contains(key)) << key;
    }
    weights += tensor["elements"].get<uint64_t>();
    has_convolution |= tensor["name"] == "first.weight" && tensor["dims"] == Json({12, 12, 3, 3});
  }
  EXPECT_TRUE(has_convolution);
  EXPECT_GT(weights, 3000u);
}

TEST_F(Cli, CompressIsDeterministicForAnyNumberOfThreads) {
  for (const char* threads : {"1", "2", "3"}) {
    ASSERT_EQ(run_program({"compress", onnx(), "-o", path("again.quench"), "--threads", threads}).code, 0);
    EXPECT_EQ(read_bytes(path("again.quench")), read_bytes(quench())) << threads;
  }
}

TEST_F(Cli, CompressShowsATableForPeople) {
  const Outcome outcome = run_program({"compress", onnx(), "-o", path("a.quench"), "--bits", "4", "--coder", "rans"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* part : {"first.weight", "12x12x3x3", "bits/weight", "times smaller", "times as papers count"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part;
  }
}

// A figure on inputs that nobody has seen must not be taken for one on real data.
TEST_F(Cli, FiguresOnMadeUpInputsSaySo) {
  const auto says_so = [](const Outcome& outcome) {
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.out.find("dB, on made-up inputs") != std::string::npos;
  };
  const Outcome outcome = run_program({"compress", onnx(), "-o", path("a.quench")});
  EXPECT_TRUE(says_so(outcome));
  EXPECT_NE(outcome.out.find("; on real ones other models had up to 24 dB less\n"), std::string::npos);
  EXPECT_TRUE(says_so(run_program({"eval", path("a.quench"), "--against", onnx()})));
  EXPECT_FALSE(says_so(run_program({"eval", path("a.quench"), "--against", onnx(), "--data", kData})));
  EXPECT_FALSE(says_so(run_program({"compress", onnx(), "-o", path("a.quench"), "--data", kData})));
}

TEST_F(Cli, CompressWithLabelledDataSaysTheAccuracyBeforeAndAfter) {
  const Outcome outcome =
      run_program({"compress", onnx(), "-o", path("a.quench"), "--data", kData, "--json", path("a.json")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("(before "), std::string::npos) << "the table is shown too";
  const Json report = Json::parse(read_bytes(path("a.json")));
  EXPECT_EQ(report["eval"]["samples"], 16) << "every fourth of 64";
  EXPECT_TRUE(report["eval"]["against"].contains("top1"));
}

// Not only good enough: of files a 20th smaller none is.
TEST_F(Cli, TheSmallestFileThatMeetsAGoal) {
  const auto measured = [&](const Arguments& size) {
    const Outcome made = run_program(Arguments{"compress", onnx(), "-o", path("a.quench")} + size);
    EXPECT_EQ(made.code, 0) << made.err;
    // The inputs that the search measures on: of the next seed.
    const Outcome outcome =
        run_program({"eval", path("a.quench"), "--against", onnx(), "--seed", "2", "--json", path("a.json")});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(read_bytes(path("a.json")));
  };
  const double original = static_cast<double>(read_bytes(onnx()).size());
  for (const auto& [option, key, goal] :
       {std::tuple("--min-snr", "snr_db", 20.0), std::tuple("--min-agreement", "agreement", 90.0)}) {
    const double factor = std::string(key) == "agreement" ? 100 : 1;
    EXPECT_GE(factor * measured({option, fmt::format("{}", goal)})[key].get<double>(), goal);
    const double bytes = static_cast<double>(read_bytes(path("a.quench")).size());
    const std::string smaller = fmt::format("{}", 1.05 * original / bytes);
    // Which of 64 samples get the same class moves up and down.
    if (factor == 1) {
      EXPECT_LT(measured({"--ratio", smaller})[key].get<double>(), goal);
    }
  }
  const Arguments base = {"compress", onnx(), "-o", path("b.quench")};
  EXPECT_NE(run_program(base + Arguments{"--max-drop", "1"}).err.find("--max-drop needs --data with labels"),
            std::string::npos);
  EXPECT_NE(run_program(base + Arguments{"--min-snr", "200"}).err.find("no file is as near to it as asked for"),
            std::string::npos);
  EXPECT_EQ(run_program(base + Arguments{"--min-snr", "20", "--ratio", "3"}).code, 2);
  EXPECT_FALSE(fs::exists(path("b.quench")));
  const Outcome labelled = run_program(base + Arguments{"--max-drop", "5", "--data", kData, "--json", path("b.json")});
  ASSERT_EQ(labelled.code, 0) << labelled.err;
  const Json report = Json::parse(read_bytes(path("b.json")));
  EXPECT_LE(report["eval"]["against"]["top1"].get<double>() - report["eval"]["top1"].get<double>(), 0.05);
}

TEST_F(Cli, CompressWithDataMeasuresWhatItExpects) {
  for (const char* quality : {"transparent", "small"}) {
    const Outcome outcome = run_program(
        {"compress", onnx(), "-o", path("a.quench"), "--data", kData, "--quality", quality, "--json", path("a.json")});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.out.find("\nexpected output SNR "), std::string::npos) << outcome.out;
    EXPECT_NE(outcome.out.find("\nmeasured on 16 samples held out from calibration:\n"), std::string::npos)
        << outcome.out;
    const Json report = Json::parse(read_bytes(path("a.json")));
    EXPECT_NEAR(report["measured_snr_db"].get<double>(), report["predicted_snr_db"].get<double>(), 4) << quality;
    EXPECT_EQ(report["measured_snr_db"], report["eval"]["outputs"][0]["snr_db"]);
    EXPECT_GT(report["predicted_samples"], 0);
  }
}

TEST_F(Cli, InspectAddsUpToTheFile) {
  const Json report = json_of(run_program({"inspect", quench(), "--json"}));
  uint64_t sum = 0;
  for (const char* list : {"tensors", "parts"}) {
    for (const Json& entry : report[list]) sum += entry["bytes"].get<uint64_t>();
  }
  EXPECT_EQ(sum, fs::file_size(quench()));
  EXPECT_EQ(report["bytes"], fs::file_size(quench()));
  const Outcome text = run_program({"inspect", quench()});
  EXPECT_EQ(text.code, 0);
  EXPECT_NE(text.out.find("100.0 %"), std::string::npos);
}

TEST_F(Cli, InspectShowsATrellis) {
  const Json report = json_of(run_program({"inspect", QUENCH_TRELLIS_FILE, "--json"}));
  EXPECT_EQ(report["tensors"][0]["trellis"], "rows");
  EXPECT_NE(run_program({"inspect", QUENCH_TRELLIS_FILE}).out.find("arithmetic, trellis"), std::string::npos);
  EXPECT_TRUE(json_of(run_program({"inspect", quench(), "--json"}))["tensors"][0]["trellis"].is_null());
}

TEST_F(Cli, EvalMeasuresAccuracyAndFidelity) {
  const Json report = json_of(run_program({"eval", quench(), "--against", onnx(), "--data", kData, "--json"}));
  EXPECT_EQ(report["samples"], 64);
  for (const char* key : {"top1", "agreement"}) {
    EXPECT_GE(report[key].get<double>(), 0);
    EXPECT_LE(report[key].get<double>(), 1);
  }
  EXPECT_GT(report["loss"].get<double>(), 0);
  EXPECT_GT(report["snr_db"].get<double>(), 10);
  EXPECT_GT(report["agreement"].get<double>(), 0.7);
  const Json& output = report["outputs"].at(0);
  EXPECT_EQ(output["name"], "logits");
  EXPECT_EQ(output["snr_db"], report["snr_db"]);
  EXPECT_EQ(output["agreement"], report["agreement"]);
  EXPECT_GT(output["largest_error"].get<double>(), 0);
}

// With the confidence that so few samples give, and by their place in the data.
TEST_F(Cli, EvalSaysWhichSamplesChangedTheirClass) {
  quantizer::write_model(path("other.onnx"), quantizer::make_small_model({.channels = 8, .nan_weight = false}));
  const std::vector<std::string> command = {"eval", path("other.onnx"), "--against", onnx(), "--data", kData};
  std::vector<std::string> with_json = command, with_list = command;
  with_json.push_back("--json");
  with_list.insert(with_list.end(), {"--changed", "2"});
  const Json report = json_of(run_program(with_json));
  const auto changed = static_cast<double>(report["changed"].size());
  EXPECT_GT(changed, 4) << "another network";
  EXPECT_NEAR(report["agreement"].get<double>(), 1 - changed / 64, 1e-9);
  // Wilson's interval, written out.
  for (const char* share : {"agreement", "top1"}) {
    const double p = report[share].get<double>(), z = 1.959964, n = 64;
    const double center = (p + z * z / (2 * n)) / (1 + z * z / n);
    const double spread = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    EXPECT_NEAR(report[std::string(share) + "_interval"][0].get<double>(), center - spread, 1e-6) << share;
    EXPECT_NEAR(report[std::string(share) + "_interval"][1].get<double>(), center + spread, 1e-6) << share;
  }
  const Json& first = report["changed"][0];
  const auto index = first["sample"].get<size_t>();
  const Outcome outcome = run_program(with_list);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("samples: " + std::to_string(index) + " (" + std::to_string(first["before"].get<int>()) +
                             " -> " + std::to_string(first["after"].get<int>()) + "), "),
            std::string::npos)
      << outcome.out;
  EXPECT_NE(outcome.out.find("), ...\n"), std::string::npos) << outcome.out;
  for (size_t i = 1; i < report["changed"].size(); ++i)
    EXPECT_LT(report["changed"][i - 1]["sample"], report["changed"][i]["sample"]);
  // Without a change the interval does not end at 100 % on both sides.
  const Json same = json_of(run_program({"eval", onnx(), "--against", onnx(), "--data", kData, "--json"}));
  EXPECT_TRUE(same["changed"].empty());
  EXPECT_NEAR(same["agreement_interval"][0].get<double>(), 64 / (64 + 1.959964 * 1.959964), 1e-6);
  EXPECT_EQ(same["agreement_interval"][1], 1.0);
}

TEST_F(Cli, EvalDoesNotDependOnBatchOrThreads) {
  const Json reference = json_of(run_program({"eval", onnx(), "--data", kData, "--json", "--threads", "1"}));
  for (const char* batch : {"1", "7", "64"}) {
    const Json report =
        json_of(run_program({"eval", onnx(), "--data", kData, "--batch", batch, "--threads", "2", "--json"}));
    EXPECT_EQ(report["top1"], reference["top1"]);
    EXPECT_NEAR(report["loss"].get<double>(), reference["loss"].get<double>(), 1e-4);
  }
}

TEST_F(Cli, EvalOfAModelAgainstItselfIsExact) {
  const Json report = json_of(run_program({"eval", onnx(), "--against", onnx(), "--json"}));
  EXPECT_EQ(report["samples"], 64);
  EXPECT_TRUE(report["top1"].is_null()) << "seeded inputs have no labels";
  EXPECT_TRUE(report["snr_db"].is_null());
  EXPECT_EQ(report["identical"], true);
  EXPECT_EQ(report["agreement"], 1.0);
}

TEST_F(Cli, RunWritesWhatTheModelComputes) {
  ASSERT_EQ(run_program({"data", "synthetic:shapes,count=5", "-o", path("big.npy")}).code, 0);
  const std::vector<float> image(3 * 3 * 16 * 16, 0.5f);
  data::write_npy(path("x.npy"), data::Array::float32({3, 3, 16, 16}, image));
  ASSERT_EQ(run_program({"run", quench(), "--input", path("x.npy"), "--output", path("y.npy")}).code, 0);
  ASSERT_EQ(
      run_program({"run", quench(), "--input", "image=" + path("x.npy"), "--output", "logits=" + path("z.npy")}).code,
      0);
  const Outcome folder = run_program({"run", quench(), "--input", path("x.npy"), "--output", path("outputs/")});
  ASSERT_EQ(folder.code, 0) << folder.err;
  const data::Array logits = data::read_npy(path("y.npy"));
  EXPECT_EQ(logits.dims, (std::vector<int64_t>{3, 10}));
  EXPECT_EQ(read_bytes(path("y.npy")), read_bytes(path("z.npy")));
  EXPECT_EQ(read_bytes(path("y.npy")), read_bytes(path("outputs/logits.npy")));
  const std::vector<float> values = logits.to_float();
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(values[i], values[10 + i]) << "equal images, equal scores";
  expect_error(run_program({"run", quench(), "--input", path("big.npy")}), 1, quench());
  expect_error(run_program({"run", quench()}), 1, "no values are given for image");
  expect_error(run_program({"run", quench(), "--input", "other=" + path("x.npy")}), 1, "there is no 'other'");
  expect_error(run_program({"run", quench(), "--input", path("x.npy"), "--input", path("x.npy")}), 1,
               "the model has only image");
}

TEST_F(Cli, AnInputWithADefaultStaysOneAndMayBeGiven) {
  onnx::ModelProto model = quantizer::make_small_model({.channels = 12, .nan_weight = false});
  onnx::GraphProto& graph = *model.mutable_graph();
  const std::string scores = graph.output(0).name();
  onnx::NodeProto& shift = *graph.add_node();
  shift.set_op_type("Add");
  shift.add_input(scores);
  shift.add_input("shift");
  shift.add_output("shifted");
  onnx::TensorProto& value = *graph.add_initializer();
  value.set_name("shift");
  value.set_data_type(onnx::TensorProto::FLOAT);
  value.add_dims(1);
  value.add_float_data(3);
  onnx::ValueInfoProto& input = *graph.add_input();
  input.set_name("shift");
  input.mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
  input.mutable_type()->mutable_tensor_type()->mutable_shape()->add_dim()->set_dim_value(1);
  graph.mutable_output(0)->set_name("shifted");
  model.set_ir_version(8);
  quantizer::write_model(path("default.onnx"), model);
  ASSERT_EQ(run_program({"compress", path("default.onnx"), "-o", path("default.quench"), "--quality", "lossless"}).code,
            0);
  ASSERT_EQ(run_program({"unpack", path("default.quench"), "-o", path("again.onnx")}).code, 0);

  const std::vector<float> image(3 * 16 * 16, 0.5f), given(1, 5.f);
  data::write_npy(path("x.npy"), data::Array::float32({1, 3, 16, 16}, image));
  data::write_npy(path("shift.npy"), data::Array::float32({1}, given));
  for (const char* file : {"default.onnx", "default.quench", "again.onnx"}) {
    const Outcome left_out = run_program({"run", path(file), "--input", path("x.npy"), "--output", path("y3.npy")});
    ASSERT_EQ(left_out.code, 0) << left_out.err;
    const Outcome all = run_program({"run", path(file), "--input", path("x.npy"), "--input",
                                     "shift=" + path("shift.npy"), "--output", path("y5.npy")});
    ASSERT_EQ(all.code, 0) << all.err;
    const std::vector<float> y3 = data::read_npy(path("y3.npy")).to_float();
    const std::vector<float> y5 = data::read_npy(path("y5.npy")).to_float();
    for (size_t i = 0; i < y3.size(); ++i) EXPECT_NEAR(y5[i] - y3[i], 2, 1e-4) << file;
  }
}

TEST_F(Cli, UnpackGivesAModelOfTheSameOutputs) {
  ASSERT_EQ(run_program({"unpack", quench(), "-o", path("again.onnx")}).code, 0);
  const Json report = json_of(run_program({"eval", path("again.onnx"), "--against", quench(), "--json"}));
  EXPECT_TRUE(report["identical"].get<bool>() || report["snr_db"].get<double>() > 90);
}

TEST_F(Cli, LosslessGivesEveryBitBack) {
  ASSERT_EQ(
      run_program({"compress", onnx(), "-o", path("a.quench"), "--quality", "lossless", "--keep-graph", "--keep-names"})
          .code,
      0);
  const Json report = json_of(run_program({"eval", path("a.quench"), "--against", onnx(), "--json"}));
  EXPECT_EQ(report["identical"], true);
  EXPECT_LT(fs::file_size(path("a.quench")), fs::file_size(onnx()));
}

TEST_F(Cli, AMemoryLimitThatIsTooSmallIsSaidAndCanBeRaised) {
  for (const std::vector<std::string>& command : {std::vector<std::string>{"inspect", quench()},
                                                  {"unpack", quench(), "-o", path("u.onnx")},
                                                  {"bench", quench(), "--runs", "1"},
                                                  {"eval", quench(), "--against", onnx(), "--samples", "1"}}) {
    std::vector<std::string> limited = command;
    limited.insert(limited.end(), {"--max-memory", "1000"});
    expect_error(run_program(limited), 1, "--max-memory");
    limited.back() = "1GiB";
    EXPECT_EQ(run_program(limited).code, 0) << command[0];
    limited.back() = "-1";
    EXPECT_EQ(run_program(limited).code, 2) << command[0];
    limited.back() = "";
    EXPECT_EQ(run_program(limited).code, 2) << command[0];
  }
}

TEST_F(Cli, BenchMeasuresTimesAndMemory) {
  const Json report = json_of(run_program({"bench", quench(), "--runs", "5", "--json"}));
  for (const char* key :
       {"load_ms", "first_result_ms", "decode_ms", "median_ms", "min_ms", "arena_bytes", "peak_bytes"}) {
    EXPECT_GT(report[key].get<double>(), 0) << key;
  }
  EXPECT_EQ(report["threads"], 1);
  EXPECT_LE(report["min_ms"].get<double>(), report["median_ms"].get<double>());
  EXPECT_LE(report["load_ms"].get<double>(), report["first_result_ms"].get<double>());
  EXPECT_GE(report["peak_bytes"].get<uint64_t>(), report["arena_bytes"].get<uint64_t>());
  expect_error(run_program({"bench", onnx()}), 1, "not a .quench file");
}

TEST_F(Cli, DataWritesWhatEvalReads) {
  ASSERT_EQ(run_program({"data", kData, "-o", path("d.npz"), "--mean", "0.5", "--std", "0.25"}).code, 0);
  const auto arrays = data::read_npz(path("d.npz"));
  EXPECT_EQ(arrays.at("x").dims, (std::vector<int64_t>{64, 3, 32, 32}));
  EXPECT_EQ(arrays.at("y").dims, (std::vector<int64_t>{64}));
  for (const float value : arrays.at("x").to_float()) ASSERT_LE(std::abs(value), 2.0f);
  expect_error(run_program({"eval", quench(), "--data", path("d.npz")}), 1,
               "64x3x32x32 does not fit the model's input Nx3x16x16");
  expect_error(run_program({"data", kData, "-o", path("d.csv")}), 2, "-o must name");
}

TEST_F(Cli, WrongUsageIsCode2) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"shrink"},
                                             {"compress"},
                                             {"compress", onnx()},
                                             {"compress", onnx(), "-o", path("a"), "--quality", "perfect"},
                                             {"compress", onnx(), "-o", path("a"), "--bits", "0"},
                                             {"compress", onnx(), "-o", path("a"), "--bits", "3", "--ratio", "10"},
                                             {"compress", onnx(), "-o", path("a"), "--dimension", "3"},
                                             {"compress", onnx(), "-o", path("a"), "--threads", "0"},
                                             {"eval", onnx(), "--layout", "hwc"},
                                             {"bench", quench(), "--shape", "image"},
                                             {"bench", quench(), "--shape", "image=1x0x2"},
                                             {"inspect", quench(), "--verbose"}}) {
    expect_error(run_program(arguments), 2, "--help)");
  }
}

// An unset variable of a shell; --dimension "" was a division by zero, --seed "" silently 0.
TEST_F(Cli, AnEmptyValueOfAnyOptionIsRefused) {
  const std::vector<std::string> commands[] = {{"compress", onnx(), "-o", path("a.quench")}, {"check", onnx()},
                                               {"eval", quench(), "--against", onnx()},      {"bench", quench()},
                                               {"data", kData, "-o", path("a.npz")},         {"run", quench()},
                                               {"plot", quench(), "-o", path("a.svg")}};
  for (const std::vector<std::string>& command : commands) {
    std::istringstream help(run_program({command[0], "--help"}).out);
    for (std::string line; std::getline(help, line);) {
      const size_t at = line.find("--");
      if (!line.starts_with("  -") || at == std::string::npos) continue;
      const std::string option = line.substr(at, line.find(' ', at) - at);
      const size_t type = at + option.size() + 1;
      const bool is_flag = type >= line.size() || line[type] == ' ';
      if (is_flag) continue;
      std::vector<std::string> arguments = command;
      if (option == "--output") arguments.erase(std::find(arguments.begin(), arguments.end(), "-o"), arguments.end());
      if (option == "--against") arguments.resize(2);
      arguments.insert(arguments.end(), {option, ""});
      expect_error(run_program(arguments), 2, "an empty value is given");
    }
  }
}

TEST_F(Cli, NumbersThatNoneCanMeanAreRefused) {
  const auto error_of = [&](const std::string& option, const std::string& value) {
    return run_program({"compress", onnx(), "-o", path("a"), option, value});
  };
  for (const char* option : {"--bits", "--ratio", "--mean", "--std", "--scale"}) {
    for (const char* value : {"nan", "inf", "-inf", "1e400", "x", "1x", "1e30"}) {
      expect_error(error_of(option, value), 2, option);
    }
  }
  for (const char* option : {"--seed", "--threads"}) {
    for (const char* value : {"-1", "1.5", "99999999999999999999", "nan", "ten"}) {
      expect_error(error_of(option, value), 2, option);
    }
  }
  for (const char* option : {"--mean", "--std"}) {
    for (const char* value : {"1,,2", "1,2,", ",1", ",", "1,x"})
      expect_error(error_of(option, value), 2, "is no number");
  }
  expect_error(error_of("--std", "1,0,1"), 2, "--std: 0 is not above 0");
  expect_error(error_of("--bits", "0"), 2, "--bits: 0 is not above 0");
  expect_error(error_of("--std", "0"), 2, "--std: 0 is not above 0");
  expect_error(error_of("--quality", "x"), 2, "'x' is none of balanced, lossless, small, transparent");
  expect_error(error_of("--shape", "x=1x3"), 1, "--shape: there is no input 'x'; the model has ");
  expect_error(run_program({"eval", quench(), "--against", onnx(), "--shape", "x=1x3"}), 1, "no input 'x'");
  expect_error(run_program({"bench", quench(), "--shape", "x=1x3"}), 1, "no input 'x'");
  expect_error(run_program({"frobnicate"}), 2, "there is no command 'frobnicate'; there are check, compress");
}

TEST_F(Cli, FilesOfOtherKindsAreNamedWithWhatToDo) {
  const std::map<std::string, std::pair<std::string, std::string>> kinds = {
      {"a.pt", {std::string("PK\x03\x04", 4), "torch.onnx.export"}},
      {"a.tflite", {std::string("\x1c\0\0\0TFL3", 8), "is a .tflite file; convert it with tf2onnx"}},
      {"a.safetensors", {std::string("\x40\0\0\0\0\0\0\0{\"w\":", 13), "is a .safetensors file"}},
      {"a.onnx.gz", {"\x1f\x8b\x08 and so on", "unpack it with gunzip"}},
      {"a.h5", {"\x89HDF\r\n", "HDF5"}}};
  for (const auto& [name, kind] : kinds) {
    write_text(path(name.c_str()), kind.first);
    expect_error(run_program({"compress", path(name.c_str()), "-o", path("o")}), 1, kind.second);
    expect_error(run_program({"inspect", path(name.c_str())}), 1, kind.second);
    expect_error(run_program({"run", path(name.c_str())}), 1, kind.second);
  }
  expect_error(run_program({"compress", quench(), "-o", path("o")}), 1, "'quench unpack' makes an .onnx file of it");
  expect_error(run_program({"unpack", onnx(), "-o", path("o")}), 1, "'quench compress' makes one of a model");
}

TEST_F(Cli, PipesAndDevicesAsInputsDoNotHang) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo(path("pipe.npy").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo(path("pipe.npz").c_str(), 0600), 0);
  fs::create_directory(path("images"));
  ASSERT_EQ(::mkfifo(path("images/a.png").c_str(), 0600), 0);
  for (const std::string& file : {path("pipe"), std::string("/dev/zero")}) {
    expect_error(run_program({"compress", file, "-o", path("o")}), 1, "not a regular file");
    expect_error(run_program({"unpack", file, "-o", path("o")}), 1, "not a regular file");
    for (const char* command : {"inspect", "bench", "run"})
      expect_error(run_program({command, file}), 1, "not a regular file");
    expect_error(run_program({"eval", quench(), "--against", file}), 1, "not a regular file");
    expect_error(run_program({"plot", file, "-o", path("o.svg")}), 1, "not a regular file");
  }
  for (const char* data : {"pipe.npy", "pipe.npz", "images"})
    expect_error(run_program({"data", path(data), "-o", path("o.npz")}), 1, "not a regular file");
  expect_error(run_program({"run", quench(), "--input", path("pipe.npy")}), 1, "not a regular file");
}

TEST_F(Cli, HelpAndVersionSucceed) {
  const Outcome version = run_program({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(version.out.starts_with("quench 0.")) << version.out;
  for (const char* command : {"check", "compress", "unpack", "inspect", "run", "eval", "bench", "data", "plot"}) {
    const Outcome help = run_program({command, "--help"});
    EXPECT_EQ(help.code, 0);
    EXPECT_NE(help.out.find("Options:"), std::string::npos) << command;
    EXPECT_NE(run_program({"--help"}).out.find(command), std::string::npos) << command;
  }
}

TEST_F(Cli, FilesThatAreNoModelGetOneLine) {
  write_text(path("empty"), "");
  write_text(path("garbage"), std::string(5000, '\x5a'));
  write_text(path("cut.onnx"), read_bytes(onnx()).substr(0, 3000));
  write_text(path("cut.quench"), read_bytes(quench()).substr(0, fs::file_size(quench()) / 2));
  fs::create_directory(path("folder"));
  for (const char* name : {"empty", "garbage", "cut.onnx", "cut.quench", "folder", "missing.onnx"}) {
    const std::string file = path(name);
    expect_error(run_program({"compress", file, "-o", path("out.quench")}), 1, name);
    expect_error(run_program({"check", file}), 1, name);
    expect_error(run_program({"unpack", file, "-o", path("out.onnx")}), 1, name);
    expect_error(run_program({"inspect", file}), 1, name);
    expect_error(run_program({"bench", file}), 1, name);
    expect_error(run_program({"run", file}), 1, name);
  }
  EXPECT_FALSE(fs::exists(path("out.quench")));
  EXPECT_FALSE(fs::exists(path("out.onnx")));
}

TEST_F(Cli, OutputsThatCannotBeWrittenGetOneLineAtOnce) {
  expect_error(run_program({"compress", onnx(), "-o", (folder_ / "").string()}), 1, "this is a folder");
  expect_error(run_program({"compress", onnx(), "-o", path("no/such/folder/a.quench")}), 1, "there is no folder");
  expect_error(run_program({"compress", onnx(), "-o", onnx()}), 1, "would be overwritten");
  expect_error(run_program({"compress", onnx(), "-o", path("a.quench"), "--json", onnx()}), 1, "would be overwritten");
  expect_error(run_program({"unpack", quench(), "-o", quench()}), 1, "would be overwritten");
  fs::create_symlink(onnx(), path("link.onnx"));
  expect_error(run_program({"compress", onnx(), "-o", path("link.onnx")}), 1, "would be overwritten");
  if (::geteuid() != 0) {
    fs::permissions(path(""), fs::perms::owner_read | fs::perms::owner_exec);
    expect_error(run_program({"compress", onnx(), "-o", path("a.quench")}), 1, "not writable");
    fs::permissions(path(""), fs::perms::owner_all);
  }
}

TEST_F(Cli, PlotDrawsTrainingsTogether) {
  training::TrainingRecord record;
  record.epoch = 1;
  record.accuracy = 0.25;
  const std::string line = training::to_json_line(record);
  write_text(path("first.jsonl"), line + "\n" + line + "\n");
  write_text(path("second.jsonl"), line + "\n");
  for (const char* value : {"accuracy", "loss"}) {
    const Outcome outcome =
        run_program({"plot", path("first.jsonl"), path("second.jsonl"), "-o", path("c.svg"), "--value", value});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    const std::string picture = read_bytes(path("c.svg"));
    EXPECT_NE(picture.find(">first<"), std::string::npos);
    EXPECT_NE(picture.find(">second<"), std::string::npos);
  }
  record.quantization.emplace();
  record.quantization->flips = 0.0125;
  std::string flipping = training::to_json_line(record), older = flipping;
  older.replace(older.find("\"flips\":0.0125,"), 15, "");  // of Quench 0.2
  write_text(path("first.jsonl"), flipping + "\n");
  write_text(path("second.jsonl"), older + "\n");
  const Outcome outcome =
      run_program({"plot", path("first.jsonl"), path("second.jsonl"), "-o", path("c.svg"), "--value", "flips"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const std::string picture = read_bytes(path("c.svg"));
  EXPECT_NE(picture.find("first, 1: 1.25<"), std::string::npos) << picture;
  EXPECT_EQ(picture.find("second, 1:"), std::string::npos) << picture;
  fs::remove(path("c.svg"));
  write_text(path("bad.jsonl"), line + "\n{\"epoch\": \"one\"}\n");
  expect_error(run_program({"plot", path("bad.jsonl"), "-o", path("c.svg")}), 1, "bad.jsonl: line 2");
  write_text(path("empty.jsonl"), "");
  expect_error(run_program({"plot", path("empty.jsonl"), "-o", path("c.svg")}), 1, "has no epochs");
  expect_error(run_program({"plot", path("none.jsonl"), "-o", path("c.svg")}), 1, "none.jsonl: No such file");
  expect_error(run_program({"plot", path("first.jsonl"), "-o", path("first.jsonl")}), 1, "would be overwritten");
  EXPECT_FALSE(fs::exists(path("c.svg")));
}

TEST_F(Cli, PlotDrawsATable) {
  write_text(path("memory.csv"), "depth,stored,computed again,none\r\n38,108,44,\n74,-,55,\r\n110,286,65.5,\n\n");
  const Outcome outcome = run_program({"plot", path("memory.csv"), "-o", path("c.svg"), "--y-label", "MiB"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const std::string picture = read_bytes(path("c.svg"));
  for (const char* text :
       {">memory<", ">depth<", ">MiB<", "stored, 38: 108<", "stored, 110: 286<", "computed again, 110: 65.5<"})
    EXPECT_NE(picture.find(text), std::string::npos) << text << picture;
  EXPECT_EQ(picture.find("stored, 74:"), std::string::npos);
  fs::remove(path("c.svg"));
  write_text(path("short.csv"), "depth,stored\n38,108\n74\n");
  expect_error(run_program({"plot", path("short.csv"), "-o", path("c.svg")}), 1, "short.csv: line 3: 1 columns, not 2");
  write_text(path("empty.csv"), "");
  expect_error(run_program({"plot", path("empty.csv"), "-o", path("c.svg")}), 1, "empty.csv: line 1: not the names");
  expect_error(run_program({"plot", path("memory.csv"), path("short.csv"), "-o", path("c.svg")}), 1, "drawn alone");
  write_text(path("run.jsonl"), "");
  expect_error(run_program({"plot", path("run.jsonl"), path("memory.csv"), "-o", path("c.svg")}), 1, "drawn alone");
  EXPECT_FALSE(fs::exists(path("c.svg")));
}

TEST_F(Cli, AFullDiskBehindStandardOutputIsAnError) {
  const std::string command = std::string(QUENCH_PROGRAM) + " inspect " + quench() + " >/dev/full 2>" + path("error");
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_TRUE(read_bytes(path("error")).starts_with("quench: error: "));
}

TEST_F(Cli, DataErrorsNameTheData) {
  expect_error(run_program({"eval", onnx(), "--data", "cifar10:/nowhere"}), 1, "/nowhere: there is no such folder");
  expect_error(run_program({"eval", onnx(), "--data", kData, "--mean", "1,2"}), 1, "2 mean values");
  expect_error(run_program({"eval", onnx()}), 1, "--data");
  const std::vector<int64_t> labels = {99};
  const std::vector<float> image(3 * 16 * 16);
  data::write_npz(path("d.npz"),
                  {{"x", data::Array::float32({1, 3, 16, 16}, image)}, {"y", data::Array::int64({1}, labels)}});
  expect_error(run_program({"eval", onnx(), "--data", path("d.npz")}), 1, "label 99 is beyond the model's 10 classes");
}

TEST_F(Cli, OtherArraysOfAnArchiveAreNotLookedAt) {
  const std::vector<float> image(3 * 16 * 16);
  const data::Array x = data::Array::float32({1, 3, 16, 16}, image);
  data::write_npz(path("d.npz"), {{"x", x}, {"paths", x}});
  std::string bytes = read_bytes(path("d.npz"));
  // The other array becomes one of objects, which are not read: its header, and no checksum would fit any more.
  const size_t at = bytes.rfind("'<f4'");
  bytes.replace(at, 5, "'|O' ");
  write_text(path("d.npz"), bytes);
  EXPECT_EQ(run_program({"eval", quench(), "--against", onnx(), "--data", path("d.npz")}).code, 0);
}

TEST_F(Cli, ALabelBeyondAllClassesIsRefused) {
  const std::vector<int64_t> labels = {INT64_MAX};
  const std::vector<float> image(3 * 16 * 16);
  data::write_npz(path("d.npz"),
                  {{"x", data::Array::float32({1, 3, 16, 16}, image)}, {"y", data::Array::int64({1}, labels)}});
  expect_error(run_program({"eval", onnx(), "--data", path("d.npz")}), 1, "label 9223372036854775807 is above");
}

// It said "agreement 100 %".
TEST_F(Cli, EvalOfOutputsThatAreNanSaysSo) {
  quantizer::write_model(path("nan.onnx"), quantizer::make_small_model({.channels = 12, .nan_weight = true}));
  expect_error(run_program({"eval", path("nan.onnx"), "--against", onnx()}), 1, "are NaN");
  expect_error(run_program({"eval", onnx(), "--against", path("nan.onnx")}), 1, "are NaN");
  expect_error(run_program({"eval", path("nan.onnx"), "--against", path("nan.onnx")}), 1, "are NaN");
}

// Short memory made another file: without the shapes that were to be inferred, or without calibration.
TEST_F(Cli, ShortMemoryIsAnErrorAndNeverAnotherFile) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take the address space";
#endif
  const std::string whole = read_bytes(quench());
  int failures = 0;
  for (int megabytes = 20; megabytes <= 240; megabytes += 11) {
    const std::string command = "ulimit -c 0; ulimit -v " + std::to_string(1024 * megabytes) + "; exec " +
                                std::string(QUENCH_PROGRAM) + " compress " + onnx() + " --threads 1 -o " +
                                path("o.quench") + " >/dev/null 2>&1";
    fs::remove(path("o.quench"));
    const int status = std::system(command.c_str());
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      EXPECT_EQ(read_bytes(path("o.quench")), whole) << megabytes;
    } else {
      ++failures;
      EXPECT_FALSE(fs::exists(path("o.quench"))) << megabytes;
    }
  }
  EXPECT_GT(failures, 0);
}

}  // namespace
}  // namespace quench::cli
