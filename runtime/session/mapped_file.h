// A file's bytes without reading them: mmap. In a build for a device without files (QUENCH_NO_FILES) map() fails with
// kUnsupportedFeature.
#pragma once

#include "formats/base/status.h"
#include "runtime/graph/wire.h"

namespace quench::rt {

class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  // Maps a regular file that is not empty; to be called once. Errors: kIo, kTruncated for an empty file.
  Status map(const char* path);
  Bytes bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

}  // namespace quench::rt
