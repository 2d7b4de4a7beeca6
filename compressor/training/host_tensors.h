// Float tensors between torch and the runtime.
#pragma once

#include <torch/types.h>

#include <cstring>
#include <string>

#include "compressor/graph/evaluator.h"

namespace quench::training {

inline graph::HostTensor to_host(const std::string& name, const torch::Tensor& tensor) {
  const torch::Tensor values = tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  return graph::HostTensor::float32(name, values.sizes().vec(),
                                    {values.data_ptr<float>(), static_cast<size_t>(values.numel())});
}

// float32; tensors of other types become undefined ones.
inline torch::Tensor from_host(const graph::HostTensor& tensor) {
  if (tensor.dtype != 1) return {};
  torch::Tensor values = torch::empty(tensor.dims, torch::kFloat32);
  std::memcpy(values.data_ptr<float>(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

}  // namespace quench::training
