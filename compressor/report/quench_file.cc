#include "compressor/report/quench_file.h"

#include <cstring>
#include <fstream>
#include <new>

#include "compressor/data/files.h"
#include "formats/error.h"

namespace quench::report {
namespace {

constexpr auto kAlignment = std::align_val_t(container::Reader::kMemoryAlignment);

}  // namespace

AlignedBuffer::AlignedBuffer(uint64_t bytes)
    : bytes_(bytes), data_(static_cast<std::byte*>(::operator new(bytes, kAlignment))) {}

void AlignedBuffer::Free::operator()(std::byte* data) const { ::operator delete(data, kAlignment); }

QuenchFile::QuenchFile(const std::filesystem::path& path) : name_(path.string()), bytes_(data::read_file(path)) {
  const Result<uint64_t> size = container::Reader::open_size(bytes_);
  check(size.status());
  tables_ = std::make_unique<AlignedBuffer>(*size);
  const Result<container::Reader> reader = container::Reader::open(bytes_, tables_->span());
  check(reader.status());
  reader_ = *reader;
}

onnx::ModelProto QuenchFile::graph() const {
  std::vector<std::byte> bytes(reader_.graph_size());
  const AlignedBuffer scratch(reader_.graph_scratch_size());
  check(reader_.decode_graph(bytes, scratch.span()));
  return parse_graph_bytes(bytes, name_);
}

void QuenchFile::check(const Status& status) const {
  if (!status.ok()) throw Error::make("{}: {}", name_, status.detail());
}

bool is_quench_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[sizeof container::kMagic] = {};
  file.read(magic, sizeof magic);
  return file.gcount() == sizeof magic && std::memcmp(magic, container::kMagic, sizeof magic) == 0;
}

}  // namespace quench::report
