// Errors of the runtime, the coders and the container: a code with a one-line meaning, and where it happened.
//
// Status is a plain value without heap, for code that is compiled without exceptions. Result<T> is a value or a Status.
//
//     Result<Header> header = read_header(bytes);
//     if (!header.ok()) return header.status();
//     use(*header);
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace quench {

// X(enumerator, number, meaning). The numbers are part of the C API and never change.
#define QUENCH_STATUS_CODES(X)                                                              \
  X(kOk, 0, "no error")                                                                     \
  X(kInvalidArgument, 1, "an argument is outside what the function accepts")                \
  X(kOutOfMemory, 2, "there is no memory: of the allocator, or within the memory limit")    \
  X(kIo, 3, "the file could not be read or written")                                        \
  X(kBadMagic, 4, "this is not a .quench file")                                             \
  X(kUnsupportedVersion, 5, "the file was written for a newer major version")               \
  X(kTruncated, 6, "the bytes end before the data does")                                    \
  X(kChecksum, 7, "a checksum does not match its bytes")                                    \
  X(kCorrupt, 8, "the bytes contradict themselves")                                         \
  X(kLimit, 9, "a size or count exceeds the limit that the caller allows")                  \
  X(kUnsupportedFeature, 10, "the file needs something that this reader does not have")     \
  X(kUnsupportedOperator, 11, "the model uses an operator that the runtime does not have")  \
  X(kUnsupportedType, 12, "an operator is used with an element type that it does not have") \
  X(kShape, 13, "shapes do not fit together")                                               \
  X(kNotFound, 14, "there is no such name")                                                 \
  X(kNotReady, 15, "a step that must come first is missing")                                \
  X(kCancelled, 16, "the caller has asked to stop")

enum class StatusCode : int32_t {
#define X(name, number, meaning) name = number,
  QUENCH_STATUS_CODES(X)
#undef X
};

// The one-line meaning of a code; "unknown status" for a number that is none.
inline const char* meaning(StatusCode code) {
  switch (code) {
#define X(name, number, text) \
  case StatusCode::name:      \
    return text;
    QUENCH_STATUS_CODES(X)
#undef X
  }
  return "unknown status";
}

class [[nodiscard]] Status {
 public:
  Status() { detail_[0] = '\0'; }
  explicit Status(StatusCode code) : code_(code) { detail_[0] = '\0'; }

  // `format` as in printf; a longer text is cut. Names the node, tensor or field, and what is wrong with it.
  [[gnu::format(printf, 2, 3)]] static Status error(StatusCode code, const char* format, ...) {
    Status status(code);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(status.detail_, sizeof status.detail_, format, arguments);
    va_end(arguments);
    return status;
  }

  // The same status with the byte offset in the file or stream where the error was found.
  Status at(uint64_t offset) const {
    Status status = *this;
    status.offset_ = static_cast<int64_t>(offset);
    return status;
  }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  int64_t offset() const { return offset_; }  // -1 where no offset is known
  // What happened, for a person; the code's meaning where nothing more is known.
  const char* detail() const { return detail_[0] != '\0' ? detail_ : meaning(code_); }

 private:
  StatusCode code_ = StatusCode::kOk;
  int64_t offset_ = -1;
  char detail_[176];
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(status) {}     // NOLINT(google-explicit-constructor)

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }
  T& operator*() { return value_; }
  const T& operator*() const { return value_; }
  T* operator->() { return &value_; }
  const T* operator->() const { return &value_; }

 private:
  T value_{};
  Status status_;
};

// Hands an error on to the caller.
#define QUENCH_RETURN_IF_ERROR(expression)           \
  do {                                               \
    ::quench::Status quench_status_ = (expression);  \
    if (!quench_status_.ok()) return quench_status_; \
  } while (false)

}  // namespace quench
