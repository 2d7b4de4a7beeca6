// A model from a .quench file: the graph section decoded once, each weight when a plan asks for it.
#include <algorithm>

#include "formats/container/reader.h"
#include "runtime/graph/model.h"

namespace quench::rt {
namespace {

class ContainerSource final : public OwnedSource {
 public:
  explicit ContainerSource(Memory& memory) : memory_(memory) {}

  Status open(Bytes file, const ModelOptions& options) {
    container::Limits limits;
    limits.max_graph_bytes = std::min(options.limits.max_graph_bytes, options.limits.max_memory_bytes);
    limits.max_tensor_elements = options.limits.max_tensor_elements;
    limits.verify_streams = options.verify_streams;
    limits.max_table_bytes = std::min(limits.max_table_bytes, options.limits.max_memory_bytes);
    const Result<uint64_t> size = container::Reader::open_size(file, limits);
    QUENCH_RETURN_IF_ERROR(size.status());
    if (!tables_.allocate(memory_, *size)) return out_of_memory();
    const Result<container::Reader> reader = container::Reader::open(file, tables_.span(), limits);
    QUENCH_RETURN_IF_ERROR(reader.status());
    reader_ = *reader;
    return decode_graph();
  }

  Bytes graph() const { return graph_.span(); }
  bool graph_is_terse() const { return reader_.graph_is_terse(); }

  std::string_view metadata(std::string_view key) const override { return reader_.metadata(key); }

  WeightSource source() { return {describe, decode, this}; }

  void release(Memory& memory) override {
    this->~ContainerSource();
    memory.release(this, sizeof(ContainerSource));
  }

 private:
  ~ContainerSource() = default;

  Status decode_graph() {
    Block scratch(memory_, reader_.graph_scratch_size());
    if (!scratch || !graph_.allocate(memory_, reader_.graph_size())) return out_of_memory();
    return reader_.decode_graph(graph_.span(), scratch.span());
  }

  static Status describe(void* user, uint32_t tensor, WeightInfo* info) {
    return static_cast<ContainerSource*>(user)->describe_tensor(tensor, *info);
  }
  static Status decode(void* user, uint32_t tensor, uint64_t first, std::span<std::byte> out) {
    return static_cast<ContainerSource*>(user)->decode_tensor(tensor, first, out);
  }

  Status describe_tensor(uint32_t tensor, WeightInfo& info) const {
    if (tensor >= reader_.tensor_count()) return Status::error(StatusCode::kCorrupt, "is not in the file");
    info = {reader_.tensor(tensor), {}, reader_.chunk(tensor, 0).element_count};
    if (info.tensor.encoding == coded::Encoding::kQuantized) info.codebook = reader_.codebook(info.tensor.codebook);
    return Status();
  }

  Status decode_tensor(uint32_t tensor, uint64_t first, std::span<std::byte> out) {
    WeightInfo info;
    QUENCH_RETURN_IF_ERROR(describe_tensor(tensor, info));
    const auto width = static_cast<uint64_t>(size_of(compute_type(info.tensor.type)));
    if (width == 0) return Status(StatusCode::kUnsupportedType);
    if (out.size() % width != 0 || first > info.tensor.element_count ||
        out.size() / width > info.tensor.element_count - first) {
      return Status::error(StatusCode::kInvalidArgument, "has no such elements");
    }
    const uint64_t scratch_bytes = reader_.scratch_size(tensor);
    if ((!scratch_ || scratch_.bytes() < scratch_bytes) && !scratch_.allocate(memory_, scratch_bytes)) {
      return out_of_memory();
    }
    for (uint32_t chunk = chunk_of(tensor, first); !out.empty(); ++chunk) {
      const container::ChunkRange range = reader_.chunk(tensor, chunk);
      const uint64_t skipped = (first - range.first_element) * width;
      const uint64_t rest = range.element_count * width - skipped;
      const std::span<std::byte> part = out.first(static_cast<size_t>(std::min<uint64_t>(out.size(), rest)));
      QUENCH_RETURN_IF_ERROR(decode_part(tensor, chunk, range.element_count * width, skipped, part));
      first += part.size() / width;
      out = out.subspan(part.size());
    }
    return Status();
  }

  // The chunk that holds element `first`: chunks tile the tensor in order.
  uint32_t chunk_of(uint32_t tensor, uint64_t first) const {
    uint32_t low = 0;
    for (uint32_t high = reader_.tensor(tensor).chunk_count; high - low > 1;) {
      const uint32_t middle = low + (high - low) / 2;
      (reader_.chunk(tensor, middle).first_element <= first ? low : high) = middle;
    }
    return low;
  }

  // Bytes [skipped, skipped + out.size()) of a chunk's values, `bytes` in all.
  Status decode_part(uint32_t tensor, uint32_t chunk, uint64_t bytes, uint64_t skipped, std::span<std::byte> out) {
    if (out.size() == bytes) return decode_chunk(tensor, chunk, out);
    Block whole(memory_, bytes);
    if (!whole) return out_of_memory();
    QUENCH_RETURN_IF_ERROR(decode_chunk(tensor, chunk, whole.span()));
    std::memcpy(out.data(), whole.span().data() + skipped, out.size());
    return Status();
  }

  Status decode_chunk(uint32_t tensor, uint32_t chunk, std::span<std::byte> out) {
    const std::span<std::byte> scratch = scratch_.span().first(reader_.scratch_size(tensor));
    if (compute_type(reader_.tensor(tensor).type) != ElementType::kFloat32) {
      return reader_.decode_chunk_bytes(tensor, chunk, out, scratch);
    }
    const std::span<float> values(reinterpret_cast<float*>(out.data()), out.size() / sizeof(float));
    return reader_.decode_chunk_float32(tensor, chunk, values, scratch);
  }

  Memory& memory_;
  container::Reader reader_;
  Block tables_;
  Block graph_;
  Block scratch_;  // the largest so far; the model's lock guards it
};

}  // namespace

uint64_t default_memory(uint64_t file_bytes) { return container::default_memory(file_bytes); }

Status open_container(Bytes file, const ModelOptions& options, ModelHandle& model) {
  model.reset();
  Memory memory(options.allocator, options.limits.max_memory_bytes);
  void* block = memory.allocate(sizeof(Model));
  if (!block) return out_of_memory();
  ModelHandle made;
  made.model = new (block) Model(memory, options);
  Memory& counted = made->memory_;
  void* source_block = counted.allocate(sizeof(ContainerSource));
  if (!source_block) return out_of_memory();
  auto* source = new (source_block) ContainerSource(counted);
  made->owned_source_ = source;
  QUENCH_RETURN_IF_ERROR(source->open(file, options));
  made->source_ = source->source();
  made->options_.terse_names = source->graph_is_terse();
  QUENCH_RETURN_IF_ERROR(made->load(source->graph()));
  model = std::move(made);
  return Status();
}

}  // namespace quench::rt
