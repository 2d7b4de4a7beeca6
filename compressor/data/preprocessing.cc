#include "compressor/data/preprocessing.h"

#include <cmath>
#include <cstdlib>

#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::data {
namespace {

struct Preset {
  const char* name;
  const char* text;
};

constexpr Preset kPresets[] = {{"imagenet", "mean=0.485,0.456,0.406 std=0.229,0.224,0.225"},
                               {"cifar10", "mean=0.4914,0.4822,0.4465 std=0.247,0.2435,0.2616"},
                               {"signed", "mean=0.5 std=0.5"},
                               {"bytes", "scale=1"},
                               {"caffe", "scale=1 mean=103.939,116.779,123.68 order=bgr"}};

std::string list(const std::vector<float>& values) {
  std::string text;
  for (const float value : values) text += fmt::format("{}{}", text.empty() ? "" : ",", value);
  return text;
}

constexpr size_t kMostChannels = 4096;

std::vector<float> numbers(const std::string& text) {
  std::vector<float> values;
  const char* at = text.c_str();
  while (values.size() < kMostChannels) {
    char* end = nullptr;
    values.push_back(std::strtof(at, &end));
    if (end == at || !std::isfinite(values.back())) break;
    if (*end == 0) return values;
    if (*end != ',') break;
    at = end + 1;
  }
  throw Error::make("'{}' are no numbers", printable(text));
}

void set(const std::string& key, const std::string& value, DatasetOptions& options) {
  if (key == "mean") {
    options.mean = numbers(value);
  } else if (key == "std") {
    options.std = numbers(value);
    for (const float each : options.std) {
      if (!(each > 0)) throw Error("std must be above 0");
    }
  } else if (key == "scale") {
    options.scale = numbers(value).at(0);
  } else if (key == "layout" && (value == "nchw" || value == "nhwc")) {
    options.layout = value == "nhwc" ? Layout::kNhwc : Layout::kNchw;
  } else if (key == "order" && (value == "rgb" || value == "bgr")) {
    options.bgr = value == "bgr";
  } else {
    throw Error::make("'{}={}' means nothing", printable(key), printable(value));
  }
}

}  // namespace

std::string to_text(const DatasetOptions& options) {
  std::string text;
  const auto add = [&](const char* key, const std::string& value) {
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", key, value);
  };
  if (options.scale) add("scale", fmt::format("{}", *options.scale));
  if (!options.mean.empty()) add("mean", list(options.mean));
  if (!options.std.empty()) add("std", list(options.std));
  if (options.layout) add("layout", *options.layout == Layout::kNhwc ? "nhwc" : "nchw");
  if (options.bgr) add("order", "bgr");
  return text;
}

DatasetOptions preprocessing_from(std::string_view text) {
  DatasetOptions options;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    const size_t equals = std::min(part.find('='), part.size());
    set(std::string(part.substr(0, equals)), std::string(part.substr(std::min(equals + 1, part.size()))), options);
  }
  return options;
}

std::optional<DatasetOptions> preset(std::string_view name) {
  for (const Preset& each : kPresets) {
    if (each.name == name) return preprocessing_from(each.text);
  }
  return std::nullopt;
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& each : kPresets) names.emplace_back(each.name);
  return names;
}

}  // namespace quench::data
