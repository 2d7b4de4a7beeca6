// The contract between the execution plan (runtime/plan) and the operators (runtime/kernels).
//
// A node's life, for a plan that is made for concrete input shapes:
//   infer    shapes and types of the inputs are known, and the values of those that are constant. Sets types and
//            shapes of the outputs, the scratch bytes, and fills the node's state (a small plain struct of its own).
//            If all inputs are constant, the plan runs the kernel right then, and the outputs are constants from
//            there on.
//   prepare  (optional) after fusion and layout assignment: final layouts and epilogue are known. May change state and
//            scratch, and names the form of packed weights (`variant`) that the node wants.
//   pack     (optional) once per model, node and variant, if every input in `packed_inputs` that the node has is
//            constant: turns weights into the form that run wants. The result is shared by all sessions; the weights
//            are freed if nobody else needs them.
//   run      computes. Inputs, outputs and scratch are aligned to kAlignment and, but for in-place inputs, do not
//            overlap.
//
// Kernels allocate nothing, keep nothing between calls but state and packed weights, never throw or abort, and may be
// run by several sessions at once. infer must refuse whatever run could not do safely: ranks, types, sizes of
// attributes. Values that are only known when running (indices) are checked by run. Errors need not name the node: the
// plan does that.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include "formats/base/status.h"
#include "formats/operators/attributes.h"
#include "runtime/contract/tensor.h"

namespace quench::rt {

// One attribute of a node. Which fields hold something depends on `type`, AttributeProto.AttributeType's number.
struct Attribute {
  enum Type : int32_t {
    kFloat = 1,
    kInt = 2,
    kString = 3,
    kTensor = 4,
    kGraph = 5,
    kFloats = 6,
    kInts = 7,
    kStrings = 8
  };

  std::string_view name;
  int32_t type = 0;
  float f = 0;
  int64_t i = 0;
  std::string_view s;
  const Tensor* tensor = nullptr;  // float16, bfloat16 and double already converted to float32
  int stored = -1;                 // of the graph: number of the tensor there, before it is read
  int subgraph = -1;               // of the graph: number of the subgraph
  std::span<const float> floats;
  std::span<const int64_t> ints;
  std::span<const std::string_view> strings;
};

// A node's attributes by name. An attribute that is absent, or of another type than asked for, gives the default.
class Attributes {
 public:
  Attributes() = default;
  explicit Attributes(std::span<const Attribute> all) : all_(all) {}

  const Attribute* find(std::string_view name, int32_t type) const {
    for (const Attribute& attribute : all_) {
      if (attribute.name == name && attribute.type == type) return &attribute;
    }
    return nullptr;
  }
  bool has(std::string_view name) const {
    for (const Attribute& attribute : all_) {
      if (attribute.name == name) return true;
    }
    return false;
  }
  int64_t get_int(std::string_view name, int64_t otherwise) const {
    const Attribute* found = find(name, Attribute::kInt);
    return found ? found->i : otherwise;
  }
  float get_float(std::string_view name, float otherwise) const {
    const Attribute* found = find(name, Attribute::kFloat);
    return found ? found->f : otherwise;
  }
  std::string_view get_string(std::string_view name, std::string_view otherwise) const {
    const Attribute* found = find(name, Attribute::kString);
    return found ? found->s : otherwise;
  }
  std::span<const int64_t> get_ints(std::string_view name) const {
    const Attribute* found = find(name, Attribute::kInts);
    return found ? found->ints : std::span<const int64_t>();
  }
  std::span<const float> get_floats(std::string_view name) const {
    const Attribute* found = find(name, Attribute::kFloats);
    return found ? found->floats : std::span<const float>();
  }
  const Tensor* get_tensor(std::string_view name) const {
    const Attribute* found = find(name, Attribute::kTensor);
    return found ? found->tensor : nullptr;
  }
  int get_subgraph(std::string_view name) const {
    const Attribute* found = find(name, Attribute::kGraph);
    return found ? found->subgraph : -1;
  }
  std::span<const Attribute> all() const { return all_; }

  // For what formats/operators asks; valid as long as this object.
  operators::AttributeView view() const;

 private:
  static const Attributes& of(const void* node) { return *static_cast<const Attributes*>(node); }

  std::span<const Attribute> all_;
};

inline operators::AttributeView Attributes::view() const {
  static constexpr operators::AttributeFunctions kFunctions = {
      .get_int = [](const void* node, std::string_view name,
                    int64_t otherwise) { return of(node).get_int(name, otherwise); },
      .get_float = [](const void* node, std::string_view name,
                      float otherwise) { return of(node).get_float(name, otherwise); },
      .get_string = [](const void* node, std::string_view name,
                       std::string_view otherwise) { return of(node).get_string(name, otherwise); },
      .get_ints = [](const void* node, std::string_view name) { return of(node).get_ints(name); },
      .get_floats = [](const void* node, std::string_view name) { return of(node).get_floats(name); },
      .count_strings =
          [](const void* node, std::string_view name) {
            const Attribute* found = of(node).find(name, Attribute::kStrings);
            return found ? static_cast<int>(found->strings.size()) : 0;
          },
      .string_at =
          [](const void* node, std::string_view name, int index) {
            return of(node).find(name, Attribute::kStrings)->strings[static_cast<size_t>(index)];
          },
  };
  return {this, kFunctions};
}

// An elementwise function of one value, as a node of its own or fused into the node before.
struct Activation {
  enum Kind : uint8_t {
    kNone,
    kRelu,
    kClip,         // min(max(x, a), b)
    kLeakyRelu,    // x < 0 ? a * x : x
    kSigmoid,      // 1 / (1 + exp(-x))
    kHardSigmoid,  // min(max(a * x + b, 0), 1)
    kHardSwish,    // x * min(max(x / 6 + 0.5, 0), 1)
    kSilu,         // x * sigmoid(x)
    kTanh,
  };

  Kind kind = kNone;
  float a = 0;
  float b = 0;

  static constexpr uint32_t bit(Kind kind) { return 1u << kind; }
};

// The reference value of an activation. A NaN stays a NaN.
inline float activate(const Activation& activation, float x) {
  switch (activation.kind) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x < 0 ? 0 : x;
    case Activation::kClip: {
      const float low = x < activation.a ? activation.a : x;
      return low > activation.b ? activation.b : low;
    }
    case Activation::kLeakyRelu:
      return x < 0 ? activation.a * x : x;
    case Activation::kSigmoid:
      return 1.0f / (1.0f + std::exp(-x));
    case Activation::kHardSigmoid: {
      const float line = activation.a * x + activation.b;
      return line < 0 ? 0 : line > 1 ? 1 : line;
    }
    case Activation::kHardSwish: {
      const float line = x / 6.0f + 0.5f;
      return x * (line < 0 ? 0 : line > 1 ? 1 : line);
    }
    case Activation::kSilu:
      return x / (1.0f + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
  }
  return x;
}

// What a node does to each value before it stores it: output = activation(value + residual).
// The residual has the output's type, shape and layout; it may be the output's own memory (in place).
struct Epilogue {
  const Tensor* residual = nullptr;
  Activation activation;
};

// How a kernel stands to the layout of its rank-4 tensors. `layout_inputs` names the inputs that take part; all others,
// and all tensors of another rank, are always row-major.
enum class LayoutRule : uint8_t {
  kRowMajor,      // everything is row-major
  kFollows,       // either layout, the same for all participating rank-4 inputs and outputs
  kChannelsLast,  // participating rank-4 inputs and all rank-4 outputs are channels-last
};

enum KernelFlags : uint32_t {
  // Output 0 is input 0's bytes under another shape (Reshape, Identity). The plan makes the two one buffer and does not
  // call run,
  // unless an output other than the first is used. run copies input 0 to output 0.
  kAlias = 1 << 0,
  // The outputs depend on the inputs' shapes and types only (Shape, Size): always folded; run sees inputs with data ==
  // nullptr.
  kShapeOnly = 1 << 1,
  // Takes Epilogue::residual, of the shape of output 0. What activations it takes is in `activations`.
  kFusesResidual = 1 << 2,
  // With LayoutRule::kChannelsLast: input 0 may nevertheless come row-major, prepare and run look at its layout.
  kReadsRowMajor = 1 << 3,
  // Never folded, even if all inputs are constant.
  kNotFolded = 1 << 4,
  // Control flow and sequences: the plan puts steps in the node's place, and calls neither infer nor run.
  kControl = 1 << 5,
};

inline constexpr uint32_t kAllInputs = ~0u;

struct Kernel;

// Common to all contexts: the node and its fixed data.
class NodeContext {
 public:
  const Attributes& attributes() const { return attributes_; }
  int opset() const { return opset_; }       // version of the node's operator set that the model imports
  int node() const { return node_; }         // its place in the graph; -1 for one that the plan has put in
  int threads() const { return threads_; }   // the most slots that parallel_for uses
  uint64_t round() const { return round_; }  // 0; in a loop another number each time: for random numbers
  int inputs() const { return static_cast<int>(inputs_.size()); }
  int outputs() const { return static_cast<int>(outputs_.size()); }

  // Input `index`; nullptr if the node omits it. `data` is set in run; before that it is set only by
  // InferContext::value.
  const Tensor* input(int index) const { return index >= 0 && index < inputs() ? inputs_[index] : nullptr; }
  // Output `index`; nullptr if nobody wants it.
  Tensor* output(int index) const { return index >= 0 && index < outputs() ? outputs_[index] : nullptr; }

  // The node's state: zero bytes before infer, of the size that Kernel::state_bytes names. T must be trivially
  // copyable.
  template <typename T>
  T& state() const {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16);
    return *static_cast<T*>(state_);
  }

  // Filled in by the plan.
  Attributes attributes_;
  int opset_ = 0;
  int node_ = -1;
  int threads_ = 1;
  uint64_t round_ = 0;
  std::span<const Tensor* const> inputs_;
  std::span<Tensor* const> outputs_;
  void* state_ = nullptr;
};

class InferContext : public NodeContext {
 public:
  // Input `index` with its data if the value is known at plan time, nullptr otherwise (also if the input is omitted).
  // Decodes weights on first use: ask only for what decides shapes and state. A failure to decode gives nullptr and is
  // reported by the plan in place of whatever infer returns.
  const Tensor* value(int index) { return value_function_ ? value_function_(value_user_, index) : nullptr; }

  // True if the value of input `index` is known at plan time; unlike value(), decodes nothing.
  bool is_constant(int index) const { return index >= 0 && index < 32 && (constant_inputs_ >> index & 1) != 0; }

  // Sets type and shape of an output, also of one that nobody wants. kShape if the shape is not Shape::valid.
  Status set_output(int index, ElementType type, const Shape& shape) {
    if (!shape.valid(size_of(type) > 0 ? size_of(type) : 1)) {
      return Status::error(StatusCode::kShape, "output %d is too large or has a negative dimension", index);
    }
    if (Tensor* tensor = output(index)) {
      tensor->type = type;
      tensor->shape = shape;
    }
    return Status();
  }

  void set_scratch(int64_t bytes) { scratch_bytes_ = bytes; }
  // Overrides Kernel::layout for this node (a convolution that is no better off in channels-last, say).
  void set_layout(LayoutRule rule) { layout_ = rule; }

  // For `return context.needs_value(1)`: the shape of the output depends on data that is not known yet.
  Status needs_value(int index) {
    needed_ = index;
    return Status::error(StatusCode::kNotReady, "input %d must be a constant", index);
  }

  // Before infer looks at `count` values `times` times. kLimit if planning has looked at enough.
  Status spend(int64_t count, int64_t times = 1) {
    if (!budget_) return Status();
    uint64_t values = 0;
    const bool overflows = __builtin_mul_overflow(static_cast<uint64_t>(count), static_cast<uint64_t>(times), &values);
    if (overflows || values > *budget_) {
      return Status::error(StatusCode::kLimit, "there are too many values to choose from");
    }
    *budget_ -= values;
    return Status();
  }

  // Filled in by the plan.
  const Tensor* (*value_function_)(void*, int) = nullptr;
  void* value_user_ = nullptr;
  uint32_t constant_inputs_ = 0;
  int needed_ = -1;  // what needs_value has named
  uint64_t* budget_ = nullptr;
  int64_t scratch_bytes_ = 0;
  LayoutRule layout_ = LayoutRule::kRowMajor;
};

class PrepareContext : public NodeContext {
 public:
  // What will be fused into the node; the residual has type, shape and layout, but no data yet.
  const Epilogue& epilogue() const { return epilogue_; }
  // True if pack will be called: every input of Kernel::packed_inputs that the node has is constant.
  bool packs() const { return packs_; }

  int64_t scratch() const { return scratch_bytes_; }
  void set_scratch(int64_t bytes) { scratch_bytes_ = bytes; }
  // Names the form of packed weights that run wants; weights are packed once per node and variant. 0 if never set.
  void set_variant(uint32_t variant) { variant_ = variant; }

  // Filled in by the plan.
  Epilogue epilogue_;
  bool packs_ = false;
  int64_t scratch_bytes_ = 0;
  uint32_t variant_ = 0;
};

class PackContext : public NodeContext {
 public:
  // Inputs in Kernel::packed_inputs have their data; other inputs, and all outputs, have type and shape only, and of
  // those only what is the same for every input shape may be used: the packed block serves plans for other shapes.
  uint32_t variant() const { return variant_; }

  // The block for the packed weights, kAlignment-aligned, zeroed; to be called once. nullptr if there is no memory:
  // return StatusCode::kOutOfMemory then.
  void* allocate(int64_t bytes) { return allocate_function_(allocate_user_, bytes); }

  // Filled in by the plan.
  uint32_t variant_ = 0;
  void* (*allocate_function_)(void*, int64_t) = nullptr;
  void* allocate_user_ = nullptr;
};

// Runs task(argument, index) for every index in [0, tasks), in any order and on any threads, and returns when all are
// done.
using ParallelFunction = void (*)(void* user, int tasks, void (*task)(void* argument, int index), void* argument);

class RunContext : public NodeContext {
 public:
  // Not to be changed: sessions that run at once share it.
  template <typename T>
  const T& state() const {
    return NodeContext::state<T>();
  }
  const Epilogue& epilogue() const { return epilogue_; }
  const void* packed() const { return packed_; }  // what pack made; nullptr if there was nothing to pack
  void* scratch() const { return scratch_; }      // as many bytes as were asked for

  // Calls function(begin, end, slot) for consecutive pieces of [0, count), on several threads if there are any.
  // Pieces hold at least `grain` items, but for the last. Each slot in [0, threads()) is used by at most one piece, so
  // that scratch can be split by slot. What is computed for an item must not depend on the piece that it falls into:
  // results are the same to the bit for any number of threads.
  template <typename Function>
  void parallel_for(int64_t count, int64_t grain, const Function& function) const {
    if (count <= 0) return;
    if (grain < 1) grain = 1;
    int64_t pieces = (count - 1) / grain + 1;
    if (pieces > threads_) pieces = threads_;
    if (pieces <= 1 || !parallel_) {
      function(int64_t{0}, count, 0);
      return;
    }
    struct Job {
      const Function& function;
      int64_t count;
      int64_t pieces;
    } job{function, count, pieces};
    parallel_(
        parallel_user_, static_cast<int>(pieces),
        [](void* argument, int index) {
          const Job& whole = *static_cast<const Job*>(argument);
          const int64_t share = whole.count / whole.pieces;
          const int64_t rest = whole.count % whole.pieces;
          const int64_t begin = index * share + (index < rest ? index : rest);
          whole.function(begin, begin + share + (index < rest ? 1 : 0), index);
        },
        &job);
  }

  // Filled in by the session.
  Epilogue epilogue_;
  const void* packed_ = nullptr;
  void* scratch_ = nullptr;
  ParallelFunction parallel_ = nullptr;
  void* parallel_user_ = nullptr;
};

// An operator: constant data, listed in the table of its file (see registry.h).
struct Kernel {
  const char* op;           // as in NodeProto.op_type
  const char* domain = "";  // "" is ai.onnx
  int since_version = 1;    // operator set versions that this kernel serves, both ends included
  int until_version = 1 << 30;

  Status (*infer)(InferContext&) = nullptr;
  Status (*prepare)(PrepareContext&) = nullptr;
  Status (*pack)(PackContext&) = nullptr;
  Status (*run)(RunContext&) = nullptr;

  // A kernel for some cases only: whether it takes this node, seen as in infer but without outputs. If not, the plan
  // goes on with the reference kernel. nullptr: takes all.
  bool (*accepts)(InferContext&) = nullptr;

  int state_bytes = 0;
  uint32_t flags = 0;  // KernelFlags
  uint32_t inplace_inputs =
      0;  // bit i: output 0 may lie in input i's memory if both have the same type, shape and layout
  uint32_t packed_inputs = 0;  // bit i: pack reads input i, and run then gets it without data
  uint32_t activations = 0;    // Activation::bit of each kind that run applies from the epilogue; kNone needs no bit
  LayoutRule layout = LayoutRule::kRowMajor;
  uint32_t layout_inputs = kAllInputs;
};

}  // namespace quench::rt
