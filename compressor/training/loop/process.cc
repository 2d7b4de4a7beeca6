#include "compressor/training/loop/process.h"

#include <torch/torch.h>

namespace quench::training {
namespace {

torch::Device parse_device(const std::string& name) {
  try {
    const torch::Device device(name);
    if (device.is_cpu()) return device;
    if (device.is_cuda()) {
      if (!torch::cuda::is_available()) {
        throw Error::make("device '{}': this LibTorch has no CUDA, or there is no GPU; use --device cpu", name);
      }
      const torch::Device own = Communicator::own_device(device);
      if (own.has_index() && own.index() >= static_cast<int>(torch::cuda::device_count())) {
        throw Error::make("device '{}': there are {} GPUs", name, torch::cuda::device_count());
      }
      return own;
    }
  } catch (const c10::Error&) {
  }
  throw Error::make("device '{}': give cpu, cuda or cuda:N", name);
}

}  // namespace

Process::Process(const LoopOptions& options) : device_(parse_device(options.device)) {
  at::set_num_threads(options.threads);
  at::globalContext().setDeterministicCuDNN(true);
  at::globalContext().setAllowTF32CuDNN(options.bfloat16);  // else float32 would mean 10 bits of mantissa on a GPU
  torch::manual_seed(options.seed);
  communicator_ = Communicator::from_environment(device_);
}

bool bfloat16_pays(const std::string& device) {
  if (!device.starts_with("cpu")) return true;
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

}  // namespace quench::training
