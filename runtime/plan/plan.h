// An execution plan: what to run in which order for one set of input shapes, and where everything lies. Steps run one
// after the other, but for those that jump: over the branch of an If that is not taken, back to the beginning of a loop.
//
// Where shapes depend on values that only the run tells (those of NonZero's output, say), a model runs in stages, each by
// a plan of its own. The plan of a stage that is not the last ends with such a value, and hands that and all others that
// may be needed yet over to the stages behind it; the next one's plan is made when the value is there.
//
// A plan is made by passes over a Draft (draft.h, passes.h) and never changes afterwards. It refers to no session: where
// a tensor lies is said by a number or by an offset into the arena, and a session puts in its own memory (binding.h).
// So sessions of one model with the same input shapes share one plan, and run it without a lock.
//
//     const Plan* plan = nullptr;
//     QUENCH_RETURN_IF_ERROR(acquire_plan(model, shapes, options, memory, &plan));
//     for (const Step& step : plan->steps()) ...
//     release_plan(model, plan);
#pragma once

#include "runtime/graph/model.h"

namespace quench::rt {

struct PlanOptions {
  int threads = 1;
  bool fuse = true;
  bool reuse = true;  // share memory between buffers, and run in place

  bool operator==(const PlanOptions&) const = default;
};

// In place of the shape of an input that is left out: the plan has its default for a constant. Of an optional one that is
// nothing. Of a sequence, whose items have their shapes behind those of all inputs, in order.
inline constexpr Shape kDefaultInput{-1};
inline constexpr Shape kNoInput{-2};
constexpr Shape sequence_input(int64_t items) { return {-3, items}; }

// The caller's wish to stop: asked before each step, of planning and of running.
struct Cancellation {
  int (*cancelled)(void* user) = nullptr;  // anything but 0: stop
  void* user = nullptr;

  Status check() const { return cancelled && cancelled(user) != 0 ? Status(StatusCode::kCancelled) : Status(); }
};

// A tensor of a plan, and where its data is when a step runs.
struct PlanTensor {
  enum Place : uint8_t {
    kNowhere,   // steps look at its shape only
    kInput,     // `at` is the number of its shape among Plan::input_shapes(), or behind them of what stages hand over
    kConstant,  // `at` is the number of the constant
    kArena,     // `at` is the offset in the arena, in bytes
  };

  ElementType type = ElementType::kUndefined;
  Layout layout = Layout::kRowMajor;
  Place place = kNowhere;
  Shape shape;
  uint64_t at = 0;
};

// Values that steps read: a weight of the model, acquired from it, or what the plan has computed from weights.
struct PlanConstant {
  void* data = nullptr;
  int initializer = -1;  // -1: computed
  uint64_t bytes = 0;    // of a computed one; 0: an earlier stage keeps it
};

// Weights in the form that a step's kernel wants: in the model's memory, and shared by its plans unless they depend on
// the input shapes.
struct PackedWeights {
  const void* data = nullptr;
  uint32_t variant = 0;
  uint64_t own_bytes = 0;  // of weights that only this plan has
};

// What the walk for a stage that is not the last leaves for the walks for those behind it (stages.cc). Numbers of values are
// a draft's; all drafts number alike up to where they take stages to end.
struct StageRecord {
  struct Value {  // that may be needed yet
    int number = -1;
    Tensor tensor;  // with the data of a constant that the plan keeps
    uint8_t kind = 0;
    bool told = false;
    int alias_of = -1;
    int first_item = 0, item_count = 0;  // of a sequence, among `items`
  };
  struct Node {  // that was begun
    int node = -1;
    uint32_t round = 0;  // of unrolled loops
    bool done = false;   // and then:
    int values = 0;      // how many there were behind it
    uint32_t rounds = 0;
    uint64_t budget = 0;
    int next = 0;          // in `nodes`: behind those in its subgraphs
    int first_output = 0;  // among `outputs`
  };
  struct Output {
    int number = -1;
    bool varies = false;
  };

  std::span<int> handed_over;  // what Plan::outputs are, first the value that the stage ends with
  std::span<int> same;         // aliases of that one
  std::span<int> names;        // values of the graph that it is
  std::span<Value> values;
  std::span<int> items;
  std::span<Node> nodes;
  std::span<Output> outputs;
};

// A stage that has run, and the value that its plan ends with. What lies behind it refers to both.
struct EarlierStage {
  const class Plan* plan = nullptr;
  const void* value = nullptr;
};

// Of a graph output: its tensors among Plan::outputs().
struct PlanOutput {
  int first = 0;
  int count = 1;  // -1: an optional value that is nothing
  bool is_sequence = false;
};

struct Step {
  static constexpr uint64_t kNone = UINT64_MAX;

  const Kernel* kernel = nullptr;
  int node = -1;         // of the graph; -1: a conversion that the plan has put in
  size_t arguments = 0;  // where the step's inputs begin in Plan::arguments(); its outputs follow
  size_t inputs = 0;
  size_t outputs = 0;
  int residual = -1;  // tensor that is added to output 0
  Activation activation;
  PackedWeights packed;
  const void* state = nullptr;  // Kernel::state_bytes of it
  bool in_loop = false;
  uint32_t round = 0;        // of unrolled loops
  uint64_t scratch = kNone;  // offset in the arena
  // The step to go on with instead of the next one: always, or if the step has an input, one bool, when that is
  // `condition`. Such a step has no kernel to run.
  uint64_t jump = kNone;
  bool condition = false;
};

class Plan {
 public:
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  std::span<const Step> steps() const { return steps_; }
  std::span<const PlanTensor> tensors() const { return tensors_; }
  std::span<const PlanConstant> constants() const { return constants_; }
  // Tensors of all steps, one step after the other; -1 for one that is omitted.
  std::span<const int> arguments() const { return arguments_; }
  // Tensors of all graph outputs; of a stage that is not the last, of what it hands over, first the value that it ends
  // with.
  std::span<const int> outputs() const { return outputs_; }
  std::span<const PlanOutput> output_ranges() const { return output_ranges_; }
  bool is_first() const { return is_first_; }
  bool is_last() const { return record_.handed_over.empty(); }
  const StageRecord& record() const { return record_; }
  std::span<const Shape> input_shapes() const { return input_shapes_; }
  const PlanOptions& options() const { return options_; }
  uint64_t arena_bytes() const { return arena_bytes_; }

 private:
  friend class Draft;
  friend class Freezer;
  friend Status acquire_plan(const Model&, std::span<const Shape>, std::span<const EarlierStage>, const PlanOptions&,
                             Memory&, const Cancellation&, const Plan**);
  friend void release_plan(const Model&, const Plan*);

  Plan() = default;
  ~Plan() = default;
  void release(const Model& model);

  PlanOptions options_;
  uint64_t arena_bytes_ = 0;
  uint64_t bytes_ = 0;  // of the block that the plan and all its arrays lie in
  std::span<Step> steps_;
  std::span<PlanTensor> tensors_;
  std::span<PlanConstant> constants_;
  std::span<int> arguments_;
  std::span<int> outputs_;
  std::span<PlanOutput> output_ranges_;
  StageRecord record_;
  std::span<Shape> input_shapes_;

  // For the model's list, under its lock.
  bool is_first_ = true;  // of stages
  mutable Plan* next_ = nullptr;
  mutable int users_ = 0;
};

// The plan of the model for these shapes (one for every input, or what stands in its place, and those of the sequences'
// items) and options: the one that a session has already, or a new one. Behind earlier stages always a new one. Every
// acquire needs its release. Planning works in `memory`; the plan itself, its constants and its packed weights lie in the
// model's memory, which it leaves with its last user. Both take the model's lock.
// Errors: whatever the operators say about shapes and types, kLimit, kOutOfMemory, kCancelled.
Status acquire_plan(const Model& model, std::span<const Shape> shapes, std::span<const EarlierStage> earlier,
                    const PlanOptions& options, Memory& memory, const Cancellation& cancellation, const Plan** plan);
void release_plan(const Model& model, const Plan* plan);

// Of a step that runs `node`. Under the model's lock.
void release_packed(const Model& model, int node, const PackedWeights& packed);

// `status` of a step of a plan or a draft, with its node named.
Status at_step(const Graph& graph, const Kernel& kernel, int node, const Status& status);

}  // namespace quench::rt
