// Fuzzes the public C API with whole .quench files: load, set inputs, run, read outputs. Memory comes from an allocator
// with a cap, and all of it must have been given back in the end.
//
// A file is checksums and lengths all over, which random changes never get right. So libFuzzer's changes are made to the
// decoded sections, and the file is put together anew around them.
#include <quench/quench.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "formats/base/crc32c.h"
#include "formats/container/cursor.h"
#include "formats/container/layout.h"
#include "formats/entropy/bytes_decoder.h"
#include "formats/entropy/bytes_encoder.h"

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kMaxMemory = 64 << 20;
constexpr int64_t kMaxInputElements = 1 << 16;
constexpr size_t kHeader = quench::container::kHeaderSize;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "api_fuzz: %s\n", what);
  std::abort();
}

// Hands out at most kMaxMemory, never zeros: what reads memory before it writes it is to be seen.
struct CappedMemory {
  uint64_t used = 0;

  quench_allocator hooks() {
    return {[](void* user, size_t bytes, size_t alignment) -> void* {
              auto& self = *static_cast<CappedMemory*>(user);
              if (bytes > kMaxMemory - self.used) return nullptr;
              void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
              if (!block) return nullptr;
              self.used += bytes;
              std::memset(block, 0xA5, bytes);
              return block;
            },
            [](void* user, void* block, size_t bytes) {
              static_cast<CappedMemory*>(user)->used -= bytes;
              std::free(block);
            },
            this};
  }
};

// Values that are small as numbers of any type.
void fill(quench_type type, std::span<uint8_t> bytes, std::minstd_rand& random) {
  const auto put = [&](auto make) {
    for (size_t i = 0; i + sizeof make() <= bytes.size(); i += sizeof make()) {
      const auto value = make();
      std::memcpy(&bytes[i], &value, sizeof value);
    }
  };
  switch (type) {
    case QUENCH_FLOAT32:
      return put([&] { return static_cast<float>(random() % 64) / 16 - 1; });
    case QUENCH_FLOAT64:
      return put([&] { return static_cast<double>(random() % 64) / 16 - 1; });
    case QUENCH_INT32:
      return put([&] { return static_cast<int32_t>(random() % 6) - 2; });
    case QUENCH_INT64:
      return put([&] { return static_cast<int64_t>(random() % 6) - 2; });
    default:
      return put([&] { return static_cast<uint8_t>(random() % 4); });
  }
}

size_t size_of(quench_type type) {
  switch (type) {
    case QUENCH_UINT8:
    case QUENCH_INT8:
    case QUENCH_BOOL:
      return 1;
    case QUENCH_UINT16:
    case QUENCH_INT16:
    case QUENCH_FLOAT16:
    case QUENCH_BFLOAT16:
      return 2;
    case QUENCH_FLOAT32:
    case QUENCH_INT32:
    case QUENCH_UINT32:
      return 4;
    default:
      return 8;
  }
}

// The buffers have exactly their size, so that a sanitizer sees every step beyond them.
bool set_inputs(const quench_model* model, quench_session* session, uint32_t seed, std::vector<Bytes>& buffers) {
  std::minstd_rand random(seed);
  const int32_t count = quench_model_input_count(model) + quench_model_default_input_count(model);
  for (int32_t i = 0; i < count; ++i) {
    quench_value_info info;
    if (quench_model_input(model, i, &info, nullptr) != QUENCH_OK) fail("an input that is counted is not there");
    if (info.name[info.name_length] != '\0') fail("a name does not end");
    const int32_t rank = info.rank < 0 ? 1 : info.rank;
    int64_t shape[QUENCH_MAX_RANK] = {};
    int64_t elements = 1;
    for (int32_t axis = 0; axis < rank; ++axis) {
      shape[axis] = info.rank < 0 || info.shape[axis] < 0 ? 2 : info.shape[axis];
      if (shape[axis] > kMaxInputElements) return false;
      elements *= shape[axis];
      if (elements > kMaxInputElements) return false;
    }
    Bytes& buffer = buffers.emplace_back(static_cast<size_t>(elements) * size_of(info.type));
    fill(info.type, buffer, random);
    const void* data = buffer.empty() ? nullptr : buffer.data();
    const int32_t kind = quench_model_input_kind(model, i);
    if ((kind & QUENCH_OPTIONAL) != 0 && random() % 2 == 0) {
      if (quench_session_set_input_nothing(session, i, nullptr) != QUENCH_OK) fail("an optional input is none");
      continue;
    }
    if ((kind & QUENCH_SEQUENCE) != 0) {
      quench_tensor item = {data, buffer.size(), info.type, rank, {}};
      std::copy(shape, shape + rank, item.shape);
      const quench_tensor items[] = {item, item, item};
      if (quench_session_set_input_sequence(session, i, items, 3, nullptr) != QUENCH_OK) return false;
      continue;
    }
    if (quench_session_set_input(session, i, data, shape, rank, nullptr) != QUENCH_OK) return false;
  }
  return true;
}

void read_outputs(const quench_model* model, const quench_session* session) {
  for (int32_t i = 0; i < quench_model_output_count(model); ++i) {
    int32_t count = 0;
    if (quench_session_output_count(session, i, &count, nullptr) != QUENCH_OK) fail("a run has left no output");
    for (int32_t item = 0; item < count; ++item) {
      quench_tensor tensor;
      if (quench_session_output_item(session, i, item, &tensor, nullptr) != QUENCH_OK) fail("an output lacks a tensor");
      const auto* bytes = static_cast<const uint8_t*>(tensor.data);
      volatile uint8_t sum = 0;
      for (size_t b = 0; b < tensor.bytes; ++b) sum = static_cast<uint8_t>(sum + bytes[b]);
    }
  }
}

// Planning and running may not take for ever: a file may ask for a run of hours, which is the caller's to end.
int is_late(void* user) { return ++*static_cast<int*>(user) > 2000 ? 1 : 0; }

void load_and_run(std::span<const uint8_t> file, CappedMemory& memory) {
  quench_status status = QUENCH_STATUS_INIT;
  quench_model_options options = {};
  options.size = sizeof options;
  options.allocator = memory.hooks();
  options.max_memory_bytes = kMaxMemory;
  options.max_tensor_elements = 1 << 20;
  options.max_nodes = 512;
  quench_model* model = nullptr;
  if (quench_model_open_memory(file.data(), file.size(), &options, &model, &status) != QUENCH_OK) {
    if (model) fail("a file that is refused has left a model");
    if (std::memchr(status.message, 0, sizeof status.message) == nullptr) fail("a message does not end");
    return;
  }
  int steps = 0;
  quench_session_options session_options = {};
  session_options.size = sizeof session_options;
  session_options.allocator = memory.hooks();
  session_options.max_memory_bytes = kMaxMemory;
  session_options.cancelled = is_late;
  session_options.cancelled_user = &steps;
  quench_session* session = nullptr;
  std::vector<Bytes> buffers;
  if (quench_session_create(model, &session_options, &session, &status) == QUENCH_OK) {
    if (quench_model_default_input_count(model) > 0 && quench_model_input_count(model) == 0) {
      static_cast<void>(quench_session_run(session, nullptr));
    }
    for (const uint32_t seed : {7u, 8u}) {  // with other values the second time
      if (!set_inputs(model, session, seed, buffers)) break;
      if (quench_session_run(session, &status) == QUENCH_OK) read_outputs(model, session);
    }
    quench_session_release(session);
  }
  quench_model_release(model);
}

// A file taken apart.

struct Section {
  uint64_t kind = 0;
  uint64_t flags = 0;
  uint64_t decoded = 0;
  Bytes stored;

  bool coded() const { return (flags & quench::container::kSectionCoded) != 0; }
};

struct File {
  Bytes header;
  std::vector<Section> sections;
};

template <typename T>
T load(const Bytes& bytes, size_t offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <typename T>
void store(Bytes& bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

void append_varint(Bytes& bytes, uint64_t value) {
  for (; value >= 128; value >>= 7) bytes.push_back(static_cast<uint8_t>(value | 128));
  bytes.push_back(static_cast<uint8_t>(value));
}

uint32_t crc_of(std::span<const uint8_t> bytes) { return quench::crc32c(std::as_bytes(bytes)); }

bool take_apart(std::span<const uint8_t> bytes, File& file) {
  if (bytes.size() < kHeader) return false;
  file.header.assign(bytes.begin(), bytes.begin() + kHeader);
  const auto table = load<uint64_t>(file.header, 24);
  const uint64_t length = load<uint32_t>(file.header, 32);
  if (table < kHeader || table > bytes.size() || length > bytes.size() - table) return false;
  quench::container::Cursor in(std::as_bytes(bytes.subspan(static_cast<size_t>(table), static_cast<size_t>(length))));
  uint64_t at = kHeader;
  while (in.remaining() > 0 && file.sections.size() < 16) {
    Section section;
    section.kind = in.varint();
    section.flags = in.varint();
    const uint64_t stored = in.varint();
    section.decoded = section.coded() ? in.varint() : stored;
    in.fixed<uint32_t>();
    if (!in.ok() || stored > table - at) return false;
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    section.stored.assign(begin, begin + static_cast<std::ptrdiff_t>(stored));
    at += stored;
    file.sections.push_back(std::move(section));
  }
  return !file.sections.empty();
}

Bytes put_together(const File& file) {
  Bytes bytes = file.header;
  Bytes table;
  for (const Section& section : file.sections) {
    bytes.insert(bytes.end(), section.stored.begin(), section.stored.end());
    append_varint(table, section.kind);
    append_varint(table, section.flags);
    append_varint(table, section.stored.size());
    if (section.coded()) append_varint(table, section.decoded);
    const uint32_t crc = crc_of(section.stored);
    for (int shift = 0; shift < 32; shift += 8) table.push_back(static_cast<uint8_t>(crc >> shift));
  }
  std::memcpy(bytes.data(), quench::container::kMagic, sizeof quench::container::kMagic);
  store(bytes, 8, uint16_t{0});
  store(bytes, 12, static_cast<uint32_t>(file.sections.size()));
  store(bytes, 24, uint64_t{bytes.size()});
  store(bytes, 32, static_cast<uint32_t>(table.size()));
  store(bytes, 36, crc_of(table));
  store(bytes, 56, uint32_t{0});
  bytes.insert(bytes.end(), table.begin(), table.end());
  store(bytes, 16, uint64_t{bytes.size()});
  store(bytes, kHeader - 4, crc_of(std::span(bytes).first(kHeader - 4)));
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  CappedMemory memory;
  load_and_run({data, size}, memory);
  // And with checksums that fit, which changes by those who know nothing of files do not.
  File file;
  if (take_apart({data, size}, file)) {
    const Bytes sealed = put_together(file);
    if (!std::equal(sealed.begin(), sealed.end(), data, data + size)) load_and_run(sealed, memory);
  }
  if (memory.used != 0) fail("memory was not given back");
  return 0;
}

#ifdef QUENCH_FUZZER

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

// Stores a section as it is, so that a change is one of its meaning.
void decode(Section& section) {
  alignas(64) static uint8_t scratch[quench::entropy::kBytesScratch];
  if (!section.coded() || section.decoded > (1 << 20)) return;
  Bytes bytes(static_cast<size_t>(section.decoded));
  if (!quench::entropy::decompress_bytes(section.stored, bytes, scratch).ok()) return;
  section.stored = std::move(bytes);
  section.flags &= ~uint64_t{quench::container::kSectionCoded};
}

// Counts in the header that the codebooks' section no longer has would hide all that is behind them.
void count_codebooks(File& file) {
  for (const Section& section : file.sections) {
    if (section.kind != static_cast<uint64_t>(quench::container::SectionKind::kCodebooks) || section.coded()) continue;
    quench::container::Cursor in(std::as_bytes(std::span(section.stored)));
    uint32_t books = 0;
    uint64_t centers = 0;
    while (in.ok() && in.remaining() > 0) {
      const uint32_t form = in.fixed<uint8_t>();
      const uint64_t entries = in.varint() + 1;
      in.varint();
      const uint64_t values = entries << (form >> 4 & 3);
      in.take((form & 15) == 0 ? 4 : values * ((form & 15) == 2 ? 2 : 4));
      ++books;
      centers += values;
    }
    store(file.header, 44, books);
    store(file.header, 48, static_cast<uint32_t>(centers));
  }
}

void change_section(Section& section, std::minstd_rand& random) {
  const bool is_graph = section.kind == static_cast<uint64_t>(quench::container::SectionKind::kGraph);
  if (is_graph && random() % 16 == 0) section.flags ^= uint64_t{quench::container::kSectionTerse};
  const bool was_coded = section.coded();
  if (random() % 8 != 0) decode(section);
  const size_t size = section.stored.size();
  const size_t room = size + 64 + size / 4;
  section.stored.resize(room);
  section.stored.resize(LLVMFuzzerMutate(section.stored.data(), size, room));
  if (!was_coded || section.coded() || random() % 16 != 0) return;
  section.decoded = section.stored.size();
  section.stored = quench::entropy::compress_bytes(section.stored);
  section.flags |= quench::container::kSectionCoded;
}

void change(File& file, std::minstd_rand& random) {
  Section& section = file.sections[random() % file.sections.size()];
  switch (random() % 16) {
    case 0: {  // one of the header's four counts
      const size_t field = 40 + 4 * (random() % 4);
      store(file.header, field, static_cast<uint32_t>(load<uint32_t>(file.header, field) + random() % 5 - 2));
      break;
    }
    case 1:
      if (section.coded()) section.decoded = random() % 2 != 0 ? section.decoded + random() % 9 - 4 : random();
      break;
    case 2:
      std::swap(section, file.sections[random() % file.sections.size()]);
      break;
    default:
      change_section(section, random);
  }
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  File file;
  if (random() % 64 == 0 || !take_apart({data, size}, file)) return LLVMFuzzerMutate(data, size, max_size);
  for (unsigned times = 1 + random() % 2; times > 0; --times) change(file, random);
  if (random() % 4 != 0) count_codebooks(file);
  const Bytes bytes = put_together(file);
  if (bytes.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}

#endif
