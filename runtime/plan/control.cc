// If, Loop and Scan become steps of the plan like any others, in regions between steps that jump (draft.h).
//
// If whose condition is known: the nodes of the branch, as if they stood in its place. Otherwise two regions, one for
// each value of the condition, both of which copy what they make to the same values. Where these have different shapes, the
// condition becomes known (stages.cc). A branch that does not fit the shapes of the inputs is an error when it is taken,
// as long as the other one does.
//
// Loop and Scan: a region that loops. What one round hands to the next lies in variables, which are copied to at the end
// of the round; so shapes must be the same in all rounds. Where they are not, or a node in the body needs to know a value
// that is another in each round, the loop is unrolled: the nodes of the body once for each round. How many there are becomes
// known, round by round if need be.
#include <algorithm>

#include "runtime/plan/walker.h"

namespace quench::rt {

struct Walker::Loop {
  // Of values, `input`, `output` are the graph's, in the body, and `result` is the graph's around it; the others are the
  // draft's. -1: there is none.
  struct Carried {
    int value;  // before the first round
    int input, output, result;
  };
  struct Slice {  // of an input, another one in each round
    int value, input;
    int axis;
    bool backwards;
  };

  const Subgraph* body = nullptr;
  int rounds = -1;                         // how many at most
  int condition = -1;                      // for the first round
  int counter = -1, condition_input = -1;  // inputs of the body
  int go_on = -1;                          // an output of the body: the condition for the next round
  std::span<Carried> carried;
  std::span<Slice> slices;
  std::span<Stack> stacks;

  bool rounds_known = false;
  int64_t most_rounds = INT64_MAX;  // if they are known
  Scalar begins;                    // the condition
};

void Walker::mark_loop(const Loop& loop, std::span<bool> alive) const {
  for (const Loop::Carried& carried : loop.carried) mark(carried.value, alive);
  for (const Loop::Slice& slice : loop.slices) mark(slice.value, alive);
}

namespace {

Status wrong_count(const char* what) {
  return Status::error(StatusCode::kCorrupt, "has another number of %s than its subgraph", what);
}

// May be another in another round, or be no error in a branch that is never taken.
bool depends_on_case(const Status& status) {
  return !status.ok() && status.code() != StatusCode::kOutOfMemory && status.code() != StatusCode::kLimit &&
         status.code() != StatusCode::kCancelled;
}

// A step cannot make it: the walk must know where it goes.
Status is_a_list(size_t value) {
  return Status::error(StatusCode::kNotReady,
                       "value %zu is a sequence, and it is not known before the run where it goes", value);
}

bool same(const Tensor& a, const Tensor& b) { return a.type == b.type && a.shape == b.shape; }

int normalized(int64_t axis, int rank) {
  if (axis < 0) axis += rank;
  return axis < 0 || axis >= rank ? -1 : static_cast<int>(axis);
}

// An entry of one of Scan's lists, which may be left out.
bool entry(const Attributes& attributes, const char* name, size_t index, size_t count, int64_t* value) {
  const std::span<const int64_t> list = attributes.get_ints(name);
  *value = 0;
  if (list.empty()) return true;
  if (list.size() != count) return false;
  *value = list[index];
  return true;
}

}  // namespace

Status Walker::add_control(int number) {
  bool taken = false;
  QUENCH_RETURN_IF_ERROR(take_recorded(number, &taken));
  if (taken) return Status();
  const int entry = begin_node(number);
  const size_t around = begun_in_;
  begun_in_ = stages_;
  const Status status = add_control(graph_.nodes[number]);
  const bool is_resumed = stages_ != begun_in_;
  begun_in_ = around;
  return is_resumed || !status.ok() ? status : end_node(number, entry);
}

Status Walker::add_control(const Node& node) {
  if (node.op == "If") return add_if(node);
  if (node.op == "Loop") return add_loop(node);
  return node.op == "Scan" ? add_scan(node) : add_sequence(node);
}

Status Walker::find_body(const Node& node, const char* name, const Subgraph** body) const {
  const int number = Attributes(node.attributes).get_subgraph(name);
  if (number < 0) return Status::error(StatusCode::kCorrupt, "has no attribute '%s'", name);
  *body = &graph_.subgraphs[number];
  return Status();
}

// One value of a type; its value too if it is known.
Status Walker::read_scalar(int number, ElementType type, const char* what, Scalar* scalar) {
  *scalar = Scalar();
  const DraftValue& value = draft_.value(number);
  if (value.tensor.type != type || value.tensor.elements() != 1) {
    return Status::error(StatusCode::kShape, "the %s is not one %s", what, name_of(type));
  }
  if (value.kind != DraftValue::kConstant) return Status();
  QUENCH_RETURN_IF_ERROR(draft_.materialize(number));
  const Tensor& tensor = draft_.value(number).tensor;
  scalar->known = true;
  scalar->value = type == ElementType::kBool ? *tensor.as<const uint8_t>() != 0 : *tensor.as<const int64_t>();
  return Status();
}

Status Walker::add_scalar(ElementType type, int64_t value, int* number) {
  DraftValue added;
  added.tensor.type = type;
  QUENCH_RETURN_IF_ERROR(draft_.add_value(added, number));
  QUENCH_RETURN_IF_ERROR(draft_.own_constant(*number));
  void* data = draft_.value(*number).tensor.data;
  if (type == ElementType::kBool) {
    *static_cast<bool*>(data) = value != 0;
  } else {
    *static_cast<int64_t*>(data) = value;
  }
  return Status();
}

// Written by several steps. Of the region `region`.
Status Walker::add_variable(ElementType type, const Shape& shape, int region, int* number) {
  if (!shape.valid(std::max<int64_t>(size_of(type), 1)) ||
      static_cast<uint64_t>(shape.elements()) > draft_.model.options().limits.max_tensor_elements) {
    return Status::error(StatusCode::kLimit, "an output has more elements than the limit allows");
  }
  if (size_of(type) == 0) {
    return Status::error(
        StatusCode::kUnsupportedType,
        "a value is a sequence, or of a type that the runtime does not have, and it is not known before "
        "the run where it goes");
  }
  DraftValue added;
  added.kind = DraftValue::kComputed;
  added.tensor.type = type;
  added.tensor.shape = shape;
  QUENCH_RETURN_IF_ERROR(draft_.add_value(added, number));
  draft_.value(*number).region = region;
  return Status();
}

// `state` has the size that the kernel says.
Status Walker::add_internal(const Kernel& kernel, std::initializer_list<int> inputs, std::initializer_list<int> outputs,
                            const void* state) {
  DraftStep step;
  step.kernel = &kernel;
  if (!draft_.pool.make(inputs.size(), &step.inputs) || !draft_.pool.make(outputs.size(), &step.outputs)) {
    return out_of_memory();
  }
  std::transform(inputs.begin(), inputs.end(), step.inputs.begin(),
                 [&](int input) { return input < 0 ? input : before_identities(input); });
  std::copy(outputs.begin(), outputs.end(), step.outputs.begin());
  if (state) {
    const auto bytes = static_cast<size_t>(kernel.state_bytes);
    step.state = draft_.pool.allocate(bytes, 16);
    if (!step.state) return out_of_memory();
    std::memcpy(step.state, state, bytes);
  }
  return draft_.add_step(step);
}

Status Walker::add_if(const Node& node) {
  const Subgraph* branches[2] = {};
  QUENCH_RETURN_IF_ERROR(find_body(node, "else_branch", &branches[0]));
  QUENCH_RETURN_IF_ERROR(find_body(node, "then_branch", &branches[1]));
  for (const Subgraph* branch : branches) {
    if (!branch->inputs.empty()) return wrong_count("inputs");
    if (branch->outputs.size() != node.outputs.size()) return wrong_count("outputs");
  }
  const int condition = node.inputs.size() == 1 ? number_of(node.inputs[0]) : -1;
  if (condition < 0) return Status::error(StatusCode::kCorrupt, "has no condition");
  Scalar chosen;
  QUENCH_RETURN_IF_ERROR(read_scalar(condition, ElementType::kBool, "condition", &chosen));
  if (chosen.known) return take_branch(node, *branches[chosen.value]);
  const Draft::Mark before = draft_.mark();
  const Status status = add_branches(node, branches, condition);
  if (status.ok()) return status;
  draft_.rewind(before);
  if (!may_know(status)) return status;
  named_ = false;
  QUENCH_RETURN_IF_ERROR(know(condition));
  QUENCH_RETURN_IF_ERROR(read_scalar(condition, ElementType::kBool, "condition", &chosen));
  return take_branch(node, *branches[chosen.value]);
}

Status Walker::take_branch(const Node& node, const Subgraph& branch) {
  QUENCH_RETURN_IF_ERROR(walk(branch));
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const int output = branch.outputs[i];
    set_number(node.outputs[i], number_of(output), varies(output) || varies(node.inputs[0]));
  }
  return Status();
}

// One region for each branch. If one alone cannot be run, taking it is an error, unless its condition can become known.
Status Walker::add_branches(const Node& node, std::span<const Subgraph* const> branches, int condition) {
  std::span<int> results;
  if (!draft_.pool.make(node.outputs.size(), &results)) return out_of_memory();
  std::fill(results.begin(), results.end(), -1);
  Status first;
  for (const bool when : {true, false}) {
    const Draft::Mark before = draft_.mark();
    const Status status = add_branch(node, *branches[when], condition, when, results);
    if (status.ok()) continue;
    if (status.code() == StatusCode::kNotReady) return status;
    if (!depends_on_case(status) || !named_ || !first.ok()) return first.ok() ? status : first;
    named_ = false;
    draft_.rewind(before);
    if (when) std::fill(results.begin(), results.end(), -1);
    first = status;
    QUENCH_RETURN_IF_ERROR(refuse_branch(status, condition, when));
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) set_number(node.outputs[i], results[i], false);
  return Status();
}

// A branch that cannot be run: taking it is an error.
Status Walker::refuse_branch(const Status& status, int condition, bool when) {
  QUENCH_RETURN_IF_ERROR(draft_.begin_region(false, before_identities(condition), when));
  QUENCH_RETURN_IF_ERROR(add_internal(kRefuse, {}, {}, &status));
  draft_.steps[draft_.steps.count() - 1].stays = true;
  return draft_.end_region();
}

Status Walker::add_branch(const Node& node, const Subgraph& branch, int condition, bool when, std::span<int> results) {
  const int around = draft_.region;
  QUENCH_RETURN_IF_ERROR(draft_.begin_region(false, before_identities(condition), when));
  QUENCH_RETURN_IF_ERROR(walk(branch));
  for (size_t i = 0; i < results.size(); ++i) {
    if (!wanted(node.outputs[i])) continue;
    const int made = number_of(branch.outputs[i]);
    if (!is_tensor(made)) return is_a_list(i);
    const Tensor tensor = draft_.value(made).tensor;
    if (results[i] < 0) QUENCH_RETURN_IF_ERROR(add_variable(tensor.type, tensor.shape, around, &results[i]));
    if (!same(tensor, draft_.value(results[i]).tensor)) {
      return Status::error(StatusCode::kNotReady,
                           "output %zu has another type or shape in the other branch, and the condition is not known "
                           "before the run",
                           i);
    }
    QUENCH_RETURN_IF_ERROR(add_internal(kCopy, {made}, {results[i]}));
  }
  return draft_.end_region();
}

Status Walker::add_loop(const Node& node) {
  Loop loop;
  QUENCH_RETURN_IF_ERROR(find_body(node, "body", &loop.body));
  const Subgraph& body = *loop.body;
  const size_t carried = node.inputs.size() > 2 ? node.inputs.size() - 2 : 0;
  if (body.inputs.size() != carried + 2) return wrong_count("inputs");
  if (body.outputs.size() < carried + 1 || node.outputs.size() > body.outputs.size() - 1) return wrong_count("outputs");
  const size_t stacks = body.outputs.size() - 1 - carried;
  if (!draft_.pool.make(carried, &loop.carried) || !draft_.pool.make(stacks, &loop.stacks)) return out_of_memory();
  const auto result = [&](size_t i) { return i < node.outputs.size() ? node.outputs[i] : -1; };
  for (size_t i = 0; i < carried; ++i) {
    loop.carried[i] = {number_of(node.inputs[i + 2]), body.inputs[i + 2], body.outputs[i + 1], result(i)};
  }
  for (size_t i = 0; i < stacks; ++i) {
    const ValueInfo* declared = &body.declared_outputs[carried + 1 + i];
    loop.stacks[i] = {body.outputs[carried + 1 + i], result(carried + i), 0, false, declared};
  }
  loop.rounds = node.inputs.empty() ? -1 : number_of(node.inputs[0]);
  loop.condition = node.inputs.size() < 2 ? -1 : number_of(node.inputs[1]);
  loop.counter = body.inputs[0];
  loop.condition_input = body.inputs[1];
  // Without a condition for the first round, that for the next ones counts for nothing, says ONNX.
  if (loop.condition >= 0) loop.go_on = body.outputs[0];
  return add_loop(loop);
}

Status Walker::add_scan(const Node& node) {
  std::span<int> values;
  if (!draft_.pool.make(node.inputs.size(), &values)) return out_of_memory();
  for (size_t i = 0; i < values.size(); ++i) values[i] = number_of(node.inputs[i]);
  return node.opset < 9 ? scan_batch(node, values) : scan(node, values);
}

// Operator set 8: behind the lengths of the sequences, a batch of everything, along the first axis.
Status Walker::scan_batch(const Node& node, std::span<const int> batch) {
  if (batch.size() < 2) return Status::error(StatusCode::kCorrupt, "has no inputs");
  if (batch[0] >= 0) {
    return Status::error(StatusCode::kUnsupportedFeature, "has sequences of different lengths");
  }
  batch = batch.subspan(1);
  int64_t size = -1;
  for (const int value : batch) {
    const Shape shape = value < 0 ? Shape() : draft_.value(value).tensor.shape;
    if (shape.rank < 1 || shape[0] < 1 || (size >= 0 && shape[0] != size)) {
      return Status::error(StatusCode::kShape, "the batches of its inputs have different sizes");
    }
    size = shape[0];
  }
  if (static_cast<uint64_t>(size) > visits_left_) return too_long();
  std::span<int> values;
  List<int> pieces(draft_.pool);  // of all outputs, sample by sample
  const Hold hold(*this, {.list = &pieces});
  if (!hold.fits() || !draft_.pool.make(batch.size(), &values)) return out_of_memory();
  for (int64_t sample = 0; sample < size; ++sample) {
    for (size_t i = 0; i < values.size(); ++i) {
      const Tensor whole = draft_.value(batch[i]).tensor;
      QUENCH_RETURN_IF_ERROR(add_variable(whole.type, without_axis(whole.shape, 0), draft_.region, &values[i]));
      SliceState state = slice_state(whole, 0, false);
      state.round = sample;
      QUENCH_RETURN_IF_ERROR(add_internal(kTakeSlice, {batch[i], -1}, {values[i]}, &state));
    }
    QUENCH_RETURN_IF_ERROR(scan(node, values));
    for (const int output : node.outputs) {
      if (!pieces.push(number_of(output))) return out_of_memory();
    }
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (!wanted(node.outputs[i])) continue;
    const Stack stack = {-1, node.outputs[i], 0, false, nullptr};
    int whole = -1;
    QUENCH_RETURN_IF_ERROR(add_stack(stack, pieces[i], size, draft_.region, &whole));
    for (int64_t sample = 0; sample < size; ++sample) {
      const int piece = pieces[static_cast<size_t>(sample) * node.outputs.size() + i];
      QUENCH_RETURN_IF_ERROR(put(stack, piece, -1, sample, whole));
    }
    set_number(node.outputs[i], whole, false);
  }
  return keep(pieces);
}

// `values`: of the draft, those that are carried and then those that are taken slice by slice.
Status Walker::scan(const Node& node, std::span<const int> values) {
  Loop loop;
  QUENCH_RETURN_IF_ERROR(find_body(node, "body", &loop.body));
  const Subgraph& body = *loop.body;
  const Attributes attributes(node.attributes);
  const int64_t given = attributes.get_int("num_scan_inputs", 0);
  if (given < 1 || static_cast<uint64_t>(given) > values.size()) {
    return Status::error(StatusCode::kCorrupt, "attribute num_scan_inputs is impossible");
  }
  const auto slices = static_cast<size_t>(given);
  const size_t carried = values.size() - slices;
  if (body.inputs.size() != values.size()) return wrong_count("inputs");
  if (body.outputs.size() != node.outputs.size() || node.outputs.size() < carried) return wrong_count("outputs");
  const size_t stacks = node.outputs.size() - carried;
  if (!draft_.pool.make(carried, &loop.carried) || !draft_.pool.make(slices, &loop.slices) ||
      !draft_.pool.make(stacks, &loop.stacks)) {
    return out_of_memory();
  }
  for (size_t i = 0; i < carried; ++i) {
    loop.carried[i] = {values[i], body.inputs[i], body.outputs[i], node.outputs[i]};
  }
  int64_t length = -1;
  for (size_t i = 0; i < slices; ++i) {
    const int value = values[carried + i];
    int64_t axis = 0;
    int64_t backwards = 0;
    if (value < 0 || !entry(attributes, "scan_input_axes", i, slices, &axis) ||
        !entry(attributes, node.opset < 9 ? "directions" : "scan_input_directions", i, slices, &backwards)) {
      return Status::error(StatusCode::kCorrupt, "lacks a scan input, or the axis or direction of one");
    }
    const Shape& shape = draft_.value(value).tensor.shape;
    const int along = normalized(axis, shape.rank);
    if (along < 0) return Status::error(StatusCode::kShape, "scan input %zu does not have the axis", i);
    if (length >= 0 && shape[along] != length) {
      return Status::error(StatusCode::kShape, "scan inputs have different lengths");
    }
    length = shape[along];
    loop.slices[i] = {value, body.inputs[carried + i], along, backwards != 0};
  }
  for (size_t i = 0; i < stacks; ++i) {
    int64_t axis = 0;
    int64_t backwards = 0;
    if (!entry(attributes, "scan_output_axes", i, stacks, &axis) ||
        !entry(attributes, "scan_output_directions", i, stacks, &backwards)) {
      return Status::error(StatusCode::kCorrupt, "lacks the axis or direction of a scan output");
    }
    if (axis < -kMaxRank || axis >= kMaxRank)
      return Status::error(StatusCode::kShape, "a scan output has no such axis");
    loop.stacks[i] = {body.outputs[carried + i], node.outputs[carried + i], static_cast<int>(axis), backwards != 0,
                      &body.declared_outputs[carried + i]};
  }
  QUENCH_RETURN_IF_ERROR(add_scalar(ElementType::kInt64, length, &loop.rounds));
  return add_loop(loop);
}

Status Walker::add_loop(Loop& loop) {
  for (const Loop::Carried& carried : loop.carried) {
    if (carried.value < 0) return Status::error(StatusCode::kCorrupt, "lacks the first value of one that it carries");
  }
  // The body sees true, or it would not be run.
  if (loop.condition_input >= 0) {
    int number = -1;
    QUENCH_RETURN_IF_ERROR(add_scalar(ElementType::kBool, 1, &number));
    set_number(loop.condition_input, number, false);
  }
  const Hold hold(*this, {.loop = &loop});
  if (!hold.fits()) return out_of_memory();
  for (;;) {
    QUENCH_RETURN_IF_ERROR(read_beginning(loop));
    const Draft::Mark before = draft_.mark();
    const Status status = roll(loop);
    if (!depends_on_case(status)) return status;
    if (stopped_) return status;
    const int unknown = !loop.rounds_known ? loop.rounds : !loop.begins.known ? loop.condition : -1;
    draft_.rewind(before);
    if (unknown >= 0 && draft_.region != 0) return status;
    named_ = false;
    if (unknown < 0) return unroll(loop);
    QUENCH_RETURN_IF_ERROR(know(unknown));
  }
}

// What is known of how many rounds there will be.
Status Walker::read_beginning(Loop& loop) {
  loop.rounds_known = loop.rounds < 0;
  if (loop.rounds >= 0) {
    Scalar rounds;
    QUENCH_RETURN_IF_ERROR(read_scalar(loop.rounds, ElementType::kInt64, "trip count", &rounds));
    loop.rounds_known = rounds.known;
    if (rounds.known) loop.most_rounds = std::max<int64_t>(rounds.value, 0);
  }
  loop.begins = {true, 1};
  if (loop.condition >= 0) {
    QUENCH_RETURN_IF_ERROR(read_scalar(loop.condition, ElementType::kBool, "condition", &loop.begins));
  }
  return Status();
}

// How many rounds there will be, `next` being the condition for another one; -1 if that is not known.
int64_t Walker::known_rounds(const Loop& loop, const Scalar& next) {
  if (!loop.begins.known || !loop.rounds_known) return -1;
  if (loop.begins.value == 0) return 0;
  const int64_t most = next.known && next.value == 0 ? std::min<int64_t>(loop.most_rounds, 1) : loop.most_rounds;
  return most == INT64_MAX || (most > 1 && !next.known) ? -1 : most;
}

Status Walker::roll(Loop& loop) {
  const int around = draft_.region;
  std::span<int> variables;
  std::span<int> stacks;
  if (!draft_.pool.make(loop.carried.size(), &variables) || !draft_.pool.make(loop.stacks.size(), &stacks)) {
    return out_of_memory();
  }
  int counter = -1;
  int goes_on = -1;
  for (size_t i = 0; i < loop.carried.size(); ++i) {
    if (!is_tensor(loop.carried[i].value)) return is_a_list(i);
    const Tensor first = draft_.value(loop.carried[i].value).tensor;
    QUENCH_RETURN_IF_ERROR(add_variable(first.type, first.shape, around, &variables[i]));
    QUENCH_RETURN_IF_ERROR(add_internal(kCopy, {loop.carried[i].value}, {variables[i]}));
    set_number(loop.carried[i].input, variables[i], false);
  }
  QUENCH_RETURN_IF_ERROR(add_variable(ElementType::kInt64, {}, around, &counter));
  QUENCH_RETURN_IF_ERROR(add_variable(ElementType::kBool, {}, around, &goes_on));
  QUENCH_RETURN_IF_ERROR(add_internal(kFirstRound, {loop.rounds, loop.condition}, {counter, goes_on}));
  set_number(loop.counter, counter, false);

  QUENCH_RETURN_IF_ERROR(draft_.begin_region(true, goes_on, true));
  for (const Loop::Slice& slice : loop.slices) {
    const Tensor whole = draft_.value(slice.value).tensor;
    int taken = -1;
    const Shape shape = without_axis(whole.shape, slice.axis);
    QUENCH_RETURN_IF_ERROR(add_variable(whole.type, shape, draft_.region, &taken));
    const SliceState state = slice_state(whole, slice.axis, slice.backwards);
    QUENCH_RETURN_IF_ERROR(add_internal(kTakeSlice, {slice.value, counter}, {taken}, &state));
    set_number(slice.input, taken, false);
  }
  QUENCH_RETURN_IF_ERROR(walk(*loop.body));
  Scalar next{true, 1};
  const int condition = number_of(loop.go_on);
  if (condition >= 0) QUENCH_RETURN_IF_ERROR(read_scalar(condition, ElementType::kBool, "condition", &next));
  for (size_t i = 0; i < loop.stacks.size(); ++i) {
    stacks[i] = -1;
    if (!wanted(loop.stacks[i].result)) continue;
    const int64_t length = known_rounds(loop, next);
    if (length < 0) {
      return Status::error(StatusCode::kNotReady, "the length of scan output %zu is not known before the run", i);
    }
    const int piece = number_of(loop.stacks[i].output);
    QUENCH_RETURN_IF_ERROR(add_stack(loop.stacks[i], piece, length, around, &stacks[i]));
    QUENCH_RETURN_IF_ERROR(put(loop.stacks[i], piece, counter, 0, stacks[i]));
  }
  QUENCH_RETURN_IF_ERROR(keep_for_next_round(loop, variables));
  QUENCH_RETURN_IF_ERROR(add_internal(kNextRound, {loop.rounds, condition}, {counter, goes_on}));
  QUENCH_RETURN_IF_ERROR(draft_.end_region());
  for (size_t i = 0; i < variables.size(); ++i) set_number(loop.carried[i].result, variables[i], false);
  for (size_t i = 0; i < stacks.size(); ++i) set_number(loop.stacks[i].result, stacks[i], false);
  return Status();
}

// Copies what the body has made to the variables. What may lie in one of them is saved first: bodies swap values.
Status Walker::keep_for_next_round(const Loop& loop, std::span<const int> variables) {
  std::span<int> made;
  if (!draft_.pool.make(variables.size(), &made)) return out_of_memory();
  for (size_t i = 0; i < variables.size(); ++i) {
    made[i] = before_identities(number_of(loop.carried[i].output));
    const DraftValue value = draft_.value(made[i]);
    if (!same(value.tensor, draft_.value(variables[i]).tensor)) {
      return Status::error(StatusCode::kNotReady,
                           "carried value %zu has another type or shape after a round, and the number of rounds is not "
                           "known before the run",
                           i);
    }
    const bool its_own = value.region == draft_.region && value.alias_of < 0 && !value.may_become_alias;
    if (value.kind != DraftValue::kComputed || its_own || made[i] == variables[i]) continue;
    const int from = made[i];
    QUENCH_RETURN_IF_ERROR(add_variable(value.tensor.type, value.tensor.shape, draft_.region, &made[i]));
    QUENCH_RETURN_IF_ERROR(add_internal(kCopy, {from}, {made[i]}));
  }
  for (size_t i = 0; i < variables.size(); ++i) {
    if (made[i] != variables[i]) QUENCH_RETURN_IF_ERROR(add_internal(kCopy, {made[i]}, {variables[i]}));
  }
  return Status();
}

// A scan output for pieces like `piece`.
Status Walker::add_stack(const Stack& stack, int piece, int64_t length, int region, int* number) {
  const Tensor tensor = draft_.value(piece).tensor;
  const int axis = normalized(stack.axis, tensor.shape.rank + 1);
  if (axis < 0 || tensor.shape.rank == kMaxRank) {
    return Status::error(StatusCode::kShape, "a scan output does not have the axis, or more than %d", kMaxRank);
  }
  Shape whole;
  whole.rank = tensor.shape.rank + 1;
  for (int i = 0; i < whole.rank; ++i) whole[i] = i == axis ? length : tensor.shape[i < axis ? i : i - 1];
  return add_variable(tensor.type, whole, region, number);
}

// Of no rounds: as the body declares a piece, with 0 for the dimensions that it leaves open, and no more than the length
// where it leaves all.
Status Walker::add_empty_stack(const Stack& stack, int* number) {
  const ValueInfo& piece = *stack.declared;
  const int rank = std::max(piece.rank, 0);
  const int axis = normalized(stack.axis, rank + 1);
  if (size_of(piece.type) == 0 || rank == kMaxRank || axis < 0) {
    return Status::error(StatusCode::kUnsupportedFeature,
                         "has no round to tell the shape of a scan output, whose type the body does not declare");
  }
  Shape whole;
  whole.rank = rank + 1;
  for (int i = 0; i < whole.rank; ++i) {
    whole[i] = i == axis ? 0 : std::max<int64_t>(piece.dims[i < axis ? i : i - 1], 0);
  }
  return add_variable(compute_type(piece.type), whole, draft_.region, number);
}

// Puts the piece of a round in its place: of the one that the counter says, or without one, of round `round`.
Status Walker::put(const Stack& stack, int piece, int counter, int64_t round, int whole) {
  const Tensor& tensor = draft_.value(whole).tensor;
  SliceState state = slice_state(tensor, normalized(stack.axis, tensor.shape.rank), stack.backwards);
  state.round = round;
  return add_internal(kPutSlice, {piece, counter}, {whole}, &state);
}

Status Walker::unroll(Loop& loop) {
  List<int> pieces(draft_.pool);      // of all stacks, round by round
  List<int> conditions(draft_.pool);  // that a later walk reads again
  const Hold hold(*this, {.list = &pieces}), hold_conditions(*this, {.list = &conditions});
  if (!hold.fits() || !hold_conditions.fits()) return out_of_memory();
  int64_t round = 0;
  bool goes_on = loop.begins.value != 0;
  for (; goes_on && round < loop.most_rounds; ++round) {
    for (const Loop::Carried& carried : loop.carried) set_number(carried.input, carried.value, true);
    if (loop.counter >= 0) {
      int counter = -1;
      QUENCH_RETURN_IF_ERROR(add_scalar(ElementType::kInt64, round, &counter));
      set_number(loop.counter, counter, true);
    }
    for (const Loop::Slice& slice : loop.slices) {
      const Tensor whole = draft_.value(slice.value).tensor;
      int taken = -1;
      const Shape shape = without_axis(whole.shape, slice.axis);
      QUENCH_RETURN_IF_ERROR(add_variable(whole.type, shape, draft_.region, &taken));
      SliceState state = slice_state(whole, slice.axis, slice.backwards);
      state.round = round;
      QUENCH_RETURN_IF_ERROR(add_internal(kTakeSlice, {slice.value, -1}, {taken}, &state));
      set_number(slice.input, taken, true);
    }
    if (visits_left_ == 0) return too_long();  // an empty body has no nodes to count
    --visits_left_;
    ++round_;
    QUENCH_RETURN_IF_ERROR(walk(*loop.body));
    for (Loop::Carried& carried : loop.carried) carried.value = number_of(carried.output);
    for (const Stack& stack : loop.stacks) {
      if (!pieces.push(number_of(stack.output))) return out_of_memory();
    }
    if (loop.go_on < 0) continue;
    if (!conditions.push(number_of(loop.go_on))) return out_of_memory();
    Scalar next;
    QUENCH_RETURN_IF_ERROR(read_scalar(number_of(loop.go_on), ElementType::kBool, "condition", &next));
    if (!next.known && draft_.region == 0) {
      QUENCH_RETURN_IF_ERROR(know(number_of(loop.go_on)));
      QUENCH_RETURN_IF_ERROR(read_scalar(number_of(loop.go_on), ElementType::kBool, "condition", &next));
    }
    if (!next.known) {
      return Status::error(StatusCode::kNotReady, "must be unrolled, but its condition is not known before the run");
    }
    goes_on = next.value != 0;
  }
  for (const Loop::Carried& carried : loop.carried) set_number(carried.result, carried.value, true);
  for (size_t i = 0; i < loop.stacks.size(); ++i) {
    const Stack& stack = loop.stacks[i];
    if (!wanted(stack.result)) continue;
    int whole = -1;
    if (round == 0) {
      QUENCH_RETURN_IF_ERROR(add_empty_stack(stack, &whole));
      set_number(stack.result, whole, false);
      continue;
    }
    QUENCH_RETURN_IF_ERROR(add_stack(stack, pieces[i], round, draft_.region, &whole));
    for (int64_t r = 0; r < round; ++r) {
      const int piece = pieces[static_cast<size_t>(r) * loop.stacks.size() + i];
      if (!same(draft_.value(piece).tensor, draft_.value(pieces[i]).tensor)) {
        return Status::error(StatusCode::kShape, "scan output %zu has another type or shape in round %lld", i,
                             static_cast<long long>(r));
      }
      QUENCH_RETURN_IF_ERROR(put(stack, piece, -1, r, whole));
    }
    set_number(stack.result, whole, false);
  }
  QUENCH_RETURN_IF_ERROR(keep(conditions));
  return keep(pieces);
}

}  // namespace quench::rt
