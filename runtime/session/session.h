// Runs a model: uses the plan for the current input shapes, which it shares with the model's other sessions of the same
// shapes and threads, and holds the arena and the inputs. Behind a plan that is a first stage (plan.h), run makes those of
// the others, and keeps them as long as the values that they depend on stay the same. One thread at a time may use a
// session.
#pragma once

#include "runtime/session/binding.h"

namespace quench::rt {

class ThreadPool;

inline constexpr size_t kMaxItems = size_t{1} << 16;  // of a sequence that is an input

struct SessionOptions {
  Allocator allocator;
  uint64_t max_memory_bytes = uint64_t{1} << 36;
  uint64_t memory_per_input_byte = 0;  // added to it, for each byte of the inputs whose shape was set
  int threads = 1;                     // at least 1; more start a pool of threads - 1, unless `parallel` is given
  ParallelFunction parallel = nullptr;
  void* parallel_user = nullptr;
  Cancellation cancellation;
  bool reuse_memory = true;  // off: every buffer has its own place, for tests
};

class Session {
 public:
  Session(const Model& model, const Memory& memory, const SessionOptions& options);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Input `index`, row-major, in its declared type and aligned to its element. The memory is borrowed: it must hold the
  // values when run is called. Errors, which change nothing: kInvalidArgument, kShape if a declared dimension differs.
  // No data and no shape for an input that has a default: the default again.
  Status set_input(int index, const void* data, std::span<const int64_t> shape);
  // The values of an input that is a sequence: row-major, each as set_input says. The array itself is not borrowed.
  Status set_sequence(int index, std::span<const Tensor> items);
  // An optional input without a value.
  Status set_nothing(int index);
  // The shape alone, for prepare. Data that was set for a smaller one is let go of.
  Status set_input_shape(int index, std::span<const int64_t> shape);

  // Makes the plan for the current input shapes, if there is none yet; run does it too. Errors: kNotReady while the
  // shape of an input is unknown, kCancelled, and whatever the operators say about shapes and types.
  Status prepare();
  // Bytes that the arena of the first stage needs for the current input shapes. Calls prepare.
  Result<uint64_t> arena_bytes();
  // Memory for the arena, kAlignment-aligned, in place of the allocator's; nullptr goes back to that. Used as long as
  // the session runs; outputs lie in it. Arenas of further stages are the allocator's.
  Status set_arena(void* memory, uint64_t bytes);

  Status run();

  // Valid after a run, until the next run or change of input shapes. Of an output that is a sequence there are items.
  Result<Tensor> output(int index) const;
  Result<Tensor> output_item(int index, int item) const;
  Result<int> output_count(int index) const;  // of a tensor 1, -1 for an optional value that is nothing

  const Plan* plan() const { return first_.plan; }
  const Model& model() const { return model_; }
  uint64_t memory_peak() const { return memory_.peak(); }

 private:
  friend Status create_session(const Model&, const SessionOptions&, struct SessionHandle&);
  friend struct SessionHandle;

  struct Stage {
    const Plan* plan = nullptr;
    Binding binding;
    Block arena;
    size_t number = 0;
    size_t handed = 0;      // where what it hands over begins in `bound_`
    Block value;            // that its plan ends with, as it was when the next stage's was made
    Stage* next = nullptr;  // while there is one for that
  };
  struct Values {
    Shape shape;
    const void* data = nullptr;
    int64_t elements = 0;  // that `data` holds
  };
  struct Input : Values {
    bool known = false;
    bool given = false;  // known from the caller, not only from the model
    bool nothing = false;
    std::span<Values> items;  // of a sequence
    size_t count = 0;         // how many of them there are
  };

  ~Session() = default;
  Status start();
  Status check_kind(int index, bool is_sequence) const;
  Status check_shape(const ValueInfo& info, std::span<const int64_t> shape, Shape& given) const;
  Status check_data(const ValueInfo& info, const void* data, const Shape& shape) const;
  static void take_data(Values& values, const void* data);
  size_t given_items() const;
  void take_shape(int index, const Shape& given);
  bool has_default(int index) const {
    return index >= static_cast<int>(model_.required_inputs()) && index < static_cast<int>(inputs_.size());
  }
  bool left_out(size_t index) const { return index >= model_.required_inputs() && !at(inputs_, index).given; }
  void drop_plan();
  void drop_stages_behind(Stage& stage);
  void release_all();
  PlanOptions plan_options() const;
  Status bind();
  Status add_stage(Stage& before);
  Status bind_next(Stage& stage);
  Status run_stage(const Stage& stage, RunContext& context, uint64_t* rounds);
  uint64_t memory_limit() const;
  Status check_output(int index) const;

  const Model& model_;
  SessionOptions options_;
  Memory memory_;
  Pool pool_;
  std::span<Input> inputs_;
  std::span<Shape> shapes_;       // that the plan is for
  std::span<const void*> bound_;  // what the bindings have, by the numbers of these, and what stages hand over
  std::span<EarlierStage> earlier_;
  Stage first_;
  void* caller_arena_ = nullptr;
  uint64_t caller_arena_bytes_ = 0;
  void* bound_arena_ = nullptr;
  const Stage* last_ = nullptr;  // that has run: it has the outputs
  ThreadPool* threads_ = nullptr;
};

struct SessionHandle {
  SessionHandle() = default;
  SessionHandle(SessionHandle&& other) noexcept : session(other.session) { other.session = nullptr; }
  SessionHandle& operator=(SessionHandle&& other) noexcept {
    std::swap(session, other.session);
    return *this;
  }
  ~SessionHandle() { reset(); }
  void reset();
  Session& operator*() const { return *session; }
  Session* operator->() const { return session; }

  Session* session = nullptr;
};

// The model must outlive the session. Inputs with static shapes need no set_input_shape before prepare.
Status create_session(const Model& model, const SessionOptions& options, SessionHandle& session);

}  // namespace quench::rt
