// `quench tune` and `quench train` end to end: small networks on little data, one thread.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "compressor/data/image.h"
#include "compressor/data/npy.h"
#include "tests/compressor/cli/kill_sweep.h"
#include "tests/compressor/cli/program.h"
#include "tests/compressor/compress/small_model.h"
#include "tests/compressor/measure/pictures.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Arguments = std::vector<std::string>;
using quantizer::read_bytes;

constexpr const char* kData = "synthetic:shapes,count=96";
constexpr const char* kTestData = "synthetic:shapes,count=40";

Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// `base` with `more` behind it, whose options take the place of those in `base`; these have a value each.
Arguments with(const Arguments& base, const Arguments& more) {
  Arguments result;
  for (size_t i = 0; i < base.size(); ++i) {
    const bool replaced = base[i].starts_with("--") && std::find(more.begin(), more.end(), base[i]) != more.end();
    if (replaced) {
      ++i;
    } else {
      result.push_back(base[i]);
    }
  }
  return result + more;
}

// One line on stderr that says what is wrong, behind what the epochs printed.
void expect_error(const Outcome& outcome, const std::string& part, int code = 1) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  const size_t begin = outcome.err.find("quench: error: ");
  ASSERT_NE(begin, std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find('\n', begin), outcome.err.size() - 1) << "one line, the last: " << outcome.err;
  EXPECT_NE(outcome.err.find(part, begin), std::string::npos) << outcome.err;
}

std::vector<Json> metrics_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<Json> records;
  for (std::string line; std::getline(file, line);) {
    records.push_back(Json::parse(line));
    records.back().erase("seconds");
  }
  return records;
}

class TrainingCli : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    common_ = new quantizer::TemporaryFolder();
    quantizer::write_model(*common_ / "model.onnx", quantizer::make_small_model({.channels = 12, .nan_weight = false}));
  }
  static void TearDownTestSuite() { delete common_; }

  static std::string model() { return (*common_ / "model.onnx").string(); }
  std::string path(const char* name) const { return (folder_ / name).string(); }

  // Three steps to an epoch.
  static Arguments loop() {
    return {"--test-data", kTestData, "--data", kData, "--batch", "32", "--epochs", "2", "--threads", "1"};
  }
  Arguments tune(const char* output, const Arguments& more = {}) const {
    return Arguments{"tune", model(), "-o", path(output), "--float32"} + with(loop(), more);
  }
  Arguments train(const char* output, const Arguments& more = {}) const {
    return Arguments{"train", model(), "-o", path(output), "--float32"} +
           with(loop() + Arguments{"--learning-rate", "0.05"}, more);
  }

  Json tuned(const char* output, const Arguments& more) const {
    const Outcome outcome = run_program(tune(output, more + Arguments{"--json", path("report.json")}));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_FALSE(fs::exists(path(output) + ".checkpoint")) << "removed at the end";
    return Json::parse(read_bytes(path("report.json")));
  }

  void write_npz(const char* name, std::vector<int64_t> dims, const std::vector<int64_t>& labels) const {
    size_t count = 1;
    for (const int64_t dim : dims) count *= static_cast<size_t>(dim);
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>((i * 2654435761u >> 16) % 256) / 128 - 1;
    std::vector<std::pair<std::string, data::Array>> arrays;
    const std::vector<int64_t> label_dims = {static_cast<int64_t>(labels.size())};
    arrays.emplace_back("x", data::Array::float32(std::move(dims), values));
    if (!labels.empty()) arrays.emplace_back("y", data::Array::int64(label_dims, labels));
    data::write_npz(path(name), arrays);
  }

  void write_text_model(const char* name, const std::string& graph) const {
    quantizer::write_model(path(name), testing::parse_text(graph));
  }

  static quantizer::TemporaryFolder* common_;
  quantizer::TemporaryFolder folder_;
};

quantizer::TemporaryFolder* TrainingCli::common_ = nullptr;

TEST_F(TrainingCli, TuneMeetsTheRatioAndSaysWhatItDid) {
  const Json report = tuned("a.quench", {"--ratio", "8", "--metrics", path("m.jsonl"), "--page", path("p.html")});
  const auto size = static_cast<double>(fs::file_size(path("a.quench")));
  EXPECT_LE(size, static_cast<double>(fs::file_size(model())) / 8);
  EXPECT_EQ(report["output_bytes"], fs::file_size(path("a.quench")));
  EXPECT_TRUE(report["top1"].is_number());
  EXPECT_TRUE(report["top1_before"].is_number());
  const std::vector<Json> records = metrics_of(path("m.jsonl"));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1]["epoch"], 2);
  EXPECT_EQ(records[1]["step"], 6);
  EXPECT_GT(records[1]["quantization"]["ratio"].get<double>(), 2);
  EXPECT_NE(read_bytes(path("p.html")).find("<svg"), std::string::npos);
  // The trainer's accuracy is that of the file.
  const Outcome eval = run_program({"eval", path("a.quench"), "--data", kTestData, "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_NEAR(Json::parse(eval.out)["top1"].get<double>(), report["top1"].get<double>(), 1e-9);
}

TEST_F(TrainingCli, JsonAloneGoesToStandardOutput) {
  const Outcome outcome = run_program(tune("a.quench", {"--json"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(Json::accept(outcome.out)) << outcome.out.substr(0, 200);
}

TEST_F(TrainingCli, TuneMeetsBitsPerWeight) {
  const Json report = tuned("a.quench", {"--bits", "3.5"});
  EXPECT_LE(report["bits_per_weight"].get<double>(), 3.5);
}

TEST_F(TrainingCli, TheSameSeedGivesTheSameBytes) {
  ASSERT_EQ(run_program(tune("a.quench", {"--ratio", "8"})).code, 0);
  ASSERT_EQ(run_program(tune("b.quench", {"--ratio", "8"})).code, 0);
  ASSERT_EQ(run_program(tune("c.quench", {"--epochs", "1", "--ratio", "8", "--seed", "2"})).code, 0);
  EXPECT_EQ(read_bytes(path("a.quench")), read_bytes(path("b.quench")));
  EXPECT_NE(read_bytes(path("a.quench")), read_bytes(path("c.quench")));
  ASSERT_EQ(run_program(train("a.onnx")).code, 0);
  ASSERT_EQ(run_program(train("b.onnx")).code, 0);
  EXPECT_EQ(read_bytes(path("a.onnx")), read_bytes(path("b.onnx")));
}

TEST_F(TrainingCli, EveryMethodRuns) {
  const std::vector<Arguments> methods = {
      {"--annealing", "exponential", "--beta", "0.01"},
      {"--annealing", "gap", "--ratio", "6"},
      {"--annealing", "exponential", "--soft-share", "1"},
      {"--dimension", "2", "--centers", "60", "--ratio", "8"},
      {"--dimension", "4", "--centers", "60"},
      {"--learn-scales", "--channel-scales"},
      {"--codebook", "tensor", "--learn-scales"},
      {"--exclude", "first.*", "--coder", "rans"},
      {"--optimizer", "adam", "--learning-rate", "0.001", "--schedule", "one-cycle"},
      {"--label-share", "1", "--schedule", "step", "--no-augment"},
  };
  for (const Arguments& method : methods) {
    const Json report = tuned("a.quench", method + Arguments{"--epochs", "1"});
    const Outcome eval = run_program({"eval", path("a.quench"), "--data", kTestData, "--json"});
    ASSERT_EQ(eval.code, 0) << method[1] << ": " << eval.err;
    EXPECT_NEAR(Json::parse(eval.out)["top1"].get<double>(), report["top1"].get<double>(), 1e-9) << method[1];
    EXPECT_LT(report["bits_per_weight"].get<double>(), method[0] == "--exclude" ? 32 : 8) << method[1];
    for (const Json& tensor : report["tensors"]) {
      if (method[0] == "--exclude" && tensor["name"] == "first.weight") {
        EXPECT_EQ(tensor["method"], "lossless");
      }
    }
  }
}

// As compress does: a pattern that matches nothing is a slip of the pen.
TEST_F(TrainingCli, AnExcludedNameThatNoWeightHasIsRefused) {
  const Outcome tune = run_program({"tune", model(), "-o", path("a.quench"), "--data", kData, "--exclude", "none.*"});
  EXPECT_EQ(tune.code, 1);
  EXPECT_NE(tune.err.find("no weight's name matches 'none.*'"), std::string::npos) << tune.err;
  EXPECT_FALSE(fs::exists(path("a.quench")));
}

TEST_F(TrainingCli, SoftTrainingsEndHard) {
  for (const char* annealing : {"exponential", "gap"}) {
    const Json report = tuned("a.quench", {"--annealing", annealing, "--metrics", path("m.jsonl"), "--ratio", "7"});
    const std::vector<Json> records = metrics_of(path("m.jsonl"));
    EXPECT_TRUE(records[1]["soft_accuracy"].is_null());
    EXPECT_LE(static_cast<double>(fs::file_size(path("a.quench"))) * 7, static_cast<double>(fs::file_size(model())));
  }
}

TEST_F(TrainingCli, ValidationSamplesJudgeInPlaceOfTheTestData) {
  const Json report = tuned("a.quench", {"--max-drop", "100", "--epochs", "1", "--samples", "32", "--validation", "10",
                                         "--metrics", path("m.jsonl")});
  // Tenths: of ten samples. The test data are what the report quotes as ever.
  const auto in_tenths = [](const Json& accuracy) {
    return std::abs(10 * accuracy.get<double>() - std::round(10 * accuracy.get<double>())) < 1e-9;
  };
  EXPECT_TRUE(in_tenths(report["validation_top1"]));
  EXPECT_TRUE(in_tenths(report["validation_top1_before"]));
  EXPECT_TRUE(in_tenths(metrics_of(path("m.jsonl")).back()["accuracy"]));
  EXPECT_TRUE(report["top1"].is_number());
  const Outcome all = run_program({"tune", model(), "-o", path("b.quench"), "--data", kData, "--validation", "100000"});
  EXPECT_EQ(all.code, 1);
  EXPECT_NE(all.err.find("cannot be set apart"), std::string::npos) << all.err;
}

TEST_F(TrainingCli, MaxDropKeepsWithinTheLimit) {
  const Json report = tuned("a.quench", {"--max-drop", "20", "--epochs", "1", "--samples", "32"});
  EXPECT_LE(report["top1_before"].get<double>() - report["top1"].get<double>(), 0.2 + 1e-9);
  EXPECT_EQ(report["output_bytes"], fs::file_size(path("a.quench"))) << "of the file that is kept";
  EXPECT_FALSE(fs::exists(path("a.quench.trial")));
  EXPECT_FALSE(fs::exists(path("a.quench.checkpoint.1")));
}

TEST_F(TrainingCli, MaxDropBeginsAtTheRatioAndGrowsByAThirdAtMost) {
  const Json report =
      tuned("a.quench", {"--max-drop", "100", "--ratio", "4", "--epochs", "1", "--metrics", path("m.jsonl")});
  const std::vector<Json> records = metrics_of(path("m.jsonl"));
  ASSERT_EQ(records.size(), 6u) << "rounds of an epoch";
  EXPECT_LT(records.front()["quantization"]["ratio"].get<double>(), 6);
  EXPECT_NEAR(records[1]["learning_rate"].get<double>(), records[0]["learning_rate"].get<double>() / 3, 1e-9);
  EXPECT_GT(report["ratio"].get<double>(), 4 * 1.3);
  EXPECT_LT(report["ratio"].get<double>(), 6 * std::pow(1.35, 5));
}

TEST_F(TrainingCli, MaxDropComesBackFromARatioThatIsTooHighWithFinerSteps) {
  Arguments arguments =
      tune("a.quench", {"--data", "synthetic:shapes,count=160", "--max-drop", "10", "--ratio", "70", "--epochs", "1",
                        "--learning-rate", "0.003", "--metrics", path("m.jsonl"), "--json", path("report.json")});
  arguments[1] = (fs::path(QUENCH_EXAMPLES) / "models" / "resnet20-shapes.onnx").string();
  const Outcome outcome = run_program(arguments);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("points, too much\n"), std::string::npos) << outcome.out;
  const Json report = Json::parse(read_bytes(path("report.json")));
  EXPECT_NE(outcome.out.find(fmt::format("{:.2f} times smaller: ", report["ratio"].get<double>())), std::string::npos);
  EXPECT_LE(report["top1_before"].get<double>() - report["top1"].get<double>(), 0.1 + 1e-9);
  EXPECT_LT(report["ratio"].get<double>(), 70);
  std::vector<double> ratios;  // at the end of each round, of a few steps: what the first centers make of the weights
  for (const Json& record : metrics_of(path("m.jsonl"))) ratios.push_back(record["quantization"]["ratio"]);
  EXPECT_LT(*std::min_element(ratios.begin(), ratios.end()), 0.85 * ratios.front());
}

TEST_F(TrainingCli, MaxDropSaysThatNoFileIsGoodEnough) {
  Arguments arguments = tune(
      "a.quench", {"--data", "synthetic:shapes,count=64", "--max-drop", "0", "--epochs", "1", "--learning-rate", "20"});
  // Nearly all right at first; at this rate it forgets all it knows, at any size.
  arguments[1] = (fs::path(QUENCH_EXAMPLES) / "models" / "resnet20-shapes.onnx").string();
  expect_error(run_program(arguments), "times smaller it loses more than 0 points");
  EXPECT_FALSE(fs::exists(path("a.quench")));
  EXPECT_FALSE(fs::exists(path("a.quench.trial")));
}

TEST_F(TrainingCli, MaxDropNeedsLabels) {
  write_npz("x.npz", {40, 3, 16, 16}, {});
  expect_error(run_program({"tune", model(), "-o", path("a.quench"), "--data", path("x.npz"), "--max-drop", "1"}),
               "--max-drop needs test data with labels");
}

// Run until the first checkpoint of a time-based kind is impossible to catch; a signal makes one at any step.
// The broken run gets a signal once the file `awaited` is there.
void expect_resumed(const Arguments& whole, const Arguments& broken, const std::string& whole_file,
                    const std::string& broken_file, const std::string& metrics, const std::string& awaited) {
  ASSERT_EQ(run_program(whole).code, 0);
  const std::vector<Json> expected = metrics_of(metrics);
  fs::remove(metrics);
  const pid_t process = start_program(broken);
  for (int tries = 0; tries < 3000 && !fs::exists(awaited); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ::kill(process, SIGTERM);
  ASSERT_EQ(wait_for(process), 1) << "stopped by the signal, before its end";
  const Outcome rest = run_program(broken + Arguments{"--resume"});
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_EQ(metrics_of(metrics), expected);
  EXPECT_EQ(read_bytes(broken_file), read_bytes(whole_file));
}

// With the first epoch behind it, or where it happens to be after the second.
void expect_resumed(const Arguments& whole, const Arguments& broken, const std::string& whole_file,
                    const std::string& broken_file, const std::string& metrics) {
  expect_resumed(whole, broken, whole_file, broken_file, metrics, metrics);
}

TEST_F(TrainingCli, ATuningGoesOnAfterASignal) {
  const Arguments more = {"--epochs", "6", "--metrics",      path("m.jsonl"),
                          "--ratio",  "8", "--learn-scales", "--equal-steps"};
  expect_resumed(tune("a.quench", more), tune("b.quench", more), path("a.quench"), path("b.quench"), path("m.jsonl"));
}

TEST_F(TrainingCli, ASoftTuningGoesOnAfterASignal) {
  const Arguments more = {"--epochs", "6", "--metrics", path("m.jsonl"), "--ratio", "8", "--annealing", "gap"};
  expect_resumed(tune("a.quench", more), tune("b.quench", more), path("a.quench"), path("b.quench"), path("m.jsonl"));
}

TEST_F(TrainingCli, ASearchGoesOnAfterASignalInALaterRound) {
  // From 20 on, the second round goes on from the first; from 60, which cannot be reached, it begins anew.
  for (const char* ratio : {"20", "60"}) {
    for (const char* name : {"a.quench", "b.quench", "m.jsonl"}) fs::remove(path(name));
    const Arguments more = {
        "--ratio", ratio, "--epochs", "4", "--metrics", path("m.jsonl"), "--max-drop", "100", "--checkpoint-minutes",
        "0.00001"};
    expect_resumed(tune("a.quench", more), tune("b.quench", more), path("a.quench"), path("b.quench"), path("m.jsonl"),
                   path("b.quench.checkpoint.1"));
  }
}

TEST_F(TrainingCli, ATrainingGoesOnAfterASignal) {
  const Arguments more = {"--epochs", "8", "--metrics", path("m.jsonl"), "--optimizer", "adam"};
  expect_resumed(train("a.onnx", more), train("b.onnx", more), path("a.onnx"), path("b.onnx"), path("m.jsonl"));
}

TEST_F(TrainingCli, ResidualNetworksTrain) {
  for (const char* integrator : {"euler", "linear-multistep", "poly-2", "midpoint", "reversible", "fractal-2"}) {
    SCOPED_TRACE(integrator);
    const Arguments arguments = {"train",    "resnet8",  "-o", path("r.onnx"), "--integrator",
                                 integrator, "--epochs", "1",  "--samples",    "64"};
    const Outcome outcome = run_program(
        arguments + Arguments{"--data", kData, "--test-data", kTestData, "--batch", "32", "--threads", "1", "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const Json report = Json::parse(outcome.out);
    EXPECT_GT(report["parameters"].get<int>(), 70000);
    EXPECT_EQ(report["output_bytes"], fs::file_size(path("r.onnx")));
    EXPECT_GT(report["top1"].get<double>(), 0);
    EXPECT_EQ(report["columns_top1"].size(), std::string(integrator) == "fractal-2" ? 2u : 0u);
    const Outcome tuning =
        run_program({"tune", path("r.onnx"), "-o", path("r.quench"), "--data", kData, "--samples", "32", "--batch",
                     "32", "--epochs", "1", "--threads", "1", "--ratio", "12", "--test-data", kTestData});
    ASSERT_EQ(tuning.code, 0) << tuning.err;
    EXPECT_LE(fs::file_size(path("r.quench")) * 12, fs::file_size(path("r.onnx")));
    ASSERT_EQ(run_program({"compress", path("r.onnx"), "-o", path("c.quench")}).code, 0);
    ASSERT_EQ(run_program({"unpack", path("c.quench"), "-o", path("u.onnx")}).code, 0);
    EXPECT_EQ(run_program({"eval", path("u.onnx"), "--against", path("c.quench")}).code, 0);
  }
}

TEST_F(TrainingCli, OdeNetworksTrainAndAreWrittenAsStepsOrLoops) {
  const Arguments data = {"--data",   kData, "--test-data", kTestData, "--samples", "32",
                          "--epochs", "1",   "--batch",     "16",      "--threads", "1"};
  const auto train = [&](const std::string& network, const char* file, const Arguments& more) {
    return run_program(Arguments{"train", network, "-o", path(file), "--solver", "midpoint", "--steps", "1"} + data +
                       more);
  };
  Outcome outcome = train("odenet", "steps.onnx", {"--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out)["parameters"], 208266);
  outcome = train("odenet", "loop.onnx", {"--export", "loop", "--rtol", "0.01", "--atol", "0.01", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out)["parameters"], 208266);
  outcome = run_program(Arguments{"tune", path("steps.onnx"), "-o", path("steps.quench"), "--ratio", "8"} + data);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const std::string file : {"steps", "loop"}) {
    ASSERT_EQ(run_program({"compress", path((file + ".onnx").c_str()), "-o", path("c.quench")}).code, 0);
    ASSERT_EQ(run_program({"unpack", path("c.quench"), "-o", path("u.onnx")}).code, 0);
    EXPECT_EQ(run_program({"eval", path("u.onnx"), "--against", path("c.quench"), "--samples", "4"}).code, 0);
  }
  expect_error(run_program(Arguments{"tune", path("loop.onnx"), "-o", path("x.quench")} + data),
               "node 'ode.loop' (Loop): this operator cannot be trained");
  expect_error(train("odenet", "x.onnx", {"--rtol", "2", "--export", "loop"}), "a tolerance of 2 cannot be");
  expect_error(train("odenet", "x.onnx", {"--rtol", "0.1"}),
               "odenet: --rtol is for --export loop and --steps adaptive");
  expect_error(train("odenet", "x.onnx", {"--integrator", "euler"}), "--integrator is for residual networks");
  const auto plain = [&](const std::string& network, const Arguments& more) {
    return run_program(Arguments{"train", network, "-o", path("x.onnx")} + data + more);
  };
  expect_error(plain("odenet-twin", {"--export", "loop"}), "odenet-twin: --export is for networks with ODE blocks");
  expect_error(plain("resnet8", {"--steps", "3"}), "resnet8: --steps is for flow and networks with ODE blocks");
  expect_error(plain(model(), {"--classes", "3"}), "--classes is for new networks");
  expect_error(train("odenet", "x.onnx", {"--rtol", "0"}), "--rtol: 0 is not above 0", 2);
  expect_error(train("odenet", "x.onnx", {"--extra-channels", "3"}), "3 extra channels");
  EXPECT_FALSE(fs::exists(path("x.onnx")));
}

// `quench train odenet`, small, by steps of the solver's choice.
Arguments adaptive(const std::string& output, const Arguments& more) {
  return with({"train",       "odenet",      "-o",
               output,        "--data",      kData,
               "--test-data", kTestData,     "--samples",
               "48",          "--epochs",    "4",
               "--batch",     "16",          "--threads",
               "1",           "--steps",     "adaptive",
               "--rtol",      "0.01",        "--atol",
               "0.01",        "--optimizer", "adam",
               "--schedule",  "cosine",      "--learning-rate",
               "0.002",       "--no-augment"},
              more);
}

TEST_F(TrainingCli, OdeNetworksTrainByAdaptiveStepsAndEachGradient) {
  std::map<std::string, std::vector<Json>> records;
  for (const std::string gradient : {"stored", "recomputed", "adjoint"}) {
    const Arguments more = {"--gradient", gradient, "--metrics", path("m.jsonl"), "--page", path("p.html"), "--json"};
    const Outcome outcome = run_program(adaptive(path("a.onnx"), more));
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const Json report = Json::parse(outcome.out);
    EXPECT_EQ(report["parameters"], 208266);
    const std::vector<Json>& metrics = records[gradient] = metrics_of(path("m.jsonl"));
    ASSERT_EQ(metrics.size(), 4u);
    EXPECT_LT(metrics.back()["loss"], metrics.front()["loss"]) << gradient;
    EXPECT_EQ(metrics.back()["accuracy"], report["top1"]) << "epochs are judged by what is written";
    const Json& evaluations = metrics.back()["evaluations"];
    EXPECT_GE(evaluations["forward"], 8) << "a first slope, one for the first step's size, six for a step";
    EXPECT_EQ(evaluations["backward"] > 0, gradient != "stored");
    EXPECT_NE(outcome.err.find(fmt::format("{:.1f} evaluations a pass", evaluations["forward"].get<double>())),
              std::string::npos)
        << outcome.err;
    EXPECT_EQ(outcome.err.find(" back") != std::string::npos, gradient != "stored");
    EXPECT_NE(read_bytes(path("p.html")).find("evaluations of f a pass"), std::string::npos);
    EXPECT_NE(read_bytes(path("a.onnx")).find("ode.loop"), std::string::npos) << "loops are the default here";
  }
  // The first step of each is the same, its way back aside.
  EXPECT_NEAR(records["stored"][0]["loss"], records["recomputed"][0]["loss"], 1e-3);
  EXPECT_NEAR(records["stored"][0]["loss"], records["adjoint"][0]["loss"], 0.05);
  EXPECT_EQ(records["stored"][0]["evaluations"]["forward"], records["recomputed"][0]["evaluations"]["forward"]);
}

TEST_F(TrainingCli, AdaptiveStepsMayBeWrittenUnrolled) {
  const Arguments more = {"--export", "unrolled", "--epochs", "1", "--solver", "bosh3"};
  ASSERT_EQ(run_program(adaptive(path("a.onnx"), more + Arguments{"--export-steps", "3"})).code, 0);
  const std::string file = read_bytes(path("a.onnx"));
  EXPECT_EQ(file.find("ode.loop"), std::string::npos);
  EXPECT_NE(file.find("ode.conv2_9.out"), std::string::npos) << "three stages of three steps";
  EXPECT_EQ(file.find("ode.conv2_10.out"), std::string::npos);
  EXPECT_EQ(run_program({"eval", path("a.onnx"), "--against", path("a.onnx"), "--data", kTestData}).code, 0);
}

// With steps of equal size, too, whose graph is not unrolled then.
TEST_F(TrainingCli, FixedStepsHaveEachGradient) {
  std::map<std::string, double> losses;
  for (const std::string gradient : {"stored", "recomputed", "adjoint"}) {
    const Arguments fixed = {"train",       "odenet",
                             "-o",          path("a.onnx"),
                             "--data",      kData,
                             "--test-data", kTestData,
                             "--samples",   "32",
                             "--epochs",    "1",
                             "--batch",     "16",
                             "--threads",   "1",
                             "--steps",     "2",
                             "--gradient",  gradient,
                             "--metrics",   path("m.jsonl")};
    const Outcome outcome = run_program(fixed);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_NE(outcome.out.find(gradient == "stored" ? "8 evaluations a pass\n" : "8.0 evaluations a pass, "),
              std::string::npos)
        << outcome.out;
    losses[gradient] = metrics_of(path("m.jsonl")).at(0)["loss"];
  }
  EXPECT_NEAR(losses["stored"], losses["recomputed"], 1e-3);
  EXPECT_NEAR(losses["stored"], losses["adjoint"], 0.05);
}

TEST_F(TrainingCli, AnAdaptiveTrainingGoesOnAfterASignal) {
  const Arguments more = {"--epochs", "4", "--metrics", path("m.jsonl")};
  expect_resumed(adaptive(path("a.onnx"), more), adaptive(path("b.onnx"), more), path("a.onnx"), path("b.onnx"),
                 path("m.jsonl"));
}

TEST_F(TrainingCli, SaysWhatAdaptiveStepsCannotBe) {
  const auto refused = [&](const Arguments& more, const std::string& part, int code = 1) {
    expect_error(run_program(adaptive(path("x.onnx"), more)), part, code);
  };
  refused({"--solver", "rk4"}, "--steps adaptive: solver 'rk4' has no estimate of its error: choose one of heun");
  refused({"--rtol", "0"}, "--rtol: 0 is not above 0", 2);
  refused({"--rtol", "1"}, "a tolerance of 1 cannot be");
  refused({"--gradient", "backward"}, "--gradient: 'backward' is none of adjoint, recomputed, stored", 2);
  refused({"--steps", "0"}, "--steps: '0' is neither adaptive nor a number from 1 to 1000", 2);
  refused({"--steps", "2"}, "odenet: --rtol is for --export loop and --steps adaptive");
  refused({"--export-steps", "4"}, "odenet: --export-steps is for flow and --steps adaptive --export unrolled");
  refused({"--recompute"}, "--recompute is for networks whose ODE blocks are unrolled: leave it out");
  // What float cannot meet ends at the first step, and says where.
  const Outcome outcome = run_program(adaptive(path("x.onnx"), {"--rtol", "1e-12", "--atol", "1e-12"}));
  expect_error(outcome, "odenet: ODE block 'ode': ");
  expect_error(outcome, "this was step 1 (epoch 1)");
  refused({"--learning-rate", "1e9", "--optimizer", "sgd"}, "smaller --learning-rate");
  for (const std::string network : {"resnet8", "flow", "odenet-twin"}) {
    expect_error(run_program({"train", network, "-o", path("x.onnx"), "--data", kData, "--gradient", "adjoint"}),
                 network + ": --gradient is for networks with ODE blocks: leave it out");
  }
  expect_error(run_program({"train", "flow", "-o", path("x.onnx"), "--data", kData, "--steps", "adaptive"}),
               "flow: --steps adaptive is for networks with ODE blocks: give a number");
  EXPECT_FALSE(fs::exists(path("x.onnx")));
}

// `quench train flow`, small.
Arguments flow(const std::string& output, const Arguments& more = {}) {
  return with({"train",
               "flow",
               "-o",
               output,
               "--data",
               "synthetic:moons,count=64",
               "--test-data",
               "synthetic:moons,count=50",
               "--hidden",
               "8",
               "--steps",
               "2",
               "--export-steps",
               "4",
               "--batch",
               "16",
               "--epochs",
               "2",
               "--threads",
               "1"},
              more);
}

TEST_F(TrainingCli, FlowsTrainToASamplerAndADensity) {
  Outcome outcome =
      run_program(flow(path("a.onnx"), {"--metrics", path("m.jsonl"), "--page", path("p.html"), "--json"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(read_bytes(path("p.html")).find("What was learned"), std::string::npos);
  const Json report = Json::parse(outcome.out);
  EXPECT_EQ(report["parameters"], (2 * 8 + 8 * 2) + 4 * (8 + 2));
  const std::vector<Json> records = metrics_of(path("m.jsonl"));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_GT(records[1]["log_likelihood"], records[0]["log_likelihood"]);
  EXPECT_EQ(records[1]["log_likelihood"], report["log_likelihood"]) << "epochs are judged by what is written";
  // Held-out nats are the mean of what the density's file says of the test data.
  ASSERT_EQ(run_program({"data", "synthetic:moons,count=50", "-o", path("x.npy")}).code, 0);
  for (const char* file : {"a.density.onnx", "a.density.quench"}) {
    if (!fs::exists(path(file))) {
      ASSERT_EQ(run_program({"compress", path("a.density.onnx"), "-o", path(file), "--min-snr", "50"}).code, 0);
      ASSERT_EQ(
          run_program({"compress", path("a.sampler.onnx"), "-o", path("a.sampler.quench"), "--min-snr", "50"}).code, 0);
    }
    outcome = run_program({"run", path(file), "--input", path("x.npy"), "--output", "log_density=" + path("log.npy"),
                           "--output", "z=" + path("z.npy")});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    double mean = 0;
    for (const float log : data::read_npy(path("log.npy")).to_float()) mean += double{log} / 50;
    EXPECT_NEAR(mean, report["log_likelihood"].get<double>(), fs::path(file).extension() == ".onnx" ? 1e-5 : 0.02)
        << file;
  }
  // And back.
  ASSERT_EQ(run_program({"run", path("a.sampler.quench"), "--input", path("z.npy"), "--output", path("y.npy")}).code,
            0);
  const std::vector<float> x = data::read_npy(path("x.npy")).to_float(), y = data::read_npy(path("y.npy")).to_float();
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 0.05);
}

TEST_F(TrainingCli, FlowsOfManyDimensionsHaveAnEstimate) {
  write_npz("x.npz", {48, 70}, {});
  for (const Arguments& more :
       {Arguments{"--validation", "16"}, Arguments{"--validation", "16", "--nonlinearity", "softplus"}}) {
    Arguments arguments = flow(path("a.onnx"), more + Arguments{"--data", path("x.npz"), "--json"});
    arguments.erase(std::find(arguments.begin(), arguments.end(), "--test-data") + 1);
    arguments.erase(std::find(arguments.begin(), arguments.end(), "--test-data"));
    const Outcome outcome = run_program(arguments);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_TRUE(Json::parse(outcome.out)["validation_log_likelihood"].is_number());
  }
  expect_error(run_program(flow(path("b.onnx"), {"--data", path("x.npz"), "--trace", "exact"})),
               "--trace exact takes 64 dimensions at most, and these are 70: give --trace hutchinson");
  EXPECT_FALSE(fs::exists(path("b.density.onnx")));
}

TEST_F(TrainingCli, FlowsGoOnFromACheckpoint) {
  const Arguments more = {"--epochs", "40", "--trace", "hutchinson", "--metrics", path("m.jsonl")};
  expect_resumed(flow(path("a.onnx"), more), flow(path("b.onnx"), more), path("a.density.onnx"), path("b.density.onnx"),
                 path("m.jsonl"));
  EXPECT_EQ(read_bytes(path("a.sampler.onnx")), read_bytes(path("b.sampler.onnx")));
}

TEST_F(TrainingCli, WhatNoFlowCanLearnIsRefused) {
  const auto expect_refused = [&](const Arguments& more, const std::string& part) {
    expect_error(run_program(flow(path("x.onnx"), more)), part);
    EXPECT_FALSE(fs::exists(path("x.density.onnx")));
  };
  write_npz("three.npz", {40, 3}, {});
  write_npz("images.npz", {40, 3, 4}, {});
  write_npz("numbers.npz", {40}, {});
  std::vector<float> values(80, 0.5f);
  values[61] = std::nanf("");
  data::write_npy(path("nan.npy"), data::Array::float32({40, 2}, values));
  expect_refused({"--data", "synthetic:squares"}, "synthetic:squares: there is no such set: choose one of");
  expect_refused({"--data", path("images.npz")}, "images.npz: its samples are 3x4: a flow takes rows of numbers");
  expect_refused({"--data", path("numbers.npz")}, "numbers.npz: its samples are single numbers");
  expect_refused({"--data", path("nan.npy")}, "nan.npy: sample 30 is not finite, and has no density: leave it out");
  expect_refused({"--test-data", path("nan.npy")}, "nan.npy: sample 30 is not finite");
  expect_refused({"--test-data", path("three.npz")}, "three.npz: an array of 40x3 does not fit the model's input Nx2");
  expect_refused({"--hidden", "8,9999"}, "a flow with a layer of 9999 cannot be built");
  expect_refused({"--teacher", model()}, "flow: --teacher is for networks that learn labels or from a teacher");
  expect_refused({"--integrator", "euler"}, "flow: --integrator is for residual networks");
  expect_refused({"--export", "loop"}, "flow: --export is for networks with ODE blocks");
  expect_error(run_program(flow(path("x.density"))), "x.density: give a name that ends in .onnx");
  expect_error(run_program({"train", "resnet8", "-o", path("x.onnx"), "--data", kData, "--hidden", "8"}),
               "resnet8: --hidden is for flow");
  expect_error(run_program({"train", "resnet8", "-o", path("x.onnx"), "--data", kData, "--steps", "3"}),
               "resnet8: --steps is for flow and networks with ODE blocks");
}

// Not a classifier: an image in, an image out; no labels.
constexpr const char* kImageModel = R"(
  net (float[N,2,12,12] x) => (float[N,2,12,12] y) <float[24,2,3,3] w1, float[24] b1, float[2,24,5,5] w2>
  { h = Conv<pads = [1,1,1,1]>(x, w1, b1) r = Relu(h) y = Conv<pads = [2,2,2,2]>(r, w2) })";

void fill_weights(onnx::ModelProto& proto) {
  for (const onnx::ValueInfoProto& value : proto.graph().value_info()) {
    onnx::TensorProto& tensor = *proto.mutable_graph()->add_initializer();
    tensor.set_name(value.name());
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    uint32_t count = 1;
    for (const auto& dim : value.type().tensor_type().shape().dim()) {
      tensor.add_dims(dim.dim_value());
      count *= static_cast<uint32_t>(dim.dim_value());
    }
    std::vector<float> values(count);
    for (uint32_t i = 0; i < count; ++i) {  // bell-shaped enough
      float sum = 0;
      for (uint32_t k = 0; k < 4; ++k)
        sum += static_cast<float>(((4 * i + k) * 2654435761u >> 12) % 1024) / 1024 - 0.5f;
      values[i] = 0.15f * sum;
    }
    tensor.set_raw_data(values.data(), values.size() * sizeof(float));
  }
  proto.mutable_graph()->clear_value_info();
}

void write_image_model(const fs::path& model, const fs::path& inputs) {
  onnx::ModelProto proto = testing::parse_text(kImageModel);
  fill_weights(proto);
  quantizer::write_model(model, proto);
  std::vector<float> values(256 * 2 * 144);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(0.37f * static_cast<float>(i % 144)) + std::cos(0.011f * static_cast<float>(i));
  }
  data::write_npy(inputs, data::Array::float32({256, 2, 12, 12}, values));
}

TEST_F(TrainingCli, TuningWithoutLabelsBringsAnImageModelsOutputsCloser) {
  write_image_model(path("image.onnx"), path("x.npy"));
  const Outcome outcome = run_program({"tune",
                                       path("image.onnx"),
                                       "-o",
                                       path("image.quench"),
                                       "--data",
                                       path("x.npy"),
                                       "--test-data",
                                       path("x.npy"),
                                       "--epochs",
                                       "8",
                                       "--batch",
                                       "32",
                                       "--threads",
                                       "1",
                                       "--ratio",
                                       "5.5",
                                       "--metrics",
                                       path("m.jsonl"),
                                       "--json",
                                       path("r.json"),
                                       "--learning-rate",
                                       "0.003"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<Json> records = metrics_of(path("m.jsonl"));
  const double first = records.front()["snr_db"].get<double>(), last = records.back()["snr_db"].get<double>();
  EXPECT_GT(last, first + 1);
  const Json report = Json::parse(read_bytes(path("r.json")));
  EXPECT_NEAR(report["snr_db"].get<double>(), last, 2) << "small tensors are rounded in the file";
  EXPECT_TRUE(report["top1"].is_null());
}

TEST_F(TrainingCli, DataThatDoesNotFitIsRefused) {
  write_npz("small.npz", {40, 3, 8, 8}, std::vector<int64_t>(40, 1));
  for (const char* command : {"tune", "train"}) {
    expect_error(run_program({command, model(), "-o", path("a.out"), "--data", path("small.npz")}),
                 "small.npz: an array of 40x3x8x8 does not fit the model's input Nx3x16x16");
    expect_error(run_program({command, model(), "-o", path("a.out"), "--data", path("missing.npz")}), "missing.npz");
    expect_error(run_program({command, model(), "-o", path("a.out"), "--data", kData, "--batch", "97"}),
                 "has 96 samples, fewer than a batch of 97");
  }
  EXPECT_FALSE(fs::exists(path("a.out")));
}

TEST_F(TrainingCli, LabelsOutOfRangeAreRefused) {
  std::vector<int64_t> labels(40, 3);
  for (const char* command : {"tune", "train"}) {
    const Arguments arguments = {command, model(), "-o", path("a.out"), "--batch", "20", "--epochs", "1"};
    labels[7] = 12;
    write_npz("high.npz", {40, 3, 16, 16}, labels);
    expect_error(run_program(arguments + Arguments{"--data", path("high.npz")}),
                 "high.npz: there are labels up to 12, but the model's scores are for 10 classes");
    if (arguments[0] == "tune") {  // folders of an embedding net's images, say
      EXPECT_EQ(run_program(arguments + Arguments{"--data", path("high.npz"), "--label-share", "0"}).code, 0);
    }
    labels[7] = -1;
    write_npz("low.npz", {40, 3, 16, 16}, labels);
    expect_error(run_program(arguments + Arguments{"--data", path("low.npz")}), "low.npz: label -1 is below 0");
  }
}

TEST_F(TrainingCli, LabelsOfFewerClassesDoForTraining) {
  std::vector<int64_t> labels(40, 3);
  write_npz("few.npz", {40, 3, 16, 16}, labels);
  const Outcome outcome = run_program({"train", model(), "-o", path("a.onnx"), "--batch", "20", "--epochs", "1",
                                       "--data", path("few.npz"), "--test-data", path("few.npz"), "--threads", "1"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("top-1"), std::string::npos) << outcome.out;
}

TEST_F(TrainingCli, TrainingWithoutLabelsNeedsATeacher) {
  write_npz("x.npz", {40, 3, 16, 16}, {});
  const Arguments arguments = {"train", model(),    "-o", path("a.onnx"), "--data", path("x.npz"), "--batch",
                               "20",    "--epochs", "1",  "--threads",    "1"};
  expect_error(run_program(arguments), "there are no labels: a teacher is needed");
  const Outcome taught = run_program(arguments + Arguments{"--teacher", model()});
  EXPECT_EQ(taught.code, 0) << taught.err;
}

TEST_F(TrainingCli, ALossThatIsNotFiniteEndsTheRun) {
  for (const Arguments& arguments :
       {train("a.onnx", {"--learning-rate", "1e12"}), tune("a.quench", {"--learning-rate", "1e12"})}) {
    const Outcome outcome = run_program(arguments);
    expect_error(outcome, "not finite at step ");
    EXPECT_EQ(outcome.err.find("last good checkpoint"), std::string::npos) << "there is none: " << outcome.err;
  }
  EXPECT_FALSE(fs::exists(path("a.onnx")));
}

TEST_F(TrainingCli, TheLastGoodCheckpointIsKept) {
  // A checkpoint of each step, of which the first is good.
  const Outcome outcome =
      run_program(train("a.onnx", {"--learning-rate", "1e12", "--schedule", "cosine", "--checkpoint-minutes", "1e-9"}));
  expect_error(outcome, "not finite at step ");
  expect_error(outcome, "the last good checkpoint is " + path("a.onnx.checkpoint"));
  EXPECT_TRUE(fs::exists(path("a.onnx.checkpoint")));
}

TEST_F(TrainingCli, AFullDeviceIsNamed) {
  expect_error(run_program(train("a.onnx", {"--checkpoint", "/dev/full"})), "/dev/full");
  expect_error(run_program(tune("a.quench", {"--checkpoint", "/dev/full"})), "/dev/full");
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST_F(TrainingCli, AKilledTuningLeavesNothingButItsCheckpoint) {
  fs::create_directory(path("out"));
  const Arguments more = {"--checkpoint", path("out/c"), "--checkpoint-minutes", "1e-9"};
  expect_old_or_new(tune("out/a.quench", more), path("out/a.quench"), SIGKILL, 3, {"c"});
}

// Every file that tune and train read against every option that names one to write.
TEST_F(TrainingCli, NothingIsOverwritten) {
  const onnx::ModelProto teacher = quantizer::make_small_model({.channels = 16, .nan_weight = false});
  quantizer::write_model(path("teacher.onnx"), teacher);
  SaveOptions external;
  external.external_data = SaveOptions::ExternalData::kAlways;
  save(path("model.onnx"), load(model()), external);
  for (const char* name : {"data.npz", "test.npz"}) write_npz(name, {8, 3, 16, 16}, {0, 1, 2, 3, 4, 5, 6, 7});
  const std::vector<std::string> reads = {path("model.onnx"), path("model.onnx.data"), path("teacher.onnx"),
                                          path("data.npz"), path("test.npz")};
  const auto contents = [&] {
    std::vector<std::string> all;
    for (const std::string& file : reads) all.push_back(read_bytes(file));
    return all;
  };
  const std::vector<std::string> before = contents();
  for (const char* command : {"tune", "train"}) {
    const Arguments base = {command,       path("model.onnx"),   "-o",     path("out"),
                            "--teacher",   path("teacher.onnx"), "--data", path("data.npz"),
                            "--test-data", path("test.npz")};
    for (const char* option : {"-o", "--metrics", "--page", "--checkpoint", "--json"}) {
      for (const std::string& file : reads) {
        Arguments arguments = base;
        if (std::string(option) == "-o") arguments[3] = file;
        if (std::string(option) != "-o") arguments = base + Arguments{option, file};
        SCOPED_TRACE(std::string(command) + " " + option + " " + file);
        expect_error(run_program(arguments), "has another use in the command, and would be overwritten");
        ASSERT_EQ(contents(), before);
      }
      if (std::string(option) != "-o") {
        expect_error(run_program(base + Arguments{option, path("out")}), "would be overwritten");
      }
    }
    for (const auto& [one, other] :
         {std::pair("--metrics", "--page"), std::pair("--metrics", "--json"), std::pair("--page", "--json")}) {
      expect_error(run_program(base + Arguments{one, path("m"), other, path("./m")}), "would be overwritten");
    }
  }
}

// Stopped by a signal as soon as there is the file `checkpoint`.
void stop_at_once(const Arguments& arguments, const std::string& checkpoint) {
  const pid_t process = start_program(arguments);
  for (int tries = 0; tries < 3000 && !fs::exists(checkpoint); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ::kill(process, SIGTERM);
  ASSERT_EQ(wait_for(process), 1);
}

TEST_F(TrainingCli, ACheckpointOfAnotherRunIsRefused) {
  const Arguments stopped =
      tune("a.quench", {"--epochs", "50", "--checkpoint", path("c"), "--checkpoint-minutes", "1e-9"});
  ASSERT_NO_FATAL_FAILURE(stop_at_once(stopped, path("c")));
  quantizer::write_model(path("other.onnx"), quantizer::make_small_model({.channels = 16, .nan_weight = false}));
  Arguments other = stopped;
  other[1] = path("other.onnx");
  const Arguments resume = {"--resume"};
  expect_error(run_program(other + resume), "this checkpoint is of another model");
  ASSERT_EQ(run_program(train("other.onnx", {"--epochs", "1"})).code, 0);  // the same graph with other weights
  expect_error(run_program(other + resume), "this checkpoint is of another model");
  const auto expect_refused = [&](const Arguments& arguments, const std::string& difference) {
    expect_error(run_program(arguments + resume), path("c") + ": this checkpoint is of a run with " + difference +
                                                      "; --resume needs the options that the run began with");
  };
  expect_refused(with(stopped, {"--data", "synthetic:shapes,count=64"}),
                 std::string("--data ") + kData + ", not synthetic:shapes,count=64");
  expect_refused(with(stopped, {"--test-data", "synthetic:shapes,count=41"}),
                 std::string("--test-data ") + kTestData + ", not synthetic:shapes,count=41");
  for (const auto& [option, difference] : std::vector<std::pair<Arguments, std::string>>{
           {{"--mean", "0.5"}, "--mean none, not 0.5"},
           {{"--std", "0.25"}, "--std none, not 0.25"},
           {{"--scale", "1"}, "--scale at its default, not 1"},
           {{"--layout", "nchw"}, "--layout at its default, not nchw"},
           {{"--seed", "2"}, "--seed 1, not 2"},
           {{"--learning-rate", "0.1"}, "--learning-rate 0.02, not 0.1"},
           {{"--teacher", path("other.onnx")}, "--teacher none, not " + path("other.onnx")},
           {{"--ratio", "9"}, "--ratio at its default, not 9"},
           {{"--dimension", "2"}, "--dimension 1, not 2"},
           {{"--codebook", "tensor"}, "--codebook model, not tensor"},
           {{"--equal-steps"}, "--equal-steps off, not on"},
           {{"--exclude", "first.*"}, "--exclude none, not first.*"}}) {
    expect_refused(stopped + option, difference);
  }
  expect_refused(train("a.onnx", {"--epochs", "50", "--checkpoint", path("c")}), "the command tune, not train");

  std::string damaged = read_bytes(path("c"));
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  std::ofstream(path("c"), std::ios::binary) << damaged;
  expect_error(run_program(stopped + resume), "c: the checkpoint is damaged");
  damaged[6] = '0';
  std::ofstream(path("c"), std::ios::binary) << damaged;
  expect_error(run_program(stopped + resume), "c: this checkpoint is of another version");
  std::ofstream(path("c"), std::ios::binary) << "hello";
  expect_error(run_program(stopped + resume), "c: this is no checkpoint");
  fs::remove(path("c"));
  expect_error(run_program(stopped + resume), path("c"));
}

TEST_F(TrainingCli, ACheckpointOfAnotherNetworkIsRefused) {
  Arguments network = train("a.onnx", {"--epochs", "50", "--checkpoint", path("c"), "--checkpoint-minutes", "1e-9"});
  network[1] = "resnet20";
  ASSERT_NO_FATAL_FAILURE(stop_at_once(network, path("c")));
  const Arguments resume = {"--resume"};
  expect_error(run_program(network + Arguments{"--integrator", "linear-multistep"} + resume),
               "--integrator euler, not linear-multistep");
  expect_error(run_program(network + Arguments{"--classes", "12"} + resume), "--classes 10, not 12");
  expect_error(run_program(network + Arguments{"--seed", "4"} + resume), "--seed 1, not 4");
  expect_error(run_program(network + Arguments{"--mean", "0.4"} + resume), "--mean none, not 0.4");
}

TEST_F(TrainingCli, ACheckpointOfAnotherSolverIsRefused) {
  const Arguments network =
      adaptive(path("a.onnx"), {"--epochs", "50", "--checkpoint", path("c"), "--checkpoint-minutes", "1e-9"});
  ASSERT_NO_FATAL_FAILURE(stop_at_once(network, path("c")));
  const auto refused = [&](const Arguments& more, const std::string& difference) {
    expect_error(run_program(with(network, more) + Arguments{"--resume"}), difference);
  };
  refused({"--gradient", "adjoint"}, "--gradient recomputed, not adjoint");
  refused({"--rtol", "0.02"}, "--rtol 0.01, not 0.02");
  refused({"--solver", "tsit5"}, "--solver dopri5, not tsit5");
  refused({"--steps", "8", "--solver", "dopri5", "--export", "loop"}, "--steps adaptive, not 8");
}

TEST_F(TrainingCli, DevicesThatAreNotThereAreNamed) {
  for (const char* command : {"tune", "train"}) {
    const Arguments arguments = {command, model(), "-o", path("a.out"), "--data", kData, "--device"};
    expect_error(run_program(arguments + Arguments{"nonsense"}), "device 'nonsense': give cpu, cuda or cuda:N");
    if (!fs::exists("/dev/nvidiactl")) {
      expect_error(run_program(arguments + Arguments{"cuda"}), "device 'cuda': this LibTorch has no CUDA");
    }
  }
}

TEST_F(TrainingCli, AFixedBatchIsAskedFor) {
  onnx::ModelProto proto = testing::parse_text(R"(
    net (float[4,3,16,16] x) => (float[4,48,14,14] y) <float[48,3,3,3] w> { y = Conv(x, w) })");
  fill_weights(proto);
  quantizer::write_model(path("four.onnx"), proto);
  write_npz("x.npz", {8, 3, 16, 16}, {});
  const Arguments arguments = {"tune",   path("four.onnx"), "-o",       path("a.quench"),
                               "--data", path("x.npz"),     "--epochs", "1"};
  expect_error(run_program(arguments), "four.onnx: takes batches of 4: give --batch 4");
  EXPECT_EQ(run_program(arguments + Arguments{"--batch", "4"}).code, 0);
}

TEST_F(TrainingCli, TrainingImagesAreNotTheTestImages) {
  // Named or not, the split to train on is not the one to measure on.
  for (const char* data : {"synthetic:shapes,count=64", "synthetic:shapes,count=64,split=train"}) {
    Arguments arguments = train("a.onnx", {"--epochs", "1", "--data", data});
    arguments.erase(std::find(arguments.begin(), arguments.end(), "--test-data"),
                    std::find(arguments.begin(), arguments.end(), "--test-data") + 2);
    const Outcome trained = run_program(arguments + Arguments{"--json"});
    ASSERT_EQ(trained.code, 0) << trained.err;
    const Outcome eval =
        run_program({"eval", path("a.onnx"), "--data", "synthetic:shapes,count=64,split=test", "--json"});
    ASSERT_EQ(eval.code, 0) << eval.err;
    EXPECT_EQ(Json::parse(trained.out)["top1"], Json::parse(eval.out)["top1"]) << data;
  }
}

TEST_F(TrainingCli, ModelsOfTwoInputsAreRefused) {
  onnx::ModelProto proto = testing::parse_text(R"(
    net (float[N,3,16,16] x, float[N,3,16,16] z) => (float[N,8,14,14] y) <float[48,3,3,3] w>
    { sum = Add(x, z) y = Conv(sum, w) })");
  fill_weights(proto);
  quantizer::write_model(path("two.onnx"), proto);
  for (const char* command : {"tune", "train"}) {
    expect_error(run_program({command, path("two.onnx"), "-o", path("a.out"), "--data", kData}),
                 "has 2 inputs; training takes models with one");
  }
}

TEST_F(TrainingCli, OperatorsThatCannotBeTrainedAreNamed) {
  write_text_model("strange.onnx", R"(net (float[N,3,16,16] x) => (float[N,3,16,16] y) { y = Shrink(x) })");
  expect_error(run_program({"train", path("strange.onnx"), "-o", path("a.onnx"), "--data", kData}), "(Shrink)");
}

TEST_F(TrainingCli, ATeacherWithOtherOutputsIsRefused) {
  onnx::ModelProto proto = testing::parse_text(R"(
    net (float[N,3,16,16] x) => (float[N,7] y) <float[3,7] w> { p = GlobalAveragePool(x) f = Flatten(p) y = Gemm(f, w) })");
  fill_weights(proto);
  quantizer::write_model(path("seven.onnx"), proto);
  expect_error(run_program(tune("a.quench", {"--teacher", path("seven.onnx")})), "the teacher's outputs are not");
  proto = testing::parse_text(R"(net (float[N,3,16,16] x) => (float[N,10] y, float[N,10] z) <float[3,10] w>
                                 { p = GlobalAveragePool(x) f = Flatten(p) y = Gemm(f, w) z = Neg(y) })");
  fill_weights(proto);
  quantizer::write_model(path("pair.onnx"), proto);
  expect_error(run_program(train("a.onnx", {"--teacher", path("pair.onnx")})), "the teacher's outputs are not");
}

TEST_F(TrainingCli, WithoutTheTrainingProgramOneIsTold) {
  fs::copy_file(QUENCH_PROGRAM, path("quench"));
  const std::string command =
      "cd / && PATH=/nonexistent " + path("quench") + " tune a.onnx -o b.quench --data x 2> " + path("err");
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_EQ(read_bytes(path("err")),
            "quench: error: 'tune' needs the program quench-training, which is not installed: build Quench with "
            "LibTorch\n");
}

class CodecTraining : public TrainingCli {
 protected:
  void SetUp() override {
    for (const char* name : {"photos", "test"}) {
      fs::create_directory(path(name));
      data::write_png(path(name) + "/a.png", measure::noisy_ramp(184, 184, 3, 1, 30));
    }
  }
  Arguments codec(const char* prefix, const Arguments& more = {}) const {
    return Arguments{"codec",       "train",      "-o",        path(prefix), "--data", path("photos"),
                     "--test-data", path("test"), "--float32", "--threads",  "1",      "--channels",
                     "8",           "--latents",  "4",         "--blocks",   "1",      "--qualities",
                     "3",           "--centers",  "7",         "--crop",     "176",    "--samples",
                     "4",           "--batch",    "2",         "--epochs",   "2"} +
           more;
  }
};

TEST_F(CodecTraining, WritesNetworksMetricsAndAPageWithPictures) {
  const Outcome outcome = run_program(codec("a", {"--metrics", path("m.jsonl"), "--page", path("p.html"), "--json"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  ASSERT_EQ(report["rates"].size(), 3u);
  ASSERT_EQ(metrics_of(path("m.jsonl")).size(), 2u);
  const std::string page = read_bytes(path("p.html"));
  size_t pictures = 0;
  for (size_t at = page.find("<img "); at != std::string::npos; at = page.find("<img ", at + 1)) ++pictures;
  EXPECT_EQ(pictures, 4u) << "the original, and each quality";
  EXPECT_NE(
      page.find(fmt::format("quality 3: {:.3f} bits per pixel", report["rates"][2]["bits_per_pixel"].get<double>())),
      std::string::npos);
  const Arguments encode = {"codec",     "encode", path("test") + "/a.png", "-o", path("a.qim"), "--codec", path("a"),
                            "--quality", "2"};
  EXPECT_EQ(run_program(encode).code, 0);
  expect_error(run_program(codec("b", {"--bpp", "0.8", "0.1"})), "--bpp: the finest quality");
}

std::string free_port() {
  const int file = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  EXPECT_EQ(::bind(file, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::getsockname(file, reinterpret_cast<sockaddr*>(&address), &length), 0);
  ::close(file);
  return std::to_string(ntohs(address.sin_port));
}

class Ranks : public CodecTraining {
 protected:
  // Starts a rank of two, whose standard error goes to a file.
  pid_t start(int rank, const std::string& port, const Arguments& arguments) const {
    const pid_t process = ::fork();
    if (process != 0) return process;
    ::setenv("WORLD_SIZE", "2", 1);
    ::setenv("RANK", std::to_string(rank).c_str(), 1);
    ::setenv("MASTER_ADDR", "127.0.0.1", 1);
    ::setenv("MASTER_PORT", port.c_str(), 1);
    ::alarm(100);
    const int err = ::open(errors(rank).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(err, STDERR_FILENO);
    ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
    Arguments all = Arguments{QUENCH_PROGRAM} + arguments;
    std::vector<char*> argv;
    for (std::string& each : all) argv.push_back(each.data());
    argv.push_back(nullptr);
    ::execv(QUENCH_PROGRAM, argv.data());
    ::_exit(127);
  }
  std::string errors(int rank) const { return path(rank == 0 ? "err0" : "err1"); }
  void run_two(const Arguments& arguments) const {
    const std::string port = free_port();
    const pid_t first = start(0, port, arguments), second = start(1, port, arguments);
    EXPECT_EQ(wait_for(first), 0) << read_bytes(errors(0));
    EXPECT_EQ(wait_for(second), 0) << read_bytes(errors(1));
  }
};

TEST_F(Ranks, EachTakesAdaptiveStepsOfItsOwn) {
  const Arguments more = {"--epochs", "2", "--gradient", "adjoint"};
  ASSERT_EQ(run_program(adaptive(path("a.onnx"), more + Arguments{"--metrics", path("one.jsonl")})).code, 0);
  const Arguments arguments = adaptive(path("b.onnx"), more + Arguments{"--metrics", path("two.jsonl")});
  run_two(arguments);
  const std::vector<Json> one = metrics_of(path("one.jsonl")), two = metrics_of(path("two.jsonl"));
  ASSERT_EQ(two.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(two[i]["loss"], one[i]["loss"], 0.1);
    for (const char* way : {"forward", "backward"}) {
      EXPECT_NEAR(two[i]["evaluations"][way], one[i]["evaluations"][way], 8) << "of a process, not of all";
    }
  }
}

TEST_F(Ranks, TwoWithHalfBatchesFollowOneWithTheWhole) {
  const Arguments more = {"--epochs", "3", "--learning-rate", "0.01", "--price", "0.05"};
  ASSERT_EQ(run_program(tune("a.quench", more + Arguments{"--metrics", path("one.jsonl")})).code, 0);
  const Arguments arguments = tune("b.quench", more + Arguments{"--metrics", path("two.jsonl")});
  run_two(arguments);
  const std::vector<Json> one = metrics_of(path("one.jsonl")), two = metrics_of(path("two.jsonl"));
  ASSERT_EQ(one.size(), 3u);
  ASSERT_EQ(two.size(), 3u);
  for (size_t i = 0; i < one.size(); ++i) {
    const double loss = one[i]["loss"].get<double>();
    EXPECT_NEAR(two[i]["loss"].get<double>(), loss, 1e-4 * loss) << "epoch " << i + 1;
    EXPECT_NEAR(two[i]["quantization"]["entropy"].get<double>(), one[i]["quantization"]["entropy"].get<double>(), 1e-2);
    EXPECT_NEAR(two[i]["accuracy"].get<double>(), one[i]["accuracy"].get<double>(), 0.05) << "each measures its share";
  }
  EXPECT_NEAR(static_cast<double>(fs::file_size(path("b.quench"))),
              static_cast<double>(fs::file_size(path("a.quench"))),
              0.01 * static_cast<double>(fs::file_size(path("a.quench"))));
}

TEST_F(Ranks, TwoTrainACodecAsOneDoes) {
  const Arguments more = {"--bpp", "0.5", "2"};
  ASSERT_EQ(run_program(codec("a", more + Arguments{"--metrics", path("one.jsonl")})).code, 0);
  const Arguments arguments = codec("b", more + Arguments{"--metrics", path("two.jsonl")});
  run_two(arguments);
  const std::vector<Json> one = metrics_of(path("one.jsonl")), two = metrics_of(path("two.jsonl"));
  ASSERT_EQ(two.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const double loss = one[i]["loss"].get<double>();
    EXPECT_NEAR(two[i]["loss"].get<double>(), loss, 1e-4 * loss);
    const double rate = one[i]["rates"][2]["bits_per_pixel"].get<double>();
    EXPECT_NEAR(two[i]["rates"][2]["bits_per_pixel"].get<double>(), rate, 1e-3 * rate);
  }
  EXPECT_TRUE(fs::exists(path("b.decoder.onnx")));
}

TEST_F(Ranks, TwoMatchOutputsAsOneDoes) {
  write_image_model(path("image.onnx"), path("x.npy"));
  const auto arguments = [&](const char* output, const char* metrics) {
    return Arguments{"tune",
                     path("image.onnx"),
                     "-o",
                     path(output),
                     "--data",
                     path("x.npy"),
                     "--test-data",
                     path("x.npy"),
                     "--batch",
                     "8",
                     "--samples",
                     "64",
                     "--epochs",
                     "2",
                     "--price",
                     "0.05",
                     "--float32",
                     "--metrics",
                     path(metrics),
                     "--threads",
                     "1"};
  };
  ASSERT_EQ(run_program(arguments("a.quench", "one.jsonl")).code, 0);
  const std::string port = free_port();
  const pid_t first = start(0, port, arguments("b.quench", "two.jsonl"));
  const pid_t second = start(1, port, arguments("b.quench", "two.jsonl"));
  EXPECT_EQ(wait_for(first), 0) << read_bytes(errors(0));
  EXPECT_EQ(wait_for(second), 0) << read_bytes(errors(1));
  const std::vector<Json> one = metrics_of(path("one.jsonl")), two = metrics_of(path("two.jsonl"));
  ASSERT_EQ(two.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(two[i]["loss"].get<double>() / one[i]["loss"].get<double>(), 1, 1e-3) << "epoch " << i + 1;
    EXPECT_NEAR(two[i]["snr_db"].get<double>(), one[i]["snr_db"].get<double>(), 0.1) << "epoch " << i + 1;
  }
}

TEST_F(Ranks, TwoGoOnFromTheCheckpointOfTheFirst) {
  const auto arguments = [&](const char* output, int rank) {
    return tune(output, {"--epochs", "6", "--ratio", "8", "--metrics", path(rank == 0 ? "m.jsonl" : "none.jsonl"),
                         "--checkpoint", path(rank == 0 ? "c" : "elsewhere")});
  };
  const auto run_both = [&](const char* output, const Arguments& more) {
    const std::string port = free_port();
    const pid_t first = start(0, port, arguments(output, 0) + more),
                second = start(1, port, arguments(output, 1) + more);
    return std::pair(first, second);
  };
  const auto whole = run_both("a.quench", {});
  EXPECT_EQ(wait_for(whole.first), 0) << read_bytes(errors(0));
  EXPECT_EQ(wait_for(whole.second), 0) << read_bytes(errors(1));
  fs::remove(path("m.jsonl"));

  const auto broken = run_both("b.quench", {});
  for (int tries = 0; tries < 4000 && !fs::exists(path("m.jsonl")); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ::kill(broken.second, SIGTERM);  // whichever gets it, both stop
  EXPECT_EQ(wait_for(broken.first), 1);
  EXPECT_EQ(wait_for(broken.second), 1);
  EXPECT_NE(read_bytes(errors(0)).find("stopped by a signal at step"), std::string::npos) << read_bytes(errors(0));
  EXPECT_TRUE(fs::exists(path("c")));
  EXPECT_FALSE(fs::exists(path("elsewhere")));

  const auto resumed = run_both("b.quench", {"--resume"});
  EXPECT_EQ(wait_for(resumed.first), 0) << read_bytes(errors(0));
  EXPECT_EQ(wait_for(resumed.second), 0) << read_bytes(errors(1));
  EXPECT_EQ(read_bytes(path("a.quench")), read_bytes(path("b.quench")));
}

TEST_F(Ranks, TwoSearchTogether) {
  const Arguments arguments = tune("a.quench", {"--max-drop", "30", "--ratio", "60", "--epochs", "1"});
  run_two(arguments);
  EXPECT_TRUE(fs::exists(path("a.quench")));
  EXPECT_FALSE(fs::exists(path("a.quench.trial")));
  EXPECT_FALSE(fs::exists(path("a.quench.trial.1")));
}

TEST_F(Ranks, ADeadOneEndsTheOther) {
  const std::string port = free_port();
  const Arguments arguments =
      tune("a.quench", {"--epochs", "5000", "--checkpoint-minutes", "1e-9", "--metrics", path("m.jsonl")});
  const pid_t first = start(0, port, arguments), second = start(1, port, arguments);
  for (int tries = 0; tries < 4000 && !fs::exists(path("m.jsonl")); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ::kill(second, SIGKILL);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(wait_for(second), 128 + SIGKILL);
  EXPECT_EQ(wait_for(first), 1);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
  const std::string error = read_bytes(errors(0));
  EXPECT_NE(error.find("quench: error: rank 0 of 2 lost contact with another rank"), std::string::npos) << error;
  EXPECT_TRUE(fs::exists(path("a.quench.checkpoint"))) << "to go on from";
}

}  // namespace
}  // namespace quench::cli
