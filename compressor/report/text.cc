#include "compressor/report/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "compressor/data/array.h"
#include "compressor/report/table.h"
#include "formats/entropy/coder.h"

namespace quench::report {
namespace {

using quantizer::CompressReport;
using quantizer::TensorMethod;
using quantizer::TensorReport;

constexpr auto kLeft = Table::Align::kLeft;
// Behind a figure that no real data stands behind.
constexpr auto kMadeUp = ", on made-up inputs";
constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

std::string percent(double share, int digits) { return fmt::format("{:.{}f} %", 100 * share, digits); }

// Small tensors stay in the graph, and are coded with it.
std::vector<std::string> row_of(const TensorReport& tensor) {
  const bool is_inline = tensor.method == TensorMethod::kInline;
  const bool is_quantized = !is_inline && tensor.method != TensorMethod::kLossless;
  return {tensor.name,
          data::dims_text(tensor.dims),
          std::string(quantizer::name_of(tensor.method)),
          is_quantized ? std::to_string(tensor.centers) : "",
          is_inline ? "" : human_number(tensor.bits_per_weight, 2),
          is_quantized ? human_number(tensor.entropy, 2) : "",
          human_bytes(tensor.bytes_before),
          is_inline ? "" : human_bytes(tensor.bytes_after),
          human_number(tensor.snr_db, 1)};
}

std::string tensor_table(const CompressReport& report) {
  Table table({{"tensor", kLeft},
               {"shape", kLeft},
               {"stored as", kLeft},
               {"centers"},
               {"bits/weight"},
               {"entropy"},
               {"before"},
               {"after"},
               {"SNR dB"}});
  uint64_t before = 0, after = 0;
  for (const TensorReport& tensor : report.tensors) {
    table.row(row_of(tensor));
    before += tensor.bytes_before;
    if (tensor.method != TensorMethod::kInline) after += tensor.bytes_after;
  }
  table.rule();
  table.row({"tensors", "", "", "", "", "", human_bytes(before), human_bytes(after)});
  const uint64_t graph_before = report.input_bytes > before ? report.input_bytes - before : 0;
  const uint64_t graph_after = report.output_bytes > after ? report.output_bytes - after : 0;
  table.row({"graph and tables", "", "", "", "", "", human_bytes(graph_before), human_bytes(graph_after)});
  table.row({"file", "", "", "", human_number(report.bits_per_weight, 2), "", human_bytes(report.input_bytes),
             human_bytes(report.output_bytes)});
  return table.text();
}

std::string snr_text(double snr_db) {
  if (std::isfinite(snr_db)) return human_number(snr_db, 1) + " dB";
  return snr_db > 0 ? "exact" : "lost: there are values that are not finite";
}

std::string loss_text(const measure::Accuracy& accuracy) {
  return accuracy.loss ? fmt::format("{:.4f}", *accuracy.loss) : "-";
}

std::string interval_text(const std::optional<measure::Interval>& interval) {
  if (!interval) return "";
  return fmt::format(", 95 % confidence {:.2f} to {}", 100 * interval->low, percent(interval->high, 2));
}

std::string accuracy_text(const measure::Evaluation& evaluation) {
  if (!evaluation.accuracy) return "";
  const measure::Accuracy& accuracy = *evaluation.accuracy;
  std::string before, loss_before;
  if (evaluation.against) {
    before = fmt::format(" (before {})", percent(evaluation.against->top1, 2));
    loss_before = fmt::format(" (before {})", loss_text(*evaluation.against));
  }
  return fmt::format("top-1      {}{}{}\nloss       {}{}\n", percent(accuracy.top1, 2), before,
                     interval_text(accuracy.interval), loss_text(accuracy), loss_before);
}

std::string samples_text(uint64_t count) { return fmt::format("{} sample{}", count, count == 1 ? "" : "s"); }

// The first `most` of the samples that get another class.
std::string changed_text(const measure::Evaluation& evaluation, uint64_t most) {
  if (most == 0 || !evaluation.agreement_interval) return "";
  std::string text = "changed    " + samples_text(evaluation.changed.size());
  const size_t shown = std::min<size_t>(most, evaluation.changed.size());
  for (size_t i = 0; i < shown; ++i) {
    const measure::ChangedSample& sample = evaluation.changed[i];
    const std::string name = sample.file.empty() ? std::to_string(sample.index) : printable(sample.file);
    text += fmt::format("{} {} ({} -> {})", i == 0 ? ":" : ",", name, sample.before, sample.after);
  }
  return text + (shown < evaluation.changed.size() ? ", ...\n" : "\n");
}

std::string output_table(const std::vector<measure::OutputComparison>& outputs) {
  const bool has_classes =
      std::ranges::any_of(outputs, [](const auto& output) { return output.agreement.has_value(); });
  const bool has_shapes = std::ranges::any_of(outputs, [](const auto& output) { return output.other_shapes > 0; });
  std::vector<Table::Column> columns = {{"output", kLeft}, {"SNR dB"}, {"largest error"}};
  if (has_classes) columns.push_back({"same class"});
  if (has_shapes) columns.push_back({"runs of another shape"});
  Table table(std::move(columns));
  for (const measure::OutputComparison& output : outputs) {
    std::vector<std::string> row = {output.name, output.snr_db ? human_number(*output.snr_db, 1) : "",
                                    output.largest_error ? fmt::format("{:.3g}", *output.largest_error) : ""};
    if (has_classes) row.push_back(output.agreement ? percent(*output.agreement, 2) : "");
    if (has_shapes) row.push_back(std::to_string(output.other_shapes));
    table.row(std::move(row));
  }
  return table.text();
}

std::string evaluation_text(const measure::Evaluation& evaluation, uint64_t changed) {
  std::string text = accuracy_text(evaluation);
  if (evaluation.agreement) {
    text +=
        fmt::format("agreement  {} of the {} get the same class{}\n", percent(*evaluation.agreement, 2),
                    evaluation.agreement_interval ? "samples" : "places", interval_text(evaluation.agreement_interval));
  }
  text += changed_text(evaluation, changed);
  if (evaluation.snr_db) {
    text += fmt::format("output SNR {}{}\n", snr_text(*evaluation.snr_db), evaluation.on_seeded_inputs ? kMadeUp : "");
  }
  if (evaluation.metric) text += fmt::format("metric     {}\n", printable(*evaluation.metric, 1000));
  if (!evaluation.outputs.empty()) text += "\n" + output_table(evaluation.outputs);
  return text;
}

// What the search aimed at, on the samples that it was calibrated on.
std::string expectation_text(const CompressReport& report) {
  if (!report.calibrated || !std::isfinite(report.predicted_snr_db) || report.predicted_snr_db == 0) return "";
  if (report.on_data) return fmt::format("expected output SNR {}\n", snr_text(report.predicted_snr_db));
  return fmt::format("expected output SNR {}{}; on real ones other models had up to {:.0f} dB less\n",
                     snr_text(report.predicted_snr_db), kMadeUp, report.predicted_snr_db - report.least_snr_db);
}

std::string measured_text(const measure::Evaluation& evaluation) {
  return fmt::format("measured on {} held out from calibration:\n{}", samples_text(evaluation.samples),
                     evaluation_text(evaluation, 0));
}

// A line each; what has many lines or is long is cut.
std::string metadata_text(const std::vector<std::pair<std::string, std::string>>& metadata) {
  std::string text = metadata.empty() ? "" : "\n";
  for (const auto& [key, value] : metadata) text += fmt::format("{}: {}\n", printable(key), printable(value, 100));
  return text;
}

}  // namespace

std::string to_text(const CompressReport& report, const measure::Evaluation* evaluation, std::string_view input,
                    std::string_view output) {
  std::string text = tensor_table(report);
  text += '\n';
  text += fmt::format("{} -> {}: {} -> {}, {:.2f} times smaller\n", input, output, human_bytes(report.input_bytes),
                      human_bytes(report.output_bytes), report.ratio);
  text += fmt::format(
      "{:.2f} bits per weight, everything counted; {:.2f} times as papers count (codebook and indices only)\n",
      report.bits_per_weight, report.paper_ratio);
  text += expectation_text(report);
  if (evaluation) text += measured_text(*evaluation);
  return text;
}

std::string to_text(const measure::Evaluation& evaluation, uint64_t changed) {
  return fmt::format("samples    {}\n", evaluation.samples) + evaluation_text(evaluation, changed);
}

std::string to_text(const measure::Benchmark& benchmark) {
  Table table({{"measured", kLeft}, {"value"}, {"", kLeft}});
  const auto time = [](double value) { return fmt::format("{:.3f} ms", value); };
  const double weights_per_second =
      benchmark.decode_ms > 0 ? static_cast<double>(benchmark.weights) / benchmark.decode_ms / 1e3 : kNothing;
  table.row({"load", time(benchmark.load_ms), "open, plan, decode and pack the weights"});
  table.row({"first result", time(benchmark.first_result_ms), "load and the first run"});
  table.row(
      {"decode", time(benchmark.decode_ms), human_number(weights_per_second, 1) + " million weights/s, one thread"});
  table.row(
      {"run, median", time(benchmark.median_ms), fmt::format("of {}, threads: {}", benchmark.runs, benchmark.threads)});
  table.row({"run, least", time(benchmark.min_ms)});
  table.row({"file", human_bytes(benchmark.file_bytes)});
  table.row({"arena", human_bytes(benchmark.arena_bytes), "activations and scratch"});
  table.row({"peak", human_bytes(benchmark.peak_bytes), "all memory of model and session"});
  return table.text();
}

std::string to_text(const measure::Inspection& inspection) {
  Table table({{"tensor", kLeft},
               {"shape", kLeft},
               {"encoding", kLeft},
               {"L"},
               {"d"},
               {"bits/weight"},
               {"entropy"},
               {"bytes"},
               {"share"}});
  const auto share = [&](uint64_t bytes) {
    return percent(static_cast<double>(bytes) / static_cast<double>(inspection.bytes), 1);
  };
  for (const measure::InspectedTensor& tensor : inspection.tensors) {
    const bool is_quantized = tensor.dimension > 0;
    table.row({tensor.name, data::dims_text(tensor.dims), tensor.encoding + (tensor.trellis.empty() ? "" : ", trellis"),
               tensor.centers > 0 ? std::to_string(tensor.centers) : "",
               is_quantized ? std::to_string(tensor.dimension) : "", human_number(tensor.bits_per_weight, 2),
               tensor.entropy ? human_number(*tensor.entropy, 2) : "", std::to_string(tensor.bytes),
               share(tensor.bytes)});
  }
  table.rule();
  for (const measure::InspectedPart& part : inspection.parts) {
    table.row({part.name, "", "", "", "", "", "", std::to_string(part.bytes), share(part.bytes)});
  }
  table.rule();
  table.row({inspection.file, "", "", "", "", human_number(inspection.bits_per_weight, 2), "",
             std::to_string(inspection.bytes), share(inspection.bytes)});
  return table.text() + metadata_text(inspection.metadata);
}

std::string to_text(const training::TrainReport& training, std::string_view output) {
  std::string text =
      fmt::format("{}: {} parameters, {}", output, training.parameters, human_bytes(training.output_bytes));
  if (training.column > 0) text += fmt::format(", column {} alone", training.column);
  if (training.accuracy) text += fmt::format(", top-1 {}", percent(*training.accuracy, 2));
  if (training.validation_accuracy) text += fmt::format(", validation {}", percent(*training.validation_accuracy, 2));
  if (training.log_likelihood) text += fmt::format(", log likelihood {:.4f} nats", *training.log_likelihood);
  if (training.validation_log_likelihood) {
    text += fmt::format(", validation {:.4f} nats", *training.validation_log_likelihood);
  }
  text += "\n";
  for (size_t i = 0; i < training.column_accuracies.size(); ++i) {
    text += fmt::format("column {} alone: top-1 {}\n", i + 1, percent(training.column_accuracies[i], 2));
  }
  return text;
}

std::string to_text(const training::CodecReport& training, std::string_view prefix) {
  std::string text = fmt::format("{}: {} parameters, encoder {}, decoder {}\n", prefix, training.parameters,
                                 human_bytes(training.encoder_bytes), human_bytes(training.decoder_bytes));
  for (const training::TrainingRecord::RatePoint& point : training.rates) {
    text += fmt::format("quality {:g}: {:.3f} bits per pixel, MS-SSIM {:.4f}, PSNR {:.2f} dB\n", point.quality,
                        point.bits_per_pixel, point.ms_ssim, point.psnr_db);
  }
  return text;
}

std::string to_text(const training::TuneReport& tuning, std::string_view input, std::string_view output) {
  std::string text = to_text(tuning.file, nullptr, input, output);
  const char* before = "as papers count, with each coder: ";
  for (size_t i = 0; i < tuning.paper_ratios.size(); ++i) {
    text += fmt::format("{}{:.2f} {}", before, tuning.paper_ratios[i], entropy::kCoders[i].name);
    before = ", ";
  }
  if (!tuning.paper_ratios.empty()) text += "\n";
  const auto add_accuracy = [&text](const char* name, std::optional<double> after, std::optional<double> was) {
    if (!after) return;
    text += fmt::format("{} {}", name, percent(*after, 2));
    if (was) text += fmt::format(" (before {})", percent(*was, 2));
    text += "\n";
  };
  add_accuracy("validation", tuning.validation_after, tuning.validation_before);
  add_accuracy("top-1", tuning.accuracy_after, tuning.accuracy_before);
  if (tuning.snr_db) text += fmt::format("output SNR {}\n", snr_text(*tuning.snr_db));
  return text;
}

}  // namespace quench::report
