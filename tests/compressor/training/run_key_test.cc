// Every option of tune and train is visited, and the one that differs is named.
#include "compressor/training/run_key.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>
#include <type_traits>
#include <utility>

#include "compressor/training/visit_options.h"

namespace quench::training {
namespace {

struct AnyNumber {
  template <typename T>
  requires(std::is_arithmetic_v<T>) operator T() const;
};
struct AnyOther {
  template <typename T>
  requires(!std::is_arithmetic_v<T>) operator T() const;
};

// How many members an aggregate has: as many as it can be made from.
template <typename T, typename... Given>
constexpr size_t members() {
  if constexpr (requires { T{std::declval<Given>()..., std::declval<AnyNumber>()}; }) {
    return members<T, Given..., AnyNumber>();
  } else if constexpr (requires { T{std::declval<Given>()..., std::declval<AnyOther>()}; }) {
    return members<T, Given..., AnyOther>();
  } else {
    return sizeof...(Given);
  }
}

struct Names {
  std::vector<std::string> all;
  std::set<std::string> bound;
  template <typename Value>
  void must_match(const char* name, const Value&) {
    all.emplace_back(name);
    bound.insert(name);
  }
  void may_change(const char* name) { all.emplace_back(name); }
};

template <typename Options>
Names names_of(const Options& options) {
  Names names;
  visit_options(options, names);
  return names;
}

TEST(RunKey, EveryOptionIsVisitedOnce) {
  const size_t of_data = members<data::DatasetOptions>();
  const size_t of_loop = members<LoopOptions>() - 1 + of_data;  // preprocessing is one of them
  const size_t of_tune = members<TuneOptions>() - 1 + of_loop;
  EXPECT_EQ(names_of(data::DatasetOptions()).all.size(), of_data);
  EXPECT_EQ(names_of(LoopOptions()).all.size(), of_loop);
  const Names names = names_of(TuneOptions());
  EXPECT_EQ(names.all.size(), of_tune);
  EXPECT_EQ(std::set<std::string>(names.all.begin(), names.all.end()).size(), of_tune) << "by names of their own";
}

// From the one run to the other, whose option the message names.
struct Change {
  const char* difference;
  std::function<void(TuneOptions&)> make;
};

const std::vector<Change>& changes() {
  static const std::vector<Change> list = {
      {"--data none, not a", [](TuneOptions& o) { o.loop.data = "a"; }},
      {"--test-data none, not b", [](TuneOptions& o) { o.loop.test_data = "b"; }},
      {"--mean none, not 0.5,0.25",
       [](TuneOptions& o) {
         o.loop.preprocessing.mean = {0.5f, 0.25f};
       }},
      {"--std none, not 2", [](TuneOptions& o) { o.loop.preprocessing.std = {2}; }},
      {"--scale at its default, not 1", [](TuneOptions& o) { o.loop.preprocessing.scale = 1; }},
      {"--layout at its default, not nhwc", [](TuneOptions& o) { o.loop.preprocessing.layout = data::Layout::kNhwc; }},
      {"--order rgb, not bgr", [](TuneOptions& o) { o.loop.preprocessing.bgr = true; }},
      {"whether the preprocessing is the file's own off, not on",
       [](TuneOptions& o) { o.loop.preprocessing.images_only = true; }},
      {"--validation 0, not 7", [](TuneOptions& o) { o.loop.validation = 7; }},
      {"--samples 0, not 9", [](TuneOptions& o) { o.loop.samples = 9; }},
      {"--epochs 10, not 11", [](TuneOptions& o) { o.loop.epochs = 11; }},
      {"--batch 128, not 64", [](TuneOptions& o) { o.loop.batch = 64; }},
      {"--optimizer sgd, not adam", [](TuneOptions& o) { o.loop.optimizer = OptimizerKind::kAdam; }},
      {"--schedule cosine, not one-cycle", [](TuneOptions& o) { o.loop.schedule = RateSchedule::kOneCycle; }},
      {"--learning-rate 0.02, not 0.020000000000000004",
       [](TuneOptions& o) { o.loop.learning_rate = std::nextafter(0.02, 1); }},
      {"--momentum 0.9, not 0.8", [](TuneOptions& o) { o.loop.momentum = 0.8; }},
      {"--weight-decay 0, not 1", [](TuneOptions& o) { o.loop.weight_decay = 1; }},
      {"--no-augment off, not on", [](TuneOptions& o) { o.loop.augment = false; }},
      {"whether it is a density that is learned off, not on", [](TuneOptions& o) { o.loop.likelihood = true; }},
      {"--drop-path 0, not 0.5", [](TuneOptions& o) { o.loop.drop_path = 0.5; }},
      {"--recompute off, not on", [](TuneOptions& o) { o.loop.recompute = true; }},
      {"--teacher none, not t.onnx", [](TuneOptions& o) { o.loop.teacher = "t.onnx"; }},
      {"--temperature 4, not 3", [](TuneOptions& o) { o.loop.temperature = 3; }},
      {"--label-share at its default, not 0.1", [](TuneOptions& o) { o.loop.label_share = 0.1; }},
      {"--float32 (or a --device for which that is faster) off, not on",
       [](TuneOptions& o) { o.loop.bfloat16 = false; }},
      {"--seed 1, not 2", [](TuneOptions& o) { o.loop.seed = 2; }},
      {"--ratio at its default, not 20", [](TuneOptions& o) { o.ratio = 20; }},
      {"--bits at its default, not 2", [](TuneOptions& o) { o.bits = 2; }},
      {"--max-drop at its default, not 0.5", [](TuneOptions& o) { o.max_drop = 0.5; }},
      {"--annealing hard, not gap", [](TuneOptions& o) { o.annealing = Annealing::kGap; }},
      {"--dimension 1, not 2", [](TuneOptions& o) { o.dimension = 2; }},
      {"--centers 75, not 76", [](TuneOptions& o) { o.centers = 76; }},
      {"--codebook model, not tensor", [](TuneOptions& o) { o.codebook = quantizer::CodebookScope::kTensor; }},
      {"--channel-scales off, not on", [](TuneOptions& o) { o.channel_scales = true; }},
      {"--learn-scales off, not on", [](TuneOptions& o) { o.learn_scales = true; }},
      {"--equal-steps off, not on", [](TuneOptions& o) { o.equal_steps = true; }},
      {"--step at its default, not 1.5", [](TuneOptions& o) { o.step = 1.5; }},
      {"--sigma 0.4, not 1", [](TuneOptions& o) { o.sigma = 1; }},
      {"--sigma-growth 20, not 21", [](TuneOptions& o) { o.sigma_growth = 21; }},
      {"--soft-share 0.4, not 0.5", [](TuneOptions& o) { o.soft_share = 0.5; }},
      {"--beta at its default, not 0", [](TuneOptions& o) { o.beta = 0; }},
      {"--price at its default, not 0", [](TuneOptions& o) { o.price = 0; }},
      {"--coder arithmetic, not rans", [](TuneOptions& o) { o.coder = entropy::Coder::kRans; }},
      {"--exclude none, not a*,b", [](TuneOptions& o) {
         o.exclude = {"a*", "b"};
       }}};
  return list;
}

TEST(RunKey, NamesTheOptionThatDiffers) {
  const TuneOptions options;
  const auto texts = run_key(options).to_texts();
  EXPECT_EQ(run_key(options).difference(texts), "");
  for (const Change& change : changes()) {
    TuneOptions other;
    change.make(other);
    EXPECT_EQ(run_key(other).difference(texts), change.difference);
  }
  EXPECT_EQ(changes().size(), names_of(options).bound.size()) << "each of them is tried";
}

TEST(RunKey, NamesTheCommandThenTheNetworkThenOptions) {
  EXPECT_EQ(run_key(LoopOptions()).difference(run_key(TuneOptions()).to_texts()), "the command tune, not train");
  LoopOptions options;
  options.seed = 3;
  EXPECT_EQ(run_key(options).difference(run_key(LoopOptions()).to_texts()), "--seed 1, not 3");
  RunKey four, eight;
  four.add("--steps", "4");
  eight.add("--steps", "8");
  EXPECT_EQ(run_key(options, eight).difference(run_key(LoopOptions(), four).to_texts()), "--steps 4, not 8");
}

TEST(RunKey, WhereARunIsSavedAndByWhatMachineMayChange) {
  TuneOptions other;
  other.loop.threads = 7;
  other.loop.device = "cuda:1";
  other.loop.checkpoint = "elsewhere";
  other.loop.checkpoint_minutes = 1;
  other.loop.resume = true;
  other.loop.preprocessing.model_input = {1, 2};
  EXPECT_EQ(run_key(other).difference(run_key(TuneOptions()).to_texts()), "");
}

TEST(RunKey, WhatAnotherVersionDidNotKnowIsADifference) {
  auto texts = run_key(TuneOptions()).to_texts();
  texts.erase("option.--exclude");
  EXPECT_EQ(run_key(TuneOptions()).difference(texts), "no --exclude");
}

}  // namespace
}  // namespace quench::training
