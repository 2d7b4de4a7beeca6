#include <limits>
#include <optional>
#include <utility>

#include "formats/base/atomic_file.h"
#include "formats/error.h"
#include "formats/onnx/model_file.h"
#include "formats/onnx/weight_mark.h"
#include "formats/onnx/wire_rewrite.h"

namespace quench {
namespace {

using onnx::TensorProto;

constexpr uint64_t kMaxProtobufBytes = std::numeric_limits<int32_t>::max();
constexpr uint64_t kMinExternalBytes = 1024;   // smaller tensors stay in the .onnx file
constexpr uint64_t kExternalAlignment = 4096;  // so that the values can be mapped
constexpr uint32_t kRawDataField = 9;

void require(const Status& status) {
  if (!status.ok()) throw Error(status.detail());
}

AtomicFile create(const std::filesystem::path& path) {
  Result<AtomicFile> file = AtomicFile::create(path.string());
  require(file.status());
  return std::move(*file);
}

uint64_t raw_bytes(const TensorProto& tensor) {
  uint64_t elements = 0;
  if (!element_count(tensor, elements) || element_bits(tensor.data_type()) == 0) {
    throw Error::make("tensor '{}': cannot be saved: its shape or type is not valid", printable(tensor.name()));
  }
  return (elements * element_bits(tensor.data_type()) + 7) / 8;
}

// One stripped tensor of the model that is written.
struct Slot {
  TensorProto* tensor = nullptr;
  uint64_t bytes = 0;
  std::optional<uint64_t> external_offset;
};

void add_entry(TensorProto& tensor, const char* key, std::string value) {
  onnx::StringStringEntryProto* entry = tensor.add_external_data();
  entry->set_key(key);
  entry->set_value(std::move(value));
}

void move_to_external_file(std::vector<Slot>& slots, const std::string& file_name) {
  uint64_t end = 0;
  for (Slot& slot : slots) {
    if (slot.bytes < kMinExternalBytes) continue;
    const uint64_t offset = (end + kExternalAlignment - 1) / kExternalAlignment * kExternalAlignment;
    slot.external_offset = offset;
    end = offset + slot.bytes;
    slot.tensor->set_data_location(TensorProto::EXTERNAL);
    add_entry(*slot.tensor, "location", file_name);
    add_entry(*slot.tensor, "offset", std::to_string(offset));
    add_entry(*slot.tensor, "length", std::to_string(slot.bytes));
  }
}

// A TensorProto's bytes with a gap for raw_data where the serializer would put it.
Rope with_gap(WireReader& reader, uint64_t end, Rope::Gap gap) {
  Rope out;
  bool is_open = true;
  const auto append_gap = [&] {
    out.append_tag(kRawDataField, WireType::kBytes);
    out.append_varint(gap.bytes);
    out.append_gap(gap);
    is_open = false;
  };
  while (reader.position() < end) {
    const WireTag tag = reader.read_tag(end);
    if (is_open && tag.field > kRawDataField) append_gap();
    copy_value(reader, tag, end, out);
  }
  if (is_open) append_gap();
  return out;
}

// The file's bytes with a gap for each tensor that is embedded; a gap's number is its slot's.
Rope lay_out(const onnx::ModelProto& proto, const std::vector<Slot>& slots) {
  std::string bytes = proto.SerializeAsString();
  const auto serialized = std::as_bytes(std::span(bytes));
  const auto file = InputFile::from_bytes({serialized.begin(), serialized.end()}, "model");
  std::vector<size_t> slot_of_tensor;  // SIZE_MAX for tensors that are not stripped
  size_t next_slot = 0;
  for_each_tensor(proto, [&](const TensorProto& tensor, const TensorPlace&) {
    slot_of_tensor.push_back(next_slot < slots.size() && slots[next_slot].tensor == &tensor ? next_slot++ : SIZE_MAX);
  });
  WireReader reader(*file);
  size_t next_tensor = 0;
  return rewrite_model(reader, std::numeric_limits<uint64_t>::max(), [&](WireReader& at_tensor, uint64_t end) {
    const size_t slot = slot_of_tensor[next_tensor++];
    if (slot != SIZE_MAX && !slots[slot].external_offset) return with_gap(at_tensor, end, {slot, slots[slot].bytes});
    Rope copy;
    while (at_tensor.position() < end) copy_value(at_tensor, at_tensor.read_tag(end), end, copy);
    return copy;
  });
}

class SlotWriter {
 public:
  SlotWriter(const std::vector<Slot>& slots, const WeightProvider& provider) : slots_(slots), provider_(provider) {}

  void write_embedded(size_t slot, AtomicFile& file) const { require(file.write(values(slot))); }

  // The external slots from the first that is not written yet to the one before `end`.
  void write_external_before(size_t end, AtomicFile& file) {
    for (; next_ < end; ++next_) {
      if (!slots_[next_].external_offset) continue;
      const std::vector<std::byte> padding(*slots_[next_].external_offset - file.size());
      require(file.write(padding));
      require(file.write(values(next_)));
    }
  }

 private:
  std::vector<std::byte> values(size_t slot) const {
    std::vector<std::byte> raw = provider_(slot, *slots_[slot].tensor);
    if (raw.size() != slots_[slot].bytes) {
      throw Error::make("tensor '{}': {} bytes where {} are expected", printable(slots_[slot].tensor->name()),
                        raw.size(), slots_[slot].bytes);
    }
    return raw;
  }

  const std::vector<Slot>& slots_;
  const WeightProvider& provider_;
  size_t next_ = 0;
};

}  // namespace

void save(const std::filesystem::path& path, const onnx::ModelProto& proto, const WeightProvider& provider,
          const SaveOptions& options) {
  onnx::ModelProto copy = proto;
  std::vector<Slot> slots;
  for_each_tensor(copy, [&](TensorProto& tensor, const TensorPlace&) {
    clear_weight_index(tensor);
    if (is_stripped(tensor)) slots.push_back({&tensor, raw_bytes(tensor), std::nullopt});
  });
  Rope rope = lay_out(copy, slots);
  std::optional<AtomicFile> data_file;
  if (options.external_data == SaveOptions::ExternalData::kAlways || rope.size() > kMaxProtobufBytes) {
    const std::filesystem::path data_path = path.string() + ".data";
    move_to_external_file(slots, data_path.filename().string());
    rope = lay_out(copy, slots);
    data_file = create(data_path);
  }
  AtomicFile file = create(path);
  SlotWriter writer(slots, provider);
  for (const Rope::Piece& piece : rope.pieces()) {
    if (const auto* bytes = std::get_if<std::string>(&piece)) {
      require(file.write(std::string_view(*bytes)));
      continue;
    }
    const size_t slot = std::get<Rope::Gap>(piece).number;
    if (data_file) writer.write_external_before(slot, *data_file);
    writer.write_embedded(slot, file);
  }
  if (data_file) {
    writer.write_external_before(slots.size(), *data_file);
    require(data_file->commit());
  }
  require(file.commit());
}

void save(const std::filesystem::path& path, const OnnxModel& model, const SaveOptions& options) {
  std::vector<size_t> stripped;
  for_each_tensor(model.proto, [&](const TensorProto& tensor, const TensorPlace&) {
    if (is_stripped(tensor)) stripped.push_back(static_cast<size_t>(weight_index(tensor)));
  });
  const WeightProvider provider = [&](size_t index, const TensorProto&) {
    return read(model.weights.at(stripped[index]));
  };
  save(path, model.proto, provider, options);
}

}  // namespace quench
