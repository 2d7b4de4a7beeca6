// A codebook on activations: a tensor that has no name, is no parameter, and is another one in each pass.
#include "compressor/training/quantization/soft_codebook.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

// What a Relu gives: half of it zeros.
Tensor activations(int64_t batch) { return torch::relu(torch::randn({batch, 6, 5, 7})); }

class SoftCodebookOf : public testing::TestWithParam<int> {
 protected:
  SoftCodebookOf() {
    torch::manual_seed(11);
    codebook_.emplace(std::vector<Tensor>{activations(16) / kStep},
                      SoftCodebookOptions{.dimension = GetParam(), .centers = 16});
    use_ = codebook_->first_use();
  }

  static constexpr double kStep = 0.5;
  std::optional<SoftCodebook> codebook_;
  CenterUse use_;
};

TEST_P(SoftCodebookOf, HardValuesAreTheCentersThatTheIndicesName) {
  const Tensor values = activations(3) / kStep;  // 630 of them: no multiple of 4 or 8
  const SoftQuantized pass = codebook_->quantize(values, use_, {1, 0, true});
  ASSERT_EQ(pass.values.sizes(), values.sizes());
  const int64_t d = GetParam(), vectors = (values.numel() + d - 1) / d;
  ASSERT_EQ(pass.indices.numel(), vectors);
  const Tensor named = codebook_->centers().index_select(0, pass.indices).flatten().slice(0, 0, values.numel());
  EXPECT_TRUE(pass.values.flatten().equal(named));
  EXPECT_EQ(use_.counts.sum().item<int64_t>(), vectors);
  const Tensor error = (pass.values - values).square().mean() / values.square().mean();
  EXPECT_LT(error.item<double>(), 0.5);  // half a bit for each value where d is 8
  EXPECT_GT(error.item<double>(), 0);
}

TEST_P(SoftCodebookOf, SoftValuesHarden) {
  const Tensor values = activations(3) / kStep;
  const Tensor hard = codebook_->quantize(values, use_, {1, 0, true}).values;
  double last = 1e9;
  for (const double sigma : {0.1, 1., 10., 1e4}) {
    const Tensor soft = codebook_->quantize(values, use_, {sigma, 0, false}).values;
    const double apart = (soft - hard).abs().mean().item<double>();
    EXPECT_LT(apart, last) << sigma;
    last = apart;
  }
  EXPECT_LT(last, 1e-3);
}

TEST_P(SoftCodebookOf, GradientsReachWhatComesBeforeAndTheCenters) {
  for (const bool hard : {false, true}) {
    const Tensor before = activations(3).set_requires_grad(true);
    const SoftQuantized pass = codebook_->quantize(before / kStep, use_, {0.5, 0.05, hard});
    const Tensor loss = (pass.values * kStep - 1).square().sum();
    loss.backward({}, /*retain_graph=*/true);
    EXPECT_GT(before.grad().abs().max().item<float>(), 0) << hard;
    const Tensor by_loss = before.grad().clone();
    pass.bits.backward();
    EXPECT_FALSE(before.grad().equal(by_loss)) << "the rate pulls, too";
    EXPECT_GT(codebook_->centers().grad().abs().max().item<float>(), 0);
    codebook_->precondition_gradient(use_.counts[0] * kStep * kStep);
    EXPECT_TRUE(torch::isfinite(codebook_->centers().grad()).all().item<bool>());
    codebook_->centers().mutable_grad().zero_();
  }
}

// As a network's loop does it: what is assigned gets shorter codes, and those attract more.
TEST_P(SoftCodebookOf, APriceTakesBits) {
  const auto bits_at = [&](double price) {
    CenterUse use = codebook_->first_use();
    double bits = 0;
    for (int step = 0; step < 30; ++step) {
      bits = codebook_->quantize(activations(4) / kStep, use, {1e3, price, true}).bits.item<double>();
      use.lengths = code_lengths(use.counts);
    }
    return bits / (4 * 6 * 5 * 7);
  };
  const double free = bits_at(0), dear = bits_at(GetParam());  // distances are those of whole vectors
  EXPECT_GT(free, 0.3);
  EXPECT_LT(dear, 0.8 * free);
}

TEST_P(SoftCodebookOf, CentersComeBack) {
  SoftCodebook other({activations(16)}, {.dimension = GetParam(), .centers = 9, .seed = 5});
  const Tensor leaf = other.centers();
  other.set_centers(codebook_->centers());
  EXPECT_TRUE(other.centers().equal(codebook_->centers()));
  EXPECT_TRUE(leaf.is_same(other.centers())) << "the optimizer's";
  EXPECT_THROW(other.set_centers(torch::zeros({4, GetParam() + 1})), Error);
  EXPECT_THROW(other.set_centers(torch::zeros({4, GetParam()}, torch::kFloat64)), Error);
}

INSTANTIATE_TEST_SUITE_P(Dimensions, SoftCodebookOf, testing::Values(1, 2, 4, 8));

TEST(CodeLengths, KeepEveryCenterWithinReach) {
  const Tensor counts = torch::tensor({{6., 2., 0., 0.}, {54., 18., 0., 0.}}, torch::kFloat64);
  const Tensor lengths = code_lengths(counts)[0];
  EXPECT_LT(lengths[0].item<float>(), lengths[1].item<float>());
  EXPECT_LT(lengths[1].item<float>(), lengths[2].item<float>());
  EXPECT_EQ(lengths[2].item<float>(), lengths[3].item<float>());
  EXPECT_NEAR(lengths.neg().exp2().sum().item<double>(), 1, 1e-6) << "Kraft";
}

}  // namespace
}  // namespace quench::training
