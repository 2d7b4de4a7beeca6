// What is in a .quench file, byte for byte.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace quench::measure {

struct InspectedTensor {
  std::string name;  // of the initializer, or of the Constant node's output
  std::string type;
  std::vector<int64_t> dims;
  uint64_t elements = 0;
  std::string trellis;     // "columns" or "rows", where indices follow one (formats/entropy/trellis.h); otherwise empty
  std::string encoding;    // "raw", "planes", "delta planes", or the coder's name
  uint32_t dimension = 0;  // of the codebook's vectors; 0: not quantized
  uint32_t centers = 0;    // entries of the codebook; of 8-bit integers, how many different ones there are
  uint32_t codebook = 0;
  double bits_per_weight = 0;     // of its stream
  std::optional<double> entropy;  // order 0, bits per index, or what of it is coded, or 8-bit integer
  uint64_t bytes = 0;             // of its stream
};

struct InspectedPart {
  std::string name;
  uint64_t bytes = 0;
};

struct Inspection {
  std::string file;
  uint64_t bytes = 0;
  std::vector<InspectedTensor> tensors;
  // All that is no tensor's stream; with the tensors' bytes it adds up to the file's.
  std::vector<InspectedPart> parts;
  std::vector<std::pair<std::string, std::string>> metadata;  // of the file, and of the model (metadata_props)
  uint64_t weights = 0;                                       // elements of the float tensors
  double bits_per_weight = 0;                                 // the whole file over them
};

// Decodes every tensor's indices for their entropy. `max_memory`: as of QuenchFile. Throws quench::Error.
Inspection inspect(const std::filesystem::path& path, uint64_t max_memory = 0);

}  // namespace quench::measure
