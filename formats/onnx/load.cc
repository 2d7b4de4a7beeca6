#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <utility>

#include "formats/base/element_type.h"
#include "formats/error.h"
#include "formats/onnx/contrib.h"
#include "formats/onnx/file_kind.h"
#include "formats/onnx/inline_functions.h"
#include "formats/onnx/input_file.h"
#include "formats/onnx/model_file.h"
#include "formats/onnx/normalize.h"
#include "formats/onnx/weight_mark.h"
#include "formats/onnx/wire_rewrite.h"

namespace quench {
namespace {

using onnx::TensorProto;

// Fields of TensorProto.
constexpr uint32_t kFloatData = 4;
constexpr uint32_t kInt32Data = 5;
constexpr uint32_t kInt64Data = 7;
constexpr uint32_t kRawData = 9;
constexpr uint32_t kDoubleData = 10;
constexpr uint32_t kUint64Data = 11;
constexpr uint32_t kExternalData = 13;

constexpr const char* kPayloadKey = "payload";

// What the scan found of one TensorProto's values.
struct Payload {
  uint64_t begin = 0;  // the message, which typed values are read from again
  uint64_t end = 0;
  uint64_t raw_offset = 0;
  uint64_t raw_length = 0;
  uint32_t typed_field = 0;
  uint64_t typed_count = 0;
};

bool is_typed_field(uint32_t field) {
  return field == kFloatData || field == kInt32Data || field == kInt64Data || field == kDoubleData ||
         field == kUint64Data;
}

WireType typed_wire(uint32_t field) {
  if (field == kFloatData) return WireType::kFixed32;
  if (field == kDoubleData) return WireType::kFixed64;
  return WireType::kVarint;
}

uint64_t read_scalar(WireReader& reader, WireType type, uint64_t end) {
  if (type == WireType::kVarint) return reader.read_varint(end);
  std::byte bytes[8] = {};
  reader.read(std::span(bytes, type == WireType::kFixed32 ? 4 : 8), end);
  uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// Calls visit(bits) for each value of one occurrence of a typed field, which may be packed or not.
template <typename Visit>
void for_each_value(WireReader& reader, WireTag tag, uint64_t end, Visit visit) {
  const WireType type = typed_wire(tag.field);
  if (tag.type == type) return visit(read_scalar(reader, type, end));
  if (tag.type != WireType::kBytes) reader.fail("not ONNX: tensor values of the wrong wire type");
  const uint64_t length = reader.read_length(end);
  const uint64_t values_end = reader.position() + length;
  while (reader.position() < values_end) visit(read_scalar(reader, type, values_end));
}

// The field that a type's values are in when they are not raw, and how many of its entries an element takes.
uint32_t typed_field_of(int32_t dtype) {
  switch (dtype) {
    case TensorProto::FLOAT:
    case TensorProto::COMPLEX64:
      return kFloatData;
    case TensorProto::DOUBLE:
    case TensorProto::COMPLEX128:
      return kDoubleData;
    case TensorProto::INT64:
      return kInt64Data;
    case TensorProto::UINT32:
    case TensorProto::UINT64:
      return kUint64Data;
    default:
      return kInt32Data;
  }
}

// Bytes of raw_data that one entry of the typed field stands for.
uint32_t typed_entry_bytes(int32_t dtype) {
  const uint32_t bits = element_bits(dtype);
  if (dtype == TensorProto::COMPLEX64 || dtype == TensorProto::COMPLEX128) return bits / 16;
  return (bits + 7) / 8;  // two 4-bit elements share an entry
}

class RawSource : public WeightSource {
 public:
  RawSource(std::shared_ptr<const InputFile> file, uint64_t offset, uint64_t length)
      : file_(std::move(file)), offset_(offset), length_(length) {}

  std::vector<std::byte> read() const override {
    std::vector<std::byte> raw(length_);
    file_->read(offset_, raw);
    return raw;
  }

 private:
  std::shared_ptr<const InputFile> file_;
  uint64_t offset_;
  uint64_t length_;
};

class TypedSource : public WeightSource {
 public:
  TypedSource(std::shared_ptr<const InputFile> file, const Payload& payload, int32_t dtype)
      : file_(std::move(file)), payload_(payload), entry_bytes_(typed_entry_bytes(dtype)) {}

  std::vector<std::byte> read() const override {
    std::vector<std::byte> raw(payload_.typed_count * entry_bytes_);
    std::byte* out = raw.data();
    WireReader reader(*file_);
    reader.seek(payload_.begin);
    while (reader.position() < payload_.end) {
      const WireTag tag = reader.read_tag(payload_.end);
      if (tag.field != payload_.typed_field) {
        reader.skip_value(tag.type, payload_.end);
        continue;
      }
      for_each_value(reader, tag, payload_.end, [&](uint64_t bits) {
        if (out == raw.data() + raw.size()) reader.fail("changed while it was read");
        std::memcpy(out, &bits, entry_bytes_);
        out += entry_bytes_;
      });
    }
    return raw;
  }

 private:
  std::shared_ptr<const InputFile> file_;
  Payload payload_;
  uint32_t entry_bytes_;
};

std::string mark_entry(uint64_t number) {
  onnx::StringStringEntryProto entry;
  entry.set_key(kPayloadKey);
  entry.set_value(std::to_string(number));
  return entry.SerializeAsString();
}

// Copies a TensorProto without its values and appends an external_data entry with the number of its Payload.
Rope strip_tensor(WireReader& reader, uint64_t end, std::vector<Payload>& payloads) {
  Payload payload;
  payload.begin = reader.position();
  payload.end = end;
  Rope out;
  while (reader.position() < end) {
    const WireTag tag = reader.read_tag(end);
    if (tag.field == kRawData) {
      if (tag.type != WireType::kBytes) reader.fail("not ONNX: raw_data of the wrong wire type");
      if (payload.raw_length != 0) reader.fail("a tensor has raw_data twice");
      payload.raw_length = reader.read_length(end);
      payload.raw_offset = reader.position();
      reader.seek(payload.raw_offset + payload.raw_length);
    } else if (is_typed_field(tag.field)) {
      uint64_t count = 0;
      for_each_value(reader, tag, end, [&](uint64_t) { ++count; });
      if (count == 0) continue;
      if (payload.typed_count != 0 && payload.typed_field != tag.field) {
        reader.fail("a tensor has values in two fields");
      }
      payload.typed_field = tag.field;
      payload.typed_count += count;
    } else {
      copy_value(reader, tag, end, out);
    }
  }
  const std::string entry = mark_entry(payloads.size());
  out.append_tag(kExternalData, WireType::kBytes);
  out.append_varint(entry.size());
  out.append(entry);
  payloads.push_back(payload);
  return out;
}

// Files that tensors with external data refer to.
class ExternalFiles {
 public:
  // For a model in memory, which cannot have any.
  ExternalFiles() = default;
  explicit ExternalFiles(const std::filesystem::path& model) : folder_(model.parent_path()) {
    if (folder_.empty()) folder_ = ".";
    // Where the model is a link, its data may be links to the folder of what it leads to, or lie there: the cache of
    // Hugging Face's hub has links to files with checksums for names.
    for (const std::filesystem::path& folder : {folder_, std::filesystem::canonical(model).parent_path()}) {
      roots_.push_back(std::filesystem::canonical(folder));
    }
  }

  std::shared_ptr<const InputFile> open(const std::string& location) {
    if (folder_.empty()) throw Error("external data is not accepted here");
    auto found = files_.find(location);
    if (found == files_.end()) found = files_.emplace(location, InputFile::open_for_each_read(resolve(location))).first;
    return found->second;
  }

  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const auto& [location, file] : files_) sum += file->size();
    return sum;
  }

  std::vector<std::filesystem::path> paths() const {
    std::vector<std::filesystem::path> paths;
    for (const auto& [location, file] : files_) paths.emplace_back(file->name());
    return paths;
  }

 private:
  std::filesystem::path resolve(const std::string& location) const {
    const std::filesystem::path relative(location);
    if (location.empty() || location.find('\0') != std::string::npos) throw Error("external data without a file name");
    if (relative.is_absolute())
      throw Error::make("external data at the absolute path '{}' is refused", printable(location));
    for (const std::filesystem::path& part : relative) {
      if (part == "..")
        throw Error::make("external data outside the model's folder, at '{}', is refused", printable(location));
    }
    std::error_code error;
    std::filesystem::path target = std::filesystem::canonical(folder_ / relative, error);
    if (error) {
      std::error_code other;
      target = std::filesystem::canonical(roots_.back() / relative, other);
      if (other) throw Error::make("its external data '{}' cannot be opened: {}", printable(location), error.message());
    }
    const auto is_inside = [&](const std::filesystem::path& root) {
      const std::filesystem::path inside = target.lexically_relative(root);
      return !inside.empty() && *inside.begin() != "..";
    };
    if (!std::any_of(roots_.begin(), roots_.end(), is_inside)) {
      throw Error::make("external data '{}' is a link that leads out of the model's folder", printable(location));
    }
    return target;
  }

  std::filesystem::path folder_;
  std::vector<std::filesystem::path> roots_;  // canonical; inside of these
  std::map<std::string, std::shared_ptr<const InputFile>> files_;
};

uint64_t parse_number(const std::string& text, const char* key) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw Error::make("external data with the {} '{}', which is no number", key, printable(text));
  }
  return value;
}

std::shared_ptr<const WeightSource> external_source(const TensorProto& tensor, uint64_t bytes, ExternalFiles& files) {
  std::string location;
  uint64_t offset = 0;
  uint64_t length = bytes;
  for (const onnx::StringStringEntryProto& entry : tensor.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") offset = parse_number(entry.value(), "offset");
    if (entry.key() == "length") length = parse_number(entry.value(), "length");
  }
  if (length != bytes) throw Error::make("external data of {} bytes where the shape needs {}", length, bytes);
  std::shared_ptr<const InputFile> file = files.open(location);
  if (offset > file->size() || bytes > file->size() - offset) {
    throw Error::make("external data '{}' ends at byte {}, and {} bytes from byte {} on are needed",
                      printable(location), file->size(), bytes, offset);
  }
  return std::make_shared<RawSource>(std::move(file), offset, bytes);
}

std::shared_ptr<const WeightSource> source_of(const TensorProto& tensor, const Payload& payload, uint64_t elements,
                                              const std::shared_ptr<const InputFile>& file, ExternalFiles& files) {
  const uint32_t bits = element_bits(tensor.data_type());
  if (bits == 0) throw Error::make("element {} is not supported", type_name(tensor.data_type()));
  const uint64_t bytes = element_bytes(static_cast<ElementType>(tensor.data_type()), elements);
  const bool has_values = payload.raw_length != 0 || payload.typed_count != 0;
  if (tensor.data_location() == TensorProto::EXTERNAL) {
    if (has_values) throw Error("values both in the file and in external data");
    return external_source(tensor, bytes, files);
  }
  if (!has_values) throw Error::make("no values for its {} elements", elements);
  if (payload.raw_length != 0 && payload.typed_count != 0) throw Error("values both in raw_data and in a typed field");
  if (payload.raw_length != 0) {
    if (payload.raw_length != bytes) {
      throw Error::make("{} bytes of raw_data where the shape and type need {}", payload.raw_length, bytes);
    }
    return std::make_shared<RawSource>(file, payload.raw_offset, bytes);
  }
  if (payload.typed_field != typed_field_of(tensor.data_type())) {
    throw Error::make("values in a field that is not for {}", type_name(tensor.data_type()));
  }
  const uint32_t entry = typed_entry_bytes(tensor.data_type());
  if (payload.typed_count != (bytes + entry - 1) / entry) {
    throw Error::make("{} values in its typed field where the shape needs {}", payload.typed_count,
                      (bytes + entry - 1) / entry);
  }
  return std::make_shared<TypedSource>(file, payload, tensor.data_type());
}

Payload take_payload(TensorProto& tensor, std::vector<Payload>& payloads) {
  const int last = tensor.external_data_size() - 1;
  const uint64_t number = parse_number(tensor.external_data(last).value(), kPayloadKey);
  tensor.mutable_external_data()->RemoveLast();
  return payloads[number];
}

// Gives a tensor of the model its weight. The tensor's proto is what the scan left of it.
void attach_weight(OnnxModel& model, TensorProto& tensor, const Payload& payload,
                   const std::shared_ptr<const InputFile>& file, ExternalFiles& files, uint64_t inline_bytes) {
  uint64_t elements = 0;
  if (tensor.has_segment()) throw Error("segmented tensors are not supported");
  if (!element_count(tensor, elements)) throw Error("its shape is negative or absurdly large");
  if (tensor.data_type() == TensorProto::STRING) {
    if (static_cast<uint64_t>(tensor.string_data_size()) != elements || payload.raw_length != 0 ||
        payload.typed_count != 0) {
      throw Error::make("{} strings where the shape needs {}", tensor.string_data_size(), elements);
    }
    clear_weight_index(tensor);  // the file may say anything there
    return;
  }
  if (tensor.string_data_size() != 0) throw Error("strings in a tensor that is not of strings");
  if (elements == 0) {
    if (payload.raw_length != 0 || payload.typed_count != 0) throw Error("values where the shape needs none");
    clear_data(tensor);
    return;
  }
  const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
  set_weight(model, tensor, tensor.data_type(), dims, source_of(tensor, payload, elements, file, files), inline_bytes);
}

OnnxModel parse_file(const std::shared_ptr<const InputFile>& file, ExternalFiles files, const LoadOptions& options) {
  if (file->size() == 0) throw Error::make("{}: is empty", file->name());
  std::vector<Payload> payloads;
  WireReader reader(*file);
  const Rope rope = rewrite_model(reader, options.max_graph_bytes, [&](WireReader& at_tensor, uint64_t end) {
    return strip_tensor(at_tensor, end, payloads);
  });
  OnnxModel model;
  model.name = file->name();
  model.proto = parse_model(rope.pieces().empty() ? "" : std::get<std::string>(rope.pieces()[0]), model.name);

  size_t tensors = 0;
  for_each_tensor(model.proto, [&](const TensorProto&, const TensorPlace&) { ++tensors; });
  if (tensors != payloads.size()) throw Error::make("{}: not ONNX: a tensor or graph is given twice", model.name);
  for_each_tensor(model.proto, [&](TensorProto& tensor, const TensorPlace& place) {
    const Payload payload = take_payload(tensor, payloads);
    try {
      attach_weight(model, tensor, payload, file, files, options.inline_bytes);
    } catch (const Error& error) {
      throw Error::make("{}: tensor '{}': {}", model.name, printable(weight_name(tensor, place)), error.what());
    }
  });
  use_one_domain_name(model.proto);
  try {
    inline_functions(model.proto);
    replace_contrib(model.proto);
  } catch (const Error& error) {
    throw Error::make("{}: {}", model.name, error.what());
  }
  sort_nodes(model.proto);
  model.reindex();
  model.file_bytes = file->size() + files.bytes();
  model.external_files = files.paths();
  return model;
}

// What is no ONNX model may be something that has a name.
OnnxModel load_file(const std::shared_ptr<const InputFile>& file, ExternalFiles files, const LoadOptions& options) {
  try {
    return parse_file(file, std::move(files), options);
  } catch (const Error&) {
    const std::string kind = kind_of(*file);
    if (!kind.empty()) throw Error::make("{}: {}", file->name(), kind);
    throw;
  }
}

}  // namespace

OnnxModel load(const std::filesystem::path& path, const LoadOptions& options) {
  const std::shared_ptr<const InputFile> file = InputFile::open(path);
  return load_file(file, ExternalFiles(path), options);
}

OnnxModel load_bytes(std::span<const std::byte> bytes, std::string name, const LoadOptions& options) {
  const auto file = InputFile::from_bytes({bytes.begin(), bytes.end()}, std::move(name));
  return load_file(file, ExternalFiles(), options);
}

}  // namespace quench
