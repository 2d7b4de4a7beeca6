// quench.h over Model and Session.
#include <quench/quench.h>

#include <algorithm>
#include <cstring>

#include "runtime/session/c_support.h"
#include "runtime/session/mapped_file.h"
#include "runtime/session/session.h"

#define QUENCH_STRING_(x) #x
#define QUENCH_STRING(x) QUENCH_STRING_(x)

using quench::Status;
using quench::StatusCode;
namespace rt = quench::rt;
using rt::destroy;
using rt::make;
using rt::null_argument;
using rt::read_allocator;
using rt::read_options;
using rt::report;

static_assert(QUENCH_INVALID_ARGUMENT == static_cast<int>(StatusCode::kInvalidArgument));
static_assert(QUENCH_OUT_OF_MEMORY == static_cast<int>(StatusCode::kOutOfMemory));
static_assert(QUENCH_IO == static_cast<int>(StatusCode::kIo));
static_assert(QUENCH_BAD_MAGIC == static_cast<int>(StatusCode::kBadMagic));
static_assert(QUENCH_UNSUPPORTED_VERSION == static_cast<int>(StatusCode::kUnsupportedVersion));
static_assert(QUENCH_TRUNCATED == static_cast<int>(StatusCode::kTruncated));
static_assert(QUENCH_CHECKSUM == static_cast<int>(StatusCode::kChecksum));
static_assert(QUENCH_CORRUPT == static_cast<int>(StatusCode::kCorrupt));
static_assert(QUENCH_LIMIT == static_cast<int>(StatusCode::kLimit));
static_assert(QUENCH_UNSUPPORTED_FEATURE == static_cast<int>(StatusCode::kUnsupportedFeature));
static_assert(QUENCH_UNSUPPORTED_OPERATOR == static_cast<int>(StatusCode::kUnsupportedOperator));
static_assert(QUENCH_UNSUPPORTED_TYPE == static_cast<int>(StatusCode::kUnsupportedType));
static_assert(QUENCH_SHAPE == static_cast<int>(StatusCode::kShape));
static_assert(QUENCH_NOT_FOUND == static_cast<int>(StatusCode::kNotFound));
static_assert(QUENCH_NOT_READY == static_cast<int>(StatusCode::kNotReady));
static_assert(QUENCH_CANCELLED == static_cast<int>(StatusCode::kCancelled));
static_assert(QUENCH_MAX_RANK == rt::kMaxRank);
static_assert(QUENCH_FLOAT32 == static_cast<int>(quench::ElementType::kFloat32));
static_assert(QUENCH_UINT8 == static_cast<int>(quench::ElementType::kUint8));
static_assert(QUENCH_INT8 == static_cast<int>(quench::ElementType::kInt8));
static_assert(QUENCH_UINT16 == static_cast<int>(quench::ElementType::kUint16));
static_assert(QUENCH_INT16 == static_cast<int>(quench::ElementType::kInt16));
static_assert(QUENCH_INT32 == static_cast<int>(quench::ElementType::kInt32));
static_assert(QUENCH_INT64 == static_cast<int>(quench::ElementType::kInt64));
static_assert(QUENCH_BOOL == static_cast<int>(quench::ElementType::kBool));
static_assert(QUENCH_FLOAT16 == static_cast<int>(quench::ElementType::kFloat16));
static_assert(QUENCH_FLOAT64 == static_cast<int>(quench::ElementType::kFloat64));
static_assert(QUENCH_UINT32 == static_cast<int>(quench::ElementType::kUint32));
static_assert(QUENCH_UINT64 == static_cast<int>(quench::ElementType::kUint64));
static_assert(QUENCH_BFLOAT16 == static_cast<int>(quench::ElementType::kBfloat16));

struct quench_model {
  explicit quench_model(const rt::Memory& of_this) : memory(of_this) {}
  rt::Memory memory;
  rt::MappedFile file;          // outlives the model
  uint64_t default_memory = 0;  // of the model, and of each of its sessions
  rt::ModelHandle model;
};

struct quench_session {
  explicit quench_session(const rt::Memory& of_this) : memory(of_this) {}
  rt::Memory memory;
  rt::SessionHandle session;
};

namespace {

// A session's default limit grows with what its caller gives it: a super-resolution network takes 130 times its input
// for activations.
constexpr uint64_t kMemoryPerInputByte = 256;

// From `bytes`, or from the file at `path` if that is given.
Status open_any(const char* path, rt::Bytes bytes, const quench_model_options* given, quench_model** model) {
  quench_model_options options;
  QUENCH_RETURN_IF_ERROR(read_options(given, options));
  rt::ModelOptions inner;
  QUENCH_RETURN_IF_ERROR(read_allocator(options.allocator, inner.allocator));
  if (options.max_tensor_elements) inner.limits.max_tensor_elements = options.max_tensor_elements;
  if (options.max_nodes) inner.limits.max_nodes = options.max_nodes;
  inner.verify_streams = options.skip_stream_checksums == 0;
  quench_model* made = make<quench_model>(inner.allocator);
  if (!made) return rt::out_of_memory();
  Status status;
  if (path) {
    status = made->file.map(path);
    bytes = made->file.bytes();
  }
  made->default_memory = rt::default_memory(bytes.size());
  inner.limits.max_memory_bytes = options.max_memory_bytes ? options.max_memory_bytes : made->default_memory;
  if (status.ok()) status = rt::open_container(bytes, inner, made->model);
  if (!status.ok()) {
    destroy(made);
    return status;
  }
  *model = made;
  return Status();
}

Status create_any(const quench_model* model, const quench_session_options* given, quench_session** session) {
  quench_session_options options;
  QUENCH_RETURN_IF_ERROR(read_options(given, options));
  rt::SessionOptions inner;
  QUENCH_RETURN_IF_ERROR(read_allocator(options.allocator, inner.allocator));
  inner.max_memory_bytes = options.max_memory_bytes ? options.max_memory_bytes : model->default_memory;
  inner.memory_per_input_byte = options.max_memory_bytes ? 0 : kMemoryPerInputByte;
  if (options.threads) inner.threads = options.threads;
  inner.parallel = options.parallel_for;
  inner.parallel_user = options.parallel_for_user;
  inner.cancellation = {options.cancelled, options.cancelled_user};
  quench_session* made = make<quench_session>(inner.allocator);
  if (!made) return rt::out_of_memory();
  const Status status = rt::create_session(*model->model, inner, made->session);
  if (!status.ok()) {
    destroy(made);
    return status;
  }
  *session = made;
  return Status();
}

Status describe(std::span<const rt::ValueInfo> values, const char* what, int32_t index, quench_value_info* info) {
  if (!info) return null_argument("info");
  if (index < 0 || static_cast<size_t>(index) >= values.size()) {
    return Status::error(StatusCode::kInvalidArgument, "there is no %s %d: the model has %zu", what,
                         static_cast<int>(index), values.size());
  }
  const rt::ValueInfo& value = rt::at(values, index);
  info->name = value.name.data();
  info->name_length = value.name.size();
  info->type = static_cast<quench_type>(rt::size_of(value.type) > 0 ? value.type : quench::ElementType::kUndefined);
  info->rank = value.rank;
  std::copy(std::begin(value.dims), std::end(value.dims), info->shape);
  return Status();
}

Status read_shape(const int64_t* shape, int32_t rank, std::span<const int64_t>& view) {
  if (rank < 0 || rank > QUENCH_MAX_RANK) {
    return Status::error(StatusCode::kInvalidArgument, "rank %d is not between 0 and %d", static_cast<int>(rank),
                         QUENCH_MAX_RANK);
  }
  if (!shape && rank > 0) return null_argument("shape");
  view = {shape, static_cast<size_t>(rank)};
  return Status();
}

int32_t kind_of(std::span<const rt::ValueInfo> values, int32_t index) {
  if (index < 0 || static_cast<size_t>(index) >= values.size()) return 0;
  const rt::ValueInfo& info = rt::at(values, index);
  return (info.is_sequence ? QUENCH_SEQUENCE : 0) | (info.is_optional ? QUENCH_OPTIONAL : 0);
}

Status set_sequence(quench_session& session, int32_t index, const quench_tensor* tensors, int32_t count) {
  if (count < 0)
    return Status::error(StatusCode::kInvalidArgument, "there cannot be %d tensors", static_cast<int>(count));
  if (!tensors && count > 0) return null_argument("tensors");
  rt::Memory memory = session.memory;
  rt::Pool pool(memory);
  std::span<rt::Tensor> items;
  if (!pool.make(static_cast<size_t>(count), &items)) return rt::out_of_memory();
  const std::span<const quench_tensor> given(tensors, items.size());
  for (size_t i = 0; i < given.size(); ++i) {
    const quench_tensor& from = given[i];
    if (from.rank < 0 || from.rank > QUENCH_MAX_RANK) {
      return Status::error(StatusCode::kInvalidArgument, "a tensor has rank %d", static_cast<int>(from.rank));
    }
    items[i].type = static_cast<quench::ElementType>(from.type);
    items[i].shape.rank = from.rank;
    std::copy(from.shape, from.shape + from.rank, items[i].shape.dims);
    items[i].data = const_cast<void*>(from.data);  // nothing writes to it
  }
  return session.session->set_sequence(index, items);
}

Status read_output(const quench::Result<rt::Tensor>& output, quench_tensor* tensor) {
  QUENCH_RETURN_IF_ERROR(output.status());
  tensor->data = output->data;
  tensor->bytes = output->size_bytes();
  tensor->type = static_cast<quench_type>(output->type);
  tensor->rank = output->shape.rank;
  std::copy(std::begin(output->shape.dims), std::end(output->shape.dims), tensor->shape);
  return Status();
}

}  // namespace

const char* quench_version(void) {
  return QUENCH_STRING(QUENCH_VERSION_MAJOR) "." QUENCH_STRING(QUENCH_VERSION_MINOR) "." QUENCH_STRING(
      QUENCH_VERSION_PATCH);
}

const char* quench_status_name(int code) { return quench::meaning(static_cast<StatusCode>(code)); }

quench_code quench_model_open_file(const char* path, const quench_model_options* options, quench_model** model,
                                   quench_status* status) {
  if (!model) return report(null_argument("model"), status);
  *model = nullptr;
  if (!path) return report(null_argument("path"), status);
  return report(open_any(path, {}, options, model), status);
}

quench_code quench_model_open_memory(const void* bytes, size_t size, const quench_model_options* options,
                                     quench_model** model, quench_status* status) {
  if (!model) return report(null_argument("model"), status);
  *model = nullptr;
  if (!bytes && size > 0) return report(null_argument("bytes"), status);
  return report(open_any(nullptr, {static_cast<const std::byte*>(bytes), size}, options, model), status);
}

void quench_model_release(quench_model* model) {
  if (model) destroy(model);
}

int32_t quench_model_input_count(const quench_model* model) {
  return model ? static_cast<int32_t>(model->model->required_inputs()) : 0;
}

int32_t quench_model_default_input_count(const quench_model* model) {
  return model ? static_cast<int32_t>(model->model->inputs().size() - model->model->required_inputs()) : 0;
}

int32_t quench_model_output_count(const quench_model* model) {
  return model ? static_cast<int32_t>(model->model->outputs().size()) : 0;
}

quench_code quench_model_input(const quench_model* model, int32_t index, quench_value_info* info,
                               quench_status* status) {
  return report(model ? describe(model->model->inputs(), "input", index, info) : null_argument("model"), status);
}

quench_code quench_model_output(const quench_model* model, int32_t index, quench_value_info* info,
                                quench_status* status) {
  return report(model ? describe(model->model->outputs(), "output", index, info) : null_argument("model"), status);
}

int32_t quench_model_input_kind(const quench_model* model, int32_t index) {
  return model ? kind_of(model->model->inputs(), index) : 0;
}

int32_t quench_model_output_kind(const quench_model* model, int32_t index) {
  return model ? kind_of(model->model->outputs(), index) : 0;
}

quench_code quench_model_metadata(const quench_model* model, const char* key, const char** text, size_t* length,
                                  quench_status* status) {
  if (!model || !key || !text || !length) return report(null_argument("an argument"), status);
  const std::string_view found = model->model->metadata(key);
  *text = found.data();
  *length = found.size();
  return report(found.data() ? Status() : Status::error(StatusCode::kNotFound, "the file says nothing of '%s'", key),
                status);
}

quench_code quench_session_create(const quench_model* model, const quench_session_options* options,
                                  quench_session** session, quench_status* status) {
  if (!session) return report(null_argument("session"), status);
  *session = nullptr;
  return report(model ? create_any(model, options, session) : null_argument("model"), status);
}

void quench_session_release(quench_session* session) {
  if (session) destroy(session);
}

quench_code quench_session_set_input(quench_session* session, int32_t index, const void* data, const int64_t* shape,
                                     int32_t rank, quench_status* status) {
  if (!session) return report(null_argument("session"), status);
  std::span<const int64_t> view;
  Status result = read_shape(shape, rank, view);
  if (result.ok()) result = session->session->set_input(index, data, view);
  return report(result, status);
}

quench_code quench_session_set_input_sequence(quench_session* session, int32_t index, const quench_tensor* tensors,
                                              int32_t count, quench_status* status) {
  return report(session ? set_sequence(*session, index, tensors, count) : null_argument("session"), status);
}

quench_code quench_session_set_input_nothing(quench_session* session, int32_t index, quench_status* status) {
  return report(session ? session->session->set_nothing(index) : null_argument("session"), status);
}

quench_code quench_session_set_input_shape(quench_session* session, int32_t index, const int64_t* shape, int32_t rank,
                                           quench_status* status) {
  if (!session) return report(null_argument("session"), status);
  std::span<const int64_t> view;
  Status result = read_shape(shape, rank, view);
  if (result.ok()) result = session->session->set_input_shape(index, view);
  return report(result, status);
}

quench_code quench_session_prepare(quench_session* session, quench_status* status) {
  return report(session ? session->session->prepare() : null_argument("session"), status);
}

quench_code quench_session_arena_bytes(quench_session* session, uint64_t* bytes, quench_status* status) {
  if (!session || !bytes) return report(null_argument(session ? "bytes" : "session"), status);
  const quench::Result<uint64_t> result = session->session->arena_bytes();
  *bytes = result.ok() ? *result : 0;
  return report(result.status(), status);
}

quench_code quench_session_set_arena(quench_session* session, void* memory, size_t bytes, quench_status* status) {
  return report(session ? session->session->set_arena(memory, bytes) : null_argument("session"), status);
}

quench_code quench_session_run(quench_session* session, quench_status* status) {
  return report(session ? session->session->run() : null_argument("session"), status);
}

quench_code quench_session_output(const quench_session* session, int32_t index, quench_tensor* tensor,
                                  quench_status* status) {
  if (!session || !tensor) return report(null_argument(session ? "tensor" : "session"), status);
  return report(read_output(session->session->output(index), tensor), status);
}

quench_code quench_session_output_count(const quench_session* session, int32_t index, int32_t* count,
                                        quench_status* status) {
  if (!session || !count) return report(null_argument(session ? "count" : "session"), status);
  const quench::Result<int> result = session->session->output_count(index);
  *count = result.ok() ? *result : 0;
  return report(result.status(), status);
}

quench_code quench_session_output_item(const quench_session* session, int32_t index, int32_t item,
                                       quench_tensor* tensor, quench_status* status) {
  if (!session || !tensor) return report(null_argument(session ? "tensor" : "session"), status);
  return report(read_output(session->session->output_item(index, item), tensor), status);
}

uint64_t quench_session_peak_bytes(const quench_session* session) {
  return session ? session->session->memory_peak() : 0;
}

uint64_t quench_model_peak_bytes(const quench_model* model) { return model ? model->model->memory_peak() : 0; }
