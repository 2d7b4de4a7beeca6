// A model: the checked graph, its weights (decoded when a plan needs them, shared by all sessions), and the packed
// weights.
//
//     ModelOptions options;
//     ModelHandle model;
//     QUENCH_RETURN_IF_ERROR(open_model(model_proto_bytes, source, options, model));   // or open_container
//     SessionHandle session;                                                           // session.h, one per thread
//     QUENCH_RETURN_IF_ERROR(create_session(*model, {}, session));
//
// A model is immutable for its users and may be shared by threads; weights, packed weights and plans inside are shared by
// its sessions, counted, and guarded by a lock that a session holds while it plans. The bytes that it was opened from
// must outlive it, and it must outlive its sessions.
#pragma once

#include <memory>

#include "runtime/graph/graph.h"
#include "runtime/graph/lock.h"

namespace quench::rt {

class Plan;

struct ModelOptions {
  Allocator allocator;
  Limits limits;
  KernelSet kernels = KernelSet::kFast;
  bool terse_names = false;  // of a ModelProto (formats/container/FORMAT.md, "Terse names"); a container says it itself
  bool fuse = true;          // BatchNormalization, residual Add and activations into the node before
  bool verify_streams = true;  // containers: see container::Limits
  // Names of inner values that become outputs too, numbered behind the declared ones.
  std::span<const std::string_view> extra_outputs;
};

// The sources of weights that need an end.
class OwnedSource {
 public:
  virtual void release(Memory& memory) = 0;
  virtual std::string_view metadata(std::string_view key) const = 0;  // of the container; no data: there is none

 protected:
  ~OwnedSource() = default;
};

class Model {
 public:
  Model(const Memory& memory, const ModelOptions& options);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Graph& graph() const { return graph_; }
  const ModelOptions& options() const { return options_; }
  // The first are those that a run needs; the others have a default: the initializer of their name.
  std::span<const ValueInfo> inputs() const { return graph_.inputs.span(); }
  size_t required_inputs() const { return graph_.required_inputs; }
  std::span<const ValueInfo> outputs() const { return graph_.outputs.span(); }
  // What the file says of itself: of its container, or of the model (metadata_props). Its data are nullptr where that is
  // nothing.
  std::string_view metadata(std::string_view key) const {
    const std::string_view found = owned_source_ ? owned_source_->metadata(key) : std::string_view();
    return found.data() ? found : find_property(graph_.model_proto, key);
  }

  Lock& lock() const { return lock_; }

  // The rest is for plans, under the lock.

  // Weights as they are stored, by pieces.
  const WeightSource& weights() const { return source_; }

  // Decoded values of an initializer, shared and counted: every acquire needs its release.
  Status acquire(int initializer, void** data) const;
  void release(int initializer) const;

  // The packed weights of (node, variant), counted too: nullptr if there are none yet. Those that nobody uses stay
  // for the next plan until memory is short.
  const void* acquire_packed(int node, uint32_t variant) const;
  // Zeroed memory for them, acquired; nullptr if there is none.
  void* allocate_packed(int node, uint32_t variant, uint64_t bytes) const;
  void release_packed(int node, uint32_t variant) const;
  void discard_packed(int node, uint32_t variant) const;  // allocated, but not filled

  // Memory of a plan, for as long as it lives.
  void* allocate(uint64_t bytes) const;
  void free(void* block, uint64_t bytes) const { memory_.release(block, bytes); }

  // The first of the plans that sessions use; see plan.h.
  Plan*& plans() const { return plans_; }

  // These take the lock.
  uint64_t memory_used() const;
  uint64_t memory_peak() const;

 private:
  friend Status open_model(Bytes, const WeightSource&, const ModelOptions&, struct ModelHandle&);
  friend Status open_container(Bytes, const ModelOptions&, struct ModelHandle&);
  friend struct ModelHandle;

  struct WeightSlot {
    void* data;
    int users;
  };
  struct Packed {
    uint32_t variant;
    int users;
    void* data;  // nullptr: freed, or discarded
    uint64_t bytes;
    Packed* next;
  };

  ~Model() = default;
  Status load(Bytes model_proto);
  Status find_kernels();
  Status load_attributes();
  Status load(Attribute& attribute);
  Status terminate_names(List<ValueInfo>& values);
  Status derive(const Derivation& derivation, const Shape& shape, float* out) const;
  uint64_t bytes_of(int initializer) const;
  Packed* find_packed(int node, uint32_t variant) const;
  void free_packed(Packed& packed) const;
  bool free_unused_packed() const;
  void release_all();

  ModelOptions options_;
  mutable Memory memory_;
  mutable Pool pool_;
  Graph graph_;
  WeightSource source_;
  OwnedSource* owned_source_ = nullptr;
  std::span<WeightSlot> weights_;
  std::span<Packed*> packed_;
  mutable Plan* plans_ = nullptr;
  mutable Lock lock_;
};

// Owns a model.
struct ModelHandle {
  ModelHandle() = default;
  ModelHandle(ModelHandle&& other) noexcept : model(other.model) { other.model = nullptr; }
  ModelHandle& operator=(ModelHandle&& other) noexcept {
    std::swap(model, other.model);
    return *this;
  }
  ~ModelHandle() { reset(); }
  void reset();
  Model& operator*() const { return *model; }
  Model* operator->() const { return model; }

  Model* model = nullptr;
};

// From a ModelProto, with weights inside, or stripped and coming from `source`.
// Errors: kCorrupt, kTruncated, kLimit, kShape, kUnsupportedOperator, kUnsupportedType, kNotFound (extra outputs),
// kOutOfMemory, and what the source returns for tensors inside attributes. Weights are not decoded yet.
Status open_model(Bytes model_proto, const WeightSource& source, const ModelOptions& options, ModelHandle& model);

// What a .quench file may cost its model, and each session of it, unless the caller says otherwise.
uint64_t default_memory(uint64_t file_bytes);

// From the bytes of a .quench file. Errors: also those of container::Reader::open.
Status open_container(Bytes file, const ModelOptions& options, ModelHandle& model);

}  // namespace quench::rt
