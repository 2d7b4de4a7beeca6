#include "runtime/kernels/strided.h"

namespace quench::rt {
namespace {

template <typename T>
void copy_elements(const RunContext& context, const StridedLoop<2>& loop, void* target, const void* source) {
  const int64_t target_step = loop.step(0);
  const int64_t source_step = loop.step(1);
  parallel_walk(context, loop, [=](const int64_t* at, int64_t count) {
    T* to = static_cast<T*>(target) + at[0];
    const T* from = static_cast<const T*>(source) + at[1];
    if (target_step == 1 && source_step == 1) {
      memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
      return;
    }
    for (int64_t i = 0; i < count; ++i) to[i * target_step] = from[i * source_step];
  });
}

}  // namespace

void copy_strided(const RunContext& context, const StridedLoop<2>& loop, int64_t element_bytes, void* target,
                  const void* source) {
  switch (element_bytes) {
    case 1:
      return copy_elements<uint8_t>(context, loop, target, source);
    case 2:
      return copy_elements<uint16_t>(context, loop, target, source);
    case 4:
      return copy_elements<uint32_t>(context, loop, target, source);
    default:
      return copy_elements<uint64_t>(context, loop, target, source);
  }
}

}  // namespace quench::rt
