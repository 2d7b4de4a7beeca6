#include "compressor/compress/compress.h"
#include "compressor/measure/quench_file.h"
#include "formats/error.h"

namespace quench::quantizer {

namespace fs = std::filesystem;

void unpack(const fs::path& input, const fs::path& output, uint64_t max_memory) {
  std::error_code ignored;
  if (fs::equivalent(input, output, ignored))
    throw Error::make("{}: output and input are the same file", input.string());
  const measure::QuenchFile file(input, max_memory);
  const container::Reader& reader = file.reader();
  const onnx::ModelProto proto = file.graph();
  size_t stripped = 0;
  for_each_tensor(proto, [&](const onnx::TensorProto& tensor, const TensorPlace&) { stripped += is_stripped(tensor); });
  if (stripped != reader.tensor_count()) {
    throw Error::make("{}: the graph has {} tensors without values, the file has values of {}", file.name(), stripped,
                      reader.tensor_count());
  }
  const measure::AlignedBuffer scratch(reader.max_scratch_size());
  const auto provider = [&](size_t index, const onnx::TensorProto& tensor) {
    const container::TensorInfo info = reader.tensor(static_cast<uint32_t>(index));
    uint64_t elements = 0;
    const bool fits = element_count(tensor, elements) && elements == info.element_count &&
                      tensor.data_type() == static_cast<int32_t>(info.type);
    if (!fits)
      throw Error::make("{}: tensor '{}' has other values in the file than in the graph", file.name(), tensor.name());
    std::vector<std::byte> values(element_bytes(info.type, info.element_count));
    file.check(reader.decode_bytes(static_cast<uint32_t>(index), values, scratch.span()));
    return values;
  };
  save(output, proto, provider);
}

}  // namespace quench::quantizer
