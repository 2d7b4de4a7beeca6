// Control flow and sequences: names only. The plan (runtime/plan/control.cc, sequences.cc) puts steps in their place.
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

constexpr Kernel kKernels[] = {
    {.op = "ConcatFromSequence", .since_version = 11, .flags = kControl},
    {.op = "If", .flags = kControl},
    {.op = "Loop", .flags = kControl},
    {.op = "Optional", .since_version = 15, .flags = kControl},
    {.op = "OptionalGetElement", .since_version = 15, .flags = kControl},
    {.op = "OptionalHasElement", .since_version = 15, .flags = kControl},
    {.op = "Scan", .since_version = 8, .flags = kControl},
    {.op = "SequenceAt", .since_version = 11, .flags = kControl},
    {.op = "SequenceConstruct", .since_version = 11, .flags = kControl},
    {.op = "SequenceEmpty", .since_version = 11, .flags = kControl},
    {.op = "SequenceErase", .since_version = 11, .flags = kControl},
    {.op = "SequenceInsert", .since_version = 11, .flags = kControl},
    {.op = "SequenceLength", .since_version = 11, .flags = kControl},
    {.op = "SequenceMap", .since_version = 17, .flags = kControl},
    {.op = "SplitToSequence", .since_version = 11, .flags = kControl},
};

}  // namespace

std::span<const Kernel> control_kernels() { return kKernels; }

}  // namespace quench::rt
