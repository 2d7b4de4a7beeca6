// Where encoders write: bytes that grow in memory of the caller's. After a failure to grow, everything written is dropped,
// and `failed` says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace quench::image {

struct ByteSink {
  uint8_t* data = nullptr;
  size_t size = 0, capacity = 0;
  bool failed = false;
  // Gives sink.data room for `capacity` bytes, keeps the first sink.size, and sets sink.capacity; false: it cannot.
  bool (*grow)(ByteSink& sink, size_t capacity) = nullptr;

  void append(std::span<const uint8_t> bytes) {
    if (!reserve(bytes.size()) || bytes.empty()) return;
    std::memcpy(data + size, bytes.data(), bytes.size());
    size += bytes.size();
  }
  void append(uint8_t byte) { append(std::span(&byte, 1)); }

 private:
  bool reserve(size_t more) {
    constexpr size_t kLeast = 4096;
    if (!failed && more > capacity - size) {
      const size_t wanted = size + more;
      failed = !grow(*this, wanted < kLeast ? kLeast : wanted + wanted / 2);
    }
    return !failed;
  }
};

// One string in a sink, as the range encoder takes it.
class SinkString {
 public:
  explicit SinkString(ByteSink& sink) : sink_(&sink), begin_(sink.size) {}
  void push_back(uint8_t byte) { sink_->append(byte); }
  void pop_back() { --sink_->size; }
  size_t size() const { return sink_->size - begin_; }
  uint8_t back() const { return sink_->data[sink_->size - 1]; }
  // After a failure there may be no such byte.
  uint8_t& operator[](size_t i) { return sink_->failed ? (spare_ = 0) : sink_->data[begin_ + i]; }

 private:
  uint8_t spare_ = 0;
  ByteSink* sink_;
  size_t begin_;
};

}  // namespace quench::image
