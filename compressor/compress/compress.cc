#include "compressor/compress/compress.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <set>
#include <system_error>

#include "compressor/compress/model_check.h"
#include "compressor/compress/model_quantizer.h"
#include "compressor/compress/storage_policy.h"
#include "compressor/graph/integer_weights.h"
#include "compressor/graph/simplify.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

namespace fs = std::filesystem;

constexpr double kClassifierDecibels = 16;
constexpr double kSignalDecibels = 30;
// More than that on made-up inputs that may be far from the real ones. On real ones, a detector of faces has 32.2 dB with
// it and 23.7 dB without, in 10 % more bytes (yunet_n_640).
constexpr double kGuessDecibels = 3;
// In units of a tensor's rms, where made-up inputs alone say how coarse it may be. On real inputs, with 0.18, 0.25 and
// 0.35: a classifier of pictures has 22.9, 19.2 and 17.4 dB at 7.0, 7.8 and 8.8 times smaller than in 32 bits
// (squeezenet_fp16), one of sounds 30.1, 29.3 and 22.4 dB at 6.6, 7.3 and 8.2 times (st_yamnet256).
constexpr double kLargestGuessedStep = 0.25;
// Of the bytes that 8-bit weights take, at transparent: what made-up inputs ask for beyond that is of their own making, or
// takes real ones to be had. Of seventeen models on real inputs, seven asked for more, two of these for 9 bits a weight.
// A little below the 60 % by which tests/fidelity.py judges.
constexpr double kLargestGuessedShare = 0.593;
constexpr double kDecibelsPerBit = 6.02;
// How much less real inputs gave than made-up ones, at most and rounded up, at transparent: 23 dB of an age (ssrnet_age),
// 18 dB of a classifier (squeezenet_fp16).
constexpr double kMostLessOnReal = 24;
constexpr double kDecibelsPerQuality = 5;
constexpr double kRuinedDecibels = 2 * kDecibelsPerQuality;  // below transparent, as far as any quality goes
constexpr double kDecibelTolerance = 0.3;
constexpr int kMaxSearchRounds = 10;
constexpr int kMaxAcceptanceRounds = 16;

// Of a relative squared error.
double decibels_of(double error) { return -10 * std::log10(std::max(error, 1e-30)); }

void check_options(const CompressOptions& options) {
  const auto positive = [](const std::optional<double>& value) {
    return !value || (std::isfinite(*value) && *value > 0);
  };
  if (!positive(options.bits) || !positive(options.ratio)) throw Error("bits and ratio must be positive numbers");
  if (options.bits && options.ratio) throw Error("bits and ratio exclude each other");
  if (options.quality == Quality::kLossless && (options.bits || options.ratio)) {
    throw Error("a lossless file cannot be given a size: leave out --bits and --ratio");
  }
}

// One run of the whole path, with what its parts share.
// Of the scale of a BatchNormalization that is stored apart: an error of 80 dB, finer than any file asks for, in half the
// bytes of a float.
constexpr int kScaleBits = 12;

double with_bits(double value, int bits) {
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);
  return std::ldexp(std::round(std::ldexp(fraction, bits)), exponent - bits);
}

class Compression {
 public:
  Compression(const fs::path& input, const CompressOptions& options) : options_(options), original_(load(input)) {
    measure::check_shapes(original_.name, original_.proto.graph(), options_.input_shapes);
    report_.warnings = check(original_);
    model_ = original_.clone();
    set_properties(model_.proto, options.notes.properties);
    simplify(model_);
    weights_.emplace(model_);
    is_learned_ = graph::quantizable_weights(model_);
    for (size_t w = 0; w < is_learned_.size(); ++w) {
      if (exact_scales_.contains(model_.weights[w].name)) is_learned_[w] = false;
    }
    report_.input_bytes = original_.file_bytes;
  }

  CompressReport run(const fs::path& output);

 private:
  void simplify(OnnxModel& model);
  // Without a calibration, nothing says how finely the smaller tensors must be rounded.
  StoragePolicy policy(bool calibrated) const {
    return {options_.include, options_.exclude, options_.quality == Quality::kLossless, calibrated};
  }
  void calibrate();
  double transparent_decibels() const;
  double target_error() const;
  double decibels_less() const;
  template <typename Measure>
  double search(const ModelQuantizer& quantizer, double multiplier, double slope, double tolerance,
                const Measure& measure);
  void search_quality(ModelQuantizer& quantizer);
  double search_error(ModelQuantizer& quantizer, double target);
  bool limit_bytes(ModelQuantizer& quantizer);
  uint64_t search_bytes(ModelQuantizer& quantizer, double target_bytes);
  void search_size(ModelQuantizer& quantizer, double target_bytes);
  void search_accepted(ModelQuantizer& quantizer);
  void warn_of_ruin(const ModelQuantizer& quantizer);
  void progress(const char* stage, double share) const {
    if (options_.progress) options_.progress(stage, share);
  }

  void describe_calibration();

  const CompressOptions& options_;
  OnnxModel original_, model_;
  std::optional<ResidentWeights> weights_;  // of model_
  std::vector<bool> is_learned_;            // of model_'s weights; not what stays exact
  std::set<std::string> exact_scales_;      // of BatchNormalizations: their biases make up for how these are rounded
  std::vector<TensorMethod> methods_;
  std::optional<Calibration> calibration_;
  CompressReport report_;
};

void Compression::simplify(OnnxModel& model) {
  if (options_.keep_graph) return;
  graph::Options kept;
  kept.is_kept = [this](const Weight& weight) { return !may_change(weight, policy(true)); };
  kept.round_scale = [this](const std::string& name, std::vector<double>& scale) {
    for (double& value : scale) value = with_bits(value, kScaleBits);
    exact_scales_.insert(name);
  };
  const graph::Report done = graph::simplify(model, kept);
  const auto count = [](size_t n) { return static_cast<int>(n); };
  if (done.inputs_fixed != 0 && &model == &model_ && original_.proto.ir_version() >= 4) {
    report_.warnings.push_back(fmt::format(
        "{}: lists its weights among its inputs; its {} inputs with default values became constants (--keep-graph "
        "keeps them)",
        model.name, done.inputs_fixed));
  }
  report_.graph_changes = {{"batch normalizations folded", count(done.batch_normalizations_folded)},
                           {"batch normalizations reduced to scale and bias", count(done.batch_normalizations_reduced)},
                           {"nodes folded into constants", count(done.nodes_folded)},
                           {"branches that always run inlined", count(done.branches_inlined)},
                           {"nodes bypassed", count(done.nodes_bypassed)},
                           {"nodes removed", count(done.nodes_removed)},
                           {"initializers shared", count(done.initializers_shared)},
                           {"initializers removed", count(done.initializers_removed)}};
}

// A model of which the runtime cannot run any part is compressed without.
void Compression::calibrate() {
  std::vector<size_t> candidates;
  const std::vector<TensorMethod> methods = choose_methods(model_, is_learned_, policy(true));
  for (size_t w = 0; w < methods.size(); ++w) {
    const bool is_kept = methods[w] == TensorMethod::kInline || methods[w] == TensorMethod::kLossless;
    if (!is_kept) candidates.push_back(w);
  }
  if (candidates.empty() || !options_.calibrate) return;
  CalibrationOptions calibration;
  calibration.seed = options_.seed;
  calibration.threads = options_.threads;
  calibration.shapes.inputs = options_.input_shapes;
  calibration.data = options_.data;
  calibration.vectors = options_.dimension > 1;
  calibration.progress = [&](double share) { progress("calibrating", share); };
  const auto calibrate_on = [&](CalibrationOptions::Extent extent) {
    calibration.extent = extent;
    calibration_.emplace(
        original_, *weights_, [&](OnnxModel& twin) { simplify(twin); }, candidates, calibration);
  };
  std::exception_ptr refusal;  // of the whole model
  std::string of_whole, of_part;
  bool runs_whole = false;
  try {
    return calibrate_on(CalibrationOptions::kOfFixedShapes);
  } catch (const Error& error) {
    runs_whole = dynamic_cast<const ShapedByValues*>(&error) != nullptr;
    refusal = std::current_exception();
    of_whole = error.what();
  }
  try {
    calibrate_on(CalibrationOptions::kPart);
    report_.warnings.push_back(
        fmt::format("calibrated on the part in front of {}: {}", calibration_->cut_at(), of_whole));
    return;
  } catch (const Error& error) {
    of_part = error.what();
  }
  try {
    if (runs_whole) return calibrate_on(CalibrationOptions::kAll);
  } catch (const Error& error) {
    refusal = std::current_exception();
    of_whole = error.what();
  }
  if (options_.data) std::rethrow_exception(refusal);
  report_.warnings.push_back(fmt::format("not calibrated: {} (nor can a part be: {})", of_whole, of_part));
}

// How many decibels the quality is below transparent.
double Compression::decibels_less() const {
  if (options_.quality == Quality::kBalanced) return kDecibelsPerQuality;
  if (options_.quality == Quality::kSmall) return 2 * kDecibelsPerQuality;
  return 0;
}

double Compression::transparent_decibels() const {
  if (!calibration_) return kSignalDecibels;
  if (!calibration_->is_anchored()) return kSignalDecibels + kGuessDecibels;
  return calibration_->is_classifier() ? kClassifierDecibels : kSignalDecibels;
}

double Compression::target_error() const { return std::pow(10.0, -(transparent_decibels() - decibels_less()) / 10); }

// Finds the multiplier of the steps at which an increasing measure lies in (-tolerance, 0]: by `slope` (of the measure
// per octave of the multiplier) until there is a bracket, then by the line through the bracket's ends. A measure that
// still jumps between ends that are far nearer than the tolerance is noise there: looking on would find the luckiest
// file. `measure`
// quantizes; the quantizer is left at the multiplier that is returned, the best one not above 0; 0 where there is none,
// and then the quantizer is left at the coarsest that is as near as any.
template <typename Measure>
double Compression::search(const ModelQuantizer& quantizer, double multiplier, double slope, double tolerance,
                           const Measure& measure) {
  struct End {
    double place = 0, value = 0;
    bool known = false;
  };
  End below, above;
  std::vector<End> tried;
  double place = std::log2(multiplier);
  for (int round = 0; round < kMaxSearchRounds; ++round) {
    progress("quantizing", static_cast<double>(round) / kMaxSearchRounds);
    const double value = measure(std::exp2(place));
    if (value <= 0 && value > -tolerance) return std::exp2(place);
    (value <= 0 ? below : above) = {place, value, true};
    tried.push_back({place, value, true});
    // Steps that are all at their limits change nothing any more. (A measure that stands still says less: outputs of
    // which nothing is left are as far away with any coarser steps.)
    if (!(below.known && above.known) && round > 0 && !quantizer.has_new_steps()) break;
    if (below.known && above.known && std::abs(slope * (above.place - below.place)) <= tolerance / 4) break;
    if (below.known && above.known) {
      const double share = (-tolerance / 2 - below.value) / (above.value - below.value);
      // A measure with jumps must not keep the bracket from shrinking.
      place = below.place + std::clamp(share, 0.1, 0.9) * (above.place - below.place);
    } else {
      place += std::clamp(-(value + tolerance / 2) / slope, -2.0, 2.0);
    }
  }
  if (below.known) {
    if (tried.back().place != below.place) measure(std::exp2(below.place));
    return std::exp2(below.place);
  }
  const double nearest = std::ranges::min_element(tried, {}, &End::value)->value;
  double coarsest = tried.back().place;
  for (const End& end : tried) {
    if (end.value < nearest + tolerance) coarsest = std::max(coarsest, end.place);
  }
  measure(std::exp2(coarsest));
  return 0;
}

void Compression::search_quality(ModelQuantizer& quantizer) {
  if (!calibration_) {
    quantizer.quantize(quantizer.first_guess(target_error()));
    return;
  }
  double target = target_error();
  if (options_.data) {
    // A model that amplifies errors, or whose outputs hardly vary on these inputs, is as good as with 8-bit weights.
    target = std::max(target, quantizer.int8_error() * std::pow(10.0, decibels_less() / 10));
  } else if (!calibration_->is_anchored()) {
    // What hardly moves the outputs on made-up inputs may do so on real ones.
    quantizer.limit_steps(kLargestGuessedStep * std::pow(10.0, decibels_less() / 20));
  }
  bool is_near = search_error(quantizer, target) != 0;
  if (limit_bytes(quantizer)) {
    report_.predicted_snr_db = decibels_of(quantizer.output_error());
    is_near = report_.predicted_snr_db >= decibels_of(target);
  }
  if (!is_near) report_.warnings.push_back("the outputs are not as near to the original's as the quality asks for");
}

// To what made-up inputs may ask for; false where the file is no larger. What is stored as it is counts for nothing.
// Tables of vectors may be large, and weights whose indices are not held take long: these are left as they are.
bool Compression::limit_bytes(ModelQuantizer& quantizer) {
  if (options_.data || options_.dimension > 1 || !quantizer.holds_indices()) return false;
  const CodedModel::Size size = quantizer.coded().size();
  const double share = kLargestGuessedShare - decibels_less() / kDecibelsPerBit / 8;
  double most = share * static_cast<double>(quantizer.int8_bytes());
  for (size_t w = 0; w < size.streams.size(); ++w)
    most += quantizer.is_rounded(w) ? 0 : static_cast<double>(size.streams[w]);
  if (static_cast<double>(size.bytes) <= most) return false;
  search_bytes(quantizer, most);
  return true;
}

// The multiplier that was found, or 0.
double Compression::search_error(ModelQuantizer& quantizer, double target) {
  // In decibels: twice the step is four times the error.
  return search(quantizer, quantizer.first_guess(target), kDecibelsPerBit, kDecibelTolerance, [&](double multiplier) {
    quantizer.quantize(multiplier);
    report_.predicted_snr_db = decibels_of(quantizer.output_error());
    return decibels_of(target) - report_.predicted_snr_db;
  });
}

// The bytes that were found, or, above the target, the least that were tried.
uint64_t Compression::search_bytes(ModelQuantizer& quantizer, double target_bytes) {
  // In bits per weight: half the step is one bit more, less where most weights are zero.
  const double scale = 8 / static_cast<double>(real_weights(model_));
  uint64_t least = UINT64_MAX;
  const double found = search(quantizer, quantizer.first_guess(target_error()), -0.9, 0.01 * target_bytes * scale,
                              [&](double multiplier) {
                                quantizer.quantize(multiplier);
                                const uint64_t bytes = quantizer.coded().size().bytes;
                                least = std::min(least, bytes);
                                return (static_cast<double>(bytes) - target_bytes) * scale;
                              });
  return found == 0 ? least : quantizer.coded().size().bytes;
}

void Compression::search_size(ModelQuantizer& quantizer, double target_bytes) {
  quantizer.allow_finest_steps();
  const uint64_t bytes = search_bytes(quantizer, target_bytes);
  if (static_cast<double>(bytes) > target_bytes) {
    throw Error::make("{}: cannot be made as small as {} bytes; the least that was reached is {}", model_.name,
                      static_cast<uint64_t>(target_bytes), bytes);
  }
  if (!calibration_) return;
  report_.predicted_snr_db = decibels_of(quantizer.output_error());
  warn_of_ruin(quantizer);
}

// A size that was asked for is kept to, whatever becomes of the outputs. Where weights of 8 bits do badly, too, on made-up
// inputs that mean nothing to the model, what is not much worse is no ruin.
void Compression::warn_of_ruin(const ModelQuantizer& quantizer) {
  const double transparent = transparent_decibels();
  if (report_.predicted_snr_db >= transparent - kRuinedDecibels) return;
  const double int8 = decibels_of(quantizer.int8_error());
  if (report_.predicted_snr_db >= int8 - kDecibelsPerQuality) return;
  report_.warnings.push_back(
      fmt::format("at this size the outputs are far from the original's: an SNR of {:.1f} dB is expected, {:.0f} dB "
                  "would be taken for "
                  "transparent; ask for a larger file, or let `quench tune` train it",
                  report_.predicted_snr_db, std::min(transparent, int8)));
}

void Compression::describe_calibration() {
  for (const Calibration::Batch& batch : calibration_->batches()) {
    const auto& dims = batch.inputs.front().dims;
    report_.predicted_samples += dims.size() < 2 ? 1 : static_cast<uint64_t>(dims.front());
  }
  report_.on_data = calibration_->on_real_data();
  constexpr double kExact = 299;
  if (report_.predicted_snr_db >= kExact) report_.predicted_snr_db = std::numeric_limits<double>::infinity();
  report_.least_snr_db = report_.predicted_snr_db - (report_.on_data ? 0 : kMostLessOnReal);
}

// Halves the range between steps that are accepted and steps that are not, until they are a 20th of an octave apart: of
// 4 bits a weight, that is one percent. But what is measured on samples moves up and down by more than that from file to
// file (an SNR by a decibel): of steps up to half an octave beyond, the coarsest that is accepted.
void Compression::search_accepted(ModelQuantizer& quantizer) {
  constexpr double kOctaves = 0.05;
  constexpr int kBeyond = 16, kBeyondRounds = 2;
  uint64_t bytes = 0;
  quantizer.allow_finest_steps();
  const auto is_accepted = [&](double place) {
    quantizer.quantize(std::exp2(place));
    CompressReport trial;
    quantizer.coded().save(options_.trial, trial);
    bytes = trial.output_bytes;
    return options_.accepts(options_.trial);
  };
  std::optional<double> accepted, refused;
  double place = std::log2(quantizer.first_guess(target_error())), reach = 1;
  uint64_t previous = 0;
  for (int round = 0; round < kMaxAcceptanceRounds; ++round) {
    progress("quantizing", 0.5 * static_cast<double>(round) / kMaxAcceptanceRounds);
    (is_accepted(place) ? accepted : refused) = place;
    const bool is_bracketed = accepted && refused;
    if (is_bracketed ? *refused - *accepted < kOctaves : bytes == previous) break;  // or steps at their limits
    previous = bytes;
    if (is_bracketed) {
      place = (*accepted + *refused) / 2;
    } else {
      place += accepted ? reach : -reach;
      reach *= 2;
    }
  }
  if (!accepted) {
    throw Error::make("{}: no file is as near to it as asked for; the finest that was tried has {} bytes", model_.name,
                      bytes);
  }
  // Once more from the one that was found, which may be a lucky one among many.
  for (int round = 0; round < kBeyondRounds; ++round) {
    const double before = *accepted;
    for (int beyond = kBeyond; beyond > 0 && *accepted == before; --beyond) {
      progress("quantizing", 1 - 0.5 * beyond / kBeyond);
      const double coarser = before + kOctaves * (beyond - 0.25) * 2 / 3;  // between those that were tried
      if (is_accepted(coarser)) accepted = coarser;
    }
    if (*accepted == before) break;
  }
  quantizer.quantize(std::exp2(*accepted));
  if (calibration_) report_.predicted_snr_db = decibels_of(quantizer.output_error());
}

CompressReport Compression::run(const fs::path& output) {
  if (options_.on_begin) options_.on_begin(describe(original_, model_, is_learned_, policy(true)));
  if (options_.quality != Quality::kLossless) calibrate();
  methods_ = choose_methods(model_, is_learned_, policy(calibration_.has_value()));
  ModelQuantizer quantizer(*weights_, options_, methods_, calibration_ ? &*calibration_ : nullptr);
  if (quantizer.has_quantized_tensors()) {
    const std::optional<double> bytes =
        options_.ratio  ? std::optional(static_cast<double>(report_.input_bytes) / *options_.ratio)
        : options_.bits ? std::optional(*options_.bits * static_cast<double>(real_weights(model_)) / 8)
                        : std::nullopt;
    if (options_.accepts) {
      search_accepted(quantizer);
    } else {
      bytes ? search_size(quantizer, *bytes) : search_quality(quantizer);
    }
  }
  progress("writing", 0);
  quantizer.coded().save(output, report_);
  progress("writing", 1);
  report_.calibrated = calibration_.has_value();
  if (calibration_) describe_calibration();
  return std::move(report_);
}

}  // namespace

void set_properties(onnx::ModelProto& model, const FileNotes::Pairs& properties) {
  for (const auto& [key, value] : properties) {
    onnx::StringStringEntryProto* property = nullptr;
    for (auto& each : *model.mutable_metadata_props()) {
      if (each.key() == key) property = &each;
    }
    if (!property) property = model.add_metadata_props();
    property->set_key(key);
    property->set_value(value);
  }
}

CompressReport compress(const fs::path& input, const fs::path& output, const CompressOptions& options) {
  check_options(options);
  std::error_code ignored;
  if (fs::equivalent(input, output, ignored))
    throw Error::make("{}: output and input are the same file", input.string());
  return Compression(input, options).run(output);
}

}  // namespace quench::quantizer
