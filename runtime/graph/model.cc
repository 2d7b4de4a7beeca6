#include "runtime/graph/model.h"

#include <algorithm>

#include "formats/operators/batch_normalization.h"

namespace quench::rt {

Model::Model(const Memory& memory, const ModelOptions& options)
    : options_(options), memory_(memory), pool_(memory_), graph_(pool_) {}

Status Model::load(Bytes model_proto) {
  GraphOptions graph_options;
  graph_options.terse_names = options_.terse_names;
  graph_options.limits = options_.limits;
  graph_options.extra_outputs = options_.extra_outputs;
  QUENCH_RETURN_IF_ERROR(read_graph(model_proto, graph_options, pool_, graph_));
  options_.extra_outputs = {};  // the caller's; not needed any more
  QUENCH_RETURN_IF_ERROR(terminate_names(graph_.inputs));
  QUENCH_RETURN_IF_ERROR(terminate_names(graph_.outputs));
  mark_live(graph_);
  if (options_.fuse) {
    QUENCH_RETURN_IF_ERROR(fold_batch_normalization(pool_, graph_));
    mark_live(graph_);
  }
  QUENCH_RETURN_IF_ERROR(find_kernels());
  QUENCH_RETURN_IF_ERROR(load_attributes());
  if (!pool_.make(graph_.initializers.size(), &weights_) || !pool_.make(graph_.nodes.size(), &packed_)) {
    return out_of_memory();
  }
  return Status();
}

// Names that callers see get a zero behind them, for C.
Status Model::terminate_names(List<ValueInfo>& values) {
  for (ValueInfo& value : values) {
    char* copy = static_cast<char*>(pool_.allocate(value.name.size() + 1, 1));
    if (!copy) return out_of_memory();
    std::memcpy(copy, value.name.data(), value.name.size());
    value.name = {copy, value.name.size()};
  }
  return Status();
}

Status Model::find_kernels() {
  for (Node& node : graph_.nodes) {
    if (!node.live) continue;
    node.kernel = find_kernel(node.domain, node.op, node.opset, options_.kernels);
    if (node.kernel) continue;
    const std::string_view domain = node.domain.empty() ? std::string_view("ai.onnx") : node.domain;
    char text[kNodeLabel];
    return Status::error(StatusCode::kUnsupportedOperator,
                         "%s: the runtime does not have operator %.*s.%.*s, version %d", label(graph_, node, text),
                         static_cast<int>(std::min<size_t>(domain.size(), 24)), domain.data(),
                         static_cast<int>(std::min<size_t>(node.op.size(), 32)), node.op.data(), node.opset);
  }
  return Status();
}

Status Model::load_attributes() {
  for (const Node& node : graph_.nodes) {
    if (!node.live) continue;
    for (Attribute& attribute : node.attributes) {
      if (attribute.stored >= 0) QUENCH_RETURN_IF_ERROR(load(attribute));
    }
  }
  return Status();
}

Status Model::load(Attribute& attribute) {
  const StoredTensor& stored = graph_.stored_attributes[attribute.stored];
  std::span<Tensor> tensor;
  if (!pool_.make(1, &tensor)) return out_of_memory();
  tensor[0].type = compute_type(stored.type);
  tensor[0].shape = stored.shape;
  tensor[0].data = pool_.allocate(static_cast<uint64_t>(std::max<int64_t>(tensor[0].bytes(), 1)), kAlignment);
  if (!tensor[0].data) return out_of_memory();
  attribute.tensor = &tensor[0];
  return read_stored(stored, source_, {tensor[0].as<std::byte>(), tensor[0].size_bytes()});
}

uint64_t Model::bytes_of(int number) const {
  const Initializer& initializer = graph_.initializers[number];
  return static_cast<uint64_t>(initializer.shape.elements() * size_of(initializer.type));
}

Status Model::acquire(int number, void** data) const {
  const Initializer& initializer = graph_.initializers[number];
  if (initializer.direct) {
    *data = const_cast<void*>(initializer.direct);
    return Status();
  }
  WeightSlot& slot = at(weights_, number);
  if (!slot.data) {
    const uint64_t bytes = bytes_of(number);
    void* block = allocate(bytes);
    if (!block) return out_of_memory();
    const std::span<std::byte> out(static_cast<std::byte*>(block), static_cast<size_t>(bytes));
    const Status status = initializer.derivation
                              ? derive(*initializer.derivation, initializer.shape, static_cast<float*>(block))
                              : read_stored(initializer.stored, source_, out);
    if (!status.ok()) {
      free(block, bytes);
      return status;
    }
    slot.data = block;
  }
  ++slot.users;
  *data = slot.data;
  return Status();
}

void Model::release(int number) const {
  if (graph_.initializers[number].direct) return;
  WeightSlot& slot = at(weights_, number);
  if (--slot.users > 0) return;
  memory_.release(slot.data, bytes_of(number));
  slot.data = nullptr;
}

Status Model::derive(const Derivation& derivation, const Shape& shape, float* out) const {
  const int numbers[] = {derivation.scale, derivation.shift, derivation.mean, derivation.variance, derivation.base};
  void* data[5] = {};
  Status status;
  int acquired = 0;
  for (; acquired < 5 && status.ok(); ++acquired) {
    if (numbers[acquired] >= 0) status = acquire(numbers[acquired], &data[acquired]);
  }
  if (status.ok()) {
    const auto* scale = static_cast<const float*>(data[0]);
    const auto* shift = static_cast<const float*>(data[1]);
    const auto* mean = static_cast<const float*>(data[2]);
    const auto* variance = static_cast<const float*>(data[3]);
    const auto* base = static_cast<const float*>(data[4]);
    const operators::ChannelMap& map = derivation.map;
    const auto normalization = [&](int64_t channel) {
      return operators::BatchNormalization<double>{scale[channel], shift[channel], mean[channel], variance[channel],
                                                   derivation.epsilon};
    };
    if (derivation.kind == Derivation::kBias) {
      for (int64_t channel = 0; channel < map.channels; ++channel) {
        const double before = base ? static_cast<double>(base[channel]) : 0.0;
        out[channel] = static_cast<float>(normalization(channel)(before));
      }
    } else {
      for (int64_t first = 0; first < shape.elements(); first += map.inner) {
        const double by = normalization(map.channel(first)).scale();
        for (int64_t e = first; e < first + map.inner; ++e) {
          out[e] = static_cast<float>(static_cast<double>(base[e]) * by);
        }
      }
    }
  } else {
    --acquired;  // the one that failed
  }
  for (int i = 0; i < acquired; ++i) {
    if (numbers[i] >= 0) release(numbers[i]);
  }
  return status;
}

void* Model::allocate(uint64_t bytes) const {
  void* block = memory_.allocate(bytes);
  return !block && free_unused_packed() ? memory_.allocate(bytes) : block;
}

Model::Packed* Model::find_packed(int node, uint32_t variant) const {
  Packed* found = at(packed_, node);
  while (found && found->variant != variant) found = found->next;
  return found;
}

void Model::free_packed(Packed& packed) const {
  memory_.release(packed.data, packed.bytes);
  packed.data = nullptr;
}

bool Model::free_unused_packed() const {
  bool any = false;
  for (Packed* first : packed_) {
    for (; first; first = first->next) {
      if (first->users > 0 || !first->data) continue;
      free_packed(*first);
      any = true;
    }
  }
  return any;
}

const void* Model::acquire_packed(int node, uint32_t variant) const {
  Packed* found = find_packed(node, variant);
  if (!found || !found->data) return nullptr;
  ++found->users;
  return found->data;
}

void* Model::allocate_packed(int node, uint32_t variant, uint64_t bytes) const {
  Packed* entry = find_packed(node, variant);
  if (!entry) {
    std::span<Packed> made;
    if (!pool_.make(1, &made)) return nullptr;
    entry = &made[0];
    entry->variant = variant;
    entry->next = at(packed_, node);
    at(packed_, node) = entry;
  }
  entry->data = allocate(bytes);
  if (!entry->data) return nullptr;
  entry->bytes = bytes;
  entry->users = 1;
  std::memset(entry->data, 0, static_cast<size_t>(bytes));
  return entry->data;
}

void Model::release_packed(int node, uint32_t variant) const { --find_packed(node, variant)->users; }

void Model::discard_packed(int node, uint32_t variant) const {
  Packed& unfilled = *find_packed(node, variant);
  unfilled.users = 0;
  free_packed(unfilled);
}

uint64_t Model::memory_used() const {
  LockGuard guard(lock_);
  return memory_.used();
}

uint64_t Model::memory_peak() const {
  LockGuard guard(lock_);
  return memory_.peak();
}

void Model::release_all() {
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i].data) memory_.release(weights_[i].data, bytes_of(static_cast<int>(i)));
  }
  for (Packed* first : packed_) {
    for (; first; first = first->next) free_packed(*first);
  }
  if (owned_source_) owned_source_->release(memory_);
  pool_.clear();
}

void ModelHandle::reset() {
  if (!model) return;
  model->release_all();
  Memory memory = model->memory_;
  model->~Model();
  memory.release(model, sizeof(Model));
  model = nullptr;
}

Status open_model(Bytes model_proto, const WeightSource& source, const ModelOptions& options, ModelHandle& model) {
  model.reset();
  Memory memory(options.allocator, options.limits.max_memory_bytes);
  void* block = memory.allocate(sizeof(Model));
  if (!block) return out_of_memory();
  ModelHandle made;
  made.model = new (block) Model(memory, options);
  made->source_ = source;
  QUENCH_RETURN_IF_ERROR(made->load(model_proto));
  model = std::move(made);
  return Status();
}

}  // namespace quench::rt
