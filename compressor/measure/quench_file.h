// A mapped .quench file with its reader open. Errors are thrown as quench::Error with the file's name.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "formats/container/reader.h"
#include "formats/onnx/model_file.h"

namespace quench {
class RuntimeError;
}

namespace quench::measure {

// Memory at the alignment that the reader asks for.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(uint64_t bytes);
  std::span<std::byte> span() const { return {data_.get(), bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  uint64_t bytes_;
  std::unique_ptr<std::byte, Free> data_;
};

// A file's bytes, without a copy.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();
  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(address_), size_}; }

 private:
  void* address_ = nullptr;
  size_t size_ = 0;
};

class QuenchFile {
 public:
  // `max_memory`: bytes that tables, graph and decoded tensors may take; 0: container::default_memory().
  explicit QuenchFile(const std::filesystem::path& path, uint64_t max_memory = 0);

  const std::string& name() const { return name_; }
  uint64_t size() const { return bytes().size(); }
  std::span<const std::byte> bytes() const { return file_.bytes(); }
  const container::Reader& reader() const { return reader_; }

  // The graph, whose stripped tensors have no values: enough to ask for inputs, outputs and names.
  onnx::ModelProto graph() const;
  // Throws where it reports an error.
  void check(const Status& status) const;

 private:
  std::string name_;
  MappedFile file_;
  uint64_t max_memory_;
  std::unique_ptr<AlignedBuffer> tables_;
  container::Reader reader_;
};

// Throws what the runtime reported of a file.
[[noreturn]] void refuse(const std::string& name, const RuntimeError& error);

// By the file's first bytes, whatever it is called.
bool is_quench_file(const std::filesystem::path& path);

// The other files that a model is read from: an .onnx file's external data.
std::vector<std::filesystem::path> external_files(const std::filesystem::path& path);

}  // namespace quench::measure
