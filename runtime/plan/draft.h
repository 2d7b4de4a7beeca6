// A plan in the making: what the passes work on (passes.h), thrown away once it is frozen.
//
//     Draft draft(model, memory, options);
//     QUENCH_RETURN_IF_ERROR(draft.build(shapes));
//     QUENCH_RETURN_IF_ERROR(draft.freeze(&plan));
//
// The model's lock must be held from the draft's beginning to its end. What planning itself needs comes from `memory`
// and is gone with the draft; what a plan keeps (folded constants, packed weights) comes from the model's.
// Values and steps refer to each other by number; -1 is an omitted one.
#pragma once

#include "runtime/graph/model.h"
#include "runtime/plan/arena.h"
#include "runtime/plan/plan.h"

namespace quench::rt {

struct DraftValue {
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
  uint64_t owned_bytes = 0;  // of a constant that the plan has made
  int other_layout = -1;     // the value that is this one in the other layout
  int buffer = -1;           // of the arena
};

struct DraftStep {
  const Kernel* kernel = nullptr;
  int node = -1;  // -1: a conversion that the plan has put in
  std::span<int> inputs, outputs;
  void* state = nullptr;
  int64_t scratch_bytes = 0;
  LayoutRule layout = LayoutRule::kRowMajor;
  Activation activation;
  int residual = -1;
  bool packs = false;
  bool removed = false;
  PackedWeights packed;
  int scratch_buffer = -1;
};

class Draft {
 public:
  // Model and memory must outlive the draft. The arena must fit the memory's limit.
  Draft(const Model& model, Memory& memory, const PlanOptions& options, const Cancellation& cancellation = {});
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft();

  // Runs all passes. `shapes` has one for every input of the model, and must outlive the draft.
  Status build(std::span<const Shape> shapes);

  // Hands everything over to a plan of its own, in the model's memory. Errors: kOutOfMemory; the draft then keeps it.
  Status freeze(Plan** plan);

  // For the passes.

  DraftValue& value(int number) { return values[number]; }
  const Node& node_of(const DraftStep& step) const { return model.graph().nodes[step.node]; }
  int root(int number) const;  // the value that has the memory
  Status add_value(const DraftValue& added, int* number);
  Status add_step(const DraftStep& step) { return steps.push(step) ? Status() : out_of_memory(); }
  Status add_conversion(const Kernel& kernel, int from, int to);  // a step that only converts
  void drop_removed_steps();

  Status materialize(int number);   // gives a constant its data
  Status own_constant(int number);  // memory for a constant that the plan makes
  void release_constant(int number);

  // The tensors of a step as a kernel sees them, with data or without.
  Status connect(const DraftStep& step, bool with_data, NodeContext& context);

  const Model& model;
  Memory& memory;
  const PlanOptions options;
  const Cancellation cancellation;
  Pool pool;
  List<DraftValue> values;  // the first are the graph's, in its order
  List<DraftStep> steps;
  List<Buffer> buffers;
  std::span<const Shape> shapes;
  std::span<int> outputs;  // value of each graph output, as the caller sees it
  uint64_t arena_bytes = 0;
};

}  // namespace quench::rt
