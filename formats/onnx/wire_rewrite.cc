#include "formats/onnx/wire_rewrite.h"

#include <array>
#include <span>
#include <utility>

#include "formats/error.h"

namespace quench {
namespace {

// protobuf refuses messages nested deeper than 100; a TensorProto's own fields need two of them.
constexpr int kMaxDepth = 98;

// The messages that can hold a TensorProto, directly or not.
enum class Message { kOpaque, kModel, kTraining, kFunction, kGraph, kNode, kAttribute, kSparse, kTensor };

Message child(Message parent, uint32_t field) {
  struct Edge {
    Message parent;
    uint32_t field;
    Message child;
  };
  static constexpr std::array kEdges = {
      Edge{Message::kModel, 7, Message::kGraph},       Edge{Message::kModel, 20, Message::kTraining},
      Edge{Message::kModel, 25, Message::kFunction},   Edge{Message::kTraining, 1, Message::kGraph},
      Edge{Message::kTraining, 2, Message::kGraph},    Edge{Message::kFunction, 7, Message::kNode},
      Edge{Message::kGraph, 1, Message::kNode},        Edge{Message::kGraph, 5, Message::kTensor},
      Edge{Message::kGraph, 15, Message::kSparse},     Edge{Message::kNode, 5, Message::kAttribute},
      Edge{Message::kAttribute, 5, Message::kTensor},  Edge{Message::kAttribute, 6, Message::kGraph},
      Edge{Message::kAttribute, 10, Message::kTensor}, Edge{Message::kAttribute, 11, Message::kGraph},
      Edge{Message::kAttribute, 22, Message::kSparse}, Edge{Message::kAttribute, 23, Message::kSparse},
      Edge{Message::kSparse, 1, Message::kTensor},     Edge{Message::kSparse, 2, Message::kTensor}};
  for (const Edge& edge : kEdges) {
    if (edge.parent == parent && edge.field == field) return edge.child;
  }
  return Message::kOpaque;
}

class Rewriter {
 public:
  Rewriter(WireReader& reader, uint64_t max_bytes, const TensorRewrite& rewrite)
      : reader_(reader), budget_(max_bytes), rewrite_(rewrite) {}

  Rope message(Message kind, uint64_t end, int depth) {
    if (depth > kMaxDepth) reader_.fail("messages are nested too deeply");
    Rope out;
    while (reader_.position() < end) field(kind, end, depth, out);
    return out;
  }

 private:
  void field(Message kind, uint64_t end, int depth, Rope& out) {
    const WireTag tag = reader_.read_tag(end);
    const Message inner = child(kind, tag.field);
    if (inner == Message::kOpaque) {
      const uint64_t before = out.size();
      check_budget(tag, end);
      copy_value(reader_, tag, end, out);
      spend(out.size() - before);
      return;
    }
    if (tag.type != WireType::kBytes) reader_.fail("not ONNX: a message is expected");
    const uint64_t length = reader_.read_length(end);
    const uint64_t inner_end = reader_.position() + length;
    Rope body = inner == Message::kTensor ? rewrite_(reader_, inner_end) : message(inner, inner_end, depth + 1);
    reader_.seek(inner_end);
    if (inner == Message::kTensor) spend(body.size());
    spend(8);
    out.append_tag(tag.field, tag.type);
    out.append_varint(body.size());
    out.append(std::move(body));
  }

  // Before a long field is read into memory.
  void check_budget(WireTag tag, uint64_t end) {
    if (tag.type != WireType::kBytes) return;
    const uint64_t position = reader_.position();
    if (reader_.read_length(end) > budget_) fail_budget();
    reader_.seek(position);
  }

  void spend(uint64_t bytes) {
    if (bytes > budget_) fail_budget();
    budget_ -= bytes;
  }

  [[noreturn]] void fail_budget() { reader_.fail("the graph without its weights is larger than allowed"); }

  WireReader& reader_;
  uint64_t budget_;
  const TensorRewrite& rewrite_;
};

}  // namespace

void Rope::append(std::string_view bytes) {
  if (bytes.empty()) return;
  if (pieces_.empty() || !std::holds_alternative<std::string>(pieces_.back())) pieces_.emplace_back(std::string());
  std::get<std::string>(pieces_.back()).append(bytes);
  size_ += bytes.size();
}

void Rope::append_tag(uint32_t field, WireType type) {
  append_varint(uint64_t{field} << 3 | static_cast<uint32_t>(type));
}

void Rope::append_varint(uint64_t value) {
  char bytes[10];
  size_t count = 0;
  do {
    bytes[count++] = static_cast<char>((value & 0x7F) | (value >= 0x80 ? 0x80 : 0));
    value >>= 7;
  } while (value != 0);
  append(std::string_view(bytes, count));
}

void Rope::append_gap(Gap gap) {
  pieces_.emplace_back(gap);
  size_ += gap.bytes;
}

void Rope::append(Rope&& other) {
  for (Piece& piece : other.pieces_) {
    if (const auto* bytes = std::get_if<std::string>(&piece)) {
      append(*bytes);
    } else {
      append_gap(std::get<Gap>(piece));
    }
  }
}

void copy_value(WireReader& reader, WireTag tag, uint64_t end, Rope& out) {
  out.append_tag(tag.field, tag.type);
  uint64_t length = 0;
  switch (tag.type) {
    case WireType::kVarint:
      out.append_varint(reader.read_varint(end));
      return;
    case WireType::kFixed64:
      length = 8;
      break;
    case WireType::kFixed32:
      length = 4;
      break;
    case WireType::kBytes:
      length = reader.read_length(end);
      out.append_varint(length);
      break;
  }
  std::string bytes(length, '\0');
  reader.read(std::as_writable_bytes(std::span(bytes)), end);
  out.append(bytes);
}

Rope rewrite_model(WireReader& reader, uint64_t max_bytes, const TensorRewrite& rewrite) {
  return Rewriter(reader, max_bytes, rewrite).message(Message::kModel, reader.file().size(), 1);
}

}  // namespace quench
