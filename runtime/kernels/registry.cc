#include "runtime/kernels/registry.h"

#include "runtime/kernels/fast/tables.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// The fast ones come first, so that they are found first.
constexpr size_t kFastTables = 6;
// One to a line, so that changes merge.
// clang-format off
const std::span<const Kernel> kTables[] = {
    fast_convolution_kernels(),
    fast_elementwise_kernels(),
    fast_integer_product_kernels(),
    fast_matrix_kernels(),
    fast_pooling_kernels(),
    fast_transposed_convolution_kernels(),
    activation_kernels(),
    attention_kernels(),
    control_kernels(),
    convolution_kernels(),
    creation_kernels(),
    data_movement_kernels(),
    einsum_kernels(),
    elementwise_kernels(),
    gather_kernels(),
    integer_product_kernels(),
    loss_kernels(),
    matrix_kernels(),
    normalization_kernels(),
    pooling_kernels(),
    quantization_kernels(),
    quantized_kernels(),
    random_kernels(),
    recurrent_kernels(),
    reduction_kernels(),
    resize_kernels(),
    sampling_kernels(),
    selection_kernels(),
    shape_kernels(),
    signal_kernels(),
};
// clang-format on

bool serves(const Kernel& kernel, std::string_view domain, std::string_view op, int opset) {
  return kernel.op == op && kernel.domain == domain && kernel.since_version <= opset && opset <= kernel.until_version;
}

}  // namespace

std::span<const std::span<const Kernel>> all_kernels(KernelSet set) {
  return std::span(kTables).subspan(set == KernelSet::kFast ? 0 : kFastTables);
}

const Kernel* find_kernel(std::string_view domain, std::string_view op, int opset, KernelSet set) {
  if (domain == "ai.onnx") domain = "";
  for (std::span<const Kernel> table : all_kernels(set)) {
    for (const Kernel& kernel : table) {
      if (serves(kernel, domain, op, opset)) return &kernel;
    }
  }
  return nullptr;
}

}  // namespace quench::rt
