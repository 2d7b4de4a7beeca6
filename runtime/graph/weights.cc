// Values of TensorProtos: from raw_data, from the typed fields, or from a WeightSource.
#include <algorithm>

#include "formats/base/float16.h"
#include "runtime/graph/graph.h"

namespace quench::rt {
namespace {

enum : uint32_t {
  kFloatData = 4,
  kInt32Data = 5,
  kInt64Data = 7,
  kRawData = 9,
  kDoubleData = 10,
  kUint64Data = 11,
};

Status weight_error(StatusCode code, const StoredTensor& stored, const char* what) {
  return Status::error(code, "tensor '%.*s' %s", static_cast<int>(std::min<size_t>(stored.name.size(), 80)),
                       stored.name.data(), what);
}

// Collects values of the typed fields as bits of the declared type, and stores them in the computed type.
class TypedWriter {
 public:
  TypedWriter(const StoredTensor& stored, std::span<std::byte> out)
      : type_(stored.type), count_(static_cast<size_t>(stored.shape.elements())), out_(out) {}

  bool put(uint64_t bits) {
    if (written_ == count_) return false;
    const size_t width = static_cast<size_t>(size_of(compute_type(type_)));
    std::byte* to = out_.data() + width * written_++;
    float value = 0;
    switch (type_) {
      case ElementType::kFloat16:
        value = float32_from_float16(static_cast<uint16_t>(bits));
        break;
      case ElementType::kBfloat16:
        value = float32_from_bfloat16(static_cast<uint16_t>(bits));
        break;
      case ElementType::kFloat64: {
        double wide = 0;
        std::memcpy(&wide, &bits, sizeof wide);
        value = static_cast<float>(wide);
        break;
      }
      case ElementType::kBool:
        *to = static_cast<std::byte>(bits != 0);
        return true;
      default:
        std::memcpy(to, &bits, width);  // little-endian: the low bytes come first
        return true;
    }
    std::memcpy(to, &value, sizeof value);
    return true;
  }
  bool complete() const { return written_ == count_; }

 private:
  ElementType type_;
  size_t count_;
  std::span<std::byte> out_;
  size_t written_ = 0;
};

uint32_t typed_field(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return kFloatData;
    case ElementType::kFloat64:
      return kDoubleData;
    case ElementType::kInt64:
      return kInt64Data;
    case ElementType::kUint32:
    case ElementType::kUint64:
      return kUint64Data;
    default:
      return kInt32Data;
  }
}

bool put_field(const WireField& field, TypedWriter& writer, Status& status) {
  if (!field.is_bytes()) return writer.put(field.value);
  WireReader packed(field.bytes);
  bool fits = true;
  if (field.number == kFloatData) {
    for (uint32_t bits = 0; fits && packed.next_fixed32(bits);) fits = writer.put(bits);
  } else if (field.number == kDoubleData) {
    for (uint64_t bits = 0; fits && packed.next_fixed64(bits);) fits = writer.put(bits);
  } else {
    for (uint64_t bits = 0; fits && packed.next_varint(bits);) fits = writer.put(bits);
  }
  status = packed.status();
  return fits;
}

Status read_raw(const StoredTensor& stored, Bytes raw, std::span<std::byte> out) {
  const int64_t expected = stored.shape.elements() * size_of(stored.type);
  if (raw.size() != static_cast<size_t>(expected)) {
    return weight_error(StatusCode::kCorrupt, stored, "has raw data of another size than its shape");
  }
  if (compute_type(stored.type) == stored.type) {
    std::memcpy(out.data(), raw.data(), raw.size());
    return Status();
  }
  return convert_to_float32(raw, static_cast<ElementType>(stored.type),
                            {reinterpret_cast<float*>(out.data()), out.size() / sizeof(float)});
}

Status read_source(const StoredTensor& stored, const WeightSource& source, std::span<std::byte> out) {
  if (!source.decode) return Status::error(StatusCode::kCorrupt, "has no data");
  const auto tensor = static_cast<uint32_t>(stored.source);
  if (source.describe) {
    WeightInfo info;
    QUENCH_RETURN_IF_ERROR(source.describe(source.user, tensor, &info));
    if (info.tensor.type != stored.type ||
        info.tensor.element_count != static_cast<uint64_t>(stored.shape.elements())) {
      return Status::error(StatusCode::kCorrupt, "has another type or size in the graph than in the file");
    }
  }
  return source.decode(source.user, tensor, 0, out);
}

}  // namespace

Status read_stored(const StoredTensor& stored, const WeightSource& source, std::span<std::byte> out) {
  if (size_of(stored.type) == 0) {
    return weight_error(StatusCode::kUnsupportedType, stored, "has an element type that the runtime does not have");
  }
  if (out.empty()) return Status();
  if (stored.source >= 0) {
    const Status status = read_source(stored, source, out);
    return status.ok() ? status : weight_error(status.code(), stored, status.detail());
  }
  TypedWriter writer(stored, out);
  const uint32_t wanted = typed_field(stored.type);
  WireReader reader(stored.proto);
  for (WireField field; reader.next(field);) {
    if (field.number == kRawData && field.is_bytes() && !field.bytes.empty()) {
      return read_raw(stored, field.bytes, out);
    }
    Status status;
    if (field.number == wanted && !put_field(field, writer, status)) {
      return weight_error(StatusCode::kCorrupt, stored, "has more values than its shape");
    }
    QUENCH_RETURN_IF_ERROR(status);
  }
  QUENCH_RETURN_IF_ERROR(reader.status());
  if (!writer.complete()) return weight_error(StatusCode::kCorrupt, stored, "has fewer values than its shape");
  return Status();
}

}  // namespace quench::rt
