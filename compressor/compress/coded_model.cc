#include "compressor/compress/coded_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>

#include "compressor/compress/weight_use.h"
#include "compressor/graph/integer_weights.h"
#include "compressor/quantizer/trellis_assignment.h"
#include "formats/base/float16.h"
#include "formats/entropy/encoder.h"
#include "formats/entropy/statistics.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

constexpr uint64_t kFittedSymbols = uint64_t{1} << 20;  // of one tensor, that the entropy model is fitted to

}  // namespace

coded::Scales CodedTensor::scales(uint64_t elements) const {
  if (scale_codes.empty()) return {coded::ScaleKind::kTensor, 1, std::max<uint64_t>(elements, 1), largest, {}, {}};
  return {coded::ScaleKind::kChannel, scale_codes.size(), scale_inner, largest, scale_codes, {}};
}

coded::Codebook CodedTensor::centers() const {
  if (grid) return {coded::CodebookKind::kUniform, kGridEntries, 1, kGridZero, 1, {}};
  if (kind() == TensorMethod::kTrellis)
    return {coded::CodebookKind::kUniform, 4 * trellis_zero + 2, 1, 2 * trellis_zero, kTrellisSpacing / 2, {}};
  return {coded::CodebookKind::kTableFloat32,
          static_cast<uint32_t>(codebook.size()),
          static_cast<uint32_t>(codebook.dimension),
          codebook.zero_symbol,
          0,
          codebook.centers};
}

std::vector<uint64_t> CodedTensor::symbol_counts(std::span<const uint16_t> of) const {
  std::vector<uint64_t> counts(size_t{UINT16_MAX} + 1);
  const int shift = kind() == TensorMethod::kTrellis ? 1 : 0;
  for (const uint16_t index : of) ++counts[static_cast<size_t>(index >> shift)];
  return counts;
}

std::vector<float> CodedTensor::dequantize(std::span<const uint16_t> of, const Weight& in) const {
  coded::Tensor tensor;
  tensor.type = integers ? ElementType::kFloat32 : static_cast<ElementType>(in.dtype);
  tensor.scales = scales(in.elements());
  std::vector<float> values(in.elements());
  coded::dequantize(tensor, centers(), of, 0, 0, values);
  if (integers) std::ranges::transform(values, values.begin(), [](float value) { return std::nearbyint(value); });
  return values;
}

float scale_origin(float largest) {
  constexpr uint32_t kUnit = 1u << 20;  // of the bits of a float32
  const auto origin = std::bit_cast<float>((std::bit_cast<uint32_t>(largest) + kUnit - 1) / kUnit * kUnit);
  return std::isfinite(origin) ? origin : largest;
}

float short_scale(float scale) {
  const auto shortened = float32_from_bfloat16(bfloat16_from_float32(scale));
  return std::isfinite(shortened) && shortened > 0 ? shortened : scale;
}

CodedTensor round_to_grid(size_t weight, std::span<const float> values, float step) {
  CodedTensor tensor;
  tensor.weight = weight;
  tensor.grid = true;
  tensor.largest = step = short_scale(step);
  for (const float value : values) {
    const float place = std::clamp(std::nearbyint(value / step), -static_cast<float>(kGridZero),
                                   static_cast<float>(kGridEntries - 1 - kGridZero));
    tensor.indices.push_back(static_cast<uint16_t>(static_cast<int32_t>(kGridZero) + static_cast<int32_t>(place)));
  }
  return tensor;
}

CodedModel::CodedModel(const ResidentWeights& of)
    : weights(of),
      model(of.model()),
      methods(model.weights.size(), TensorMethod::kLossless),
      values(model.weights.size()) {}

void CodedModel::fail(const Weight& weight, const Status& status) const {
  throw Error::make("{}: tensor '{}': {}", model.name, weight.name, status.detail());
}

std::vector<uint16_t> CodedModel::indices_of(const CodedTensor& tensor) const {
  return tensor.indices.empty() ? indices(tensor) : tensor.indices;
}

entropy::StreamLayout CodedModel::layout(const CodedTensor& tensor) const {
  const Weight& weight = model.weights[tensor.weight];
  const auto d = static_cast<uint64_t>(tensor.dimension());
  StreamShape shape = stream_shape(weight);
  // Vectors may swallow the inner axis, or part of the channels; else the stream has no rows that the contexts could
  // use.
  if (shape.inner % d == 0) {
    shape.inner /= d;
  } else if (shape.channels * shape.inner % d == 0) {
    shape = {shape.rows, shape.channels * shape.inner / d, 1};
  } else {
    shape = {1, 1, vectors_in(weight.elements(), tensor.dimension())};
  }
  const coded::Codebook centers = tensor.centers();
  return {shape.rows, shape.channels, shape.inner, centers.entries, centers.zero_symbol, tensor.trellis};
}

std::vector<uint8_t> CodedModel::fit_entropy_model(TensorMethod kind) const {
  entropy::ModelFitter fitter(coder);
  for (const CodedTensor* tensor : tensors) {
    if (tensor->kind() != kind) continue;
    const entropy::StreamLayout all = layout(*tensor);
    const std::vector<uint16_t> own = indices_of(*tensor);
    // Whole rows up to the limit, at least one.
    entropy::StreamLayout part = all;
    const uint64_t row = all.channels * all.inner;
    part.rows = std::clamp<uint64_t>(kFittedSymbols / row, 1, all.rows);
    if (const Status status = fitter.add(part, std::span(own).first(part.rows * row)); !status.ok()) {
      fail(model.weights[tensor->weight], status);
    }
  }
  return fitter.finish();
}

coded::Tensor CodedModel::describe(const CodedTensor& tensor, std::span<const uint16_t> of, Numbers numbers) const {
  const Weight& weight = model.weights[tensor.weight];
  const entropy::StreamLayout stream = layout(tensor);
  coded::Tensor described;
  described.type = static_cast<ElementType>(weight.dtype);
  described.element_count = weight.elements();
  described.codebook = numbers.codebook;
  described.entropy_model = numbers.entropy_model;
  described.indices = of;
  described.rows = stream.rows;
  described.channels = stream.channels;
  described.inner = stream.inner;
  described.trellis = stream.trellis;
  described.scales = tensor.scales(weight.elements());
  return described;
}

void CodedModel::report_quantized(const CodedTensor& tensor, std::span<const uint16_t> of, std::span<const float> own,
                                  TensorReport& report) const {
  report.method = tensor.kind();
  const std::vector<uint64_t> counts = tensor.symbol_counts(of);
  report.entropy = entropy::entropy_bits(counts);
  report.centers =
      static_cast<uint32_t>(std::count_if(counts.begin(), counts.end(), [](uint64_t n) { return n != 0; }));
  const std::vector<float> quantized = tensor.dequantize(of, model.weights[tensor.weight]);
  double power = 0, error = 0;
  for (size_t e = 0; e < own.size(); ++e) {
    power += static_cast<double>(own[e]) * own[e];
    error += (static_cast<double>(own[e]) - quantized[e]) * (static_cast<double>(own[e]) - quantized[e]);
  }
  report.snr_db = error > 0 ? 10 * std::log10(power / error) : std::numeric_limits<double>::infinity();
}

GraphBytes CodedModel::graph_bytes() const {
  GraphOptions graph_options;
  graph_options.drop_names = drop_names;
  // Inline tensors take their other values along.
  OnnxModel changed = model.clone();
  for (size_t w = 0; w < methods.size(); ++w) {
    if (methods[w] != TensorMethod::kInline || !values[w]) continue;
    const Weight weight = changed.weights[w];
    set_weight(changed, *weight.tensor, weight.dtype, weight.dims, owned_source(from_float(weight.dtype, *values[w])));
  }
  changed.reindex();  // the same weights in the same order
  graph_options.keep_inline = [this, &changed](const Weight& weight) {
    return methods[static_cast<size_t>(&weight - changed.weights.data())] == TensorMethod::kInline;
  };
  return to_graph_bytes(changed, graph_options);
}

// The entropy model of all tensors of a kind; and their codebook, where it is uniform. Nothing where there are none.
CodedModel::Numbers CodedModel::add_shared(container::Writer& writer, TensorMethod kind) const {
  Numbers numbers;
  const auto first = std::ranges::find_if(tensors, [&](const CodedTensor* t) { return t->kind() == kind; });
  if (first == tensors.end()) return numbers;
  const auto number_of = [&](const Result<uint32_t>& number) {
    if (!number.ok()) fail(model.weights[(*first)->weight], number.status());
    return *number;
  };
  numbers.entropy_model = number_of(writer.add_entropy_model(fit_entropy_model(kind)));
  const coded::Codebook centers = (*first)->centers();
  if (centers.kind == coded::CodebookKind::kUniform) {
    numbers.codebook = number_of(
        writer.add_codebook(container::Codebook::uniform(centers.step, centers.entries, centers.zero_symbol)));
  }
  return numbers;
}

void CodedModel::write_tensors(container::Writer& writer, std::span<const size_t> stripped,
                               std::vector<TensorReport>& reports) const {
  const auto check = [&](const Status& status, const Weight& weight) {
    if (!status.ok()) fail(weight, status);
  };
  std::vector<uint32_t> codebook_numbers;
  std::vector<const CodedTensor*> tensor_of(model.weights.size());
  for (const CodedTensor* tensor : tensors) tensor_of[tensor->weight] = tensor;
  std::map<TensorMethod, Numbers> shared;
  for (const TensorMethod kind : {TensorMethod::kCodebook, TensorMethod::kGrid, TensorMethod::kTrellis})
    shared[kind] = add_shared(writer, kind);
  for (size_t scope = 0; scope < codebooks.size(); ++scope) {
    const Codebook& codebook = codebooks[scope];
    codebook_numbers.push_back(0);
    const bool used = std::ranges::any_of(
        tensors, [&](const CodedTensor* t) { return t->kind() == TensorMethod::kCodebook && t->scope == scope; });
    if (!used) continue;
    const Result<uint32_t> number = writer.add_codebook(
        container::Codebook::table(codebook.centers, static_cast<uint32_t>(codebook.dimension), codebook.zero_symbol));
    if (!number.ok()) throw Error::make("{}: codebook: {}", model.name, number.status().detail());
    codebook_numbers.back() = *number;
  }

  for (const size_t w : stripped) {
    const Weight& weight = model.weights[w];
    TensorReport& report = reports[w];
    report.method = TensorMethod::kLossless;
    const uint64_t before = writer.stream_bytes();
    if (!tensor_of[w]) {
      report.snr_db = std::numeric_limits<double>::infinity();
      const std::vector<std::byte> bytes = values[w] ? from_float(weight.dtype, *values[w]) : read(weight);
      check(writer.add_lossless(static_cast<ElementType>(weight.dtype), bytes, weight.elements()), weight);
    } else {
      const CodedTensor& tensor = *tensor_of[w];
      const std::vector<uint16_t> own = indices_of(tensor);
      if (tensor.integers) {
        const auto bytes = graph::to_integers(weight.dtype, *weights.zero(w), tensor.dequantize(own, weight));
        check(writer.add_lossless(static_cast<ElementType>(weight.dtype), bytes, weight.elements()), weight);
      } else {
        Numbers numbers = shared[tensor.kind()];
        if (tensor.kind() == TensorMethod::kCodebook) numbers.codebook = codebook_numbers[tensor.scope];
        check(writer.add_quantized(describe(tensor, own, numbers)), weight);
      }
      report_quantized(tensor, own, *values_of(w), report);
    }
    report.bytes_after = writer.stream_bytes() - before;
    report.bits_per_weight = 8.0 * static_cast<double>(report.bytes_after) / static_cast<double>(weight.elements());
  }
}

void CodedModel::write(container::Writer& writer, std::vector<TensorReport>& reports) const {
  const GraphBytes graph = graph_bytes();
  const std::span bytes(reinterpret_cast<const std::byte*>(graph.bytes.data()), graph.bytes.size());
  if (const Status status = writer.set_graph(bytes, graph.terse); !status.ok())
    throw Error::make("{}: {}", model.name, status.detail());
  for (const auto& [key, value] : metadata) {
    const Status status = writer.add_metadata(key, value);
    if (!status.ok()) throw Error::make("{}: {}", model.name, status.detail());
  }
  write_tensors(writer, graph.stripped, reports);
}

std::vector<TensorReport> CodedModel::blank_reports() const {
  std::vector<TensorReport> reports;
  for (const Weight& weight : model.weights) {
    TensorReport report;
    report.name = weight.name;
    report.type = type_name(weight.dtype);
    report.dims = weight.dims;
    report.elements = weight.elements();
    report.method = TensorMethod::kInline;
    report.bytes_before = weight.bytes();
    report.snr_db = std::numeric_limits<double>::infinity();
    reports.push_back(std::move(report));
  }
  return reports;
}

CodedModel::Size CodedModel::size() const {
  container::Writer writer = container::Writer::in_memory();
  std::vector<TensorReport> reports = blank_reports();
  write(writer, reports);
  const Result<std::vector<std::byte>> bytes = writer.finish_bytes();
  if (!bytes.ok()) throw Error::make("{}: {}", model.name, bytes.status().detail());
  Size size{(*bytes).size(), {}};
  for (const TensorReport& report : reports) size.streams.push_back(report.bytes_after);
  return size;
}

uint64_t real_weights(const OnnxModel& model) {
  const std::vector<std::optional<int32_t>> zeros = graph::integer_weights(model);
  uint64_t count = 0;
  for (size_t w = 0; w < zeros.size(); ++w) {
    if (is_float_type(model.weights[w].dtype) || zeros[w]) count += model.weights[w].elements();
  }
  return std::max<uint64_t>(count, 1);
}

double CodedModel::paper_ratio(const std::vector<TensorReport>& reports) const {
  double elements = 0, bits = 0;
  for (const Codebook& codebook : codebooks) bits += 32 * static_cast<double>(codebook.centers.size());
  for (const TensorReport& tensor : reports) {
    const bool is_float = tensor.type.find("float") != std::string::npos;
    if (!is_float) continue;
    elements += static_cast<double>(tensor.elements);
    bits +=
        8.0 * static_cast<double>(tensor.method == TensorMethod::kInline ? tensor.bytes_before : tensor.bytes_after);
  }
  return bits > 0 ? 32 * elements / bits : 0;
}

std::vector<double> CodedModel::paper_ratios() const {
  std::vector<double> ratios;
  CodedModel other = *this;
  for (const entropy::CoderRow& each : entropy::kCoders) {
    other.coder = each.coder;
    container::Writer writer = container::Writer::in_memory();
    std::vector<TensorReport> reports = blank_reports();
    other.write(writer, reports);
    ratios.push_back(other.paper_ratio(reports));
  }
  return ratios;
}

void CodedModel::save(const std::filesystem::path& output, CompressReport& report) const {
  Result<container::Writer> writer = container::Writer::create(output.string());
  if (!writer.ok()) throw Error(writer.status().detail());
  report.tensors = blank_reports();
  write(*writer, report.tensors);
  if (const Status status = writer->finish(); !status.ok()) throw Error(status.detail());
  report.output_bytes = std::filesystem::file_size(output);
  report.ratio = static_cast<double>(report.input_bytes) / static_cast<double>(report.output_bytes);
  report.paper_ratio = paper_ratio(report.tensors);
  report.bits_per_weight = 8.0 * static_cast<double>(report.output_bytes) / static_cast<double>(real_weights(model));
}

}  // namespace quench::quantizer
