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

#include <climits>

#include "runtime/graph/model.h"
#include "runtime/plan/arena.h"
#include "runtime/plan/plan.h"

namespace quench::rt {

struct DraftValue {
  enum Kind : uint8_t {
    kUnset,
    kInput,     // the caller's memory, or an earlier stage's
    kConstant,  // known at plan time
    kComputed,  // in the arena
    kSequence,  // of `items`, and an optional value that is not there: no step knows of them
    kNothing,
  };

  Tensor tensor;  // data of a constant is set when it is first needed
  Kind kind = kUnset;
  bool is_output = false;
  bool may_become_alias = false;  // by a later pass
  std::span<const int> items = {};
  int alias_of = -1;         // value whose bytes this is: no alias itself when it is set, so chains stay short
  int initializer = -1;      // of a constant that the model owns
  int input = -1;            // of kInput: PlanTensor::at
  bool acquired = false;     // from the model
  bool borrowed = false;     // a constant that an earlier stage keeps
  bool stays = false;        // a constant that this stage keeps for later ones
  bool told = false;         // a constant that follows from what a run has told
  uint64_t owned_bytes = 0;  // of a constant that the plan has made
  int other_layout = -1;     // the value that is this one in the other layout
  int buffer = -1;           // of the arena
  int region = 0;            // that it belongs to: it is forgotten at its end
};

// Steps that are run only if, or as long as, a condition holds: the branch of an If, the body of a Loop. They lie
// together, between a step that begins the region and one that ends it. Regions are numbered; 0 is the whole plan.
struct Region {
  int around = -1;  // the region that it lies in
  bool loops = false;
  int begin = 0, end = INT_MAX;  // those two steps, known when values are placed
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
  uint32_t varying_inputs = 0;  // bit i: input i, if it is a constant, is not the same in every plan
  bool packs = false;
  bool removed = false;
  PackedWeights packed;
  int scratch_buffer = -1;
  int region = 0;      // that it lies in
  uint32_t round = 0;  // of unrolled loops
  int begins = -1;     // the region that it begins, if its input is `condition`
  int ends = -1;       // the region that it ends
  bool condition = true;
  bool stays = false;  // though nobody reads what it makes
};

class Draft {
 public:
  // Model and memory must outlive the draft. The arena must fit the memory's limit.
  Draft(const Model& model, Memory& memory, const PlanOptions& options, const Cancellation& cancellation = {});
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft();

  // Runs all passes. What acquire_plan takes must outlive the draft.
  Status build(std::span<const Shape> shapes, std::span<const EarlierStage> earlier = {});

  // Hands everything over to a plan of its own, in the model's memory. Errors: kOutOfMemory; the draft then keeps it.
  Status freeze(Plan** plan);

  // For the passes.

  DraftValue& value(int number) { return values[number]; }
  const Node& node_of(const DraftStep& step) const { return model.graph().nodes[step.node]; }
  int root(int number) const;  // the value that has the memory
  Status add_value(const DraftValue& added, int* number);
  Status add_step(DraftStep step);  // in the current region
  // What is added from here on, until end_region, is run if the value, one bool, is `condition`, as long as it is if the
  // region loops.
  Status begin_region(bool loops, int value, bool condition);
  Status end_region();
  Status add_conversion(const Kernel& kernel, int from, int to);  // a step that only converts
  void drop_removed_steps();
  // Between a step in region `inner` and what belongs to region `outer`, around it: the outermost loop; -1 if none.
  int loop_between(int inner, int outer) const;
  // Forgets values, steps and regions from these numbers on.
  struct Mark {
    int values = 0, steps = 0, regions = 0, region = 0;
  };
  Mark mark() const { return {values.count(), steps.count(), regions.count(), region}; }
  void rewind(const Mark& mark);

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
  List<Region> regions;
  int region = 0;  // current
  List<Buffer> buffers;
  std::span<const Shape> shapes;
  std::span<const EarlierStage> earlier;
  List<int> outputs;   // values of all graph outputs, as the caller sees them, or what the stage hands over
  StageRecord record;  // of a stage that is not the last
  std::span<PlanOutput> output_ranges;
  uint64_t arena_bytes = 0;
};

}  // namespace quench::rt
