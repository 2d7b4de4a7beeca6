/* Quench runtime: loads a .quench file and runs it. C99, no dependencies.
 *
 *     quench_status status = QUENCH_STATUS_INIT;
 *     quench_model* model = NULL;
 *     quench_session* session = NULL;
 *     const int64_t shape[] = {1, 3, 32, 32};
 *     quench_tensor scores;
 *     if (quench_model_open_file("resnet32.quench", NULL, &model, &status) ||
 *         quench_session_create(model, NULL, &session, &status) ||
 *         quench_session_set_input(session, 0, pixels, shape, 4, &status) ||
 *         quench_session_run(session, &status) ||
 *         quench_session_output(session, 0, &scores, &status)) {
 *       fprintf(stderr, "%s: %s\n", quench_status_name(status.code), status.message);
 *     }
 *     quench_session_release(session);
 *     quench_model_release(model);
 *
 * Every function that can fail returns a code, QUENCH_OK (0) or an error, and fills the quench_status that it is given
 * (which may be NULL). No function throws, aborts or prints. Bytes of a model may come from anywhere: a damaged or
 * hostile file is an error, never a crash.
 *
 * Threads: a model is immutable and may be used by any number of threads. A session belongs to one thread at a time;
 * use one for each thread, they share the model's weights, and those with the same input shapes and threads their plan
 * too. Release the sessions before their model.
 */
#ifndef QUENCH_QUENCH_H
#define QUENCH_QUENCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QUENCH_VERSION_MAJOR 0
#define QUENCH_VERSION_MINOR 2
#define QUENCH_VERSION_PATCH 0

/* "0.2.0": the version of the library, not of this header. */
const char* quench_version(void);

/* Errors. */

typedef enum quench_code {
  QUENCH_OK = 0,
  QUENCH_INVALID_ARGUMENT = 1,      /* an argument is outside what the function accepts */
  QUENCH_OUT_OF_MEMORY = 2,         /* the allocator returned no memory, or max_memory_bytes is reached */
  QUENCH_IO = 3,                    /* the file could not be read */
  QUENCH_BAD_MAGIC = 4,             /* this is not a .quench file */
  QUENCH_UNSUPPORTED_VERSION = 5,   /* the file was written for a newer major version */
  QUENCH_TRUNCATED = 6,             /* the bytes end before the data does */
  QUENCH_CHECKSUM = 7,              /* a checksum does not match its bytes */
  QUENCH_CORRUPT = 8,               /* the bytes contradict themselves */
  QUENCH_LIMIT = 9,                 /* a size or count exceeds the limit that the caller allows */
  QUENCH_UNSUPPORTED_FEATURE = 10,  /* the file needs something that this runtime does not have */
  QUENCH_UNSUPPORTED_OPERATOR = 11, /* the model uses an operator that the runtime does not have */
  QUENCH_UNSUPPORTED_TYPE = 12,     /* an operator is used with an element type that it does not have */
  QUENCH_SHAPE = 13,                /* shapes do not fit together */
  QUENCH_NOT_FOUND = 14,            /* there is no such name */
  QUENCH_NOT_READY = 15,            /* a step that must come first is missing */
  QUENCH_CANCELLED = 16             /* the session's `cancelled` hook has asked to stop */
} quench_code;

typedef struct quench_status {
  quench_code code;
  int64_t offset;    /* byte of the file where the error was found; -1 where that is not known */
  char message[176]; /* names the node, tensor or field, and what is wrong with it; empty after success */
} quench_status;

#define QUENCH_STATUS_INIT \
  {                        \
    QUENCH_OK, -1, { 0 }   \
  }

/* "no error", "the file could not be read" ...; never NULL, also for a number that is no quench_code. */
const char* quench_status_name(int code);

/* Tensors. */

/* Element types, by ONNX's numbers. */
typedef enum quench_type {
  QUENCH_FLOAT32 = 1,
  QUENCH_UINT8 = 2,
  QUENCH_INT8 = 3,
  QUENCH_UINT16 = 4,
  QUENCH_INT16 = 5,
  QUENCH_INT32 = 6,
  QUENCH_INT64 = 7,
  QUENCH_BOOL = 9,
  QUENCH_FLOAT16 = 10,
  QUENCH_FLOAT64 = 11,
  QUENCH_UINT32 = 12,
  QUENCH_UINT64 = 13,
  QUENCH_BFLOAT16 = 16
} quench_type;

#define QUENCH_MAX_RANK 8

/* Row-major. */
typedef struct quench_tensor {
  const void* data;
  size_t bytes;
  quench_type type;
  int32_t rank;
  int64_t shape[QUENCH_MAX_RANK];
} quench_tensor;

/* What a model declares of an input or output. */
typedef struct quench_value_info {
  const char* name;               /* belongs to the model */
  size_t name_length;             /* without the zero at its end */
  quench_type type;               /* 0 if the model does not say */
  int32_t rank;                   /* -1 if the model does not say */
  int64_t shape[QUENCH_MAX_RANK]; /* -1: decided by the caller */
} quench_value_info;

/* Hooks and options. */

/* Memory. `allocate` returns memory aligned to `alignment` (a power of two, at most 64), or NULL; `release` gets back
 * what allocate gave, with its size. Both NULL: the system's. */
typedef struct quench_allocator {
  void* (*allocate)(void* user, size_t bytes, size_t alignment);
  void (*release)(void* user, void* block, size_t bytes);
  void* user;
} quench_allocator;

/* Runs task(argument, index) for every index in [0, tasks), in any order and on any threads, and returns when all are
 * done. */
typedef void (*quench_parallel_for)(void* user, int tasks, void (*task)(void* argument, int index), void* argument);

/* Zero in any field means the default. Set `size` to sizeof(quench_model_options); later versions append fields. */
typedef struct quench_model_options {
  size_t size;
  quench_allocator allocator;
  uint64_t max_memory_bytes;     /* all memory of the model: graph, weights, packed weights, and the plans of its
                                  * sessions with their folded constants; default 64 times the file's bytes + 2^27 */
  uint64_t max_tensor_elements;  /* default 2^34 */
  uint32_t max_nodes;            /* default 2^15 */
  int32_t skip_stream_checksums; /* 1: open a large mapped file without reading all of it; decoding stays safe */
} quench_model_options;

typedef struct quench_session_options {
  size_t size; /* sizeof(quench_session_options) */
  quench_allocator allocator;
  uint64_t max_memory_bytes;        /* all memory of the session: arena, tensors, and what planning takes for a
                                     * moment; default 64 times the file's bytes + 256 times those of the inputs that
                                     * are set + 2^27 */
  int32_t threads;                  /* 1 to 256; default 1. Results do not depend on it. */
  quench_parallel_for parallel_for; /* NULL: threads of the session's own, if `threads` is above 1 */
  void* parallel_for_user;
  /* Asked before each step of planning and of running, on the thread that called: anything but 0 ends the call with
   * QUENCH_CANCELLED, after which the session can be used anew. NULL: nobody asks. */
  int (*cancelled)(void* user);
  void* cancelled_user;
} quench_session_options;

/* Models. */

typedef struct quench_model quench_model;

/* Opens a .quench file; it is mapped, and must not change while the model lives. `options` may be NULL. On an error
 * *model is NULL. A model with an operator that the runtime does not have is refused here
 * (QUENCH_UNSUPPORTED_OPERATOR). Weights are decoded when the first session is prepared. */
quench_code quench_model_open_file(const char* path, const quench_model_options* options, quench_model** model,
                                   quench_status* status);

/* The same from memory, which is borrowed: it must stay until the model is released. */
quench_code quench_model_open_memory(const void* bytes, size_t size, const quench_model_options* options,
                                     quench_model** model, quench_status* status);

void quench_model_release(quench_model* model); /* NULL is fine */

/* Inputs that a run needs, numbered from 0 in the order of the model. Behind them come those with a value of their own,
 * which a session may be given and need not. */
int32_t quench_model_input_count(const quench_model* model);
int32_t quench_model_default_input_count(const quench_model* model);
int32_t quench_model_output_count(const quench_model* model);
quench_code quench_model_input(const quench_model* model, int32_t index, quench_value_info* info,
                               quench_status* status);
quench_code quench_model_output(const quench_model* model, int32_t index, quench_value_info* info,
                                quench_status* status);

/* What an input or output may be besides a tensor: QUENCH_SEQUENCE, QUENCH_OPTIONAL, both or 0. */
enum {
  QUENCH_SEQUENCE = 1, /* a list of tensors, each as the quench_value_info says */
  QUENCH_OPTIONAL = 2  /* may be nothing */
};
int32_t quench_model_input_kind(const quench_model* model, int32_t index);
int32_t quench_model_output_kind(const quench_model* model, int32_t index);

/* What the file says besides the model, by a key: "tool", "options", "source_bytes", "source_crc32c", and what ONNX calls
 * metadata, such as "quench.preprocessing" and "quench.labels" (see compressor/cli/README.md). The text belongs to the
 * model and has no zero at its end. QUENCH_NOT_FOUND, and NULL, where there is none. */
quench_code quench_model_metadata(const quench_model* model, const char* key, const char** text, size_t* length,
                                  quench_status* status);

/* Sessions. */

typedef struct quench_session quench_session;

/* The model must outlive the session. `options` may be NULL. On an error *session is NULL. */
quench_code quench_session_create(const quench_model* model, const quench_session_options* options,
                                  quench_session** session, quench_status* status);
void quench_session_release(quench_session* session); /* NULL is fine */

/* Gives input `index` its values: row-major, in the type that the model declares, aligned to their size. The memory is
 * borrowed until the last run that uses it, and may be filled anew between runs. A new shape (dimensions that the model
 * leaves open) makes the next run plan anew, and so does giving an input that has a value of its own; `data` NULL with
 * rank 0 goes back to that value. An error changes nothing. */
quench_code quench_session_set_input(quench_session* session, int32_t index, const void* data, const int64_t* shape,
                                     int32_t rank, quench_status* status);
/* Gives an input that is a sequence its tensors; their values are borrowed as those of set_input, `tensors` is not. Another
 * number of tensors, or other shapes, make the next run plan anew. An error changes nothing. */
quench_code quench_session_set_input_sequence(quench_session* session, int32_t index, const quench_tensor* tensors,
                                              int32_t count, quench_status* status);
/* Leaves an optional input without a value. */
quench_code quench_session_set_input_nothing(quench_session* session, int32_t index, quench_status* status);

/* The shape alone: for a model with open dimensions, before quench_session_arena_bytes. Values that were set for a
 * smaller shape must be set anew. */
quench_code quench_session_set_input_shape(quench_session* session, int32_t index, const int64_t* shape, int32_t rank,
                                           quench_status* status);

/* Plans for the current input shapes, decoding and packing weights, unless another session of the model has done it;
 * run does it too when it is due. Where values decide shapes (how many boxes there are, say), what comes behind is
 * planned when a run has told them, and anew in each run that tells others. */
quench_code quench_session_prepare(quench_session* session, quench_status* status);

/* Bytes that all activations and scratch need together, for the current input shapes; without what is planned when a run
 * has told values that decide shapes, which the session allocates in any case. Prepares. */
quench_code quench_session_arena_bytes(quench_session* session, uint64_t* bytes, quench_status* status);

/* Memory for them, aligned to 64 bytes, borrowed as long as the session runs; NULL: the session allocates it. Outputs
 * lie in it. */
quench_code quench_session_set_arena(quench_session* session, void* memory, size_t bytes, quench_status* status);

quench_code quench_session_run(quench_session* session, quench_status* status);

/* Output `index` of the last run; valid until the next run, a new input shape, or the release of the session. */
quench_code quench_session_output(const quench_session* session, int32_t index, quench_tensor* tensor,
                                  quench_status* status);

/* The tensors of output `index`, for as long: 1 of an output that is a tensor, those of a sequence, -1 where an optional one
 * is nothing. */
quench_code quench_session_output_count(const quench_session* session, int32_t index, int32_t* count,
                                        quench_status* status);
quench_code quench_session_output_item(const quench_session* session, int32_t index, int32_t item,
                                       quench_tensor* tensor, quench_status* status);

/* Most bytes that session and model (with everything that its sessions made it decode) have held at a time so far. */
uint64_t quench_session_peak_bytes(const quench_session* session);
uint64_t quench_model_peak_bytes(const quench_model* model);

#ifdef __cplusplus
}
#endif

#endif
