// The time of a training step of a residual network (ResNet-32) and its peak memory: plainly, or with its weights
// quantized on the way.
//
//     training_bench plain|tune [--bfloat16] [--centers L] [--batch N] [--threads N] [--steps N]
//                    [--integrator NAME] [--depth N] [--recompute]
//
// Prints the median step in milliseconds, the process's peak memory in MiB, the operator calls of the last step, but for
// those that operators make of others, and what the peak is above the memory in use before the first step, in MiB:
// activations, gradients and momenta. See training_bench.sh, which runs it in turn with the same net in Python, and
// training_memory.sh, which has that by depth.
#include <ATen/record_function.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "compressor/networks/network.h"
#include "compressor/training/autocast.h"
#include "compressor/training/graph_module.h"
#include "compressor/training/loop/optimizer.h"
#include "compressor/training/quantization/weight_binding.h"

namespace {

using namespace quench;

struct Options {
  bool tune = false, bfloat16 = false, recompute = false;
  networks::NetworkOptions network;
  int centers = 75, batch = 128, threads = 2, steps = 15;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::stoi(argv[++i]) : 0; };
    if (word == "tune") options.tune = true;
    if (word == "--bfloat16") options.bfloat16 = true;
    if (word == "--recompute") options.recompute = true;
    if (word == "--integrator" && i + 1 < argc) options.network.integrator = argv[++i];
    if (word == "--depth") options.network.depth = number();
    if (word == "--centers") options.centers = number();
    if (word == "--batch") options.batch = number();
    if (word == "--threads") options.threads = number();
    if (word == "--steps") options.steps = number();
  }
  return options;
}

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

std::atomic<int64_t> operator_calls = 0;

thread_local int open_calls = 0;

std::unique_ptr<at::ObserverContext> begin_call(const at::RecordFunction&) {
  if (open_calls++ == 0) ++operator_calls;
  return nullptr;
}

void end_call(const at::RecordFunction&, at::ObserverContext*) { --open_calls; }

std::vector<std::string> matrices(const training::GraphModule& module) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : module.parameters()) {
    if (tensor.dim() >= 2 && tensor.numel() >= 1024) names.push_back(name);
  }
  return names;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  at::set_num_threads(options.threads);
  torch::manual_seed(1);
  training::GraphModule module(networks::build(options.network), torch::kCPU);
  if (options.recompute) module.recompute_activations();
  std::unique_ptr<training::WeightBinding> quantizer;
  std::vector<torch::Tensor> trained;
  for (const auto& [name, tensor] : module.parameters()) trained.push_back(tensor);
  if (options.tune) {
    training::WeightBindingOptions quantization;
    quantization.centers = static_cast<uint32_t>(options.centers);
    quantization.step = 6.0 / options.centers;  // so that as many centers are in use
    quantizer = std::make_unique<training::WeightBinding>(module.parameters(), matrices(module), quantization);
    quantizer->hardness() = {.sigma = 1, .price = 0.1, .hard_values = true, .wants_bits = false};  // as `tune` does it
    for (const auto& [name, tensor] : quantizer->learned()) trained.push_back(tensor);
  }
  training::Optimizer optimizer(trained, {}, training::LoopOptions());
  const torch::Tensor images = torch::randn({options.batch, 3, 32, 32}).contiguous(torch::MemoryFormat::ChannelsLast);
  const torch::Tensor labels = torch::randint(10, {options.batch}, torch::kInt64);
  std::vector<double> times;
  const double before = peak_mib();
  for (int step = 0; step < options.steps; ++step) {
    if (step + 1 == options.steps) {  // and not in the steps before, of which most are timed
      at::addGlobalCallback(at::RecordFunctionCallback(begin_call, end_call).scopes({at::RecordScope::FUNCTION}));
    }
    const double start = now_ms();
    optimizer.zero_grad();
    training::WeightBinding::Pass pass;
    if (quantizer) pass = quantizer->quantize(module.parameters());
    torch::Tensor scores;
    {
      const training::Autocast autocast(torch::kCPU, options.bfloat16);
      scores = module.forward({{"input", images}}, training::GraphModule::Mode::kTrain, pass.weights)[0];
    }
    const torch::Tensor loss = torch::cross_entropy_loss(scores.to(torch::kFloat32), labels);
    loss.backward();
    if (quantizer) quantizer->precondition_gradients();
    optimizer.step(0.01);
    if (quantizer) quantizer->rearrange();
    times.push_back(now_ms() - start);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  std::printf("%.1f %.0f %lld %.0f\n", times[times.size() / 2], peak_mib(), static_cast<long long>(operator_calls),
              peak_mib() - before);
  return 0;
}
