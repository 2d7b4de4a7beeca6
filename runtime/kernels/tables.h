// The tables of reference kernels, one per family; registry.cc puts them together.
#pragma once

#include <span>

#include "runtime/contract/kernel.h"

namespace quench::rt {

// The domain of the operators that are ONNX Runtime's own.
inline constexpr const char* kMicrosoft = "com.microsoft";

std::span<const Kernel> activation_kernels();
std::span<const Kernel> attention_kernels();
std::span<const Kernel> control_kernels();
std::span<const Kernel> convolution_kernels();
std::span<const Kernel> creation_kernels();
std::span<const Kernel> data_movement_kernels();
std::span<const Kernel> einsum_kernels();
std::span<const Kernel> elementwise_kernels();
std::span<const Kernel> gather_kernels();
std::span<const Kernel> integer_product_kernels();
std::span<const Kernel> loss_kernels();
std::span<const Kernel> matrix_kernels();
std::span<const Kernel> normalization_kernels();
std::span<const Kernel> pooling_kernels();
std::span<const Kernel> quantization_kernels();
std::span<const Kernel> quantized_kernels();
std::span<const Kernel> random_kernels();
std::span<const Kernel> recurrent_kernels();
std::span<const Kernel> reduction_kernels();
std::span<const Kernel> resize_kernels();
std::span<const Kernel> sampling_kernels();
std::span<const Kernel> selection_kernels();
std::span<const Kernel> shape_kernels();
std::span<const Kernel> signal_kernels();

}  // namespace quench::rt
