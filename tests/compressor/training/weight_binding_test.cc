// The fused function against plain torch, and the quantizer that a training loop holds.
#include "compressor/training/quantization/weight_binding.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "compressor/training/quantization/soft_quantize_function.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

Tensor leaf(const Tensor& values) { return values.detach().clone().set_requires_grad(true); }

void expect_close(const Tensor& actual, const Tensor& expected, double tolerance, const char* what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const Tensor wide = expected.detach().to(torch::kFloat64);
  const double scale = wide.abs().max().item<double>() + 1e-6;
  EXPECT_LE((actual.detach().to(torch::kFloat64) - wide).abs().max().item<double>(), tolerance * scale) << what;
}

struct FunctionCase {
  int64_t dimension, centers;
  double sigma, price;
};

class SoftQuantizeFunctionOf : public testing::TestWithParam<FunctionCase> {
 protected:
  void SetUp() override {
    torch::manual_seed(5);
    const FunctionCase& of = GetParam();
    z_ = torch::randn({700, of.dimension}) * 1.5;
    centers_ = torch::randn({of.centers, of.dimension}) * 1.5;
    if (of.dimension == 1) centers_ = std::get<0>(centers_.sort(0));
    lengths_ = torch::rand({parts_.count(), of.centers}) * 8;
    value_slopes_ = torch::randn_like(z_);
  }

  struct Outcome {
    Tensor values, bits, counts, indices, grad_z, grad_centers;
  };

  // As it is defined, in float64, through autograd; the memory is n x L.
  Outcome plain() const {
    const Tensor z = leaf(z_.to(torch::kFloat64)), centers = leaf(centers_.to(torch::kFloat64));
    const Tensor numbers = torch::repeat_interleave(torch::tensor(parts_.sizes, torch::kInt64));
    const Tensor lengths = lengths_.to(torch::kFloat64).index_select(0, numbers);
    const Tensor distance = (z.unsqueeze(1) - centers.unsqueeze(0)).square().sum(2) + lengths * GetParam().price;
    const Tensor phi = torch::softmax(distance * -GetParam().sigma, 1), best = phi.argmax(1);
    const Tensor counts = torch::one_hot(best, GetParam().centers).to(torch::kFloat64);
    Outcome outcome{
        phi.matmul(centers), (phi * lengths).sum(), torch::zeros(lengths_.sizes(), torch::kFloat64), best, {}, {}};
    outcome.counts.index_add_(0, numbers, counts);
    ((outcome.values * value_slopes_).sum() + outcome.bits * kBitSlope).backward();
    outcome.grad_z = z.grad();
    outcome.grad_centers = centers.grad();
    return outcome;
  }

  Outcome fused(bool hard, decltype(soft_quantize)* function) const {
    const Tensor z = leaf(z_), centers = leaf(centers_);
    const SoftQuantized out = function(z, parts_, centers, lengths_, {GetParam().sigma, GetParam().price, hard});
    ((out.values * value_slopes_).sum() + out.bits * kBitSlope).backward();
    return {out.values, out.bits, out.counts, out.indices, z.grad(), centers.grad()};
  }

  void expect_plain(decltype(soft_quantize)* function) const {
    const Outcome expected = plain();
    for (const bool hard : {false, true}) {
      const Outcome actual = fused(hard, function);
      expect_close(actual.bits, expected.bits, 3e-5, "bits");
      EXPECT_LE((actual.counts - expected.counts).abs().sum().item<double>(), 2) << "but for ties";
      expect_close(actual.grad_z, expected.grad_z, 1e-4, "gradient of z");  // that of the soft values in any case
      expect_close(actual.grad_centers, expected.grad_centers, 1e-4, "gradient of the centers");
      EXPECT_GE(actual.indices.eq(expected.indices).sum().item<int64_t>(), z_.size(0) - 1) << "but for ties";
      if (hard) {
        EXPECT_TRUE(actual.values.equal(centers_.index_select(0, actual.indices)));
      } else {
        expect_close(actual.values, expected.values, 3e-5, "values");
      }
    }
  }

  static constexpr double kBitSlope = 0.3;
  const Parts parts_{{430, 1, 269}, torch::kCPU};
  Tensor z_, centers_, lengths_, value_slopes_;
};

TEST_P(SoftQuantizeFunctionOf, AgreesWithAutograd) { expect_plain(soft_quantize); }
TEST_P(SoftQuantizeFunctionOf, OfOtherDevicesAgreesWithAutograd) { expect_plain(soft_quantize_by_torch); }

INSTANTIATE_TEST_SUITE_P(Cases, SoftQuantizeFunctionOf,
                         testing::Values(FunctionCase{1, 75, 2, 0}, FunctionCase{1, 75, 0.4, 0.1},
                                         FunctionCase{1, 9, 20, 0.3}, FunctionCase{2, 40, 1, 0},
                                         FunctionCase{2, 40, 2, 0.1}, FunctionCase{4, 33, 0.6, 0.1},
                                         FunctionCase{8, 20, 0.4, 0}, FunctionCase{8, 20, 0.4, 0.2}));

TEST(SoftQuantizeFunction, WorksInPieces) {
  torch::manual_seed(2);
  const Tensor centers = std::get<0>(torch::randn({4000, 1}).sort(0)), lengths = torch::rand({2, 4000});
  const Tensor z = torch::randn({9000, 1});  // more than two pieces of phi
  const Parts parts({4000, 5000}, torch::kCPU);
  const SoftQuantized native = soft_quantize(z, parts, centers, lengths, {3, 0.1});
  const SoftQuantized pieces = soft_quantize_by_torch(z, parts, centers, lengths, {3, 0.1});
  expect_close(pieces.values, native.values, 1e-4, "values");
  expect_close(pieces.bits, native.bits, 1e-3, "bits");
  EXPECT_EQ(pieces.counts.sum(1)[0].item<double>(), 4000);
  EXPECT_EQ(pieces.counts.sum(1)[1].item<double>(), 5000);
}

TEST(SoftQuantizeFunction, GivesNoGradientWhereNoneIsWanted) {
  const Tensor z = leaf(torch::randn({10, 1})), centers = torch::tensor({{-1.0f}, {0.0f}, {1.0f}});
  const SoftQuantized out = soft_quantize(z, Parts({10}, torch::kCPU), centers, torch::zeros({1, 3}), {1, 0});
  EXPECT_FALSE(out.indices.requires_grad());
  EXPECT_FALSE(out.counts.requires_grad());
  out.values.sum().backward();  // the bits are not part of the loss
  EXPECT_TRUE(z.grad().defined());
}

// Hard values without bits are found without exponentials: the same ones, with the same gradient.
TEST(SoftQuantizeFunction, BitsThatNobodyWantsChangeNothingElse) {
  torch::manual_seed(4);
  const Tensor values = torch::randn({700, 1}) * 2, centers = std::get<0>(torch::randn({9, 1}).sort(0));
  const Parts parts({500, 200}, torch::kCPU);
  const Tensor lengths = torch::rand({2, 9}) * 5;
  Hardness hardness{1, 0.2, true};
  for (const auto function : {soft_quantize, soft_quantize_by_torch}) {
    std::vector<Tensor> gradients;
    std::vector<SoftQuantized> outcomes;
    for (const bool wanted : {true, false}) {
      hardness.wants_bits = wanted;
      const Tensor z = leaf(values);
      outcomes.push_back(function(z, parts, centers, lengths, hardness));
      outcomes.back().values.square().sum().backward();
      gradients.push_back(z.grad());
    }
    EXPECT_TRUE(outcomes[0].values.equal(outcomes[1].values));
    EXPECT_TRUE(outcomes[0].indices.equal(outcomes[1].indices));
    EXPECT_TRUE(gradients[0].equal(gradients[1]));
    EXPECT_GT(outcomes[0].bits.item<double>(), 0);
  }
}

NamedTensors some_parameters() {
  torch::manual_seed(3);
  NamedTensors parameters;
  parameters["a"] = leaf(torch::randn({16, 8, 3, 3}) * 0.1);
  parameters["b"] = leaf(torch::randn({20, 13}) * 2);
  parameters["c"] = leaf(torch::randn({5, 7, 3}));  // 105 elements: no multiple of 2, 4 or 8
  return parameters;
}

const std::vector<std::string> kNames = {"a", "b", "c"};

WeightBindingOptions options_of(int dimension) {
  WeightBindingOptions options;
  options.dimension = dimension;
  options.centers = 20;
  return options;
}

class WeightBindingOf : public testing::TestWithParam<int> {
 protected:
  NamedTensors parameters_ = some_parameters();
};

TEST_P(WeightBindingOf, SoftBecomesHard) {
  WeightBinding quantizer(parameters_, kNames, options_of(GetParam()));
  quantizer.hardness() = {1e6, 0, false};
  const NamedTensors soft = quantizer.quantize(parameters_).weights;
  const NamedTensors hard = quantizer.hard_weights(parameters_);
  for (const std::string& name : kNames) {
    ASSERT_EQ(soft.at(name).sizes(), parameters_.at(name).sizes());
    const Tensor apart = (soft.at(name) - hard.at(name)).abs() > 1e-4 * hard.at(name).abs().max();
    EXPECT_LE(apart.sum().item<int64_t>(), 1) << name;
  }
  quantizer.hardness().sigma = 0.01;
  const Tensor softer = quantizer.quantize(parameters_).weights.at("b");
  EXPECT_GT((softer - hard.at("b")).abs().mean().item<double>(), 0.1);
}

TEST_P(WeightBindingOf, HardPassIsWhatWouldBeStored) {
  WeightBinding quantizer(parameters_, kNames, options_of(GetParam()));
  quantizer.hardness() = {1, 0.1, true};
  const NamedTensors expected = quantizer.hard_weights(parameters_);  // the pass changes the code lengths
  const auto stored = quantizer.harden(parameters_);
  const NamedTensors weights = quantizer.quantize(parameters_).weights;
  const auto d = static_cast<size_t>(GetParam());
  for (const std::string& name : kNames) {
    EXPECT_TRUE(weights.at(name).equal(expected.at(name))) << name;
    const WeightBinding::HardTensor& tensor = stored.at(name);
    const Tensor flat = weights.at(name).detach().flatten();
    const std::vector<float> centers = quantizer.centers(tensor.scope);
    ASSERT_EQ(tensor.indices.size(), (static_cast<size_t>(flat.numel()) + d - 1) / d);
    for (int64_t e = 0; e < flat.numel(); ++e) {
      const auto at = static_cast<size_t>(e);
      const float center = centers[static_cast<size_t>(tensor.indices[at / d]) * d + at % d];
      ASSERT_FLOAT_EQ(flat[e].item<float>(), center * tensor.scale.item<float>()) << name << " " << e;
    }
  }
}

TEST_P(WeightBindingOf, EntropyIsThatOfTheHistogram) {
  WeightBinding quantizer(parameters_, kNames, options_of(GetParam()));
  quantizer.hardness() = {1, 0.05, true};
  quantizer.quantize(parameters_);
  int64_t vectors = 0;
  for (const int64_t count : quantizer.histogram()) vectors += count;
  double bits = 0;
  for (const int64_t count : quantizer.histogram()) {
    const double share = static_cast<double>(count) / static_cast<double>(vectors);
    if (count > 0) bits -= static_cast<double>(count) * std::log2(share);
  }
  EXPECT_EQ(quantizer.weight_count(), 16 * 8 * 9 + 20 * 13 + 105);
  EXPECT_NEAR(quantizer.entropy(), bits / static_cast<double>(quantizer.weight_count()), 1e-9);
  EXPECT_GT(quantizer.entropy(), 0.05);
  for (const auto& [name, own] : quantizer.tensor_entropies()) EXPECT_GT(own, 0) << name;
}

// With hard assignments the rate is the mean code length, which is the cross entropy of this pass under the last one's.
TEST_P(WeightBindingOf, RateIsTheMeanCodeLength) {
  WeightBindingOptions options = options_of(GetParam());
  options.codebook = quantizer::CodebookScope::kTensor;
  WeightBinding quantizer(parameters_, {"a"}, options);
  quantizer.hardness() = {1e6, 0, true};
  quantizer.quantize(parameters_);
  const double rate = quantizer.quantize(parameters_).rate.item<double>();
  EXPECT_NEAR(rate, quantizer.entropy(), 0.02 * rate + 0.01);
}

TEST_P(WeightBindingOf, StateComesBack) {
  WeightBindingOptions options = options_of(GetParam());
  options.learn_scales = true;
  WeightBinding first(parameters_, kNames, options);
  first.hardness() = {0.7, 0.08, true};
  first.quantize(parameters_);
  {
    torch::NoGradGuard no_grad;
    for (const auto& [name, tensor] : first.learned()) Tensor(tensor).mul_(1.1);
  }
  NamedTensors changed = some_parameters();
  for (auto& [name, tensor] : changed) tensor = leaf(tensor * 0.5 + 0.01);
  options.centers = 5;  // as another number of threads may learn another number of them
  WeightBinding second(changed, kNames, options);
  ASSERT_NE(second.centers(0).size(), first.centers(0).size());
  NamedTensors copy;
  for (const auto& [name, tensor] : first.state()) copy[name] = tensor.detach().clone();
  second.set_state(copy);
  for (int pass = 0; pass < 2; ++pass) {
    const WeightBinding::Pass a = first.quantize(parameters_), b = second.quantize(parameters_);
    EXPECT_TRUE(a.rate.equal(b.rate));
    for (const std::string& name : kNames) EXPECT_TRUE(a.weights.at(name).equal(b.weights.at(name))) << name;
    EXPECT_EQ(first.histogram(), second.histogram());
  }
  EXPECT_EQ(second.hardness().price, 0.08);
}

INSTANTIATE_TEST_SUITE_P(Dimensions, WeightBindingOf, testing::Values(1, 2, 4, 8));

TEST(WeightBinding, CentersStaySortedWithZeroAmongThem) {
  const NamedTensors parameters = some_parameters();
  WeightBinding quantizer(parameters, kNames, options_of(1));
  torch::manual_seed(1);
  for (int round = 0; round < 5; ++round) {
    {
      torch::NoGradGuard no_grad;
      Tensor centers = quantizer.learned().at("centers.0");
      centers.add_(torch::randn_like(centers));  // as a wild step of the optimizer
    }
    quantizer.rearrange();
    const std::vector<float> centers = quantizer.centers(0);
    EXPECT_TRUE(std::is_sorted(centers.begin(), centers.end()));
    EXPECT_EQ(std::count(centers.begin(), centers.end(), 0.0f), 1);
  }
}

TEST(WeightBinding, LearnedScalesStayPositive) {
  const NamedTensors parameters = some_parameters();
  WeightBindingOptions options = options_of(1);
  options.learn_scales = options.channel_scales = true;
  WeightBinding quantizer(parameters, kNames, options);
  Tensor scale = quantizer.learned().at("scale.a");
  ASSERT_EQ(scale.sizes(), (std::vector<int64_t>{16, 1, 1, 1}));
  {
    torch::NoGradGuard no_grad;
    scale.sub_(100);
  }
  quantizer.rearrange();
  EXPECT_GT(scale.min().item<float>(), 0);
}

TEST(WeightBinding, GradientsReachWeightsCentersAndScales) {
  const NamedTensors parameters = some_parameters();
  WeightBindingOptions options = options_of(1);
  options.learn_scales = true;
  WeightBinding quantizer(parameters, kNames, options);
  quantizer.hardness() = {0.5, 0.05, true};
  const WeightBinding::Pass pass = quantizer.quantize(parameters);
  (pass.weights.at("a").square().sum() + pass.rate).backward();
  EXPECT_GT(parameters.at("a").grad().abs().max().item<float>(), 0);
  EXPECT_GT(parameters.at("b").grad().abs().max().item<float>(), 0) << "by the rate";
  quantizer.precondition_gradients();
  for (const auto& [name, tensor] : quantizer.learned()) {
    EXPECT_TRUE(torch::isfinite(tensor.grad()).all().item<bool>()) << name;
    EXPECT_GT(tensor.grad().abs().max().item<float>(), 0) << name;
  }
}

TEST(WeightBinding, TensorsMayHaveCodebooksOfTheirOwn) {
  const NamedTensors parameters = some_parameters();
  WeightBindingOptions options = options_of(1);
  options.codebook = quantizer::CodebookScope::kTensor;
  WeightBinding quantizer(parameters, kNames, options);
  EXPECT_EQ(quantizer.scopes(), 3u);
  quantizer.hardness() = {1, 0.05, true};
  quantizer.quantize(parameters);
  double bits = 0;
  for (const auto& [name, own] : quantizer.tensor_entropies()) {
    bits += own * static_cast<double>(parameters.at(name).numel());
  }
  EXPECT_NEAR(quantizer.entropy(), bits / static_cast<double>(quantizer.weight_count()), 1e-9);
  const auto hard = quantizer.harden(parameters);
  EXPECT_NE(hard.at("a").scope, hard.at("b").scope);
}

TEST(WeightBinding, ScalesOfTheModelDoNotChangeIndices) {
  NamedTensors parameters = some_parameters(), larger;
  for (const auto& [name, tensor] : parameters) larger[name] = leaf(tensor * 1024);
  WeightBinding small(parameters, kNames, options_of(1)), large(larger, kNames, options_of(1));
  for (const std::string& name : kNames) {
    EXPECT_EQ(small.harden(parameters).at(name).indices, large.harden(larger).at(name).indices) << name;
  }
}

TEST(WeightBinding, AllZerosAreQuantized) {
  NamedTensors parameters = some_parameters();
  parameters["a"] = leaf(torch::zeros_like(parameters.at("a")));
  WeightBinding quantizer(parameters, kNames, options_of(1));
  EXPECT_EQ(quantizer.hard_weights(parameters).at("a").abs().max().item<float>(), 0);
  EXPECT_TRUE(torch::isfinite(quantizer.quantize(parameters).rate).item<bool>());
}

TEST(WeightBinding, CountsWeightsThatGoToAnotherCenter) {
  NamedTensors parameters = some_parameters();
  WeightBinding quantizer(parameters, kNames, options_of(1));
  quantizer.hardness() = {1, 0, true, /*hold_lengths=*/true};
  quantizer.quantize(parameters);
  quantizer.quantize(parameters);
  EXPECT_EQ(quantizer.take_flips(), 0);
  {
    torch::NoGradGuard no_grad;
    Tensor(parameters.at("b")).neg_();  // its scale stays what it is
  }
  const auto before = quantizer.harden(some_parameters()), after = quantizer.harden(parameters);
  int64_t moved = 0;
  for (size_t i = 0; i < before.at("b").indices.size(); ++i) {
    moved += before.at("b").indices[i] != after.at("b").indices[i] ? 1 : 0;
  }
  EXPECT_GT(moved, 100);
  quantizer.quantize(parameters);
  quantizer.quantize(parameters);
  EXPECT_DOUBLE_EQ(quantizer.take_flips(),
                   static_cast<double>(moved) / 2 / static_cast<double>(quantizer.weight_count()));
}

TEST(WeightBinding, RefusesNaN) {
  NamedTensors parameters = some_parameters();
  Tensor broken = parameters.at("b").detach().clone();
  broken[3][4] = std::nanf("");
  parameters["b"] = leaf(broken);
  try {
    WeightBinding quantizer(parameters, kNames, options_of(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'b'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace quench::training
