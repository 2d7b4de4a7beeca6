// From a .onnx file to a .quench file and back.
//
//     CompressReport report = compress("model.onnx", "model.quench", {.quality = Quality::kTransparent});
//     unpack("model.quench", "again.onnx");
//
// Without data, the model is run on seeded inputs to learn how much each weight matters (see calibration.h); a model
// that the runtime cannot run is compressed by the relative error of its weights alone. The output depends on the input
// file and the options only, not on the number of threads. Both functions throw quench::Error; the output file appears
// complete or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compressor/graph/evaluator.h"
#include "compressor/measure/input_shapes.h"
#include "formats/entropy/coder.h"

namespace quench::quantizer {

// What the loss may be. The signal-to-noise ratio is that of the outputs (see measure/fidelity.h), as predicted on the
// calibration inputs.
//     kLossless     every weight bit-exact
//     kTransparent  no visible loss: 16 dB for scores of classes (see measure/scores.h), 30 dB for other outputs, 33 dB
//                   on made-up inputs that may be far from real ones, as far as 59.3 % of 8-bit weights' bytes go
//     kBalanced     5 dB less
//     kSmall        10 dB less
enum class Quality : uint8_t { kLossless, kTransparent, kBalanced, kSmall };

enum class CodebookScope : uint8_t {
  kTrellis,  // two uniform ones that take turns (trellis_assignment.h), with a dimension of 1; as kModel where they can't
  kModel,    // one codebook for all tensors, each with a scale of its own
  kGroup,    // one for all tensors of the same kernel size
  kTensor,  // one for each
};

enum class ScaleScope : uint8_t {
  kTensor,   // one step for the whole tensor
  kChannel,  // one for each output channel, in proportion to its weights
};

struct ModelCheck;

// What a file says besides the model.
struct FileNotes {
  using Pairs = std::vector<std::pair<std::string, std::string>>;  // key, value
  Pairs metadata;                                                  // of the container (FORMAT.md, section 6)
  Pairs properties;  // of the model (ONNX's metadata_props), in place of those of the same key
};
void set_properties(onnx::ModelProto& model, const FileNotes::Pairs& properties);

struct CompressOptions {
  Quality quality = Quality::kTransparent;
  std::optional<double> bits;   // instead of a quality: bits per weight, everything in the file counted
  std::optional<double> ratio;  // or: bytes of the input over bytes of the output
  // Or: the smallest file that this accepts; asked of files at `trial`, which are written there for it.
  std::function<bool(const std::filesystem::path& file)> accepts;
  std::filesystem::path trial;
  entropy::Coder coder = entropy::kDefaultCoder;
  int dimension = 1;  // of the vectors: 1, 2, 4 or 8
  CodebookScope codebook = CodebookScope::kTrellis;
  ScaleScope scales = ScaleScope::kTensor;
  uint32_t max_centers = 0;  // 0: 255 for dimension 1, 1024 otherwise
  int threads = 1;
  uint64_t seed = 1;
  std::vector<std::string> include;  // shell patterns of weight names; empty: all are quantized
  std::vector<std::string> exclude;  // these are kept bit-exact
  bool keep_graph = false;
  bool keep_names = false;
  bool calibrate = true;
  measure::InputShapes input_shapes;  // for inputs whose declared shape is open
  // Batch `index` of real inputs for calibration, about `batch` samples; no tensors when there are no more.
  std::function<std::vector<graph::HostTensor>(uint64_t index, int64_t batch)> data;
  std::function<void(std::string_view stage, double share)> progress;  // share 0 to 1 of the stage
  std::function<void(const ModelCheck& check)> on_begin;               // what is known before the work (model_check.h)
  FileNotes notes;
};

// Integers are stored as such, without loss, once they are rounded.
enum class TensorMethod : uint8_t { kInline, kLossless, kGrid, kCodebook, kTrellis, kIntegers };
std::string_view name_of(TensorMethod method);

struct TensorReport {
  std::string name;
  std::string type;  // as NumPy spells it
  std::vector<int64_t> dims;
  uint64_t elements = 0;
  TensorMethod method = TensorMethod::kLossless;
  uint64_t bytes_before = 0;
  uint64_t bytes_after = 0;    // of its stream
  double bits_per_weight = 0;  // of its stream
  double entropy = 0;          // order 0, bits per index or what of it is coded; 0 for lossless tensors
  uint32_t centers = 0;        // distinct centers in use
  double snr_db = 0;           // of the weights; infinite when exact
};

struct CompressReport {
  uint64_t input_bytes = 0;  // with external data
  uint64_t output_bytes = 0;
  double ratio = 0;
  // As in the literature: 32 bits a weight over (32 bits a center value + the coded indices), float weights only.
  double paper_ratio = 0;
  double bits_per_weight = 0;  // all bytes of the output over the weights that are floats or 8-bit integers
  bool calibrated = false;
  double predicted_snr_db = 0;     // of the outputs, on the calibration inputs; 0 if not calibrated
  uint64_t predicted_samples = 0;  // how many these are
  bool on_data = false;            // they are real
  // predicted_snr_db, of made-up inputs less the most that other models, at transparent, had less than that on real ones.
  double least_snr_db = 0;
  std::vector<TensorReport> tensors;
  std::vector<std::string> warnings;
  std::vector<std::pair<std::string, int>> graph_changes;  // pass, nodes or tensors that it changed
};

CompressReport compress(const std::filesystem::path& input, const std::filesystem::path& output,
                        const CompressOptions& options);

// Writes the model back as plain ONNX, with external data where it exceeds 2 GB. `max_memory`: as of measure::QuenchFile.
void unpack(const std::filesystem::path& input, const std::filesystem::path& output, uint64_t max_memory = 0);

}  // namespace quench::quantizer
