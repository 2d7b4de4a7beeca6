#include "compressor/training/training_record.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "formats/error.h"

namespace quench::training {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json number(const std::optional<double>& value) { return value ? number(*value) : Json(nullptr); }

std::optional<double> optional_number(const Json& json) {
  return json.is_number() ? std::optional(json.get<double>()) : std::nullopt;
}

}  // namespace

std::string to_json_line(const TrainingRecord& record) {
  Json json = {{"epoch", record.epoch},
               {"epochs", record.epochs},
               {"step", record.step},
               {"seconds", number(record.seconds)},
               {"learning_rate", number(record.learning_rate)},
               {"loss", number(record.loss)},
               {"accuracy", number(record.accuracy)},
               {"soft_accuracy", number(record.soft_accuracy)},
               {"test_loss", number(record.test_loss)},
               {"snr_db", number(record.snr_db)}};
  if (record.log_likelihood) json["log_likelihood"] = number(record.log_likelihood);
  if (record.evaluations) {
    json["evaluations"] = {{"forward", number(record.evaluations->forward)},
                           {"backward", number(record.evaluations->backward)}};
  }
  if (record.quantization) {
    const TrainingRecord::Quantization& q = *record.quantization;
    json["quantization"] = {{"sigma", number(q.sigma)},     {"price", number(q.price)}, {"beta", number(q.beta)},
                            {"entropy", number(q.entropy)}, {"flips", number(q.flips)}, {"ratio", number(q.ratio)},
                            {"tensor_bits", q.tensor_bits}, {"histogram", q.histogram}, {"centers", q.centers}};
  }
  for (const TrainingRecord::RatePoint& point : record.rates) {
    json["rates"].push_back({{"quality", number(point.quality)},
                             {"bits_per_pixel", number(point.bits_per_pixel)},
                             {"ms_ssim", number(point.ms_ssim)},
                             {"psnr_db", number(point.psnr_db)}});
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

TrainingRecord training_record(std::string_view line) {
  try {
    const Json json = Json::parse(line);
    TrainingRecord record;
    record.epoch = json.at("epoch");
    record.epochs = json.at("epochs");
    record.step = json.at("step");
    record.seconds = json.at("seconds");
    record.learning_rate = json.at("learning_rate");
    record.loss = json.at("loss");
    record.accuracy = optional_number(json.at("accuracy"));
    record.soft_accuracy = optional_number(json.at("soft_accuracy"));
    record.test_loss = optional_number(json.at("test_loss"));
    record.snr_db = optional_number(json.at("snr_db"));
    if (json.contains("log_likelihood")) record.log_likelihood = optional_number(json.at("log_likelihood"));
    if (json.contains("evaluations")) {
      const Json& from = json.at("evaluations");
      record.evaluations = {from.at("forward"), from.at("backward")};
    }
    if (json.contains("quantization")) {
      const Json& from = json.at("quantization");
      TrainingRecord::Quantization q;
      q.sigma = from.at("sigma");
      q.price = from.at("price");
      q.beta = from.at("beta");
      q.entropy = from.at("entropy");
      if (from.contains("flips")) q.flips = optional_number(from.at("flips"));
      q.ratio = from.at("ratio");
      q.tensor_bits = from.at("tensor_bits").get<std::map<std::string, double>>();
      q.histogram = from.at("histogram").get<std::vector<int64_t>>();
      q.centers = from.at("centers").get<std::vector<float>>();
      record.quantization = std::move(q);
    }
    if (json.contains("rates")) {
      for (const Json& from : json.at("rates")) {
        record.rates.push_back({from.at("quality"), from.at("bits_per_pixel"), from.at("ms_ssim"), from.at("psnr_db")});
      }
    }
    return record;
  } catch (const Json::exception&) {
    throw Error("this is no line of a metrics file");
  }
}

}  // namespace quench::training
