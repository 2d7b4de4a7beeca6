// C++ wrapper over quench.h: the same functions, with owners that release themselves and errors as exceptions.
//
//     quench::Model model = quench::Model::open("resnet32.quench");
//     quench::Session session(model);
//     session.set_input(0, pixels.data(), {1, 3, 32, 32});
//     session.run();
//     std::span<const float> scores = session.output<float>(0);
//
// C++20. Threads and lifetimes: as in quench.h.
#pragma once

#include <quench/quench.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace quench {

// What a call of the runtime reported. what() is its message.
class RuntimeError : public std::runtime_error {
 public:
  explicit RuntimeError(const quench_status& status)
      : std::runtime_error(status.message[0] ? status.message : quench_status_name(status.code)),
        code_(status.code),
        offset_(status.offset) {}
  quench_code code() const { return code_; }
  int64_t offset() const { return offset_; }  // -1 where it is not known

 private:
  quench_code code_;
  int64_t offset_;
};

namespace detail {

// Calls function(arguments..., &status) and throws what it reports.
template <typename Function, typename... Arguments>
void check(Function function, Arguments... arguments) {
  quench_status status = QUENCH_STATUS_INIT;
  if (function(arguments..., &status) != QUENCH_OK) throw RuntimeError(status);
}

template <typename T>
struct ElementType;
#define QUENCH_ELEMENT_TYPE(type, number)        \
  template <>                                    \
  struct ElementType<type> {                     \
    static constexpr quench_type value = number; \
  };
QUENCH_ELEMENT_TYPE(float, QUENCH_FLOAT32)
QUENCH_ELEMENT_TYPE(double, QUENCH_FLOAT64)
QUENCH_ELEMENT_TYPE(uint8_t, QUENCH_UINT8)
QUENCH_ELEMENT_TYPE(int8_t, QUENCH_INT8)
QUENCH_ELEMENT_TYPE(uint16_t, QUENCH_UINT16)
QUENCH_ELEMENT_TYPE(int16_t, QUENCH_INT16)
QUENCH_ELEMENT_TYPE(int32_t, QUENCH_INT32)
QUENCH_ELEMENT_TYPE(int64_t, QUENCH_INT64)
QUENCH_ELEMENT_TYPE(uint32_t, QUENCH_UINT32)
QUENCH_ELEMENT_TYPE(uint64_t, QUENCH_UINT64)
QUENCH_ELEMENT_TYPE(bool, QUENCH_BOOL)
#undef QUENCH_ELEMENT_TYPE

}  // namespace detail

struct ValueInfo : quench_value_info {
  std::string_view name_view() const { return {name, name_length}; }
};

class Model {
 public:
  static Model open(const std::string& path, const quench_model_options* options = nullptr) {
    quench_model* model = nullptr;
    detail::check(quench_model_open_file, path.c_str(), options, &model);
    return Model(model);
  }
  // The bytes must outlive the model.
  static Model open(std::span<const std::byte> bytes, const quench_model_options* options = nullptr) {
    quench_model* model = nullptr;
    detail::check(quench_model_open_memory, static_cast<const void*>(bytes.data()), bytes.size(), options, &model);
    return Model(model);
  }

  int32_t input_count() const { return quench_model_input_count(get()); }
  int32_t default_input_count() const { return quench_model_default_input_count(get()); }
  int32_t output_count() const { return quench_model_output_count(get()); }
  ValueInfo input(int32_t index) const {
    ValueInfo info{};
    detail::check(quench_model_input, get(), index, static_cast<quench_value_info*>(&info));
    return info;
  }
  ValueInfo output(int32_t index) const {
    ValueInfo info{};
    detail::check(quench_model_output, get(), index, static_cast<quench_value_info*>(&info));
    return info;
  }
  // What the file says besides the model; nothing where it says nothing of the key.
  std::optional<std::string_view> metadata(const char* key) const {
    const char* text = nullptr;
    size_t length = 0;
    if (quench_model_metadata(get(), key, &text, &length, nullptr) != QUENCH_OK) return std::nullopt;
    return std::string_view(text, length);
  }
  const quench_model* get() const { return model_.get(); }

 private:
  struct Release {
    void operator()(quench_model* model) const { quench_model_release(model); }
  };
  explicit Model(quench_model* model) : model_(model) {}
  std::unique_ptr<quench_model, Release> model_;
};

class Session {
 public:
  // The model must outlive the session.
  explicit Session(const Model& model, const quench_session_options* options = nullptr) {
    quench_session* session = nullptr;
    detail::check(quench_session_create, model.get(), options, &session);
    session_.reset(session);
  }

  void set_input(int32_t index, const void* data, std::initializer_list<int64_t> shape) {
    set_input(index, data, std::span<const int64_t>(shape.begin(), shape.size()));
  }
  void set_input(int32_t index, const void* data, std::span<const int64_t> shape) {
    detail::check(quench_session_set_input, get(), index, data, shape.data(), static_cast<int32_t>(shape.size()));
  }
  void set_input_shape(int32_t index, std::span<const int64_t> shape) {
    detail::check(quench_session_set_input_shape, get(), index, shape.data(), static_cast<int32_t>(shape.size()));
  }
  void prepare() { detail::check(quench_session_prepare, get()); }
  uint64_t arena_bytes() {
    uint64_t bytes = 0;
    detail::check(quench_session_arena_bytes, get(), &bytes);
    return bytes;
  }
  void set_arena(std::span<std::byte> memory) {
    detail::check(quench_session_set_arena, get(), static_cast<void*>(memory.data()), memory.size());
  }
  void run() { detail::check(quench_session_run, get()); }

  quench_tensor output(int32_t index) const {
    quench_tensor tensor{};
    detail::check(quench_session_output, static_cast<const quench_session*>(get()), index, &tensor);
    return tensor;
  }
  // The values of an output of element type T; RuntimeError if it has another type.
  template <typename T>
  std::span<const T> output(int32_t index) const {
    const quench_tensor tensor = output(index);
    if (tensor.type != detail::ElementType<T>::value) {
      quench_status status = {QUENCH_INVALID_ARGUMENT, -1, "the output has another element type"};
      throw RuntimeError(status);
    }
    return {static_cast<const T*>(tensor.data), tensor.bytes / sizeof(T)};
  }
  quench_session* get() const { return session_.get(); }

 private:
  struct Release {
    void operator()(quench_session* session) const { quench_session_release(session); }
  };
  std::unique_ptr<quench_session, Release> session_;
};

}  // namespace quench
