// Quantizes the weights of a model at a chosen fineness: steps shared out over the tensors at equal slope, codebooks
// learned on the weights in units of their steps (of 8-bit integers: those nearest to whole steps), assignment with error
// feedback where moments are known, biases corrected, where there is real data, for the mean shift that the errors make.
//
//     ModelQuantizer quantizer(weights, options, choose_methods(model, is_learned, policy), calibration);
//     quantizer.quantize(quantizer.first_guess(0.01));       // multiplier of all steps
//     double error = quantizer.output_error();
//     quantizer.coded().write(writer, reports);
//
// Up to kHeldIndices weights, their indices stay in memory, two bytes each. Beyond, tensors are quantized again, one at a
// time, whenever they are asked for, so that memory stays near the largest tensor; biases stay as they are then.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "compressor/compress/calibration.h"
#include "compressor/compress/coded_model.h"
#include "compressor/compress/compress.h"
#include "formats/container/writer.h"

namespace quench::quantizer {

constexpr uint64_t kHeldIndices = uint64_t{1} << 28;

class ModelQuantizer {
 public:
  // `calibration` may be null; all arguments but methods must outlive this object. Weights that hold NaN or infinities
  // stay as they are, and so do those that are no smaller quantized.
  ModelQuantizer(const ResidentWeights& weights, const CompressOptions& options, std::vector<TensorMethod> methods,
                 const Calibration* calibration);

  bool has_quantized_tensors() const { return !tensors_.empty(); }
  bool is_rounded(size_t weight) const { return tensor_of_[weight] >= 0; }
  bool holds_indices() const { return holds_indices_; }

  // The multiplier at which the predicted relative squared error of the outputs is `error`. At high rate, a tensor with
  // n elements, sensitivity s and step d adds s d^2 / 12 to the error and n log2(1 / d) to the bits, so that at equal
  // slope d^2 is proportional to n / s. Without a calibration, the outputs are taken to move as much, relatively, as
  // each weight does. No finer than where all steps are at their lower limits, no
  // coarser than limit_steps allows.
  double first_guess(double error) const;

  // Steps = multiplier x the tensors' shares; then codebooks and assignments.
  void quantize(double multiplier);
  // False where all steps are what they were before the last quantize: at their limits, or the multiplier hardly another.
  bool has_new_steps() const { return has_new_steps_; }

  // No step is to be larger than this, in units of its tensor's rms, from the next quantize on; nor the multiplier than
  // where most of the weights have come to that, for then coarser steps of the others cost much and save little.
  void limit_steps(double largest);

  // From the next quantize on, steps may be as fine as 16 bits a weight, where a size or a goal asks for it. Otherwise they
  // stop where a quality gains nothing any more.
  void allow_finest_steps() { is_finest_allowed_ = true; }

  // What output_error is with the weights of codebooks rounded to nearest in 8 bits, one scale for each output channel:
  // what is widely taken for as good as the original.
  double int8_error() const;
  // Bytes of the simplified model with such weights, without those that are stored as they are.
  uint64_t int8_bytes() const;

  // Measured on the calibration inputs, which must be there.
  double output_error() const;

  // As last quantized; valid until the next time, and as long as this object.
  const CodedModel& coded() const { return coded_; }

 private:
  struct Tensor : CodedTensor {
    TensorMethod method = TensorMethod::kCodebook;
    double rms = 0;
    double sensitivity = 0;       // error of the outputs per squared error of an element
    double share = 0;             // step at multiplier 1
    int32_t least = 0, most = 0;  // of integers, less their zero
    entropy::Trellis possible_trellis = entropy::Trellis::kNone;  // where its values do not reach too far
    bool exact = false;  // kept as it is: with these steps it would be no smaller, or lose its largest values
    std::optional<uint64_t> exact_bytes;  // its lossless stream; found once
  };

  void gather_tensors();
  void assign_scopes();
  void share_out_steps();
  double middle_sensitivity() const;
  static double fineness(const Tensor& tensor);
  double smallest_step(const Tensor& tensor, std::span<const float> values) const;
  void set_scales(Tensor& tensor, double multiplier, const std::vector<float>& values) const;
  std::vector<float> normalised(const Tensor& tensor, std::span<const float> values) const;
  void learn_codebooks();
  void fit_code_lengths(Tensor& tensor, std::span<const float> vectors) const;
  int dimension(const Tensor& tensor) const { return tensor.grid || tensor.integers ? 1 : options_.dimension; }
  const ErrorFeedback* feedback_of(const Tensor& tensor) const;
  void choose_centers(Tensor& tensor, std::span<const float> values) const;
  void share_trellis_zero();
  void choose(const Tensor& tensor, std::span<const float> vectors, std::span<uint32_t> chosen) const;
  std::vector<uint16_t> assign(const Tensor& tensor, std::span<const float> values) const;
  std::vector<uint16_t> indices_of(const Tensor& tensor) const {
    return holds_indices_ ? tensor.indices : assign(tensor, *values_of(tensor));
  }
  uint64_t exact_bytes(Tensor& tensor) const;
  void keep_exact_where_smaller();
  void correct_bias(const Tensor& tensor, const std::vector<float>& values);
  // As read, and as they may have been changed by the errors of other weights.
  SharedValues original_of(const Tensor& tensor) const { return weights_.values(tensor.weight); }
  SharedValues values_of(const Tensor& tensor) const { return coded_.values_of(tensor.weight); }

  const ResidentWeights& weights_;
  const OnnxModel& model_;
  const CompressOptions& options_;
  const Calibration* calibration_;
  CodedModel coded_;             // its values: biases that were changed to make up for the errors of the weights
  std::vector<Tensor> tensors_;  // those with kGrid last
  std::vector<int> tensor_of_;   // weight -> index into tensors_, -1
  std::vector<operators::ChannelMap> channels_;  // of each weight
  bool holds_indices_ = true;
  double largest_step_ = std::numeric_limits<double>::infinity();
  double largest_multiplier_ = std::numeric_limits<double>::infinity();
  bool is_finest_allowed_ = false;
  bool has_new_steps_ = false;
};

}  // namespace quench::quantizer
