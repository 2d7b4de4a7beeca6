// Copies the wire bytes of a ModelProto with its TensorProtos replaced, without parsing the rest.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "formats/onnx/input_file.h"

namespace quench {

// Bytes that are partly here and partly to be filled in later, so that a model's wire bytes can be laid out, with their
// lengths, before its weights are read.
class Rope {
 public:
  struct Gap {
    size_t number = 0;
    uint64_t bytes = 0;
  };
  using Piece = std::variant<std::string, Gap>;

  void append(std::string_view bytes);
  void append_tag(uint32_t field, WireType type);
  void append_varint(uint64_t value);
  void append_gap(Gap gap);
  void append(Rope&& other);

  uint64_t size() const { return size_; }
  const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  std::vector<Piece> pieces_;
  uint64_t size_ = 0;
};

// Given the reader at a TensorProto's first byte and the end of the message; returns what takes its place.
using TensorRewrite = std::function<Rope(WireReader& reader, uint64_t end)>;

// Rewrites the reader's whole file, which holds a ModelProto. Throws when it is no protobuf, when messages are nested
// deeper than protobuf itself accepts, or when more than `max_bytes` are copied.
Rope rewrite_model(WireReader& reader, uint64_t max_bytes, const TensorRewrite& rewrite);

// Copies one field's value, behind its tag.
void copy_value(WireReader& reader, WireTag tag, uint64_t end, Rope& out);

}  // namespace quench
