// One of the processes that communicator_test starts: communicator_peer SCENARIO ARRIVAL_SECONDS EXCHANGE_SECONDS.
// Says on stderr what is not as it should be, and exits 1; a quench::Error exits 3.
#include <fmt/format.h>
#include <signal.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "compressor/training/distributed/communicator.h"
#include "compressor/training/distributed/synchronized_batch_norm.h"
#include "formats/error.h"

namespace quench::training {
namespace {

using torch::Tensor;

int failures = 0;

void expect(bool holds, const std::string& what) {
  if (holds) return;
  fmt::print(stderr, "not so: {}\n", what);
  ++failures;
}

void expect_equal(const Tensor& actual, const Tensor& expected, const std::string& what) {
  expect(actual.scalar_type() == expected.scalar_type() && actual.equal(expected), what);
}

void expect_close(const Tensor& actual, const Tensor& expected, const std::string& what) {
  if (!actual.defined() || actual.sizes() != expected.sizes()) return expect(false, what + ": shape");
  if (actual.numel() == 0) return;
  const double error = (actual - expected).abs().max().item<double>();
  const double scale = expected.abs().max().item<double>();
  expect(error <= 2e-5 * scale + 1e-6, fmt::format("{}: off by {} of {}", what, error, scale));
}

// Values that differ between ranks, tensors and elements, and whose sums are exact.
Tensor values_of(int rank, int tensor, torch::IntArrayRef shape, torch::ScalarType type) {
  return (torch::arange(c10::multiply_integers(shape)).view(shape) + 3 * tensor + 7 * rank).to(type);
}

void sums(Communicator& c) {
  std::vector<Tensor> tensors;
  std::vector<Tensor> expected;
  const auto add = [&](torch::IntArrayRef shape, torch::ScalarType type) {
    const int n = static_cast<int>(tensors.size());
    tensors.push_back(values_of(c.rank(), n, shape, type));
    Tensor sum = values_of(0, n, shape, type);
    for (int rank = 1; rank < c.size(); ++rank) sum += values_of(rank, n, shape, type);
    expected.push_back(sum);
  };
  add({}, torch::kFloat);
  add({0, 3}, torch::kFloat);
  add({4, 5}, torch::kDouble);
  add({3, 2, 2}, torch::kLong);
  add({7}, torch::kFloat);
  for (int i = 0; i < 4; ++i) add({2 << 20}, torch::kInt);  // 32 MiB: more than a message takes
  add({6, 6}, torch::kFloat);
  tensors.back() = tensors.back().t();
  expected.back() = expected.back().t();
  tensors.front().requires_grad_();
  c.all_reduce_sum(tensors);
  for (size_t i = 0; i < tensors.size(); ++i) expect_equal(tensors[i], expected[i], fmt::format("sum {}", i));
  c.all_reduce_sum({});

  // Floats whose sum depends on the order: alike on all ranks, and again.
  torch::manual_seed(c.rank());
  const Tensor own = torch::randn({100003}) * torch::logspace(-6, 6, 100003);
  const Tensor sum = own.clone();
  const Tensor again = own.clone();
  const Tensor roots = own.clone();
  c.all_reduce_sum({sum});
  c.all_reduce_sum({again});
  roots.copy_(sum);
  c.broadcast({roots});
  expect_equal(again, sum, "the same sum again");
  expect_equal(roots, sum, "the same sum on all ranks");
}

void broadcasts(Communicator& c) {
  for (int root = 0; root < c.size(); ++root) {
    std::vector<Tensor> tensors;
    std::vector<Tensor> expected;
    for (const auto type : {torch::kFloat, torch::kBool, torch::kBFloat16, torch::kLong, torch::kByte, torch::kFloat}) {
      const int n = static_cast<int>(tensors.size());
      tensors.push_back(values_of(c.rank(), n, {3, 5}, type).t());
      expected.push_back(values_of(root, n, {3, 5}, type).t());
    }
    tensors.push_back(torch::full({}, c.rank()));
    expected.push_back(torch::full({}, root));
    c.broadcast(tensors, root);
    for (size_t i = 0; i < tensors.size(); ++i) {
      expect_equal(tensors[i], expected[i], fmt::format("tensor {} of rank {}", i, root));
    }
  }
}

void differing_models(Communicator& c) {
  c.broadcast({torch::zeros({2 + c.rank()})});
  c.barrier();  // the root has perhaps sent all before the others have looked at it
}

void gradients(Communicator& c) {
  // losses rank + 1 times the sum's square: the sum of all has the gradient 2 * sum * (1 + ... + size) for every rank's
  const Tensor own = (torch::arange(5, torch::kFloat) + c.rank()).requires_grad_();
  const Tensor sum = c.all_reduce_sum_differentiable(own * 1.0);
  ((c.rank() + 1.0) * sum * sum).sum().backward();
  const double ranks = c.size() * (c.size() + 1) / 2.0;
  expect_close(own.grad(), 2 * ranks * sum.detach(), "gradient through a sum");
  const Tensor constant = torch::ones({2});
  expect(!c.all_reduce_sum_differentiable(constant).requires_grad(), "a constant's sum has no gradient");
  expect_equal(constant, torch::ones({2}), "the sum is another tensor");
}

// With `sizes` samples on each rank, against torch with all of them.
void batch_norm_of(Communicator& c, const std::vector<int64_t>& sizes, std::vector<int64_t> shape, double offset) {
  const std::string name = fmt::format("{} dims, {} samples here, offset {}", shape.size(), sizes[c.rank()], offset);
  const double momentum = 0.3;
  const double eps = 1e-3;
  int64_t begin = 0;
  int64_t all = 0;
  for (int rank = 0; rank < c.size(); ++rank) {
    if (rank < c.rank()) begin += sizes[rank];
    all += sizes[rank];
  }
  torch::manual_seed(5);
  shape[0] = all;
  const int64_t channels = shape[1];
  const Tensor x = (torch::randn(shape) + offset).requires_grad_();
  const Tensor weight = torch::randn({channels}).requires_grad_();
  const Tensor bias = torch::randn({channels}).requires_grad_();
  const Tensor mean = torch::randn({channels});
  const Tensor var = torch::rand({channels}) + 0.5;
  const Tensor slope = torch::randn(shape);  // of the loss

  const Tensor own_x = x.detach().narrow(0, begin, sizes[c.rank()]).clone().requires_grad_();
  const Tensor own_weight = weight.detach().clone().requires_grad_();
  const Tensor own_bias = bias.detach().clone().requires_grad_();
  const Tensor own_mean = mean.clone();
  const Tensor own_var = var.clone();
  const Tensor y = synchronized_batch_norm(own_x, own_weight, own_bias, own_mean, own_var, momentum, eps, c);
  (y * slope.narrow(0, begin, sizes[c.rank()])).sum().backward();
  c.all_reduce_sum({own_weight.grad(), own_bias.grad()});

  const Tensor whole = torch::batch_norm(x, weight, bias, mean, var, true, momentum, eps, false);
  (whole * slope).sum().backward();
  expect_close(y, whole.narrow(0, begin, sizes[c.rank()]), name + ": output");
  expect_close(own_x.grad(), x.grad().narrow(0, begin, sizes[c.rank()]), name + ": gradient of the input");
  expect_close(own_weight.grad(), weight.grad(), name + ": gradient of the weight");
  expect_close(own_bias.grad(), bias.grad(), name + ": gradient of the bias");
  expect_close(own_mean, mean, name + ": running mean");
  expect_close(own_var, var, name + ": running variance");
}

void batch_norm(Communicator& c) {
  std::vector<int64_t> unequal;
  for (int rank = 0; rank < c.size(); ++rank) unequal.push_back(3 + 4 * rank);
  std::vector<int64_t> without_the_last(static_cast<size_t>(c.size()), 4);
  without_the_last.back() = 0;
  for (const auto& sizes : {std::vector<int64_t>(static_cast<size_t>(c.size()), 4), unequal, without_the_last}) {
    batch_norm_of(c, sizes, {0, 5, 6, 7}, 0);
    batch_norm_of(c, sizes, {0, 3}, 0);
    batch_norm_of(c, sizes, {0, 2, 9}, 3);
  }
  // A mean far from 0 leaves nothing of a variance that is a difference of sums.
  torch::manual_seed(9);
  const Tensor x = torch::randn({64, 1}) + 4096;
  const Tensor mean = torch::zeros({1});
  const Tensor var = torch::ones({1});
  synchronized_batch_norm(x, torch::ones({1}), torch::zeros({1}), mean, var, 1.0, 1e-5, c);
  const double expected = x.to(torch::kDouble).var(false).item<double>() * 64 * c.size() / (64.0 * c.size() - 1);
  expect(std::abs(var.item<double>() - expected) < 1e-4 * expected, "variance far from 0");
}

// Rank 1 ends or stalls while the others wait for it.
void die(Communicator& c, int how) {
  c.barrier();
  if (c.rank() == 1) raise(how);
  c.all_reduce_sum({torch::ones({1 << 16})});
}

}  // namespace

int run(const std::string& scenario, const Timeouts& timeouts) {
  const std::map<std::string, std::function<void(Communicator&)>> scenarios = {
      {"sums", sums},
      {"broadcasts", broadcasts},
      {"differing_models", differing_models},
      {"gradients", gradients},
      {"batch_norm", batch_norm},
      {"meet", [](Communicator& c) { c.barrier(); }},
      {"killed", [](Communicator& c) { die(c, SIGKILL); }},
      {"stalled", [](Communicator& c) { die(c, SIGSTOP); }},
  };
  try {
    const auto communicator = Communicator::from_environment(torch::kCPU, timeouts);
    scenarios.at(scenario)(*communicator);
  } catch (const Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 3;
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace quench::training

int main(int, char** argv) {
  alarm(60);
  const quench::training::Timeouts timeouts{std::chrono::seconds(std::stoi(argv[2])),
                                            std::chrono::seconds(std::stoi(argv[3]))};
  return quench::training::run(argv[1], timeouts);
}
