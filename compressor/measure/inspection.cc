#include "compressor/measure/inspection.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "compressor/measure/quench_file.h"
#include "formats/entropy/coder.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

using container::SectionKind;

std::string encoding_name(const container::TensorInfo& info) {
  switch (info.encoding) {
    case coded::Encoding::kRaw:
      return "raw";
    case coded::Encoding::kPlanes:
      return "planes";
    case coded::Encoding::kDeltaPlanes:
      return "delta planes";
    case coded::Encoding::kQuantized:
      break;
  }
  return entropy::name_of(info.coder);
}

std::vector<uint64_t> counts_of(const auto& indices, uint32_t entries) {
  std::vector<uint64_t> counts(entries);
  for (const auto index : indices) ++counts[static_cast<size_t>(index)];
  return counts;
}

double order0_entropy(std::span<const uint64_t> counts) {
  double bits = 0;
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
  for (const uint64_t count : counts) {
    if (count > 0) bits -= static_cast<double>(count) * std::log2(static_cast<double>(count) / total);
  }
  return total > 0 ? bits / total : 0;
}

// Name and shape of the k-th stripped tensor.
std::vector<InspectedTensor> stripped_tensors(const onnx::ModelProto& graph) {
  std::vector<InspectedTensor> tensors;
  for_each_tensor(graph, [&](const onnx::TensorProto& tensor, const TensorPlace& place) {
    if (!is_stripped(tensor)) return;
    InspectedTensor inspected;
    inspected.name = tensor.name();
    if (place.node) {
      const bool constant = place.node->op_type() == "Constant" && place.node->output_size() == 1;
      inspected.name = constant ? place.node->output(0) : place.node->name() + "." + place.attribute->name();
    }
    inspected.name = printable(inspected.name);
    inspected.type = type_name(tensor.data_type());
    inspected.dims.assign(tensor.dims().begin(), tensor.dims().end());
    tensors.push_back(std::move(inspected));
  });
  return tensors;
}

void describe(const QuenchFile& file, uint32_t number, std::span<std::byte> scratch, InspectedTensor& tensor) {
  const container::TensorInfo info = file.reader().tensor(number);
  tensor.elements = info.element_count;
  tensor.bytes = info.stored_bytes;
  tensor.encoding = encoding_name(info);
  tensor.bits_per_weight =
      8.0 * static_cast<double>(info.stored_bytes) / static_cast<double>(std::max<uint64_t>(info.element_count, 1));
  if (info.type == ElementType::kInt8 || info.type == ElementType::kUint8) {
    std::vector<std::byte> integers(info.element_count);
    file.check(file.reader().decode_bytes(number, integers, scratch));
    const std::vector<uint64_t> counts = counts_of(integers, 256);
    tensor.centers = static_cast<uint32_t>(256 - std::ranges::count(counts, 0U));
    tensor.entropy = order0_entropy(counts);
  }
  if (info.encoding != coded::Encoding::kQuantized) return;
  const coded::Codebook codebook = file.reader().codebook(info.codebook);
  tensor.codebook = info.codebook;
  tensor.dimension = codebook.dimension;
  tensor.centers = codebook.entries;
  std::vector<uint16_t> indices(info.index_count);
  file.check(file.reader().decode_indices(number, indices, scratch));
  // Of an index on a trellis its symbol is coded, half of it.
  if (info.trellis != entropy::Trellis::kNone) {
    tensor.trellis = info.trellis == entropy::Trellis::kDownColumns ? "columns" : "rows";
    std::ranges::transform(indices, indices.begin(), [](uint16_t i) { return i / 2; });
  }
  tensor.entropy = order0_entropy(counts_of(indices, codebook.entries));
}

}  // namespace

Inspection inspect(const std::filesystem::path& path, uint64_t max_memory) {
  const QuenchFile file(path, max_memory);
  const container::Reader& reader = file.reader();
  const onnx::ModelProto graph = file.graph();
  Inspection inspection{file.name(), file.size(), stripped_tensors(graph), {}, {}, 0, 0};
  for (const char* key : {"tool", "options", "source_bytes", "source_crc32c"}) {
    const std::string_view value = reader.metadata(key);
    if (!value.empty()) inspection.metadata.emplace_back(key, value);
  }
  for (const auto& property : graph.metadata_props())
    inspection.metadata.emplace_back(property.key(), property.value());
  if (inspection.tensors.size() != reader.tensor_count()) {
    throw Error::make("{}: the graph has {} tensors without values, the file has values of {}", file.name(),
                      inspection.tensors.size(), reader.tensor_count());
  }
  const AlignedBuffer scratch(reader.max_scratch_size());
  uint64_t rest = file.size();
  for (uint32_t t = 0; t < reader.tensor_count(); ++t) {
    describe(file, t, scratch.span(), inspection.tensors[t]);
    rest -= inspection.tensors[t].bytes;
    const ElementType type = reader.tensor(t).type;
    if (is_float(type) || type == ElementType::kInt8 || type == ElementType::kUint8)
      inspection.weights += reader.tensor(t).element_count;
  }
  constexpr std::pair<SectionKind, const char*> kParts[] = {{SectionKind::kGraph, "graph"},
                                                            {SectionKind::kCodebooks, "codebooks"},
                                                            {SectionKind::kEntropyModels, "entropy models"},
                                                            {SectionKind::kTensors, "tensor table"},
                                                            {SectionKind::kScales, "scale codes"},
                                                            {SectionKind::kMeta, "metadata"}};
  for (const auto& [kind, name] : kParts) {
    const uint64_t bytes = reader.section_stored_bytes(kind);
    if (bytes > 0) inspection.parts.push_back({name, bytes});
    rest -= bytes;
  }
  inspection.parts.push_back({"header, section table", rest});
  inspection.bits_per_weight =
      8.0 * static_cast<double>(file.size()) / static_cast<double>(std::max<uint64_t>(inspection.weights, 1));
  return inspection;
}

}  // namespace quench::measure
