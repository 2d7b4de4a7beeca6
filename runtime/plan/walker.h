// The walk over the graph, the first of the passes: see walk.cc for nodes, control.cc for If, Loop and Scan, sequences.cc
// for values that are no tensors, stages.cc for what only the run tells.
#pragma once

#include "runtime/plan/draft.h"
#include "runtime/plan/internal_kernels.h"

namespace quench::rt {

class Walker {
 public:
  explicit Walker(Draft& draft);

  Status run();

 private:
  struct ValueRequest {
    Walker* walker;
    std::span<const int> inputs;
    Status status;
  };
  // A value of the draft by the number of the graph's. Each time that a body is walked gives its values new ones.
  int number_of(int graph_value) const { return graph_value < 0 ? -1 : at(numbers_, graph_value); }
  void set_number(int graph_value, int number, bool varies);
  bool varies(int graph_value) const { return at(varies_, graph_value); }
  bool wanted(int graph_value) const { return graph_value >= 0 && graph_.values[graph_value].uses > 0; }

  Status add_values();
  Status add_input(const ValueInfo& info, int shape, int* number);
  Status add_input_list(const ValueInfo& info, int64_t count, int first_shape, int* number);
  Status walk(const Subgraph& part);
  Status visit(int number);
  Status add_node(int number);
  Status add_node(int number, int& unknown);
  Status infer(int number, const Kernel*& kernel, bool constant, bool told, DraftStep& step, int& unknown);
  uint64_t elements(int value);
  uint64_t reads_per_output(const DraftStep& step, uint64_t read);
  bool affordable(const DraftStep& step, bool told);
  Status fold(DraftStep& step);
  Status alias(DraftStep& step);
  bool is_tensor(int number);
  Status add_outputs();
  Status add_output(const ValueInfo& info, PlanOutput& range);
  Status convert_output(const ValueInfo& info, int& output);
  int before_identities(int value);

  static Status too_long() {
    return Status::error(StatusCode::kLimit, "the plan is too long: its unrolled loops have too many rounds");
  }

  // control.cc
  struct Loop;
  struct Stack {  // an output of a loop: what all rounds have made, along an axis
    int output, result;
    int axis;
    bool backwards;
    const ValueInfo* declared;  // of a piece
  };
  struct Scalar {
    bool known = false;
    int64_t value = 0;
  };
  Status add_control(int number);
  Status add_control(const Node& node);
  Status add_if(const Node& node);
  Status take_branch(const Node& node, const Subgraph& branch);
  Status add_branches(const Node& node, std::span<const Subgraph* const> branches, int condition);
  Status refuse_branch(const Status& status, int condition, bool when);
  Status add_branch(const Node& node, const Subgraph& branch, int condition, bool when, std::span<int> results);
  Status add_loop(const Node& node);
  Status add_scan(const Node& node);
  Status scan_batch(const Node& node, std::span<const int> batch);
  Status scan(const Node& node, std::span<const int> values);
  Status add_loop(Loop& loop);
  Status read_beginning(Loop& loop);
  static int64_t known_rounds(const Loop& loop, const Scalar& next);
  Status roll(Loop& loop);
  Status unroll(Loop& loop);
  Status keep_for_next_round(const Loop& loop, std::span<const int> variables);
  Status add_stack(const Stack& stack, int piece, int64_t length, int region, int* number);
  Status add_empty_stack(const Stack& stack, int* number);
  Status put(const Stack& stack, int piece, int counter, int64_t round, int whole);
  Status find_body(const Node& node, const char* name, const Subgraph** body) const;
  Status read_scalar(int number, ElementType type, const char* what, Scalar* scalar);
  Status add_scalar(ElementType type, int64_t value, int* number);
  Status add_variable(ElementType type, const Shape& shape, int region, int* number);
  Status add_internal(const Kernel& kernel, std::initializer_list<int> inputs, std::initializer_list<int> outputs,
                      const void* state = nullptr);

  // stages.cc
  struct Frame {  // a list of nodes that is being walked
    const Frame* around;
    const Subgraph* part;
    int node;
  };
  struct Held {  // numbers of values that a part of the walk, which is under way, has yet to use
    const List<int>* list = nullptr;
    const Loop* loop = nullptr;
  };
  class Hold {  // as long as it exists
   public:
    Hold(Walker& walker, const Held& held) : held_(walker.held_), before_(held_.size()), fits_(held_.push(held)) {}
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() { held_.truncate(before_); }
    bool fits() const { return fits_; }

   private:
    List<Held>& held_;
    size_t before_;
    bool fits_;
  };
  Status keep(const List<int>& numbers);
  Status know(int number);
  // That a value must be known which is not: an error of a region, which whoever has begun the outermost one mends.
  bool may_know(const Status& status) const {
    return !stopped_ && draft_.region == 0 && status.code() == StatusCode::kNotReady;
  }
  Status begin_stage(int number);
  Status end_stage(int number);
  Status mark_alive(int number, std::span<bool> alive);
  void mark_loop(const Loop& loop, std::span<bool> alive) const;
  void mark_used(const Node& node, std::span<bool> used) const;
  void mark(int number, std::span<bool> alive) const;
  Status record(int number, std::span<const bool> alive);
  int begin_node(int number);
  Status end_node(int number, int entry);
  Status take_recorded(int number, bool* taken);
  Status take_values(const StageRecord& from, int end);

  // sequences.cc
  Status add_sequence(const Node& node);
  Status add_list(std::span<const int> items, int* number);
  Status add_list(const Node& node, std::span<const int> items);
  Status add_nothing(int* number);
  Status map_sequence(const Node& node);
  Status find_list(const Node& node, std::span<const int>* items);
  Status construct_sequence(const Node& node);
  Status add_optional(const Node& node);
  Status split_to_sequence(const Node& node);
  Status concat_from_sequence(const Node& node, std::span<const int> items);
  Status read_integers(const Node& node, size_t index, Tensor* tensor, bool* given);
  Status read_place(const Node& node, size_t index, int64_t otherwise, int64_t* place);

  Draft& draft_;
  const Graph& graph_;
  uint64_t folding_left_;
  uint64_t looking_left_;  // at values that a run has told
  uint64_t visits_left_;
  std::span<int> numbers_;  // of the graph's values
  std::span<bool> varies_;  // constants that are not the same in every plan, or each time a body is walked
  uint32_t round_ = 0;      // of unrolled loops: how many so far
  bool named_ = false;      // the error names its node
  const Frame* frames_ = nullptr;
  List<Held> held_;
  List<int> kept_;                         // by the stage where the walk is
  size_t begun_in_ = 0;                    // the stage that has begun the node of control flow where the walk is
  bool stopped_ = false;                   // the walk: the value that the stage ends with is not known
  size_t stages_ = 0;                      // how many of the earlier ones the walk has passed
  int handed_ = 0;                         // where what the next one hands over begins among the inputs
  size_t next_node_ = 0, next_value_ = 0;  // of the record of the stage where the walk is, if it has run
  int first_value_ = 0;                    // of the stage where the walk is
  List<StageRecord::Node> begun_nodes_;    // of the stage that is planned
  List<StageRecord::Output> node_outputs_;
};

}  // namespace quench::rt
