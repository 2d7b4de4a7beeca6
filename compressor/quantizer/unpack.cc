#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "compressor/quantizer/compress.h"
#include "formats/container/reader.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

namespace fs = std::filesystem;

class MappedFile {
 public:
  explicit MappedFile(const fs::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw Error::make("{}: {}", path.string(), std::strerror(errno));
    struct stat status {};
    const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    size_ = regular ? static_cast<size_t>(status.st_size) : 0;
    if (size_ > 0) address_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    ::close(descriptor);
    if (!regular) throw Error::make("{}: this is not a regular file", path.string());
    if (address_ == MAP_FAILED) throw Error::make("{}: cannot be mapped: {}", path.string(), std::strerror(errno));
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    if (size_ > 0) ::munmap(address_, size_);
  }

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(address_), size_}; }

 private:
  void* address_ = nullptr;
  size_t size_ = 0;
};

// Memory at the alignment that the reader asks for.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(uint64_t bytes)
      : bytes_(bytes), data_(static_cast<std::byte*>(::operator new(bytes, std::align_val_t(kAlignment)))) {}
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { ::operator delete(data_, std::align_val_t(kAlignment)); }

  std::span<std::byte> span() const { return {data_, bytes_}; }

 private:
  static constexpr size_t kAlignment = container::Reader::kMemoryAlignment;
  size_t bytes_;
  std::byte* data_;
};

}  // namespace

void unpack(const fs::path& input, const fs::path& output) {
  const std::string name = input.string();
  const auto check = [&](const Status& status) {
    if (!status.ok()) throw Error::make("{}: {}", name, status.detail());
  };
  std::error_code ignored;
  if (fs::equivalent(input, output, ignored)) throw Error::make("{}: output and input are the same file", name);
  const MappedFile file(input);
  const Result<uint64_t> size = container::Reader::open_size(file.bytes());
  check(size.status());
  const AlignedBuffer tables(*size);
  const Result<container::Reader> opened = container::Reader::open(file.bytes(), tables.span());
  check(opened.status());
  const container::Reader& reader = *opened;

  std::vector<std::byte> graph(reader.graph_size());
  {
    const AlignedBuffer scratch(reader.graph_scratch_size());
    check(reader.decode_graph(graph, scratch.span()));
  }
  const onnx::ModelProto proto = parse_graph_bytes(graph, name);
  size_t stripped = 0;
  for_each_tensor(proto, [&](const onnx::TensorProto& tensor, const TensorPlace&) { stripped += is_stripped(tensor); });
  if (stripped != reader.tensor_count()) {
    throw Error::make("{}: the graph has {} tensors without values, the file has values of {}", name, stripped,
                      reader.tensor_count());
  }
  const AlignedBuffer scratch(reader.max_scratch_size());
  const auto provider = [&](size_t index, const onnx::TensorProto& tensor) {
    const container::TensorInfo info = reader.tensor(static_cast<uint32_t>(index));
    uint64_t elements = 0;
    const bool fits = element_count(tensor, elements) && elements == info.element_count &&
                      tensor.data_type() == static_cast<int32_t>(info.type);
    if (!fits) throw Error::make("{}: tensor '{}' has other values in the file than in the graph", name, tensor.name());
    std::vector<std::byte> values(container::element_bytes(info.type, info.element_count));
    check(reader.decode_bytes(static_cast<uint32_t>(index), values, scratch.span()));
    return values;
  };
  save(output, proto, provider);
}

}  // namespace quench::quantizer
