// An execution plan: what to run in which order for one set of input shapes, and where in the arena everything lies.
//
// build() walks the graph once: a node whose inputs are all known is run right then and becomes a constant, for others
// shapes are inferred. Then follow fusion (fuse.cc), layouts (layout.cc), prepare and pack, and the placement of all
// buffers (arena.cc). Steps and values refer to each other by number.
#pragma once

#include "runtime/graph/model.h"
#include "runtime/plan/arena.h"

namespace quench::rt {

struct PlanValue {
  enum Kind : uint8_t {
    kUnset,
    kInput,     // the caller's memory
    kConstant,  // known at plan time
    kComputed,  // in the arena
  };

  Tensor tensor;  // data of a constant is set when it is first needed
  Kind kind = kUnset;
  bool depends_on_shapes = false;  // a constant that is not the same for other input shapes
  bool is_output = false;
  int alias_of = -1;         // value whose bytes this is: no alias itself when it is set, so chains stay short
  int initializer = -1;      // of a constant that the model owns
  int input = -1;            // of kInput: number of the graph input
  bool acquired = false;     // from the model
  uint64_t owned_bytes = 0;  // of a constant's data that the plan owns
  int other_layout = -1;     // the value that is this one in the other layout
  int buffer = -1;           // of the arena
};

struct Step {
  const Kernel* kernel = nullptr;
  int node = -1;  // -1: a conversion that the plan has put in
  std::span<int> inputs, outputs;
  void* state = nullptr;
  int64_t scratch_bytes = 0;
  LayoutRule layout = LayoutRule::kRowMajor;
  Activation activation;
  int residual = -1;
  uint32_t variant = 0;
  bool packs = false;
  bool removed = false;
  const void* packed = nullptr;
  int scratch_buffer = -1;

  // For the session.
  std::span<const Tensor*> input_tensors;
  std::span<Tensor*> output_tensors;
  const Tensor* residual_tensor = nullptr;
};

struct PlanOptions {
  int threads = 1;
  bool fuse = true;
  bool reuse = true;  // share memory between buffers, and run in place
};

class Plan {
 public:
  // The model must outlive the plan. `memory` is the session's.
  Plan(const Model& model, Memory& memory, const PlanOptions& options);
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan();  // takes the model's lock

  // `shapes` has one for every input of the model. Takes the model's lock.
  Status build(std::span<const Shape> shapes);

  uint64_t arena_bytes() const { return arena_bytes_; }
  uint64_t constant_bytes() const { return constant_bytes_; }

  // Sets all pointers, for an arena of arena_bytes() bytes, aligned to kAlignment.
  void bind_arena(void* arena);
  // Input `index` of the model, in its declared type.
  void bind_input(int index, void* data);

  const Tensor& output(int index) const {
    return values_[static_cast<size_t>(outputs_[static_cast<size_t>(index)])].tensor;
  }
  std::span<const Step> steps() const { return steps_.span(); }
  std::span<const PlanValue> values() const { return values_.span(); }
  std::span<const Buffer> buffers() const { return buffers_.span(); }

  // `status` of a step, with its node named.
  Status at_step(const Step& step, const Status& status) const;

  // The rest is for the passes.

  PlanValue& value(int number) { return values_[static_cast<size_t>(number)]; }
  const Node& node_of(const Step& step) const { return model_.graph().nodes[static_cast<size_t>(step.node)]; }
  int root(int number) const;
  Status materialize(int number);
  // A step that only converts; and the tensors of a step as a kernel sees them, with data or without.
  Status add_conversion(const Kernel& kernel, int from, int to);
  Status connect(const Step& step, bool with_data, NodeContext& context);
  Status own_constant(int number);  // memory for a constant that the plan makes
  bool add_value(const PlanValue& added, int* number);
  void release_constant(int number);

  const Model& model_;
  Memory& memory_;
  PlanOptions options_;
  Pool pool_;
  List<PlanValue> values_;  // the first are the graph's, in its order
  List<Step> steps_;
  List<Buffer> buffers_;
  std::span<int> inputs_;   // value of each graph input, as the caller gives it
  std::span<int> outputs_;  // value of each graph output, as the caller sees it
  uint64_t arena_bytes_ = 0;
  uint64_t constant_bytes_ = 0;
  // Packed weights that depend on the shapes.
  struct OwnPacked {
    void* data;
    uint64_t bytes;
  };
  List<OwnPacked> own_packed_;
};

}  // namespace quench::rt
