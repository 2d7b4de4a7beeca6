// The tables of fast kernels; registry.cc puts them before the reference ones.
#pragma once

#include <span>

#include "runtime/contract/kernel.h"

namespace quench::rt {

std::span<const Kernel> fast_convolution_kernels();
std::span<const Kernel> fast_elementwise_kernels();
std::span<const Kernel> fast_integer_product_kernels();
std::span<const Kernel> fast_matrix_kernels();
std::span<const Kernel> fast_pooling_kernels();
std::span<const Kernel> fast_transposed_convolution_kernels();

}  // namespace quench::rt
