// Fuzzes the reading of graphs and the making of plans: the bytes are a ModelProto, opened and, where it opens, run on
// zeros with every open dimension set to 2. Small limits keep a case fast; what exceeds them is an error like any
// other.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "runtime/session/session.h"

namespace {

using namespace quench::rt;

constexpr uint64_t kMaxMemory = 1 << 22;
constexpr int64_t kMaxInputElements = 1 << 12;

// Weights that the graph has none of.
quench::Status read_zeros(void*, uint32_t, uint64_t, std::span<std::byte> out) {
  std::memset(out.data(), 0, out.size());
  return quench::Status();
}

// A loop may have no end, which is the caller's to make.
int is_late(void* user) { return ++*static_cast<int*>(user) > 5000 ? 1 : 0; }

bool set_inputs(Session& session, std::vector<uint64_t>& zeros) {
  const std::span<const ValueInfo> inputs = session.model().inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    Shape shape;
    shape.rank = inputs[i].rank < 0 ? 1 : inputs[i].rank;
    for (int axis = 0; axis < shape.rank; ++axis) {
      shape[axis] = inputs[i].rank < 0 || inputs[i].dims[axis] < 0 ? 2 : inputs[i].dims[axis];
    }
    if (!shape.valid(8) || shape.elements() > kMaxInputElements) return false;
    if (!session.set_input(static_cast<int>(i), zeros.data(), shape.view()).ok()) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ModelOptions options;
  options.limits.max_memory_bytes = kMaxMemory;
  options.limits.max_tensor_elements = 1 << 16;
  options.limits.max_nodes = 256;
  options.fuse = size % 2 == 0;
  ModelHandle model;
  const WeightSource source{.decode = read_zeros};
  if (!open_model(std::as_bytes(std::span(data, size)), source, options, model).ok()) return 0;
  SessionOptions session_options;
  session_options.max_memory_bytes = kMaxMemory;
  int steps = 0;
  session_options.cancellation = {is_late, &steps};
  SessionHandle session;
  if (!create_session(*model, session_options, session).ok()) return 0;
  std::vector<uint64_t> zeros(kMaxInputElements);
  if (set_inputs(*session, zeros)) static_cast<void>(session->run());
  return 0;
}
