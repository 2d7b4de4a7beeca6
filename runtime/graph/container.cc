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
    limits.max_graph_bytes = options.limits.max_graph_bytes;
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

  WeightSource source() { return {read, this}; }

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

  static Status read(void* user, uint32_t tensor, ElementType type, uint64_t count, std::span<std::byte> out) {
    return static_cast<ContainerSource*>(user)->read_tensor(tensor, type, count, out);
  }

  Status read_tensor(uint32_t tensor, ElementType type, uint64_t count, std::span<std::byte> out) {
    if (tensor >= reader_.tensor_count()) return Status::error(StatusCode::kCorrupt, "is not in the file");
    const container::TensorInfo info = reader_.tensor(tensor);
    if (static_cast<int32_t>(info.type) != static_cast<int32_t>(type) || info.element_count != count) {
      return Status::error(StatusCode::kCorrupt, "has another type or size in the graph than in the file");
    }
    const uint64_t scratch_bytes = reader_.scratch_size(tensor);
    if ((!scratch_ || scratch_.bytes() < scratch_bytes) && !scratch_.allocate(memory_, scratch_bytes)) {
      return out_of_memory();
    }
    const std::span<std::byte> scratch = scratch_.span().first(static_cast<size_t>(scratch_bytes));
    if (compute_type(type) != ElementType::kFloat32) return reader_.decode_bytes(tensor, out, scratch);
    return reader_.decode_float32(tensor, {reinterpret_cast<float*>(out.data()), out.size() / sizeof(float)}, scratch);
  }

  Memory& memory_;
  container::Reader reader_;
  Block tables_;
  Block graph_;
  Block scratch_;  // the largest so far; the model's lock guards it
};

}  // namespace

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
  QUENCH_RETURN_IF_ERROR(made->load(source->graph()));
  model = std::move(made);
  return Status();
}

}  // namespace quench::rt
