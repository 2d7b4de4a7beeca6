// The parts of the training loop: batches, losses, checkpoints, the schedule.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "compressor/training/loop/batches.h"
#include "compressor/training/loop/checkpoint.h"
#include "compressor/training/loop/drop_path.h"
#include "compressor/training/loop/losses.h"
#include "compressor/training/loop/optimizer.h"
#include "compressor/training/quantization/annealer.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::training {
namespace {

using testing::contains;
using testing::error_of;
using testing::TemporaryFolder;
using torch::Tensor;

// Sample i is an image full of i + 1, with label i.
class Counted : public data::Dataset {
 public:
  explicit Counted(uint64_t size, std::vector<int64_t> shape = {1, 8, 8}) : size_(size), shape_(std::move(shape)) {}
  uint64_t size() const override { return size_; }
  int64_t class_count() const override { return static_cast<int64_t>(size_); }
  const std::vector<int64_t>& sample_shape() const override { return shape_; }
  void fill(std::span<const uint64_t> indices, std::span<float> values, std::span<int64_t> labels) const override {
    const uint64_t elements = sample_elements();
    for (size_t i = 0; i < indices.size(); ++i) {
      for (uint64_t e = 0; e < elements; ++e) {
        values[i * elements + e] = static_cast<float>(indices[i] + 1) + 0.001f * static_cast<float>(e);
      }
      if (!labels.empty()) labels[i] = static_cast<int64_t>(indices[i]);
    }
  }

 private:
  uint64_t size_;
  std::vector<int64_t> shape_;
};

std::vector<Batch> epoch_of(Batches& batches, int epoch, int64_t first = 0) {
  std::vector<Batch> result;
  batches.start(epoch, first);
  for (int64_t i = first; i < batches.count(); ++i) result.push_back(batches.next());
  return result;
}

TEST(Batches, AnEpochHasEachSampleOnceInAnOrderOfItsOwn) {
  const Counted data(50);
  Batches batches(data, {.batch = 8, .augment = false});
  ASSERT_EQ(batches.count(), 6);
  std::vector<std::vector<int64_t>> orders;
  for (int epoch = 0; epoch < 2; ++epoch) {
    std::vector<int64_t> order;
    for (const Batch& batch : epoch_of(batches, epoch)) {
      for (int64_t i = 0; i < 8; ++i) {
        order.push_back(batch.labels[i].item<int64_t>());
        EXPECT_EQ(batch.inputs[i][0][0][0].item<float>(), static_cast<float>(order.back() + 1));
      }
    }
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 48u);
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
}

TEST(Batches, ABreakChangesNothing) {
  const Counted data(40);
  Batches whole(data, {.batch = 8, .augment = true, .seed = 3}), broken(data, {.batch = 8, .augment = true, .seed = 3});
  const std::vector<Batch> all = epoch_of(whole, 2), rest = epoch_of(broken, 2, 3);
  ASSERT_EQ(rest.size(), 2u);
  for (size_t i = 0; i < rest.size(); ++i) {
    EXPECT_TRUE(rest[i].inputs.equal(all[i + 3].inputs));
    EXPECT_TRUE(rest[i].labels.equal(all[i + 3].labels));
  }
}

TEST(Batches, RanksShareABatch) {
  const Counted data(40);
  Batches whole(data, {.batch = 8, .augment = true});
  Batches first(data, {.batch = 8, .augment = true, .rank = 0, .ranks = 2});
  Batches second(data, {.batch = 8, .augment = true, .rank = 1, .ranks = 2});
  const std::vector<Batch> all = epoch_of(whole, 1), a = epoch_of(first, 1), b = epoch_of(second, 1);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(torch::cat({a[i].inputs, b[i].inputs}).equal(all[i].inputs));
    EXPECT_TRUE(torch::cat({a[i].labels, b[i].labels}).equal(all[i].labels));
  }
}

// Each augmented image is the plain one, shifted by at most an eighth and perhaps mirrored, with zeros moved in.
TEST(Batches, NoiseIsOfSignsAndAnewInEachEpoch) {
  const Counted data(512, {6});
  const BatchOptions options{.batch = 64, .augment = false, .noise = true, .seed = 3};
  Batches batches(data, options), broken(data, options);
  BatchOptions half = options;
  half.ranks = 2;
  half.rank = 1;
  Batches second(data, half);
  const std::vector<Batch> first = epoch_of(batches, 0), next = epoch_of(batches, 1), rest = epoch_of(broken, 0, 5);
  Tensor signs = torch::zeros({6});
  for (const Batch& batch : first) {
    ASSERT_EQ(batch.noise.sizes(), batch.inputs.sizes());
    ASSERT_TRUE(batch.noise.abs().eq(1).all().item<bool>());
    signs += batch.noise.sum(0);
  }
  EXPECT_LT(signs.abs().max().item<float>(), 4 * std::sqrt(512.0f));
  const Tensor products = first[0].noise.t().mm(first[0].noise) - 64 * torch::eye(6);
  EXPECT_LT(products.abs().max().item<float>(), 40) << "a sample's own signs have nothing to do with each other";
  EXPECT_FALSE(torch::equal(first[0].noise, first[1].noise));
  EXPECT_FALSE(torch::equal(first[0].noise, next[0].noise));
  EXPECT_TRUE(torch::equal(first[5].noise, rest[0].noise));
  EXPECT_TRUE(torch::equal(first[2].noise.slice(0, 32), epoch_of(second, 0)[2].noise));
  Batches plain(data, {.batch = 64, .augment = false});
  EXPECT_FALSE(epoch_of(plain, 0)[0].noise.defined());
}

TEST(Batches, AugmentsByShiftsAndMirrors) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{1, 8, 8}, std::vector<int64_t>{8, 8, 1}}) {
    const Counted data(64, shape);
    Batches plain(data, {.batch = 64, .augment = false}), augmented(data, {.batch = 64, .augment = true});
    const Tensor before = epoch_of(plain, 0)[0].inputs.view({64, 8, 8});
    const Tensor after = epoch_of(augmented, 0)[0].inputs.view({64, 8, 8});
    std::set<std::tuple<int, int, bool>> seen;
    for (int64_t i = 0; i < 64; ++i) {
      const Tensor padded = torch::constant_pad_nd(before[i], {1, 1, 1, 1});
      for (int down = 0; down < 3; ++down) {
        for (int right = 0; right < 3; ++right) {
          const Tensor part = padded.slice(0, down, down + 8).slice(1, right, right + 8);
          if (part.equal(after[i])) seen.emplace(down, right, false);
          if (part.flip({1}).equal(after[i])) seen.emplace(down, right, true);
        }
      }
      ASSERT_GE(seen.size(), 1u);
    }
    EXPECT_GE(seen.size(), 15u) << "of 18 ways";
  }
}

TEST(Batches, RefuseWhatIsTooLargeOrNotToBeShared) {
  const Counted data(20);
  EXPECT_TRUE(contains(error_of([&] { Batches(data, {.batch = 21}); }), "has 20 samples, fewer than a batch of 21"));
  EXPECT_TRUE(
      contains(error_of([&] { Batches(data, {.batch = 9, .rank = 0, .ranks = 2}); }), "a batch of 9 cannot be"));
}

TEST(DropPath, HalfOfTheStepsHaveOneColumnAndTheOthersMostPaths) {
  const std::vector<int> joins{2, 3, 2, 3};
  std::set<std::vector<uint32_t>> columns;
  for (const int column : {1, 2, 3}) columns.insert(paths_of_column(joins, 3, column));
  EXPECT_EQ(columns, (std::set<std::vector<uint32_t>>{{1, 1, 1, 1}, {1, 2, 1, 2}, {2, 4, 2, 4}}));
  constexpr int kSteps = 20000;
  int global = 0;
  double left_out = 0, values = 0;
  std::map<std::vector<uint32_t>, int> each;
  for (int step = 0; step < kSteps; ++step) {
    const std::vector<uint32_t> paths = draw_paths(joins, 3, 0.15, 5, step);
    EXPECT_EQ(paths, draw_paths(joins, 3, 0.15, 5, step));
    for (size_t i = 0; i < joins.size(); ++i) EXPECT_TRUE(paths[i] > 0 && paths[i] < 1u << joins[i]);
    if (columns.contains(paths)) {
      ++global;
      ++each[paths];
      continue;
    }
    for (const size_t threefold : {1, 3}) left_out += 3 - std::popcount(paths[threefold]);
    values += 6;
  }
  EXPECT_NEAR(global, kSteps / 2.0, 4 * std::sqrt(kSteps / 4.0));
  for (const auto& [paths, count] : each) EXPECT_NEAR(count, global / 3.0, 4 * std::sqrt(global * 2.0 / 9));
  // Of three values all are left out at once with 0.15^3, and then one of them stays.
  EXPECT_NEAR(left_out / values, 0.15 - 0.15 * 0.15 * 0.15 / 3, 0.006);
  EXPECT_NE(draw_paths(joins, 3, 0.5, 6, 1), draw_paths(joins, 3, 0.5, 5, 1));
}

TEST(Losses, CrossEntropyIsTorchs) {
  const Tensor scores = torch::randn({6, 5}), labels = torch::tensor({0, 4, 2, 1, 1, 3}, torch::kInt64);
  EXPECT_NEAR(cross_entropy(scores, labels, 6).item<double>(),
              torch::nn::functional::cross_entropy(scores, labels).item<double>(), 1e-6);
  EXPECT_NEAR(cross_entropy(scores, labels, 12).item<double>(),
              torch::nn::functional::cross_entropy(scores, labels).item<double>() / 2, 1e-6)
      << "half of a batch that two ranks share";
}

TEST(Losses, LikelihoodIsOverAllRanksSamples) {
  const Tensor logs = torch::tensor({-1.0f, -2.0f, -4.5f});
  EXPECT_FLOAT_EQ(negative_log_likelihood(logs, 5).item<float>(), 1.5f);
}

TEST(Losses, DistillationIsTheDivergenceFromTheTeacher) {
  const Tensor scores = torch::randn({6, 5}), teacher = torch::randn({6, 5});
  EXPECT_NEAR(distillation(scores, scores, 4, 6).item<double>(), 0, 1e-6);
  const Tensor p = torch::softmax(teacher / 3, 1), q = torch::softmax(scores / 3, 1);
  EXPECT_NEAR(distillation(scores, teacher, 3, 6).item<double>(), 9 * (p * (p / q).log()).sum().item<double>() / 6,
              1e-5);
}

TEST(Losses, OutputMatchingIsRelativeToTheTeachersVariance) {
  const Tensor teacher = torch::randn({6, 5, 2}) * 7 + 3;
  const Tensor mean = teacher.mean().expand_as(teacher);
  EXPECT_NEAR(output_matching({mean}, {teacher}, 6, 6, nullptr).item<double>(), 1, 1e-5);
  EXPECT_NEAR(output_matching({teacher, mean}, {teacher, teacher}, 3, 6, nullptr).item<double>(), 0.25, 1e-5);
  const Tensor integers = torch::ones({6}, torch::kInt64);
  EXPECT_NEAR(output_matching({integers, mean}, {Tensor(), teacher}, 6, 6, nullptr).item<double>(), 1, 1e-5);
}

Checkpoint some_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.tensors["a"] = torch::randn({3, 4});
  checkpoint.tensors["layer/b.weight:0"] = torch::arange(5, torch::kInt64);
  checkpoint.tensors["none"] = torch::zeros({0, 2});
  checkpoint.texts["records"] = "line\nline \"2\"\n";
  checkpoint.texts["empty"] = "";
  return checkpoint;
}

TEST(Checkpoint, ComesBack) {
  const TemporaryFolder folder;
  const Checkpoint saved = some_checkpoint();
  saved.save(folder / "c");
  const Checkpoint loaded = Checkpoint::load(folder / "c");
  ASSERT_EQ(loaded.tensors.size(), saved.tensors.size());
  for (const auto& [name, tensor] : saved.tensors) EXPECT_TRUE(loaded.tensors.at(name).equal(tensor)) << name;
  EXPECT_EQ(loaded.texts, saved.texts);
}

TEST(Checkpoint, EveryDamageIsNoticed) {
  const TemporaryFolder folder;
  some_checkpoint().save(folder / "c");
  const std::string bytes = testing::read_file(folder / "c");
  for (size_t cut = 0; cut < bytes.size(); cut += 97) {
    testing::write_file(folder / "cut", bytes.substr(0, cut));
    const std::string error = error_of([&] { Checkpoint::load(folder / "cut"); });
    EXPECT_TRUE(contains(error, cut < 12 ? "this is no checkpoint" : "the checkpoint is damaged")) << cut;
  }
  for (size_t at = 0; at < bytes.size(); at += 89) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    testing::write_file(folder / "flipped", flipped);
    EXPECT_NE(error_of([&] { Checkpoint::load(folder / "flipped"); }), "no error") << at;
  }
  EXPECT_TRUE(contains(error_of([&] { Checkpoint::load(folder / "missing"); }), "missing"));
}

TEST(Checkpoint, RestoresOnlyWhatFits) {
  const Checkpoint checkpoint = some_checkpoint();
  Tensor fits = torch::zeros({3, 4}), other = torch::zeros({4, 3});
  checkpoint.restore("a", fits);
  EXPECT_TRUE(fits.equal(checkpoint.tensors.at("a")));
  EXPECT_TRUE(contains(error_of([&] { checkpoint.restore("a", other); }), "'a'"));
  EXPECT_TRUE(contains(error_of([&] { checkpoint.restore("b", fits); }), "'b'"));
}

TEST(Checkpoint, RemovalLeavesDevicesAlone) {
  const TemporaryFolder folder;
  some_checkpoint().save(folder / "c");
  std::filesystem::create_symlink("/dev/full", folder / "device");
  remove_checkpoint(folder / "c");
  remove_checkpoint(folder / "device");
  remove_checkpoint("");
  EXPECT_FALSE(std::filesystem::exists(folder / "c"));
  EXPECT_TRUE(std::filesystem::exists(folder / "device"));
}

class AnnealerOf : public ::testing::Test {
 protected:
  AnnealerOf() {
    torch::manual_seed(7);
    parameters_["w"] = torch::randn({64, 64}).set_requires_grad(true);
  }

  // The file as its order-0 entropy and a header.
  void make(AnnealerOptions options) {
    options.quantizer.centers = 30;
    annealer_ = std::make_unique<Annealer>(parameters_, std::vector<std::string>{"w"}, options, [this] {
      std::map<int64_t, double> counts;
      const auto tensors = annealer_->quantizer().harden(parameters_);
      for (const int64_t index : tensors.at("w").indices) ++counts[index];
      double bits = 8 * kHeader;
      for (const auto& [index, count] : counts) bits -= count * std::log2(count / 4096);
      return static_cast<uint64_t>(bits / 8);
    });
  }

  void run(int64_t steps) {
    for (int64_t step = 0; step < steps; ++step) {
      annealer_->begin_step(step, steps);
      annealer_->quantizer().quantize(parameters_);
      annealer_->end_step();
    }
  }

  static constexpr double kHeader = 100;
  NamedTensors parameters_;
  std::unique_ptr<Annealer> annealer_;
};

TEST_F(AnnealerOf, SteersThePriceToTheTarget) {
  AnnealerOptions options;
  options.target_bytes = 400;
  make(options);
  run(300);
  annealer_->measure_file();
  EXPECT_NEAR(static_cast<double>(annealer_->file_bytes()), 400, 30);
  EXPECT_TRUE(annealer_->enforce_target());
  EXPECT_LE(annealer_->file_bytes(), 400u);
  EXPECT_GT(annealer_->file_bytes(), 395u) << "no smaller than need be";
  EXPECT_TRUE(annealer_->enforce_target(50));
  EXPECT_LE(annealer_->file_bytes(), 350u);
}

// Weights stand still at the end of a training; what a price does to the lengths of the code comes back to it.
TEST_F(AnnealerOf, TheRateComesToRest) {
  for (const double target : {250, 400, 600}) {
    AnnealerOptions options;
    options.target_bytes = target;
    make(options);
    double least = 1e9, most = 0;
    for (int64_t step = 0; step < 750; ++step) {
      annealer_->begin_step(step, 1000);  // not yet held
      annealer_->quantizer().quantize(parameters_);
      annealer_->end_step();
      if (step < 670) continue;
      const double bytes = kHeader + annealer_->quantizer().entropy() * 4096 / 8;
      least = std::min(least, bytes);
      most = std::max(most, bytes);
    }
    EXPECT_LT(most - least, 0.01 * target) << target;
    EXPECT_NEAR(most, target, 0.02 * target);
  }
}

TEST(Optimizer, GoesOnFromItsStateInTensorsOfOtherSizes) {
  const auto descend = [](Optimizer& optimizer, Tensor& a, Tensor& b) {
    optimizer.zero_grad();
    ((a - 1).square().sum() + (a.sum() * b.sin()).sum()).backward();
    optimizer.step(0.05);
  };
  const auto leaves = [](int64_t size) {
    return std::pair{torch::linspace(0, 1, 3 * size).view({size, 3}).set_requires_grad(true),
                     torch::linspace(-1, 1, size).set_requires_grad(true)};
  };
  for (const OptimizerKind kind : {OptimizerKind::kSgd, OptimizerKind::kAdam}) {
    LoopOptions options;
    options.optimizer = kind;
    options.weight_decay = 0.01;
    auto [a, b] = leaves(4);
    Optimizer first({a}, {b}, options);
    for (int step = 0; step < 3; ++step) descend(first, a, b);
    auto [c, d] = leaves(5);  // a codebook that was learned with another number of threads
    Optimizer second({c}, {d}, options);
    c.set_data(a.detach().clone());
    d.set_data(b.detach().clone());
    second.set_state(first.state().clone(), torch::kCPU);
    descend(first, a, b);
    descend(second, c, d);
    EXPECT_TRUE(a.equal(c));
    EXPECT_TRUE(b.equal(d));
    Optimizer third({c}, {}, options);
    if (kind == OptimizerKind::kSgd) {
      EXPECT_THROW(third.set_state(first.state(), torch::kCPU), Error);
    }
  }
}

// As torch's own descends, which is another implementation.
TEST(Optimizer, DescendsAsTorchDoes) {
  for (const double momentum : {0.0, 0.9}) {
    LoopOptions options;
    options.momentum = momentum;
    options.weight_decay = 0.02;
    torch::manual_seed(6);
    Tensor own = torch::randn({4, 3}).set_requires_grad(true), other = own.detach().clone().set_requires_grad(true);
    Optimizer optimizer({own}, {}, options);
    torch::optim::SGD torchs(
        {other}, torch::optim::SGDOptions(0.1).momentum(momentum).nesterov(momentum > 0).weight_decay(0.02));
    for (int step = 0; step < 6; ++step) {
      optimizer.zero_grad();
      own.sin().sum().backward();
      optimizer.step(0.1);
      torchs.zero_grad();
      other.sin().sum().backward();
      torchs.step();
    }
    EXPECT_TRUE(own.allclose(other, 1e-5, 1e-6)) << momentum;
  }
}

// Else weights where two centers cost the same would follow a moving price to the last step.
TEST_F(AnnealerOf, HoldsPriceAndLengthsAtTheEnd) {
  AnnealerOptions options;
  options.target_bytes = 400;
  make(options);
  const auto step = [&](int64_t number) {
    const NamedTensors before = annealer_->state();
    const Tensor price = before.at("steering")[1].clone(), lengths = before.at("lengths.0").clone();
    torch::NoGradGuard no_grad;
    parameters_.at("w") += 0.1 * torch::randn({64, 64});
    annealer_->begin_step(number, 800);
    annealer_->quantizer().quantize(parameters_);
    annealer_->end_step();
    const NamedTensors after = annealer_->state();
    return std::pair{price.equal(after.at("steering")[1]), lengths.equal(after.at("lengths.0"))};
  };
  for (int64_t number = 0; number < 500; ++number) step(number);
  int moved = 0;  // a histogram may happen to be the one before
  for (int64_t number = 500; number < 600; ++number) {
    const auto [price_stays, lengths_stay] = step(number);
    EXPECT_FALSE(price_stays) << number;
    moved += lengths_stay ? 0 : 1;
  }
  EXPECT_GT(moved, 90);
  step(600);  // comes to rest where the file is small enough
  EXPECT_LE(annealer_->file_bytes(), 400u);
  EXPECT_GT(annealer_->file_bytes(), 380u);
  for (int64_t number = 601; number < 800; ++number) EXPECT_EQ(step(number), std::pair(true, true)) << number;
}

TEST_F(AnnealerOf, SmallEnoughAFileLeavesThePriceWithinReachOfTheNextTarget) {
  AnnealerOptions options;
  options.target_bytes = 1e6;
  make(options);
  run(300);
  annealer_->measure_file();
  const double target = 0.98 * static_cast<double>(annealer_->file_bytes());
  EXPECT_GE(annealer_->state().at("steering")[1].item<double>(), 0.01) << "of the price";
  annealer_->go_on(target);
  EXPECT_TRUE(annealer_->enforce_target());
  EXPECT_LE(static_cast<double>(annealer_->file_bytes()), target);
  EXPECT_GT(static_cast<double>(annealer_->file_bytes()), 0.98 * target);
}

TEST_F(AnnealerOf, AnUnreachableTargetIsSaidToBeOne) {
  AnnealerOptions options;
  options.target_bytes = kHeader / 2;
  make(options);
  run(200);
  EXPECT_FALSE(annealer_->enforce_target());
  const Tensor steering = annealer_->state().at("steering");
  EXPECT_TRUE(torch::isfinite(steering).all().item<bool>()) << steering;
}

TEST_F(AnnealerOf, ExponentialAnnealingGrowsAndEndsHard) {
  AnnealerOptions options;
  options.schedule = HardnessSchedule::kExponential;
  options.sigma = 0.5;
  options.sigma_growth = 16;
  options.soft_share = 0.5;
  make(options);
  std::vector<double> sigmas;
  for (int64_t step = 0; step < 40; ++step) {
    annealer_->begin_step(step, 40);
    EXPECT_EQ(annealer_->is_soft(), step < 20);
    EXPECT_EQ(annealer_->quantizer().hardness().hard_values, step >= 20);
    if (step < 20) sigmas.push_back(annealer_->quantizer().hardness().sigma);
    annealer_->quantizer().quantize(parameters_);
    annealer_->end_step();
  }
  EXPECT_EQ(sigmas.front(), 0.5);
  for (size_t i = 1; i < sigmas.size(); ++i) EXPECT_NEAR(sigmas[i] / sigmas[i - 1], std::pow(16, 1 / 20.0), 1e-9);
}

TEST_F(AnnealerOf, TheGapControllerClosesTheGap) {
  AnnealerOptions options;
  options.schedule = HardnessSchedule::kGap;
  options.sigma = 0.2;
  options.soft_share = 0.8;
  make(options);
  double first = 0, last = 0, sigma = 0;
  for (int64_t step = 0; step < 1000; ++step) {
    annealer_->begin_step(step, 1000);
    annealer_->quantizer().quantize(parameters_);
    if (annealer_->wants_gap()) {
      last = 1 / (1 + annealer_->quantizer().hardness().sigma);  // a loss whose gap falls as sigma grows
      if (step == 0) first = last;
      annealer_->observe_gap(last);
      EXPECT_GE(annealer_->quantizer().hardness().sigma, sigma * 0.8);
      sigma = annealer_->quantizer().hardness().sigma;
    }
    annealer_->end_step();
  }
  EXPECT_FALSE(annealer_->is_soft());
  EXPECT_LT(last, 0.25 * first) << "T / (T + t) is 1/11 in the end";
}

TEST_F(AnnealerOf, StateComesBack) {
  AnnealerOptions options;
  options.target_bytes = 400;
  make(options);
  run(50);
  NamedTensors state;
  for (const auto& [name, tensor] : annealer_->state()) state[name] = tensor.detach().clone();
  const auto go_on = [&] {
    for (int64_t step = 50; step < 90; ++step) {
      annealer_->begin_step(step, 90);
      annealer_->quantizer().quantize(parameters_);
      annealer_->end_step();
    }
    return annealer_->state().at("steering").clone();
  };
  const Tensor expected = go_on();
  make(options);
  annealer_->set_state(state);
  EXPECT_TRUE(go_on().equal(expected));
}

}  // namespace
}  // namespace quench::training
