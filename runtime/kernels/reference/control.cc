// If, Loop and Scan: names only. The plan (runtime/plan/control.cc) puts steps in their place.
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

constexpr Kernel kKernels[] = {
    {.op = "If", .flags = kControl},
    {.op = "Loop", .flags = kControl},
    {.op = "Scan", .since_version = 9, .flags = kControl},
};

}  // namespace

std::span<const Kernel> control_kernels() { return kKernels; }

}  // namespace quench::rt
