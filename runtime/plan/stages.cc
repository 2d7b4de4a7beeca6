// A walk that needs a value that only the run tells ends a stage with it (plan.h). The walk for a stage behind others goes
// through the graph once more: where those ended, it has the values that they ended with, and takes what they hand over
// for inputs in place of the steps that made it.
//
// Up to there it must be the same walk, so that values have the same numbers, and should cost little. So a stage leaves a
// record: of the nodes that it was through with, which the later walk passes over, taking the numbers and those of the
// values that may be needed yet; the others are gone. Only the nodes that the stage's end was in are walked again, and as
// all that decides how (constants, the budget for folding) is as it was, they are walked alike. In regions nothing is
// recorded: either all of one belongs to a node that was done, or the attempt was rewound and is made again.
#include <algorithm>

#include "runtime/plan/passes.h"
#include "runtime/plan/walker.h"

namespace quench::rt {
namespace {

constexpr size_t kMaxStages = 1024;

Status walked_otherwise() {
  return Status::error(StatusCode::kCorrupt, "is planned in another way than for the stage before");
}

template <typename T>
bool copy(Pool& pool, const List<T>& list, std::span<T>* to) {
  if (!pool.make(list.size(), to)) return false;
  std::copy(list.begin(), list.end(), to->begin());
  return true;
}

}  // namespace

// Makes the value of a tensor, in the region that is the whole plan, a constant. If it cannot yet, the walk stops.
Status Walker::know(int number) { return stages_ < draft_.earlier.size() ? begin_stage(number) : end_stage(number); }

// Values that the walk through a node looks at: it is walked again if this is not the stage that has begun it.
Status Walker::keep(const List<int>& numbers) {
  if (stages_ == begun_in_) return Status();
  for (const int number : numbers) {
    if (!kept_.push(number)) return out_of_memory();
  }
  return Status();
}

// Behind one that has run.
Status Walker::begin_stage(int number) {
  const EarlierStage& ended = draft_.earlier[stages_];
  const StageRecord& record = ended.plan->record();
  if (record.handed_over.empty() || record.handed_over[0] != number) return walked_otherwise();
  for (const int handed : record.handed_over) {
    if (handed >= draft_.values.count()) return walked_otherwise();
  }
  ++stages_;
  next_node_ = next_value_ = 0;
  kept_.truncate(0);
  first_value_ = draft_.values.count();
  draft_.steps.truncate(0);
  for (size_t i = 1; i < record.handed_over.size(); ++i) {
    DraftValue& value = draft_.value(record.handed_over[i]);
    value.kind = DraftValue::kInput;
    value.alias_of = -1;
    value.input = handed_ + static_cast<int>(i);
  }
  handed_ += static_cast<int>(record.handed_over.size());
  DraftValue& known = draft_.value(number);
  known.alias_of = -1;
  known.borrowed = true;
  known.tensor.data = const_cast<void*>(ended.value);  // constants are not written to
  known.kind = DraftValue::kConstant;
  known.told = true;
  for (const int same : record.same) {
    draft_.value(same).alias_of = number;
    draft_.value(same).kind = DraftValue::kConstant;
    draft_.value(same).told = true;
  }
  for (const int name : record.names) at(varies_, name) = true;
  if (stages_ < draft_.earlier.size()) return Status();
  for (DraftValue& value : draft_.values) {
    if (value.kind == DraftValue::kComputed) value.kind = DraftValue::kUnset;  // was not handed over
  }
  return Status();
}

// Hands over the value, and all others that may be needed yet.
Status Walker::end_stage(int number) {
  if (stages_ == kMaxStages) return Status::error(StatusCode::kLimit, "the model runs in too many stages");
  std::span<bool> alive;
  if (!draft_.pool.make(draft_.values.size(), &alive)) return out_of_memory();
  QUENCH_RETURN_IF_ERROR(mark_alive(number, alive));
  QUENCH_RETURN_IF_ERROR(record(number, alive));
  for (const int handed : draft_.record.handed_over) {
    const int output = before_identities(handed);
    for (int v = output; v >= 0; v = draft_.value(v).alias_of) draft_.value(v).is_output = true;
    if (!draft_.outputs.push(output)) return out_of_memory();
  }
  stopped_ = true;
  return Status(StatusCode::kNotReady);
}

// Values that the nodes from here on use, in all lists of nodes that are being walked, and what the walk itself holds.
Status Walker::mark_alive(int number, std::span<bool> alive) {
  std::span<bool> used;
  if (!draft_.pool.make(graph_.values.size(), &used)) return out_of_memory();
  for (const Frame* frame = frames_; frame; frame = frame->around) {
    for (int n = frame->node; n < frame->part->first + frame->part->count; ++n) {
      if (graph_.nodes[n].live) mark_used(graph_.nodes[n], used);
    }
    for (const int output : frame->part->outputs) {
      if (output >= 0) at(used, output) = true;
    }
  }
  for (const ValueInfo& output : graph_.outputs) at(used, output.value) = true;
  mark(number, alive);
  for (int v = 0; v < graph_.values.count(); ++v) {
    if (at(used, v)) mark(number_of(v), alive);
  }
  for (const int value : kept_) mark(value, alive);
  for (const Held& held : held_) {
    if (held.loop) mark_loop(*held.loop, alive);
    if (!held.list) continue;
    for (const int value : *held.list) mark(value, alive);
  }
  return Status();
}

// The values that a node uses, also in its subgraphs.
void Walker::mark_used(const Node& node, std::span<bool> used) const {
  for (const int input : node.inputs) {
    if (input >= 0) at(used, input) = true;
  }
  for (const Attribute& attribute : node.attributes) {
    if (attribute.subgraph < 0) continue;
    const Subgraph& part = graph_.subgraphs[attribute.subgraph];
    for (int n = part.first; n < part.first + part.count; ++n) {
      if (graph_.nodes[n].live) mark_used(graph_.nodes[n], used);
    }
    for (const int output : part.outputs) {
      if (output >= 0) at(used, output) = true;
    }
  }
}

// With what it is an alias of, and a sequence with its items. What a part of the walk that was rewound has numbered may be
// no value any more, or another one, which is then kept for nothing.
void Walker::mark(int number, std::span<bool> alive) const {
  for (int v = number; v >= 0 && v < draft_.values.count(); v = draft_.values[v].alias_of) at(alive, v) = true;
  if (number < 0 || number >= draft_.values.count()) return;
  for (const int item : draft_.values[number].items) {
    for (int v = item; v >= 0; v = draft_.values[v].alias_of) at(alive, v) = true;
  }
}

// What later walks need to know of this one, since the last stage began.
Status Walker::record(int number, std::span<const bool> alive) {
  List<int> handed_over(draft_.pool), same(draft_.pool), names(draft_.pool), items(draft_.pool);
  List<StageRecord::Value> values(draft_.pool);
  const auto is_it = [&](int v) { return v != number && draft_.root(v) == draft_.root(number); };
  const bool is_root = draft_.value(number).alias_of < 0;
  bool fits = handed_over.push(number);
  for (int v = 0; v < draft_.values.count(); ++v) {
    DraftValue& value = draft_.value(v);
    if (!at(alive, v) || value.region != 0) continue;
    if (is_root && is_it(v)) {
      fits = fits && same.push(v);
    } else if (v != number && value.kind == DraftValue::kComputed) {
      fits = fits && handed_over.push(v);
    }
    if (v < first_value_) continue;
    value.stays = value.owned_bytes > 0;
    StageRecord::Value kept = {v, value.tensor, value.kind, value.told, value.alias_of, items.count(), 0};
    if (!value.stays && !value.borrowed) kept.tensor.data = nullptr;
    for (const int item : value.items) fits = fits && items.push(item);
    kept.item_count = items.count() - kept.first_item;
    fits = fits && values.push(kept);
  }
  for (int v = 0; v < graph_.values.count(); ++v) {
    const int named = number_of(v);
    if (named < 0 || named >= draft_.values.count()) continue;
    if (named == number || (is_root && is_it(named))) fits = fits && names.push(v);
  }
  StageRecord& made = draft_.record;
  Pool& pool = draft_.pool;
  fits = fits && copy(pool, handed_over, &made.handed_over) && copy(pool, same, &made.same) &&
         copy(pool, names, &made.names) && copy(pool, values, &made.values) && copy(pool, items, &made.items) &&
         copy(pool, begun_nodes_, &made.nodes) && copy(pool, node_outputs_, &made.outputs);
  return fits ? Status() : out_of_memory();
}

// Of the node that is about to be walked: the number of its entry in the record, -1 where there is none.
int Walker::begin_node(int number) {
  if (draft_.region != 0 || stages_ < draft_.earlier.size()) return -1;
  StageRecord::Node begun;
  begun.node = number;
  begun.round = round_;
  return begun_nodes_.push(begun) ? begun_nodes_.count() - 1 : -1;
}

Status Walker::end_node(int number, int entry) {
  if (entry < 0) return draft_.region != 0 || stages_ < draft_.earlier.size() ? Status() : out_of_memory();
  StageRecord::Node& done = begun_nodes_[entry];
  done.done = true;
  done.values = draft_.values.count();
  done.rounds = round_;
  done.budget = folding_left_;
  done.next = begun_nodes_.count();
  done.first_output = node_outputs_.count();
  for (const int output : graph_.nodes[number].outputs) {
    const StageRecord::Output made = {number_of(output), output >= 0 && varies(output)};
    if (!node_outputs_.push(made)) return out_of_memory();
  }
  return Status();
}

// Passes over a node that a stage before was through with. `*taken`: it was.
Status Walker::take_recorded(int number, bool* taken) {
  if (draft_.region != 0 || stages_ == draft_.earlier.size()) return Status();
  const StageRecord& from = draft_.earlier[stages_].plan->record();
  if (next_node_ == from.nodes.size()) return Status();
  const StageRecord::Node& begun = from.nodes[next_node_++];
  if (begun.node != number || begun.round != round_) return walked_otherwise();
  if (!begun.done) return Status();
  QUENCH_RETURN_IF_ERROR(take_values(from, begun.values));
  const std::span<const int> outputs = graph_.nodes[number].outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const StageRecord::Output& made = at(from.outputs, begun.first_output + static_cast<int>(i));
    set_number(outputs[i], made.number, made.varies);
  }
  next_node_ = static_cast<size_t>(begun.next);
  round_ = begun.rounds;
  folding_left_ = begun.budget;
  *taken = true;
  return Status();
}

// Values up to number `end`: those of the record, and others that nobody needs any more.
Status Walker::take_values(const StageRecord& from, int end) {
  while (next_value_ < from.values.size() && from.values[next_value_].number < draft_.values.count()) ++next_value_;
  while (draft_.values.count() < end) {
    DraftValue value;
    const int number = draft_.values.count();
    if (next_value_ < from.values.size() && from.values[next_value_].number == number) {
      const StageRecord::Value& kept = from.values[next_value_++];
      value.tensor = kept.tensor;
      value.kind = static_cast<DraftValue::Kind>(kept.kind);
      value.told = kept.told;
      value.alias_of = kept.alias_of;
      value.borrowed = kept.tensor.data != nullptr;
      value.items = from.items.subspan(static_cast<size_t>(kept.first_item), static_cast<size_t>(kept.item_count));
    }
    int added = -1;
    QUENCH_RETURN_IF_ERROR(draft_.add_value(value, &added));
  }
  return Status();
}

}  // namespace quench::rt
