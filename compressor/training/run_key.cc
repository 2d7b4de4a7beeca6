#include "compressor/training/run_key.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <concepts>

#include "compressor/training/visit_options.h"
#include "formats/entropy/coder.h"

namespace quench::training {
namespace {

constexpr const char* kPrefix = "option.";

std::string text_of(bool value) { return value ? "on" : "off"; }
std::string text_of(const std::string& value) { return value.empty() ? "none" : value; }
std::string text_of(const std::filesystem::path& value) { return text_of(value.string()); }
std::string text_of(OptimizerKind value) { return name_in(kOptimizers, value); }
std::string text_of(RateSchedule value) { return name_in(kRateSchedules, value); }
std::string text_of(Annealing value) { return name_in(kAnnealings, value); }
std::string text_of(quantizer::CodebookScope value) { return name_in(kCodebooks, value); }
std::string text_of(data::Layout value) { return value == data::Layout::kNhwc ? "nhwc" : "nchw"; }
std::string text_of(entropy::Coder value) { return entropy::name_of(value); }

// So that different numbers have different texts.
template <typename Number>
requires std::integral<Number> || std::floating_point<Number> std::string text_of(Number value) {
  return fmt::format("{}", value);
}

template <typename Value>
std::string text_of(const std::vector<Value>& values) {
  return values.empty() ? "none" : fmt::format("{}", fmt::join(values, ","));
}

template <typename Value>
std::string text_of(const std::optional<Value>& value) {
  return value ? text_of(*value) : "at its default";
}

struct Recorder {
  RunKey& key;
  template <typename Value>
  void must_match(const char* name, const Value& value) {
    key.add(name, text_of(value));
  }
  void may_change(const char*) {}
};

}  // namespace

std::map<std::string, std::string> RunKey::to_texts() const {
  std::map<std::string, std::string> texts;
  for (const auto& [name, value] : options_) texts[kPrefix + name] = value;
  return texts;
}

std::string RunKey::difference(const std::map<std::string, std::string>& texts) const {
  for (const auto& [name, value] : options_) {
    const auto found = texts.find(kPrefix + name);
    if (found == texts.end()) return "no " + name;
    if (found->second != value) return fmt::format("{} {}, not {}", name, found->second, value);
  }
  return "";
}

RunKey run_key(const LoopOptions& options, const RunKey& network) {
  RunKey key;
  key.add("the command", "train");
  key.add(network);
  Recorder recorder{key};
  visit_options(options, recorder);
  return key;
}

RunKey run_key(const TuneOptions& options) {
  RunKey key;
  key.add("the command", "tune");
  Recorder recorder{key};
  visit_options(options, recorder);
  return key;
}

}  // namespace quench::training
