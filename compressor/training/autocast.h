// Autocast to bfloat16 while it lives: convolutions and matrix products compute in it, the rest as it is.
#pragma once

#include <ATen/autocast_mode.h>
#include <torch/version.h>

namespace quench::training {

class Autocast {
 public:
  Autocast(const torch::Device& device, bool enabled) : Autocast(device.type(), enabled) {}
  Autocast(at::DeviceType type, bool enabled) : type_(type), enabled_(enabled) {
    if (!enabled_) return;
    set(true);
    at::autocast::increment_nesting();
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;
  ~Autocast() {
    if (!enabled_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    set(false);
  }

  // Whether one lives that is enabled.
  static bool is_on(at::DeviceType type) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
    return at::autocast::is_autocast_enabled(type);
#else
    return type == at::kCPU ? at::autocast::is_cpu_enabled() : at::autocast::is_enabled();
#endif
  }

 private:
  void set(bool on) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
    at::autocast::set_autocast_enabled(type_, on);
    at::autocast::set_autocast_dtype(type_, at::kBFloat16);
#else
    if (type_ == at::kCPU) {
      at::autocast::set_cpu_enabled(on);
      at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
    } else {
      at::autocast::set_enabled(on);
      at::autocast::set_autocast_gpu_dtype(at::kBFloat16);
    }
#endif
  }

  at::DeviceType type_;
  bool enabled_;
};

}  // namespace quench::training
