// The operators that this runtime has.
#pragma once

#include <span>
#include <string_view>

#include "runtime/contract/kernel.h"

namespace quench::rt {

enum class KernelSet : uint8_t {
  kFast,       // the fast kernel where there is one, the reference kernel otherwise
  kReference,  // plain reference kernels only
};

// The kernel for an operator of `domain` ("" and "ai.onnx" are the same) in operator set version `opset`; nullptr if
// there is none.
const Kernel* find_kernel(std::string_view domain, std::string_view op, int opset, KernelSet set);

// All kernels of a set, for listings and tests.
std::span<const std::span<const Kernel>> all_kernels(KernelSet set);

}  // namespace quench::rt
