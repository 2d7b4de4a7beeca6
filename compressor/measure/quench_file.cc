#include "compressor/measure/quench_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <quench/quench.hpp>
#include <vector>

#include "formats/error.h"
#include "formats/onnx/file_kind.h"
#include "formats/onnx/input_file.h"

namespace quench::measure {
namespace {

// What to do where a limit on memory is reached, behind the error.
constexpr const char* kRaiseLimit = " (--max-memory raises the limit, for files that you trust)";

constexpr auto kAlignment = std::align_val_t(container::Reader::kMemoryAlignment);

}  // namespace

AlignedBuffer::AlignedBuffer(uint64_t bytes)
    : bytes_(bytes), data_(static_cast<std::byte*>(::operator new(bytes, kAlignment))) {}

void AlignedBuffer::Free::operator()(std::byte* data) const { ::operator delete(data, kAlignment); }

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe is refused, not waited for
  if (descriptor < 0) throw Error::make("{}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  size_ = regular ? static_cast<size_t>(status.st_size) : 0;
  if (size_ > 0) address_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  ::close(descriptor);
  if (!regular) throw Error::make("{}: this is not a regular file", path.string());
  if (address_ == MAP_FAILED) throw Error::make("{}: cannot be mapped: {}", path.string(), std::strerror(errno));
}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(address_, size_);
}

QuenchFile::QuenchFile(const std::filesystem::path& path, uint64_t max_memory)
    : name_(path.string()),
      file_(path),
      max_memory_(max_memory > 0 ? max_memory : container::default_memory(file_.bytes().size())) {
  if (!is_quench_file(path)) {
    const std::string kind = kind_of(*InputFile::open(path));
    throw Error::make("{}: {}", name_,
                      kind.empty() ? "is no .quench file; 'quench compress' makes one of a model" : kind);
  }
  const auto limits = container::Limits::within(max_memory_);
  const Result<uint64_t> size = container::Reader::open_size(bytes(), limits);
  check(size.status());
  tables_ = std::make_unique<AlignedBuffer>(*size);
  const Result<container::Reader> reader = container::Reader::open(bytes(), tables_->span(), limits);
  check(reader.status());
  reader_ = *reader;
}

onnx::ModelProto QuenchFile::graph() const {
  std::vector<std::byte> decoded(reader_.graph_size());
  const AlignedBuffer scratch(reader_.graph_scratch_size());
  check(reader_.decode_graph(decoded, scratch.span()));
  return parse_graph_bytes(decoded, reader_.graph_is_terse(), name_, max_memory_ / 2);
}

void QuenchFile::check(const Status& status) const {
  if (status.ok()) return;
  const bool limited = status.code() == StatusCode::kLimit;
  throw Error::make("{}: {}{}", name_, status.detail(), limited ? kRaiseLimit : "");
}

void refuse(const std::string& name, const RuntimeError& error) {
  const bool limited = error.code() == QUENCH_OUT_OF_MEMORY || error.code() == QUENCH_LIMIT;
  throw Error::make("{}: {}{}", name, error.what(), limited ? kRaiseLimit : "");
}

bool is_quench_file(const std::filesystem::path& path) {
  const std::shared_ptr<const InputFile> file = InputFile::open(path);
  std::byte magic[sizeof container::kMagic] = {};
  if (file->size() < sizeof magic) return false;
  file->read(0, magic);
  return std::memcmp(magic, container::kMagic, sizeof magic) == 0;
}

std::vector<std::filesystem::path> external_files(const std::filesystem::path& path) {
  return is_quench_file(path) ? std::vector<std::filesystem::path>() : load(path).external_files;
}

}  // namespace quench::measure
