#include <cmath>
#include <limits>

#include "runtime/plan/passes.h"

namespace quench::rt {
namespace {

// Who reads a value: the number of reads, and the first and last step among the readers.
struct Readers {
  int count = 0;
  int first = -1;
  int last = -1;
};

class Fuser {
 public:
  explicit Fuser(Draft& draft) : draft_(draft) {}

  Status run();

 private:
  void add_reader(int value, int step);
  const Readers& readers(int value) const { return at(readers_, value); }
  DraftStep& step(int number) { return draft_.steps[number]; }
  std::string_view op(const DraftStep& step) const {
    return step.node >= 0 && draft_.node_of(step).domain.empty() ? draft_.node_of(step).op : std::string_view();
  }
  bool inner(int value) { return !draft_.value(value).is_output && draft_.value(value).alias_of < 0; }
  bool same_tensor(int a, int b) {
    return draft_.value(a).tensor.shape == draft_.value(b).tensor.shape &&
           draft_.value(a).tensor.type == draft_.value(b).tensor.type;
  }

  bool fuse_residual(int number);
  Status fuse_activation(int number, bool* fused);
  bool fuse_gate(int number);
  Status recognise(const DraftStep& step, Activation* activation);
  Status bound(const DraftStep& step, size_t input, const char* name, float otherwise, float* value);
  void take_output(DraftStep& from, DraftStep& to);

  Draft& draft_;
  std::span<Readers> readers_;
};

void Fuser::add_reader(int value, int step) {
  if (value < 0) return;
  Readers& readers = at(readers_, value);
  if (readers.count++ == 0) readers.first = step;
  readers.last = step;
}

Status Fuser::run() {
  if (!draft_.pool.make(draft_.values.size(), &readers_)) return out_of_memory();
  for (int s = 0; s < draft_.steps.count(); ++s) {
    for (int input : step(s).inputs) add_reader(input, s);
  }
  for (int number = 0; number < draft_.steps.count(); ++number) {
    if (step(number).removed || step(number).outputs.empty() || step(number).activation.kind != Activation::kNone)
      continue;
    if (draft_.value(step(number).outputs[0]).tensor.type != ElementType::kFloat32) continue;
    if (fuse_residual(number)) continue;  // it now sits where the Add was, and its turn comes there
    bool fused = false;
    QUENCH_RETURN_IF_ERROR(fuse_activation(number, &fused));
    if (!fused) fuse_gate(number);
  }
  draft_.drop_removed_steps();
  return Status();
}

// x = node(...); x + residual. The node moves to the place of the Add, where the residual is known to be there.
bool Fuser::fuse_residual(int number) {
  DraftStep& producer = step(number);
  const int output = producer.outputs[0];
  if ((producer.kernel->flags & kFusesResidual) == 0 || producer.residual >= 0 || producer.outputs.size() != 1 ||
      !inner(output) || readers(output).count != 1) {
    return false;
  }
  const int place = readers(output).last;
  DraftStep& add = step(place);
  if (add.removed || add.region != producer.region || op(add) != "Add" || add.inputs.size() != 2 || add.inputs[0] < 0 ||
      add.inputs[1] < 0)
    return false;
  const int residual = add.inputs[0] == output ? add.inputs[1] : add.inputs[0];
  if (residual == output || !same_tensor(residual, output) || !same_tensor(add.outputs[0], output)) return false;
  DraftStep moved = producer;
  moved.outputs[0] = add.outputs[0];
  moved.residual = residual;
  producer.removed = true;
  add = moved;
  for (int input : add.inputs) {
    if (input < 0) continue;
    Readers& moved_reader = at(readers_, input);
    if (moved_reader.first == number) moved_reader.first = place;
    if (moved_reader.last < place) moved_reader.last = place;
  }
  return true;
}

Status Fuser::fuse_activation(int number, bool* fused) {
  *fused = false;
  const DraftStep& producer = step(number);
  const int output = producer.outputs[0];
  if (producer.kernel->activations == 0 || producer.outputs.size() != 1 || !inner(output) ||
      readers(output).count != 1) {
    return Status();
  }
  DraftStep& next = step(readers(output).last);
  if (next.removed || next.region != producer.region || next.inputs.empty() || next.inputs[0] != output ||
      !same_tensor(next.outputs[0], output)) {
    return Status();
  }
  Activation activation;
  QUENCH_RETURN_IF_ERROR(recognise(next, &activation));
  if (activation.kind == Activation::kNone || (producer.kernel->activations & Activation::bit(activation.kind)) == 0) {
    return Status();
  }
  step(number).activation = activation;
  take_output(next, step(number));
  *fused = true;
  return Status();
}

// x * sigmoid(x) is SiLU, x * hard_sigmoid(x) is HardSwish.
bool Fuser::fuse_gate(int number) {
  const DraftStep& producer = step(number);
  const int output = producer.outputs[0];
  if (producer.kernel->activations == 0 || producer.outputs.size() != 1 || !inner(output) ||
      readers(output).count != 2) {
    return false;
  }
  DraftStep& gate = step(readers(output).first);
  DraftStep& product = step(readers(output).last);
  if (gate.region != producer.region || product.region != producer.region) return false;
  if (gate.removed || product.removed || op(product) != "Mul" || gate.inputs.size() != 1 || gate.outputs.size() != 1) {
    return false;
  }
  const int gated = gate.outputs[0];
  if (!inner(gated) || readers(gated).count != 1 || product.inputs.size() != 2) return false;
  if (!(product.inputs[0] == output && product.inputs[1] == gated) &&
      !(product.inputs[1] == output && product.inputs[0] == gated)) {
    return false;
  }
  Activation activation;
  if (op(gate) == "Sigmoid") activation.kind = Activation::kSilu;
  if (op(gate) == "HardSigmoid") {
    const Attributes attributes(draft_.node_of(gate).attributes);
    const bool standard = std::abs(attributes.get_float("alpha", 0.2f) - 1.0f / 6.0f) < 1e-6f &&
                          attributes.get_float("beta", 0.5f) == 0.5f;
    if (standard) activation.kind = Activation::kHardSwish;
  }
  if (activation.kind == Activation::kNone || (producer.kernel->activations & Activation::bit(activation.kind)) == 0) {
    return false;
  }
  step(number).activation = activation;
  gate.removed = true;
  take_output(product, step(number));
  return true;
}

void Fuser::take_output(DraftStep& from, DraftStep& to) {
  to.outputs[0] = from.outputs[0];
  from.removed = true;
}

Status Fuser::recognise(const DraftStep& step, Activation* activation) {
  const std::string_view name = op(step);
  if (name.empty()) return Status();
  const Attributes attributes(draft_.node_of(step).attributes);
  if (name == "Relu") {
    activation->kind = Activation::kRelu;
  } else if (name == "LeakyRelu") {
    *activation = {Activation::kLeakyRelu, attributes.get_float("alpha", 0.01f), 0};
  } else if (name == "Sigmoid") {
    activation->kind = Activation::kSigmoid;
  } else if (name == "HardSigmoid") {
    *activation = {Activation::kHardSigmoid, attributes.get_float("alpha", 0.2f), attributes.get_float("beta", 0.5f)};
  } else if (name == "HardSwish") {
    activation->kind = Activation::kHardSwish;
  } else if (name == "Tanh") {
    activation->kind = Activation::kTanh;
  } else if (name == "Clip") {
    Activation clip{Activation::kClip, 0, 0};
    QUENCH_RETURN_IF_ERROR(bound(step, 1, "min", std::numeric_limits<float>::lowest(), &clip.a));
    QUENCH_RETURN_IF_ERROR(bound(step, 2, "max", std::numeric_limits<float>::max(), &clip.b));
    if (!std::isnan(clip.a) && !std::isnan(clip.b)) *activation = clip;
  }
  return Status();
}

// A bound of Clip: an attribute before operator set 11, an input since. NaN if it is not known.
Status Fuser::bound(const DraftStep& step, size_t input, const char* name, float otherwise, float* value) {
  *value = otherwise;
  if (draft_.node_of(step).opset < 11) {
    *value = Attributes(draft_.node_of(step).attributes).get_float(name, otherwise);
    return Status();
  }
  if (input >= step.inputs.size() || step.inputs[input] < 0) return Status();
  const int number = step.inputs[input];
  const Tensor& tensor = draft_.value(number).tensor;
  *value = std::numeric_limits<float>::quiet_NaN();
  if (draft_.value(number).kind != DraftValue::kConstant || tensor.type != ElementType::kFloat32 ||
      tensor.elements() != 1) {
    return Status();
  }
  QUENCH_RETURN_IF_ERROR(draft_.materialize(number));
  *value = *draft_.value(number).tensor.as<const float>();
  return Status();
}

}  // namespace

Status fuse_steps(Draft& draft) { return Fuser(draft).run(); }

}  // namespace quench::rt
