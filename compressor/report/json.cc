#include "compressor/report/json.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "compressor/report/image_comparison.h"
#include "formats/entropy/coder.h"

namespace quench::report {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json number(const std::optional<double>& value) { return value ? number(*value) : Json(nullptr); }

Json json_of(const quantizer::TensorReport& tensor) {
  return {{"name", tensor.name},
          {"type", tensor.type},
          {"dims", tensor.dims},
          {"elements", tensor.elements},
          {"method", std::string(quantizer::name_of(tensor.method))},
          {"bits_per_weight", number(tensor.bits_per_weight)},
          {"entropy", number(tensor.entropy)},
          {"bytes_before", tensor.bytes_before},
          {"bytes_after", tensor.bytes_after},
          {"codebook", tensor.centers},
          {"snr_db", number(tensor.snr_db)}};
}

bool is_exact(const std::optional<double>& snr_db) {
  return snr_db && *snr_db == std::numeric_limits<double>::infinity();
}

// A number where a text is one.
Json figure(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  return *end == 0 && std::isfinite(value) ? Json(value) : Json(text);
}

Json json_of(const measure::Interval& interval) { return {interval.low, interval.high}; }

Json json_of(const measure::OutputComparison& output) {
  return {{"name", output.name},
          {"snr_db", number(output.snr_db)},
          {"identical", is_exact(output.snr_db)},
          {"largest_error", number(output.largest_error)},
          {"agreement", number(output.agreement)},
          {"other_shapes", output.other_shapes}};
}

Json json_of(const measure::Evaluation& evaluation) {
  Json json = {{"samples", evaluation.samples},
               {"top1", evaluation.accuracy ? number(evaluation.accuracy->top1) : Json(nullptr)},
               {"loss", evaluation.accuracy ? number(evaluation.accuracy->loss) : Json(nullptr)},
               {"snr_db", number(evaluation.snr_db)},
               {"agreement", number(evaluation.agreement)}};
  if (evaluation.accuracy) json["top1_interval"] = json_of(evaluation.accuracy->interval);
  if (evaluation.against) {
    json["against"] = {{"top1", number(evaluation.against->top1)}, {"loss", number(evaluation.against->loss)}};
  }
  if (evaluation.snr_db) json["identical"] = is_exact(evaluation.snr_db);
  if (evaluation.metric) json["metric"] = figure(*evaluation.metric);
  if (evaluation.agreement_interval) {
    json["agreement_interval"] = json_of(*evaluation.agreement_interval);
    json["changed"] = Json::array();
  }
  for (const measure::ChangedSample& sample : evaluation.changed) {
    json["changed"].push_back({{"sample", sample.index}, {"before", sample.before}, {"after", sample.after}});
    if (!sample.file.empty()) json["changed"].back()["file"] = sample.file;
  }
  for (const measure::OutputComparison& output : evaluation.outputs) json["outputs"].push_back(json_of(output));
  return json;
}

std::string text(const Json& json) {
  // Names come from files and may be no UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json json_of(const quantizer::CompressReport& report, const measure::Evaluation* evaluation = nullptr) {
  Json json = {{"input_bytes", report.input_bytes},
               {"output_bytes", report.output_bytes},
               {"ratio", number(report.ratio)},
               {"paper_ratio", number(report.paper_ratio)},
               {"bits_per_weight", number(report.bits_per_weight)},
               {"calibrated", report.calibrated},
               {"on_data", report.on_data},
               {"predicted_snr_db", report.calibrated ? number(report.predicted_snr_db) : Json(nullptr)},
               {"least_snr_db", report.calibrated ? number(report.least_snr_db) : Json(nullptr)},
               {"measured_snr_db", evaluation ? number(evaluation->snr_db) : Json(nullptr)},
               {"predicted_samples", report.predicted_samples},
               {"tensors", Json::array()},
               {"graph_changes", Json::object()},
               {"warnings", report.warnings}};
  for (const quantizer::TensorReport& tensor : report.tensors) json["tensors"].push_back(json_of(tensor));
  for (const auto& [pass, count] : report.graph_changes) json["graph_changes"][pass] = count;
  return json;
}

// The mean at each rate.
Json means_of(const measure::ImageComparison& comparison, const measure::ImageComparison::Codec& codec) {
  Json means = Json::array();
  for (size_t r = 0; r < comparison.rates.size(); ++r) {
    const measure::MeanRate mean = mean_of(comparison, codec, r);
    means.push_back({{"rate", comparison.rates[r]},
                     {"bits_per_pixel", mean.bits_per_pixel},
                     {"psnr_db", number(mean.psnr)},
                     {"ms_ssim", mean.ms_ssim},
                     {"ms_ssim_db", number(ms_ssim_db(mean.ms_ssim))}});
  }
  return means;
}

Json better_than(const measure::ImageComparison& comparison, const measure::ImageComparison::Codec& codec) {
  Json better = Json::array();
  for (const measure::ImageComparison::Codec& peer : comparison.codecs) {
    for (size_t r = 0; peer.is_peer() && r < comparison.rates.size(); ++r) {
      const measure::Wins wins = wins_of(codec, peer, r);
      better.push_back({{"codec", codec.name},
                        {"against", peer.name},
                        {"rate", comparison.rates[r]},
                        {"by_ms_ssim", wins.ms_ssim},
                        {"by_psnr", wins.psnr},
                        {"of", comparison.pictures.size()}});
    }
  }
  return better;
}

Json json_of_picture(const measure::ImageComparison& comparison, size_t p) {
  const measure::ImageComparison::Picture& picture = comparison.pictures[p];
  Json files = Json::array();
  for (const measure::ImageComparison::Codec& codec : comparison.codecs) {
    for (size_t r = 0; r < comparison.rates.size(); ++r) {
      const measure::CodedPicture& file = codec.files[p][r];
      files.push_back({{"codec", codec.name},
                       {"rate", comparison.rates[r]},
                       {"setting", file.setting},
                       {"bytes", file.bytes},
                       {"bits_per_pixel", 8 * file.bytes / picture.width / picture.height},
                       {"psnr_db", number(file.psnr)},
                       {"ms_ssim", file.ms_ssim}});
    }
  }
  return {{"file", picture.file}, {"width", picture.width}, {"height", picture.height}, {"files", std::move(files)}};
}

Json json_of(const quantizer::CheckedValue& value) {
  Json json = {{"name", value.name}, {"type", value.type}, {"dims", nullptr}, {"dim_names", Json::array()}};
  if (value.has_dims) json["dims"] = Json::array();
  for (size_t i = 0; value.has_dims && i < value.dims.size(); ++i) {
    json["dims"].push_back(value.dims[i] < 0 ? Json(nullptr) : Json(value.dims[i]));
    json["dim_names"].push_back(value.dim_names[i].empty() ? Json(nullptr) : Json(value.dim_names[i]));
  }
  json["has_default"] = value.has_default;
  return json;
}

}  // namespace

std::string to_json(const quantizer::ModelCheck& check) {
  Json json = {{"file", check.file},
               {"bytes", check.bytes},
               {"format", check.is_quench ? "quench" : "onnx"},
               {"producer", check.producer},
               {"ir_version", check.ir_version},
               {"opsets", Json::object()},
               {"nodes", check.nodes},
               {"functions", check.functions},
               {"runs", check.refusal.empty()},
               {"refusal", check.refusal.empty() ? Json(nullptr) : Json(check.refusal)},
               {"missing", check.missing()},
               {"float_elements", check.float_elements()},
               {"float32_bytes", 4 * check.float_elements()},
               {"operators", Json::array()},
               {"weights", Json::array()},
               {"inputs", Json::array()},
               {"outputs", Json::array()},
               {"warnings", check.warnings}};
  for (const auto& [domain, version] : check.opsets) json["opsets"][domain] = version;
  for (const quantizer::CheckedOperator& op : check.operators) {
    json["operators"].push_back({{"name", op.name}, {"nodes", op.nodes}, {"first", op.first}, {"runs", op.runs}});
  }
  for (const quantizer::CheckedWeight& weight : check.weights) {
    json["weights"].push_back({{"name", weight.name},
                               {"type", weight.type},
                               {"dims", weight.dims},
                               {"bytes", weight.bytes},
                               {"quantized", weight.is_quantized},
                               {"reason", weight.reason}});
  }
  for (const quantizer::CheckedValue& input : check.inputs) json["inputs"].push_back(json_of(input));
  for (const quantizer::CheckedValue& output : check.outputs) json["outputs"].push_back(json_of(output));
  const auto put = [&](const char* name, const auto& value) { json[name] = value ? Json(*value) : Json(nullptr); };
  put("run_ms", check.run_ms);
  put("run_bytes", check.run_bytes);
  put("compress_seconds", check.compress_seconds);
  put("compress_bytes", check.compress_bytes);
  return text(json);
}

std::string to_json(const quantizer::CompressReport& report, const measure::Evaluation* evaluation) {
  Json json = json_of(report, evaluation);
  if (!evaluation) return text(json);
  json["eval"] = json_of(*evaluation);
  return text(json);
}

std::string to_json(const training::TrainReport& training) {
  return text({{"parameters", training.parameters},
               {"output_bytes", training.output_bytes},
               {"top1", number(training.accuracy)},
               {"validation_top1", number(training.validation_accuracy)},
               {"log_likelihood", number(training.log_likelihood)},
               {"validation_log_likelihood", number(training.validation_log_likelihood)},
               {"column", training.column},
               {"columns_top1", training.column_accuracies}});
}

std::string to_json(const training::CodecReport& training) {
  Json rates = Json::array();
  for (const training::TrainingRecord::RatePoint& point : training.rates) {
    rates.push_back({{"quality", point.quality},
                     {"bits_per_pixel", number(point.bits_per_pixel)},
                     {"ms_ssim", number(point.ms_ssim)},
                     {"psnr_db", number(point.psnr_db)}});
  }
  return text({{"parameters", training.parameters},
               {"encoder_bytes", training.encoder_bytes},
               {"decoder_bytes", training.decoder_bytes},
               {"rates", std::move(rates)}});
}

std::string to_json(const training::TuneReport& tuning) {
  Json json = json_of(tuning.file);
  json["top1"] = number(tuning.accuracy_after);
  json["top1_before"] = number(tuning.accuracy_before);
  json["validation_top1"] = number(tuning.validation_after);
  json["validation_top1_before"] = number(tuning.validation_before);
  json["snr_db"] = number(tuning.snr_db);
  for (size_t i = 0; i < tuning.paper_ratios.size(); ++i) {
    json["paper_ratios"][entropy::kCoders[i].name] = number(tuning.paper_ratios[i]);
  }
  return text(json);
}

std::string to_json(const measure::ImageComparison& comparison) {
  Json json = {{"pictures", comparison.pictures.size()},
               {"rates", comparison.rates},
               {"rates_are", comparison.by_quality ? "quality" : "bits_per_pixel"},
               {"codecs", Json::array()},
               {"better", Json::array()},
               {"left_out", Json::array()},
               {"images", Json::array()}};
  for (const measure::ImageComparison::Codec& codec : comparison.codecs) {
    json["codecs"].push_back({{"name", codec.name},
                              {"command", codec.is_peer() ? Json(codec.command) : Json(nullptr)},
                              {"means", means_of(comparison, codec)}});
    if (codec.is_peer()) continue;
    for (Json& each : better_than(comparison, codec)) json["better"].push_back(std::move(each));
  }
  for (const measure::ImageComparison::LeftOut& each : comparison.left_out)
    json["left_out"].push_back({{"name", each.name}, {"reason", each.reason}});
  for (size_t p = 0; p < comparison.pictures.size(); ++p) json["images"].push_back(json_of_picture(comparison, p));
  return text(json);
}

std::string to_json(const measure::Evaluation& evaluation) { return text(json_of(evaluation)); }

std::string to_json(const measure::Benchmark& benchmark) {
  return text({{"file_bytes", benchmark.file_bytes},
               {"threads", benchmark.threads},
               {"runs", benchmark.runs},
               {"load_ms", benchmark.load_ms},
               {"first_result_ms", benchmark.first_result_ms},
               {"decode_ms", benchmark.decode_ms},
               {"weights", benchmark.weights},
               {"median_ms", benchmark.median_ms},
               {"min_ms", benchmark.min_ms},
               {"arena_bytes", benchmark.arena_bytes},
               {"peak_bytes", benchmark.peak_bytes}});
}

std::string to_json(const measure::Inspection& inspection) {
  Json json = {{"file", inspection.file},       {"bytes", inspection.bytes},
               {"weights", inspection.weights}, {"bits_per_weight", inspection.bits_per_weight},
               {"tensors", Json::array()},      {"parts", Json::array()},
               {"metadata", Json::object()}};
  for (const auto& [key, value] : inspection.metadata) json["metadata"][key] = value;
  for (const measure::InspectedTensor& tensor : inspection.tensors) {
    json["tensors"].push_back({{"name", tensor.name},
                               {"type", tensor.type},
                               {"dims", tensor.dims},
                               {"elements", tensor.elements},
                               {"encoding", tensor.encoding},
                               {"trellis", tensor.trellis.empty() ? Json() : Json(tensor.trellis)},
                               {"dimension", tensor.dimension},
                               {"centers", tensor.centers},
                               {"codebook", tensor.codebook},
                               {"bits_per_weight", tensor.bits_per_weight},
                               {"entropy", number(tensor.entropy)},
                               {"bytes", tensor.bytes}});
  }
  for (const measure::InspectedPart& part : inspection.parts)
    json["parts"].push_back({{"name", part.name}, {"bytes", part.bytes}});
  return text(json);
}

}  // namespace quench::report
