// A model whose weights have become indices into codebooks: what it takes to write it as a .quench file.
//
//     CodedModel coded(model);
//     coded.methods = ...; coded.codebooks = ...; coded.tensors = ...;
//     coded.write(writer, reports);              // graph, codebooks, entropy models and tensors
//     uint64_t bytes = coded.size().bytes;
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "compressor/compress/compress.h"
#include "compressor/compress/resident_weights.h"
#include "compressor/quantizer/codebook.h"
#include "formats/coded/tensor.h"
#include "formats/container/writer.h"
#include "formats/entropy/coder.h"

namespace quench::quantizer {

// Indices into a grid's codebook lie around this one, which stands for 0.
constexpr uint32_t kGridEntries = 65535;
constexpr uint32_t kGridZero = 32767;

// One tensor's quantization, and what its coded::Tensor borrows.
struct CodedTensor {
  size_t weight = 0;      // index into OnnxModel::weights
  bool integers = false;  // its weight is of 8-bit integers, and so are centers times scale (int8_rounding.h)
  bool grid = false;      // on whole multiples of the scale instead of learned centers
  // On multiples of half of kTrellisSpacing (trellis_assignment.h); `trellis_zero` is the symbol of 0 in the codebook that
  // all such tensors of a model share, an even one.
  entropy::Trellis trellis = entropy::Trellis::kNone;
  uint32_t trellis_zero = 0;
  size_t scope = 0;                  // which codebook of learned centers
  float largest = 0;                 // the largest scale
  std::vector<uint8_t> scale_codes;  // per channel; empty: all have `largest`
  uint64_t scale_inner = 1;          // elements of a channel that lie together
  Codebook codebook;                 // the scope's centers, or the trellis's symbols, with this tensor's code lengths
  std::vector<uint16_t> indices;     // of the vectors; empty where CodedModel::indices gives them

  TensorMethod kind() const {
    if (integers) return TensorMethod::kIntegers;
    if (grid) return TensorMethod::kGrid;
    return trellis != entropy::Trellis::kNone ? TensorMethod::kTrellis : TensorMethod::kCodebook;
  }
  int dimension() const { return grid ? 1 : codebook.dimension; }
  // Of the indices, how often each symbol that is coded occurs.
  std::vector<uint64_t> symbol_counts(std::span<const uint16_t> of) const;
  float scale(uint64_t element) const {
    return scales(0).at(element / scale_inner % std::max<size_t>(1, scale_codes.size()));
  }
  // For a tensor of so many elements.
  coded::Scales scales(uint64_t elements) const;
  coded::Codebook centers() const;
  // What the file will give back: `of` has an index for each vector of the weight. Integers: less their zero.
  std::vector<float> dequantize(std::span<const uint16_t> of, const Weight& weight) const;
};

// A tensor's scale has some slack, and the lower bytes of a float32 have their price in the file. What the codes of
// channels count from: the next number from the largest scale on with three bits behind the leading one.
float scale_origin(float largest);
// The scale of a whole tensor: the nearest number with seven.
float short_scale(float scale);

// The grid for values of this scale: steps of `step`, of which element e takes the nearest.
CodedTensor round_to_grid(size_t weight, std::span<const float> values, float step);

class CodedModel {
 public:
  // `weights` and their model must outlive this object.
  explicit CodedModel(const ResidentWeights& weights);

  const ResidentWeights& weights;
  const OnnxModel& model;
  std::vector<TensorMethod> methods;                                 // per weight
  std::vector<SharedValues> values;                                  // per weight: in place of its own; null: its own
  std::vector<Codebook> codebooks;                                   // per scope
  std::vector<const CodedTensor*> tensors;                           // those quantized, at most one per weight
  std::function<std::vector<uint16_t>(const CodedTensor&)> indices;  // for tensors that do not hold theirs; may be null
  entropy::Coder coder = entropy::kDefaultCoder;
  bool drop_names = true;
  FileNotes::Pairs metadata;

  // What the entropy coder sees of its indices.
  entropy::StreamLayout layout(const CodedTensor& tensor) const;
  SharedValues values_of(size_t weight) const { return values[weight] ? values[weight] : weights.values(weight); }

  // Adds everything to a writer; reports has an entry for each weight (see blank_reports). Throws quench::Error.
  void write(container::Writer& writer, std::vector<TensorReport>& reports) const;
  std::vector<TensorReport> blank_reports() const;
  struct Size {
    uint64_t bytes = 0;             // of the file
    std::vector<uint64_t> streams;  // of that, each weight's
  };
  Size size() const;
  // The paper's ratio (CompressReport::paper_ratio) with each coder, in the order of entropy::kCoders.
  std::vector<double> paper_ratios() const;
  // Writes the file and fills in the report's tensors and sizes; `report.input_bytes` is set already.
  void save(const std::filesystem::path& output, CompressReport& report) const;

 private:
  struct Numbers {
    uint32_t codebook = 0, entropy_model = 0;
  };
  Numbers add_shared(container::Writer& writer, TensorMethod kind) const;

  double paper_ratio(const std::vector<TensorReport>& reports) const;
  GraphBytes graph_bytes() const;
  void write_tensors(container::Writer& writer, std::span<const size_t> stripped,
                     std::vector<TensorReport>& reports) const;
  std::vector<uint16_t> indices_of(const CodedTensor& tensor) const;
  std::vector<uint8_t> fit_entropy_model(TensorMethod kind) const;
  coded::Tensor describe(const CodedTensor& tensor, std::span<const uint16_t> indices, Numbers numbers) const;
  void report_quantized(const CodedTensor& tensor, std::span<const uint16_t> indices, std::span<const float> values,
                        TensorReport& report) const;
  [[noreturn]] void fail(const Weight& weight, const Status& status) const;
};

// Elements of the weights that stand for real numbers: floats, and 8-bit integers (graph/integer_weights.h). At least 1.
uint64_t real_weights(const OnnxModel& model);

// Vectors of the dimension that cover the elements.
inline uint64_t vectors_in(uint64_t elements, int dimension) {
  return (elements + static_cast<uint64_t>(dimension) - 1) / static_cast<uint64_t>(dimension);
}

}  // namespace quench::quantizer
