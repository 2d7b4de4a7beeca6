#include "compressor/graph/evaluator.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <limits>
#include <new>

#include "compressor/graph/integer_weights.h"
#include "runtime/session/session.h"

namespace quench::graph {

using onnx::TensorProto;

int64_t HostTensor::elements() const {
  int64_t count = 1;
  for (const int64_t dim : dims) count *= dim;
  return count;
}

std::span<const float> HostTensor::floats() const {
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

std::span<float> HostTensor::floats() { return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)}; }

HostTensor HostTensor::float32(std::string name, std::vector<int64_t> dims, std::span<const float> values) {
  HostTensor tensor{std::move(name), TensorProto::FLOAT, std::move(dims), {}};
  tensor.bytes.resize(static_cast<size_t>(tensor.elements()) * sizeof(float));
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), values.size_bytes());
  return tensor;
}

// Seconds that all threads of the process have worked.
double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

struct Evaluator::State {
  const OnnxModel* model = nullptr;
  EvaluatorOptions options;
  std::vector<std::optional<int32_t>> zeros;  // of integer weights, which may get other values; empty: none may
  std::vector<std::string> inner;             // extra outputs and what is watched
  GraphBytes graph;
  rt::ModelHandle runtime;
  rt::SessionHandle session;
  std::string failure;  // of a weight that could not be read, behind the runtime's back
  double deadline = std::numeric_limits<double>::infinity();  // of processor_seconds
  std::atomic<bool> is_exhausted{false};  // the system had no more memory: not a limit of the options

  // The runtime's memory comes from here, to tell the two apart.
  static void* allocate(void* user, size_t bytes, size_t alignment);
  static void release(void*, void* block, size_t) { std::free(block); }
  // Throws: std::bad_alloc where memory is short, since all that is caught would change the results.
  [[noreturn]] void refuse(const Status& status) const;

  static Status decode_weight(void* user, uint32_t tensor, uint64_t first, std::span<std::byte> out);
  int input_index(const std::string& name) const;
  HostTensor output(int index) const;
};

// Reads the whole weight for any part of it: the runtime asks for all of it at once.
Status Evaluator::State::decode_weight(void* user, uint32_t tensor, uint64_t first, std::span<std::byte> out) {
  State& state = *static_cast<State*>(user);
  const size_t index = state.graph.stripped[tensor];
  const Weight& weight = state.model->weights[index];
  const auto copy = [&](std::span<const std::byte> all, size_t width) {
    const uint64_t skipped = first * width;
    if (skipped > all.size() || out.size() > all.size() - skipped) {
      return Status::error(StatusCode::kShape, "weight of another size");
    }
    std::memcpy(out.data(), all.data() + skipped, out.size());
    return Status();
  };
  try {
    if (!is_float_type(weight.dtype)) {
      const bool may_change = !state.zeros.empty() && state.zeros[index];
      const auto values = may_change ? state.options.values(index) : nullptr;
      const std::vector<std::byte> raw =
          values ? to_integers(weight.dtype, *state.zeros[index], *values) : read(weight);
      return copy(raw, static_cast<size_t>(rt::size_of(static_cast<ElementType>(weight.dtype))));
    }
    std::shared_ptr<const std::vector<float>> values;
    if (state.options.values) values = state.options.values(index);
    if (!values) values = std::make_shared<const std::vector<float>>(read_float(weight));
    if (values->size() != weight.elements()) return Status::error(StatusCode::kShape, "weight of another size");
    return copy(std::as_bytes(std::span(*values)), sizeof(float));
  } catch (const std::bad_alloc&) {
    state.is_exhausted = true;
    return Status(StatusCode::kOutOfMemory);
  } catch (const std::exception& error) {
    state.failure = error.what();
    return Status(StatusCode::kIo);
  }
}

void* Evaluator::State::allocate(void* user, size_t bytes, size_t alignment) {
  void* block = nullptr;
  if (::posix_memalign(&block, std::max(alignment, sizeof(void*)), bytes) == 0) return block;
  static_cast<State*>(user)->is_exhausted = true;
  return nullptr;
}

void Evaluator::State::refuse(const Status& status) const {
  if (is_exhausted) throw std::bad_alloc();
  if (!failure.empty()) throw Error(failure);
  if (status.code() == StatusCode::kCancelled) {
    throw BeyondLimits(fmt::format("{}: a run takes longer than {} seconds", model->name, options.max_seconds));
  }
  const bool is_limit = status.code() == StatusCode::kOutOfMemory || status.code() == StatusCode::kLimit;
  const std::string message = fmt::format("{}: {}", model->name, status.detail());
  if (is_limit) throw BeyondLimits(message);
  throw Error(message);
}

int Evaluator::State::input_index(const std::string& name) const {
  const std::span<const rt::ValueInfo> inputs = runtime->inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].name == name) return static_cast<int>(i);
  }
  throw Error::make("{}: there is no input '{}'", model->name, name);
}

HostTensor Evaluator::State::output(int index) const {
  const Result<rt::Tensor> result = session->output(index);
  if (!result.ok()) refuse(result.status());
  const rt::Tensor& tensor = *result;
  const size_t declared = runtime->outputs().size() - inner.size();
  const auto number = static_cast<size_t>(index);
  const std::string name = number < declared ? std::string(runtime->outputs()[number].name) : inner[number - declared];
  HostTensor host{name, static_cast<int32_t>(tensor.type), {}, {}};
  host.dims.assign(tensor.shape.dims, tensor.shape.dims + tensor.shape.rank);
  const std::span raw(static_cast<const std::byte*>(tensor.data),
                      static_cast<size_t>(host.elements() * rt::size_of(tensor.type)));
  if (host.dtype != TensorProto::FLOAT && is_float_type(host.dtype)) {
    const std::vector<float> values = to_float(host.dtype, raw);
    return HostTensor::float32(std::move(host.name), std::move(host.dims), values);
  }
  host.bytes.assign(raw.begin(), raw.end());
  return host;
}

Evaluator::Evaluator(const OnnxModel& model, const EvaluatorOptions& options) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.model = &model;
  state.options = options;
  if (options.values) state.zeros = integer_weights(model);
  state.graph = to_graph_bytes(model);
  state.inner = options.extra_outputs;
  state.inner.insert(state.inner.end(), options.watched.begin(), options.watched.end());
  const std::vector<std::string_view> extra(state.inner.begin(), state.inner.end());
  rt::ModelOptions model_options;
  model_options.extra_outputs = extra;
  uint64_t weight_bytes = 0;
  for (const Weight& weight : model.weights) weight_bytes += weight.elements() * sizeof(float);
  model_options.limits.max_memory_bytes = options.max_memory_bytes + 4 * weight_bytes;
  const rt::Bytes bytes(reinterpret_cast<const std::byte*>(state.graph.bytes.data()), state.graph.bytes.size());
  model_options.allocator = {&State::allocate, &State::release, &state};
  rt::SessionOptions session_options;
  session_options.allocator = model_options.allocator;
  session_options.threads = options.threads;
  session_options.cancellation = {
      [](void* user) { return processor_seconds() > static_cast<const State*>(user)->deadline ? 1 : 0; }, &state};
  session_options.max_memory_bytes = options.max_memory_bytes;
  Status status = rt::open_model(bytes, {nullptr, &State::decode_weight, &state}, model_options, state.runtime);
  if (status.ok()) status = rt::create_session(*state.runtime, session_options, state.session);
  if (!status.ok()) state.refuse(status);
}

uint64_t Evaluator::peak_bytes() const { return state_->runtime->memory_peak() + state_->session->memory_peak(); }

bool Evaluator::runs_in_stages() const { return state_->session->plan() && !state_->session->plan()->is_last(); }

bool has_kernel(std::string_view domain, std::string_view op, int64_t opset) {
  constexpr int64_t kNewest = 1 << 20;
  return rt::find_kernel(domain, op, static_cast<int>(std::clamp<int64_t>(opset, 0, kNewest)), rt::KernelSet::kFast) !=
         nullptr;
}

Evaluator::Evaluator(Evaluator&&) noexcept = default;
Evaluator& Evaluator::operator=(Evaluator&&) noexcept = default;
Evaluator::~Evaluator() = default;

std::vector<HostTensor> Evaluator::run(std::span<const HostTensor> inputs) {
  State& state = *state_;
  if (state.options.max_seconds > 0) {
    state.deadline = processor_seconds() + state.options.max_seconds;
  }
  std::vector<std::vector<std::byte>> converted;  // borrowed by the session until it has run
  converted.reserve(inputs.size());
  for (const HostTensor& input : inputs) {
    const int index = state.input_index(input.name);
    const auto declared = static_cast<int32_t>(state.runtime->inputs()[static_cast<size_t>(index)].type);
    const void* data = input.bytes.data();
    if (input.dtype == TensorProto::FLOAT && declared != input.dtype && is_float_type(declared)) {
      data = converted.emplace_back(from_float(declared, input.floats())).data();
    } else if (input.dtype != declared) {
      throw Error::make("{}: input '{}' is {}, not {}", state.model->name, input.name, type_name(declared),
                        type_name(input.dtype));
    }
    const Status status = state.session->set_input(index, data, input.dims);
    if (!status.ok()) state.refuse(status);
  }
  if (const Status status = state.session->run(); !status.ok()) {
    state.refuse(status);
  }
  std::vector<HostTensor> outputs;
  const size_t count = state.runtime->outputs().size() - state.options.watched.size();
  for (size_t i = 0; i < count; ++i) outputs.push_back(state.output(static_cast<int>(i)));
  return outputs;
}

HostTensor Evaluator::watched(size_t index) const {
  return state_->output(static_cast<int>(state_->runtime->outputs().size() - state_->options.watched.size() + index));
}

}  // namespace quench::graph
