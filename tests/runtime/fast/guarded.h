// Memory for tests that ends right before a page that must not be touched.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace quench::rt::fast {

// `count` floats. Blocks of whole cache lines are aligned to them; the byte behind the last float faults, and so does
// the page before the block. New memory is filled with NaN.
class Guarded {
 public:
  explicit Guarded(int64_t count) : count_(static_cast<size_t>(count)) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = count_ * sizeof(float);
    const size_t inner = (bytes + page - 1) / page * page;
    size_ = inner + 2 * page;
    void* mapped = mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) abort();
    base_ = static_cast<char*>(mapped);
    if (inner > 0 && mprotect(base_ + page, inner, PROT_READ | PROT_WRITE) != 0) abort();
    data_ = reinterpret_cast<float*>(base_ + page + inner - bytes);
    memset(data_, 0xFF, bytes);
  }
  explicit Guarded(size_t count) : Guarded(static_cast<int64_t>(count)) {}
  ~Guarded() { munmap(base_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  void assign(const std::vector<float>& values) {
    if (!values.empty()) memcpy(data_, values.data(), values.size() * sizeof(float));
  }
  float* data() { return data_; }

 private:
  size_t count_;
  size_t size_ = 0;
  char* base_ = nullptr;
  float* data_ = nullptr;
};

}  // namespace quench::rt::fast
