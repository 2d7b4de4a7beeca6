#include "compressor/graph/evaluate.h"

#include <cstring>
#include <span>
#include <string>

#include "runtime/core/model.h"
#include "runtime/core/session.h"

namespace quench::graph {
namespace {

Value value_of(const rt::Tensor& tensor) {
  Value value;
  value.dtype = static_cast<int32_t>(tensor.type);
  value.dims.assign(tensor.shape.view().begin(), tensor.shape.view().end());
  value.raw.resize(static_cast<size_t>(tensor.bytes()));
  if (!value.raw.empty()) std::memcpy(value.raw.data(), tensor.data, value.raw.size());
  return value;
}

}  // namespace

std::optional<std::vector<Value>> evaluate(const onnx::ModelProto& model, uint64_t max_memory_bytes) {
  const std::string bytes = model.SerializeAsString();
  rt::ModelOptions options;
  options.limits.max_memory_bytes = max_memory_bytes;
  rt::ModelHandle loaded;
  if (!rt::open_model(std::as_bytes(std::span(bytes)), {}, options, loaded).ok()) return std::nullopt;
  rt::SessionOptions session_options;
  session_options.max_memory_bytes = max_memory_bytes;
  rt::SessionHandle session;
  if (!rt::create_session(*loaded, session_options, session).ok() || !session->run().ok()) return std::nullopt;
  std::vector<Value> values;
  for (int i = 0; i < model.graph().output_size(); ++i) {
    const Result<rt::Tensor> tensor = session->output(i);
    if (!tensor.ok() || tensor->layout != rt::Layout::kRowMajor) return std::nullopt;
    values.push_back(value_of(*tensor));
  }
  return values;
}

}  // namespace quench::graph
