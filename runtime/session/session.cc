#include "runtime/session/session.h"

#include <algorithm>

#include "runtime/session/threads.h"

namespace quench::rt {
namespace {

// For "%.*s": names in messages are cut.
int shown_length(std::string_view name) { return static_cast<int>(std::min<size_t>(name.size(), 80)); }

}  // namespace

Session::Session(const Model& model, const Memory& memory, const SessionOptions& options)
    : model_(model), options_(options), memory_(memory), pool_(memory_) {}

Status Session::start() {
  const std::span<const ValueInfo> declared = model_.inputs();
  if (!pool_.make(declared.size(), &inputs_) || !pool_.make(declared.size(), &shapes_) ||
      !pool_.make(declared.size(), &bound_)) {
    return out_of_memory();
  }
  for (size_t i = 0; i < declared.size(); ++i) {
    Input& input = inputs_[i];
    input.known = declared[i].rank >= 0 && !declared[i].is_sequence;
    input.shape.rank = std::max(declared[i].rank, 0);
    for (int axis = 0; axis < input.shape.rank; ++axis) {
      input.shape[axis] = declared[i].dims[axis];
      input.known = input.known && declared[i].dims[axis] >= 0;
    }
    input.known = input.known && input.shape.valid(size_of(declared[i].type));
  }
  if (options_.threads > 1 && !options_.parallel) return ThreadPool::create(memory_, options_.threads, &threads_);
  return Status();
}

Status Session::check_kind(int index, bool is_sequence) const {
  const std::span<const ValueInfo> declared = model_.inputs();
  if (index < 0 || static_cast<size_t>(index) >= declared.size()) {
    return Status::error(StatusCode::kInvalidArgument, "there is no input %d: the model has %zu", index,
                         declared.size());
  }
  const ValueInfo& info = at(declared, index);
  if (info.is_sequence == is_sequence) return Status();
  return Status::error(StatusCode::kInvalidArgument, "input '%.*s' is a %s", shown_length(info.name), info.name.data(),
                       info.is_sequence ? "sequence" : "tensor");
}

Status Session::check_shape(const ValueInfo& info, std::span<const int64_t> shape, Shape& given) const {
  const int length = shown_length(info.name);
  if (shape.size() > kMaxRank || (info.rank >= 0 && shape.size() != static_cast<size_t>(info.rank))) {
    return Status::error(StatusCode::kShape, "input '%.*s' has rank %d, not %zu", length, info.name.data(), info.rank,
                         shape.size());
  }
  given.rank = static_cast<int>(shape.size());
  for (int axis = 0; axis < given.rank; ++axis) {
    given[axis] = at(shape, axis);
    if (info.rank >= 0 && info.dims[axis] >= 0 && info.dims[axis] != given[axis]) {
      return Status::error(StatusCode::kShape, "input '%.*s' has %lld in dimension %d, not %lld", length,
                           info.name.data(), static_cast<long long>(info.dims[axis]), axis,
                           static_cast<long long>(given[axis]));
    }
  }
  if (!given.valid(size_of(info.type)) ||
      static_cast<uint64_t>(given.elements()) > model_.options().limits.max_tensor_elements) {
    return Status::error(StatusCode::kShape, "input '%.*s' is too large or has a negative dimension", length,
                         info.name.data());
  }
  return Status();
}

void Session::take_shape(int index, const Shape& given) {
  Input& input = at(inputs_, index);
  if (!input.known || input.nothing || !(input.shape == given) || (has_default(index) && !input.given)) drop_plan();
  input.shape = given;
  input.known = true;
  input.given = true;
  input.nothing = false;
  if (given.elements() > input.elements) input.data = nullptr;
}

Status Session::set_input_shape(int index, std::span<const int64_t> shape) {
  Shape given;
  QUENCH_RETURN_IF_ERROR(check_kind(index, false));
  QUENCH_RETURN_IF_ERROR(check_shape(at(model_.inputs(), index), shape, given));
  take_shape(index, given);
  return Status();
}

Status Session::check_data(const ValueInfo& info, const void* data, const Shape& shape) const {
  const int length = shown_length(info.name);
  if (!data && shape.elements() > 0) {
    return Status::error(StatusCode::kInvalidArgument, "input '%.*s' has no data", length, info.name.data());
  }
  const auto alignment = static_cast<uintptr_t>(size_of(info.type));  // 0 for types that no kernel takes
  if (alignment == 0 || reinterpret_cast<uintptr_t>(data) % alignment == 0) return Status();
  return Status::error(StatusCode::kInvalidArgument, "the data of input '%.*s' are not aligned to their elements",
                       length, info.name.data());
}

// Of the shape that it has.
void Session::take_data(Values& values, const void* data) {
  static const uint64_t kNothing = 0;  // an input without elements still has an address
  values.data = data ? data : &kNothing;
  values.elements = values.shape.elements();
}

Status Session::set_input(int index, const void* data, std::span<const int64_t> shape) {
  if (has_default(index) && !data && shape.empty()) {
    Input& input = at(inputs_, index);
    if (input.given) drop_plan();
    input.given = false;
    input.data = nullptr;
    return Status();
  }
  Shape given;
  QUENCH_RETURN_IF_ERROR(check_kind(index, false));
  const ValueInfo& info = at(model_.inputs(), index);
  QUENCH_RETURN_IF_ERROR(check_shape(info, shape, given));
  QUENCH_RETURN_IF_ERROR(check_data(info, data, given));
  take_shape(index, given);
  take_data(at(inputs_, index), data);
  return Status();
}

Status Session::set_sequence(int index, std::span<const Tensor> items) {
  QUENCH_RETURN_IF_ERROR(check_kind(index, true));
  const ValueInfo& info = at(model_.inputs(), index);
  if (items.size() > kMaxItems) {
    return Status::error(StatusCode::kLimit, "input '%.*s': a sequence has at most %zu tensors",
                         shown_length(info.name), info.name.data(), kMaxItems);
  }
  Input& input = at(inputs_, index);
  bool same = input.known && !input.nothing && input.count == items.size();
  for (size_t i = 0; i < items.size(); ++i) {
    Shape given;
    QUENCH_RETURN_IF_ERROR(check_shape(info, items[i].shape.view(), given));
    QUENCH_RETURN_IF_ERROR(check_data(info, items[i].data, given));
    if (items[i].type != info.type) {
      return Status::error(StatusCode::kInvalidArgument, "input '%.*s' is a sequence of %s", shown_length(info.name),
                           info.name.data(), name_of(info.type));
    }
    same = same && input.items[i].shape == given;
  }
  if (items.size() > input.items.size()) {
    std::span<Values> room;
    if (!pool_.make(std::max(items.size(), 2 * input.items.size()), &room)) return out_of_memory();
    input.items = room;
  }
  if (!same) drop_plan();
  input.known = input.given = true;
  input.nothing = false;
  input.count = items.size();
  for (size_t i = 0; i < items.size(); ++i) {
    input.items[i].shape = items[i].shape;
    take_data(input.items[i], items[i].data);
  }
  return Status();
}

Status Session::set_nothing(int index) {
  const std::span<const ValueInfo> declared = model_.inputs();
  if (index < 0 || static_cast<size_t>(index) >= declared.size() || !at(declared, index).is_optional) {
    return Status::error(StatusCode::kInvalidArgument, "there is no optional input %d", index);
  }
  Input& input = at(inputs_, index);
  if (!input.nothing) drop_plan();
  input.known = input.given = input.nothing = true;
  input.data = nullptr;
  return Status();
}

Status Session::prepare() {
  if (first_.plan) return Status();
  const size_t shapes = inputs_.size() + given_items();
  if (shapes > shapes_.size() && (!pool_.make(2 * shapes, &bound_) || !pool_.make(2 * shapes, &shapes_))) {
    return out_of_memory();
  }
  size_t item = inputs_.size();
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (left_out(i) || inputs_[i].nothing) {
      shapes_[i] = inputs_[i].nothing ? kNoInput : kDefaultInput;
      continue;
    }
    if (!inputs_[i].known) {
      const std::string_view name = model_.inputs()[i].name;
      return Status::error(StatusCode::kNotReady, "the shape of input '%.*s' is not known yet", shown_length(name),
                           name.data());
    }
    shapes_[i] = inputs_[i].shape;
    if (!model_.inputs()[i].is_sequence) continue;
    shapes_[i] = sequence_input(static_cast<int64_t>(inputs_[i].count));
    for (size_t k = 0; k < inputs_[i].count; ++k) shapes_[item++] = inputs_[i].items[k].shape;
  }
  memory_.set_limit(memory_limit());
  QUENCH_RETURN_IF_ERROR(
      acquire_plan(model_, shapes_.first(shapes), {}, plan_options(), memory_, options_.cancellation, &first_.plan));
  first_.handed = shapes;
  const Status status = first_.binding.make(*first_.plan, memory_);
  if (!status.ok()) drop_plan();
  return status;
}

PlanOptions Session::plan_options() const {
  PlanOptions options;
  options.threads = std::max(options_.threads, 1);
  options.fuse = model_.options().fuse;
  options.reuse = options_.reuse_memory;
  return options;
}

size_t Session::given_items() const {
  size_t count = 0;
  for (const Input& input : inputs_) count += input.nothing ? 0 : input.count;
  return count;
}

uint64_t Session::memory_limit() const {
  uint64_t limit = options_.max_memory_bytes;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Input& input = inputs_[i];
    if (!input.given || input.nothing) continue;
    const auto size = static_cast<uint64_t>(size_of(model_.inputs()[i].type));
    uint64_t bytes = model_.inputs()[i].is_sequence ? 0 : static_cast<uint64_t>(input.shape.elements()) * size;
    for (size_t k = 0; k < input.count; ++k) {
      const uint64_t of_item = static_cast<uint64_t>(input.items[k].shape.elements()) * size;
      if (__builtin_add_overflow(bytes, of_item, &bytes)) return UINT64_MAX;
    }
    uint64_t share = 0;
    if (__builtin_mul_overflow(bytes, options_.memory_per_input_byte, &share) ||
        __builtin_add_overflow(limit, share, &limit)) {
      return UINT64_MAX;
    }
  }
  return limit;
}

void Session::drop_plan() {
  if (!first_.plan) return;
  drop_stages_behind(first_);
  first_.binding.reset();
  release_plan(model_, first_.plan);
  first_.plan = nullptr;
  bound_arena_ = nullptr;
  for (const void*& data : bound_) data = nullptr;
  last_ = nullptr;
}

void Session::drop_stages_behind(Stage& stage) {
  Stage* next = stage.next;
  stage.next = nullptr;
  stage.value.reset();
  while (next) {
    Stage* dropped = next;
    next = dropped->next;
    dropped->binding.reset();
    release_plan(model_, dropped->plan);
    dropped->~Stage();
    memory_.release(dropped, sizeof(Stage));
  }
  last_ = nullptr;
}

Result<uint64_t> Session::arena_bytes() {
  QUENCH_RETURN_IF_ERROR(prepare());
  return first_.plan->arena_bytes();
}

Status Session::set_arena(void* memory, uint64_t bytes) {
  if (reinterpret_cast<uintptr_t>(memory) % kAlignment != 0) {
    return Status::error(StatusCode::kInvalidArgument, "the arena must be aligned to %zu bytes", kAlignment);
  }
  caller_arena_ = memory;
  caller_arena_bytes_ = memory ? bytes : 0;
  if (memory) first_.arena.reset();
  bound_arena_ = nullptr;
  last_ = nullptr;
  return Status();
}

Status Session::bind() {
  const uint64_t bytes = first_.plan->arena_bytes();
  void* arena = caller_arena_;
  if (arena && caller_arena_bytes_ < bytes) {
    return Status::error(StatusCode::kInvalidArgument, "the arena has %llu bytes, %llu are needed",
                         static_cast<unsigned long long>(caller_arena_bytes_), static_cast<unsigned long long>(bytes));
  }
  if (!arena) {
    Block& own = first_.arena;
    if ((!own || own.bytes() < bytes) && !own.allocate(memory_, bytes)) return out_of_memory();
    arena = own.data();
  }
  if (arena != bound_arena_) {
    first_.binding.bind_arena(arena);
    bound_arena_ = arena;
  }
  bool changed = false;
  const auto place = [&](const Values& values, size_t shape) {
    changed = changed || bound_[shape] != values.data;
    bound_[shape] = values.data;
    return values.data != nullptr;
  };
  size_t item = inputs_.size();
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Input& input = inputs_[i];
    if (left_out(i) || input.nothing) continue;
    for (size_t k = 0; k < input.count; ++k) place(input.items[k], item++);
    const ValueInfo& info = model_.inputs()[i];
    if (info.is_sequence || place(input, i)) continue;
    return Status::error(StatusCode::kNotReady, "input '%.*s' is not set", shown_length(info.name), info.name.data());
  }
  if (changed) first_.binding.bind_inputs(bound_);
  return Status();
}

// The stage behind `before`, which has run.
Status Session::add_stage(Stage& before) {
  const Tensor& value = before.binding.tensor(0);
  const auto bytes = static_cast<size_t>(value.bytes());
  if (!before.value.allocate(memory_, std::max<uint64_t>(bytes, 1))) return out_of_memory();
  std::memcpy(before.value.data(), value.data, bytes);
  if (before.number == earlier_.size()) {
    std::span<EarlierStage> room;
    if (!pool_.make(2 * earlier_.size() + 4, &room)) return out_of_memory();
    std::copy(earlier_.begin(), earlier_.end(), room.begin());
    earlier_ = room;
  }
  earlier_[before.number] = {before.plan, before.value.data()};
  void* block = memory_.allocate(sizeof(Stage));
  if (!block) return out_of_memory();
  Stage& stage = *new (block) Stage();
  before.next = &stage;
  stage.number = before.number + 1;
  stage.handed = before.handed + before.plan->outputs().size();
  const std::span<const Shape> shapes = shapes_.first(first_.handed);
  Status status = acquire_plan(model_, shapes, earlier_.first(stage.number), plan_options(), memory_,
                               options_.cancellation, &stage.plan);
  if (status.ok()) status = stage.binding.make(*stage.plan, memory_);
  if (status.ok() && !stage.arena.allocate(memory_, stage.plan->arena_bytes())) status = out_of_memory();
  if (status.ok()) stage.binding.bind_arena(stage.arena.data());
  if (!status.ok()) drop_stages_behind(before);
  return status;
}

// Hands over what the stage has made, to the next one, which must be for the value that its plan ends with.
Status Session::bind_next(Stage& stage) {
  const Tensor& value = stage.binding.tensor(0);
  const auto bytes = static_cast<size_t>(value.bytes());
  if (stage.next && std::memcmp(stage.value.data(), value.data, bytes) != 0) drop_stages_behind(stage);
  if (!stage.next) QUENCH_RETURN_IF_ERROR(add_stage(stage));
  const size_t count = stage.plan->outputs().size();
  if (stage.next->handed > bound_.size()) {
    std::span<const void*> room;
    if (!pool_.make(2 * stage.next->handed, &room)) return out_of_memory();
    std::copy(bound_.begin(), bound_.end(), room.begin());
    bound_ = room;
  }
  for (size_t i = 0; i < count; ++i) bound_[stage.handed + i] = stage.binding.tensor(static_cast<int>(i)).data;
  stage.next->binding.bind_inputs(bound_);
  return Status();
}

Status Session::run() {
  last_ = nullptr;
  QUENCH_RETURN_IF_ERROR(prepare());
  QUENCH_RETURN_IF_ERROR(bind());
  RunContext context;
  context.threads_ = std::max(options_.threads, 1);
  context.parallel_ = threads_ ? ThreadPool::run : options_.parallel;
  context.parallel_user_ = threads_ ? threads_ : options_.parallel_user;
  uint64_t rounds = 0;
  Stage* stage = &first_;
  QUENCH_RETURN_IF_ERROR(run_stage(*stage, context, &rounds));
  for (; !stage->plan->is_last(); stage = stage->next) {
    QUENCH_RETURN_IF_ERROR(bind_next(*stage));
    QUENCH_RETURN_IF_ERROR(run_stage(*stage->next, context, &rounds));
  }
  last_ = stage;
  return Status();
}

// `rounds` counts those of all loops.
Status Session::run_stage(const Stage& stage, RunContext& context, uint64_t* rounds) {
  const std::span<const Step> steps = stage.plan->steps();
  for (size_t next = 0; next < steps.size();) {
    const Step& step = steps[next++];
    QUENCH_RETURN_IF_ERROR(options_.cancellation.check());
    if (step.jump != Step::kNone) {
      const bool jumps =
          step.inputs == 0 || (*stage.binding.inputs(step)[0]->as<const uint8_t>() != 0) == step.condition;
      if (!jumps) continue;
      *rounds += step.jump < next;
      next = static_cast<size_t>(step.jump);
      continue;
    }
    if (step.node >= 0) {
      const Node& node = model_.graph().nodes[step.node];
      context.attributes_ = Attributes(node.attributes);
      context.opset_ = node.opset;
    }
    context.node_ = step.node;
    context.round_ = uint64_t{step.round} << 32 | (step.in_loop ? static_cast<uint32_t>(*rounds) : 0);
    context.inputs_ = stage.binding.inputs(step);
    context.outputs_ = stage.binding.outputs(step);
    context.state_ = const_cast<void*>(step.state);  // RunContext lets nobody write to it
    context.epilogue_ = {stage.binding.residual(step), step.activation};
    context.packed_ = step.packed.data;
    context.scratch_ = stage.binding.scratch(step);
    const Status status = step.kernel->run(context);
    if (!status.ok()) return at_step(model_.graph(), *step.kernel, step.node, status);
  }
  return Status();
}

Status Session::check_output(int index) const {
  if (index < 0 || static_cast<size_t>(index) >= model_.outputs().size()) {
    return Status::error(StatusCode::kInvalidArgument, "there is no output %d: the model has %zu", index,
                         model_.outputs().size());
  }
  if (!last_) return Status::error(StatusCode::kNotReady, "the model has not been run");
  return Status();
}

Result<int> Session::output_count(int index) const {
  QUENCH_RETURN_IF_ERROR(check_output(index));
  return last_->binding.output(index).count;
}

Result<Tensor> Session::output(int index) const {
  QUENCH_RETURN_IF_ERROR(check_output(index));
  const PlanOutput& output = last_->binding.output(index);
  if (!output.is_sequence && output.count == 1) return last_->binding.tensor(output.first);
  return Status::error(StatusCode::kInvalidArgument, "output %d is %s", index,
                       output.is_sequence ? "a sequence" : "an optional value that is not there");
}

Result<Tensor> Session::output_item(int index, int item) const {
  QUENCH_RETURN_IF_ERROR(check_output(index));
  const PlanOutput& output = last_->binding.output(index);
  if (item >= 0 && item < output.count) return last_->binding.tensor(output.first + item);
  return Status::error(StatusCode::kInvalidArgument, "output %d has no tensor %d", index, item);
}

void Session::release_all() {
  drop_plan();
  first_.arena.reset();
  if (threads_) ThreadPool::destroy(memory_, threads_);
  pool_.clear();
}

void SessionHandle::reset() {
  if (!session) return;
  session->release_all();
  Memory memory = session->memory_;
  session->~Session();
  memory.release(session, sizeof(Session));
  session = nullptr;
}

Status create_session(const Model& model, const SessionOptions& options, SessionHandle& session) {
  session.reset();
  if (options.threads < 0 || options.threads > ThreadPool::kMaxThreads) {
    return Status::error(StatusCode::kInvalidArgument, "%d threads are not between 1 and %d", options.threads,
                         ThreadPool::kMaxThreads);
  }
  Memory memory(options.allocator, options.max_memory_bytes);
  void* block = memory.allocate(sizeof(Session));
  if (!block) return out_of_memory();
  SessionHandle made;
  made.session = new (block) Session(model, memory, options);
  QUENCH_RETURN_IF_ERROR(made->start());
  session = std::move(made);
  return Status();
}

}  // namespace quench::rt
