// Places buffers with known lifetimes in one block of memory.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/contract/memory.h"

namespace quench::rt {

// Needed from step `first` to step `last`, both included.
struct Buffer {
  uint64_t bytes = 0;
  int first = 0;
  int last = 0;
  uint64_t offset = 0;  // result, a multiple of kAlignment
};

// Sets the offsets so that buffers whose lifetimes meet do not overlap, and gives the size of the whole: the largest
// buffers first, each into the tightest gap that the ones before leave at its time (Pisarchyk and Lee, "Efficient
// Memory Management for Deep Neural Net Inference", 2020, "greedy by size"); beyond some thousands of buffers only those
// of one size share memory, so that the time stays below quadratic. With `reuse` off nothing shares memory.
// Errors: kLimit if the whole would exceed `limit`, kOutOfMemory.
Status place_buffers(std::span<Buffer> buffers, bool reuse, uint64_t limit, Pool& pool, uint64_t* total);

}  // namespace quench::rt
