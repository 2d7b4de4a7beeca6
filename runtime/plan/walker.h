// The walk over the graph, the first of the passes: see walk.cc for nodes, control.cc for If, Loop and Scan, sequences.cc
// for values that are no tensors.
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
  Status add_node(int number);
  Status infer(int number, const Kernel*& kernel, bool constant, DraftStep& step);
  uint64_t elements(int value);
  uint64_t reads_per_output(const DraftStep& step, uint64_t read);
  bool affordable(const DraftStep& step);
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
  };
  struct Scalar {
    bool known = false;
    int64_t value = 0;
  };
  Status add_control(const Node& node);
  Status add_if(const Node& node);
  Status refuse_branch(const Status& status, int condition, bool when);
  Status add_branch(const Node& node, const Subgraph& branch, int condition, bool when, std::span<int> results);
  Status add_loop(const Node& node);
  Status add_scan(const Node& node);
  Status scan_batch(const Node& node, std::span<const int> batch);
  Status scan(const Node& node, std::span<const int> values);
  Status add_loop(Loop& loop);
  Status roll(Loop& loop);
  Status unroll(Loop& loop);
  Status keep_for_next_round(const Loop& loop, std::span<const int> variables);
  Status add_stack(const Stack& stack, int piece, int64_t length, int region, int* number);
  Status put(const Stack& stack, int piece, int counter, int64_t round, int whole);
  Status find_body(const Node& node, const char* name, const Subgraph** body) const;
  Status read_scalar(int number, ElementType type, const char* what, Scalar* scalar);
  Status add_scalar(ElementType type, int64_t value, int* number);
  Status add_variable(ElementType type, const Shape& shape, int region, int* number);
  Status add_internal(const Kernel& kernel, std::initializer_list<int> inputs, std::initializer_list<int> outputs,
                      const void* state = nullptr);

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
  uint64_t visits_left_;
  std::span<int> numbers_;  // of the graph's values
  std::span<bool> varies_;  // constants that are not the same in every plan, or each time a body is walked
  uint32_t round_ = 0;      // of unrolled loops: how many so far
  bool named_ = false;      // the error names its node
};

}  // namespace quench::rt
