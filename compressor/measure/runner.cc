#include "compressor/measure/runner.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <quench/quench.hpp>
#include <set>

#include "compressor/data/array.h"
#include "compressor/measure/quench_file.h"
#include "compressor/measure/seeded_inputs.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

using graph::HostTensor;

class OnnxRunner : public Runner {
 public:
  OnnxRunner(const std::filesystem::path& path, int threads, uint64_t max_memory, double max_seconds)
      : Runner(path.string(), load(path)), evaluator_(model_, options_for(threads, max_memory, max_seconds)) {}

  std::vector<HostTensor> run(std::span<const HostTensor> inputs) override {
    return evaluator_.run(as_declared(inputs));
  }
  uint64_t peak_bytes() const override { return evaluator_.peak_bytes(); }

 private:
  static graph::EvaluatorOptions options_for(int threads, uint64_t max_memory, double max_seconds) {
    graph::EvaluatorOptions options;
    options.threads = threads;
    options.max_seconds = max_seconds;
    if (max_memory > 0) options.max_memory_bytes = max_memory;
    return options;
  }

  graph::Evaluator evaluator_;
};

OnnxModel graph_of(const QuenchFile& file) {
  OnnxModel model;
  model.name = file.name();
  model.proto = file.graph();
  return model;
}

class QuenchRunner : public Runner {
 public:
  QuenchRunner(const std::filesystem::path& path, int threads, uint64_t max_memory, double max_seconds)
      : QuenchRunner(std::make_unique<QuenchFile>(path, max_memory), threads, max_memory, max_seconds) {}

  std::vector<HostTensor> run(std::span<const HostTensor> inputs) override {
    try {
      const std::vector<HostTensor> declared = as_declared(inputs);
      for (const HostTensor& input : declared)
        runtime_session_->set_input(index_of(input.name), input.bytes.data(), input.dims);
      if (max_seconds_ > 0) deadline_ = Clock::now() + std::chrono::milliseconds(std::llround(1000 * max_seconds_));
      runtime_session_->run();
      check_copies(declared);
      std::vector<HostTensor> outputs;
      outputs.reserve(static_cast<size_t>(runtime_model_->output_count()));
      for (int32_t i = 0; i < runtime_model_->output_count(); ++i) outputs.push_back(output(i));
      return outputs;
    } catch (const RuntimeError& error) {
      if (error.code() == QUENCH_CANCELLED)
        throw Error::make("{}: a run takes longer than {} seconds", name_, max_seconds_);
      refuse(name_, error);
    }
  }
  uint64_t peak_bytes() const override {
    return quench_model_peak_bytes(runtime_model_->get()) + quench_session_peak_bytes(runtime_session_->get());
  }

 private:
  using Clock = std::chrono::steady_clock;

  QuenchRunner(std::unique_ptr<QuenchFile> file, int threads, uint64_t max_memory, double max_seconds)
      : Runner(file->name(), graph_of(*file)),
        file_(std::move(file)),
        max_memory_(max_memory),
        max_seconds_(max_seconds) {
    quench_session_options options{};
    options.size = sizeof options;
    options.threads = threads;
    options.max_memory_bytes = max_memory;
    options.cancelled = [](void* user) { return Clock::now() > static_cast<QuenchRunner*>(user)->deadline_ ? 1 : 0; };
    options.cancelled_user = this;
    quench_model_options model_options{};
    model_options.size = sizeof model_options;
    model_options.max_memory_bytes = max_memory;
    try {
      runtime_model_ = std::make_unique<Model>(Model::open(file_->bytes(), &model_options));
      runtime_session_ = std::make_unique<Session>(*runtime_model_, &options);
    } catch (const RuntimeError& error) {
      refuse(name_, error);
    }
  }

  int32_t index_of(const std::string& name) const {
    const int32_t count = runtime_model_->input_count() + runtime_model_->default_input_count();
    for (int32_t i = 0; i < count; ++i) {
      if (runtime_model_->input(i).name_view() == name) return i;
    }
    throw Error::make("{}: there is no input '{}'", name_, name);
  }

  // Copies of the outputs count, beside the model and the session that hold them, where the limit is the default.
  void check_copies(const std::vector<HostTensor>& inputs) const {
    if (max_memory_ > 0) return;
    uint64_t limit = 2 * std::min(container::default_memory(file_->size()), kNoLimit);
    for (const HostTensor& input : inputs) limit += 512 * static_cast<uint64_t>(input.bytes.size());
    uint64_t held = peak_bytes();
    for (int32_t i = 0; i < runtime_model_->output_count(); ++i) held += runtime_session_->output(i).bytes;
    if (held <= limit) return;
    throw Error::make("{}: the outputs exceed the memory limit (--max-memory raises it)", name_);
  }

  HostTensor output(int32_t index) const {
    const quench_tensor tensor = runtime_session_->output(index);
    HostTensor host{std::string(runtime_model_->output(index).name_view()), tensor.type, {}, {}};
    host.dims.assign(tensor.shape, tensor.shape + tensor.rank);
    const std::span raw(static_cast<const std::byte*>(tensor.data), tensor.bytes);
    if (is_float_type(host.dtype) && tensor.type != QUENCH_FLOAT32)
      return HostTensor::float32(host.name, host.dims, to_float(host.dtype, raw));
    host.bytes.assign(raw.begin(), raw.end());
    return host;
  }

  std::unique_ptr<QuenchFile> file_;
  uint64_t max_memory_;
  double max_seconds_;
  Clock::time_point deadline_ = Clock::time_point::max();
  std::unique_ptr<Model> runtime_model_;
  std::unique_ptr<Session> runtime_session_;
};

template <typename To>
std::vector<std::byte> narrowed(std::span<const int64_t> values) {
  std::vector<std::byte> bytes(values.size() * sizeof(To));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<To>(values[i]);
    if (static_cast<int64_t>(value) != values[i])
      throw Error::make("value {} does not fit the input's type", values[i]);
    std::memcpy(bytes.data() + i * sizeof(To), &value, sizeof(To));
  }
  return bytes;
}

std::vector<std::byte> from_integers(int32_t dtype, std::span<const int64_t> values) {
  using onnx::TensorProto;
  switch (dtype) {
    case TensorProto::INT64:
      return narrowed<int64_t>(values);
    case TensorProto::INT32:
      return narrowed<int32_t>(values);
    case TensorProto::INT16:
      return narrowed<int16_t>(values);
    case TensorProto::INT8:
      return narrowed<int8_t>(values);
    case TensorProto::UINT64:
      return narrowed<uint64_t>(values);
    case TensorProto::UINT32:
      return narrowed<uint32_t>(values);
    case TensorProto::UINT16:
      return narrowed<uint16_t>(values);
    case TensorProto::UINT8:
    case TensorProto::BOOL:
      return narrowed<uint8_t>(values);
    default:
      throw Error::make("values cannot be converted to {}", type_name(dtype));
  }
}

std::vector<int64_t> rounded(std::span<const float> values) {
  std::vector<int64_t> integers;
  integers.reserve(values.size());
  for (const float value : values) {
    if (!(std::abs(value) < 0x1p62f)) throw Error::make("value {} does not fit an integer", value);
    integers.push_back(std::llround(value));
  }
  return integers;
}

}  // namespace

namespace {

std::vector<ValueSpec> inputs_of(const onnx::GraphProto& graph, bool are_initializers, const InputShapes& shapes) {
  std::set<std::string> initializers;
  for (const onnx::TensorProto& tensor : graph.initializer()) initializers.insert(tensor.name());
  std::vector<ValueSpec> inputs;
  for (const onnx::ValueInfoProto& info : graph.input()) {
    if (initializers.contains(info.name()) != are_initializers) continue;
    const onnx::TypeProto::Tensor& type = info.type().tensor_type();
    const bool has_dims = type.has_shape() || shapes.whole.contains(info.name());
    ValueSpec input{info.name(), type.elem_type(), shapes.of(info), has_dims, {}};
    for (const auto& dim : type.shape().dim()) input.dim_names.push_back(dim.dim_param());
    input.dim_names.resize(input.dims.size());
    inputs.push_back(std::move(input));
  }
  return inputs;
}

}  // namespace

std::vector<ValueSpec> declared_inputs(const onnx::GraphProto& graph, const InputShapes& shapes) {
  return inputs_of(graph, false, shapes);
}

std::vector<ValueSpec> inputs_with_default(const onnx::ModelProto& model, const InputShapes& shapes) {
  return model.ir_version() < 4 ? std::vector<ValueSpec>() : inputs_of(model.graph(), true, shapes);
}

HostTensor as_type(const HostTensor& tensor, int32_t dtype) {
  if (tensor.dtype == dtype || dtype == 0) return tensor;
  HostTensor converted{tensor.name, dtype, tensor.dims, {}};
  const bool from_float_type = is_float_type(tensor.dtype);
  const data::Array array{static_cast<ElementType>(tensor.dtype), tensor.dims,
                          from_float_type ? std::vector<std::byte>() : tensor.bytes};
  const std::vector<float> floats = from_float_type ? to_float(tensor.dtype, tensor.bytes) : std::vector<float>();
  if (is_float_type(dtype)) {
    converted.bytes = from_float(dtype, from_float_type ? floats : array.to_float());
  } else {
    converted.bytes = from_integers(dtype, from_float_type ? rounded(floats) : array.to_int64());
  }
  return converted;
}

Runner::Runner(std::string name, OnnxModel model)
    : name_(std::move(name)),
      model_(std::move(model)),
      inputs_(declared_inputs(model_.proto.graph())),
      inputs_with_default_(measure::inputs_with_default(model_.proto)) {}

std::unique_ptr<Runner> Runner::open(const std::filesystem::path& path, int threads, uint64_t max_memory,
                                     double max_seconds) {
  if (is_quench_file(path)) return std::make_unique<QuenchRunner>(path, threads, max_memory, max_seconds);
  return std::make_unique<OnnxRunner>(path, threads, max_memory, max_seconds);
}

SeededInputs Runner::seeded_inputs(const InputShapes& shapes, uint64_t seed, const Runner* other) const {
  check_shapes(name_, graph(), shapes);
  return {model_, {.inputs = shapes}, seed, other ? &other->model_ : nullptr};
}

std::vector<HostTensor> Runner::as_declared(std::span<const HostTensor> inputs) const {
  std::vector<HostTensor> declared;
  for (const HostTensor& input : inputs) {
    int32_t dtype = input.dtype;
    for (const std::vector<ValueSpec>* specs : {&inputs_, &inputs_with_default_}) {
      for (const ValueSpec& spec : *specs) {
        if (spec.name == input.name) dtype = spec.dtype;
      }
    }
    declared.push_back(as_type(input, dtype));
  }
  return declared;
}

}  // namespace quench::measure
