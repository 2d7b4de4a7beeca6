#include "compressor/cli/options.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <thread>
#include <utility>

#include "compressor/data/files.h"
#include "compressor/data/preprocessing.h"
#include "compressor/measure/properties.h"
#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

std::vector<float> floats_of(const std::vector<std::string>& lists) {
  const std::vector<double> numbers = numbers_of(lists);
  return {numbers.begin(), numbers.end()};
}

// `complaint`: of a number that does not hold.
template <typename Holds>
CLI::Validator each(Holds holds, const char* complaint) {
  return {[holds, complaint](std::string& list) -> std::string {
            for (const std::string& part : parts_of(list)) {
              if (!holds(std::strtod(part.c_str(), nullptr))) return part + complaint;
            }
            return {};
          },
          ""};
}

}  // namespace

void PreprocessingOptions::add_to(CLI::App& command) {
  const std::string group = "Preprocessing: value = (pixel * scale - mean) / std";
  std::string names;
  for (const std::string& name : data::preset_names()) names += (names.empty() ? "" : "|") + name;
  command.add_option("--preset", preset_, "what models of this kind want; the other options change parts of it")
      ->check(CLI::IsMember(data::preset_names()).description(""))
      ->type_name(names)
      ->group(group);
  command.add_option("--mean", mean_, "one number per channel, or one for all; default 0")
      ->type_name("M,...")
      ->group(group);
  command.add_option("--std", std_, "likewise; default 1")->check(above_zero())->type_name("S,...")->group(group);
  command.add_option("--scale", scale_, "default 1/255 for images, 1 for .npy and .npz")->type_name("X")->group(group);
  command.add_option("--layout", layout_, "of the model's input; default: what its shape says")
      ->check(CLI::IsMember({"nchw", "nhwc"}).description(""))
      ->type_name("nchw|nhwc")
      ->group(group);
  command.add_option("--order", order_, "of an image's channels, and of mean and std; default rgb")
      ->check(CLI::IsMember({"rgb", "bgr"}).description(""))
      ->type_name("rgb|bgr")
      ->group(group);
}

bool PreprocessingOptions::is_given() const {
  return !preset_.empty() || !mean_.empty() || !std_.empty() || scale_ || !layout_.empty() || !order_.empty();
}

data::DatasetOptions PreprocessingOptions::get() const {
  data::DatasetOptions options = data::preset(preset_).value_or(data::DatasetOptions());
  if (!mean_.empty()) options.mean = floats_of(mean_);
  if (!std_.empty()) options.std = floats_of(std_);
  if (scale_) options.scale = scale_;
  if (!layout_.empty()) options.layout = layout_ == "nhwc" ? data::Layout::kNhwc : data::Layout::kNchw;
  if (!order_.empty()) options.bgr = order_ == "bgr";
  return options;
}

data::DatasetOptions PreprocessingOptions::get(const std::filesystem::path& file, uint64_t max_memory) const {
  if (is_given()) return get();
  try {
    data::DatasetOptions options =
        data::preprocessing_from(measure::property(file, data::kPreprocessingKey, max_memory));
    options.images_only = true;
    return options;
  } catch (const Error& error) {
    const std::string message = error.what();
    if (message.starts_with(file.string())) throw;
    throw Error::make("{}: its metadata, {}: {}", file.string(), data::kPreprocessingKey, message);
  }
}

std::string read_labels(const std::filesystem::path& file) {
  if (file.empty()) return "";
  constexpr size_t kMost = size_t{1} << 20;
  const std::vector<std::byte> bytes = data::read_file(file);
  std::string text;
  for (const std::byte byte : bytes) {
    const char c = static_cast<char>(byte);
    if (c == 0) throw Error::make("{}: this is no text with a line for each class", file.string());
    if (c != '\r') text += c;
  }
  while (text.ends_with('\n')) text.pop_back();
  if (text.empty() || text.size() > kMost)
    throw Error::make("{}: it holds no labels, or more than 1 MiB", file.string());
  return text;
}

void JsonOption::add_to(CLI::App& command) {
  option_ = command.add_option("--json", file_, "the report as JSON: to FILE, or printed instead of the table")
                ->expected(0, 1)
                ->type_name("[FILE]");
}

void JsonOption::show(const std::string& text, const std::string& json) const {
  const bool to_file = !file_.empty();
  fmt::print("{}", option_->count() > 0 && !to_file ? json : text);
  if (to_file) data::write_file(file_, std::as_bytes(std::span(json)));
}

void JsonOption::declare(FileUse& files) const {
  if (!file_.empty()) files.writes(file_);
}

CLI::Validator named_number(std::map<std::string, std::string> numbers) {
  const auto replace = [numbers = std::move(numbers)](std::string& text) -> std::string {
    const auto found = numbers.find(text);
    if (found != numbers.end()) {
      text = found->second;
      return {};
    }
    std::string names;
    for (const auto& [name, number] : numbers) names += (names.empty() ? "" : ", ") + name;
    return fmt::format("'{}' is none of {}", printable(text), names);
  };
  return {replace, ""};
}

CLI::Validator above_zero() {
  return each([](double value) { return value > 0; }, " is not above 0");
}

CLI::Validator at_least_zero() {
  return each([](double value) { return value >= 0; }, " is below 0");
}

std::vector<std::string> parts_of(const std::string& list) {
  std::vector<std::string> parts(1);
  for (const char c : list) c == ',' ? parts.emplace_back() : parts.back() += c;
  return parts;
}

std::vector<double> numbers_of(const std::vector<std::string>& lists) {
  std::vector<double> numbers;
  for (const std::string& list : lists) {
    for (const std::string& part : parts_of(list)) numbers.push_back(std::strtod(part.c_str(), nullptr));
  }
  return numbers;
}

namespace {

enum class Values : uint8_t { kAny, kWhole, kNumbers };

// By how --help names them: whole numbers are N, other numbers another letter, lists "M,...".
Values values_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  if (type == "N" || option.check_name("--seed") || type == "1|2|4|8") return Values::kWhole;
  const bool is_list = type.size() > 1 && type.substr(1) == ",...";
  return type.size() == 1 || is_list ? Values::kNumbers : Values::kAny;
}

std::string what_is_wrong_with(const std::string& number, bool is_whole) {
  constexpr double kLargest = 1e12;
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  const bool has_digit = number.find_first_of("0123456789") != std::string::npos;
  if (number.empty() || *end != 0) return fmt::format("'{}' is no number", printable(number));
  if (!has_digit || !std::isfinite(value)) return fmt::format("{} is no finite number", printable(number));
  if (!is_whole) return std::abs(value) > kLargest ? number + " is too large" : "";
  uint64_t whole = 0;
  const auto [after, error] = std::from_chars(number.data(), number.data() + number.size(), whole);
  if (error == std::errc() && after == number.data() + number.size()) return {};
  return fmt::format("{} is no whole number from 0 to 18446744073709551615", printable(number));
}

std::string guarded(const std::string& text, Values values) {
  if (text.empty()) return "an empty value is given";
  if (values == Values::kAny) return {};
  for (const std::string& part : parts_of(text)) {
    std::string wrong = what_is_wrong_with(part, values == Values::kWhole);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace

void guard_empty_values(const CLI::App& app, std::span<char*> arguments) {
  for (size_t i = 1; i < arguments.size(); ++i) {
    if (*arguments[i] != 0) continue;
    for (const CLI::App* command : app.get_subcommands({})) {
      const CLI::Option* option = command->get_option_no_throw(arguments[i - 1]);
      const bool may_be_left_out = option && option->get_expected_min() == 0 && option->get_expected_max() > 0;
      if (may_be_left_out) throw UsageError(fmt::format("{}: an empty value is given", arguments[i - 1]));
    }
  }
  for (const CLI::App* command : app.get_subcommands({})) guard_empty_values(*command, arguments);
}

void guard_options(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() == 0) continue;
    // A transformation comes before all checks.
    const Values values = values_of(*option);
    option->transform(CLI::Validator([values](std::string& text) { return guarded(text, values); }, ""));
  }
  for (CLI::App* command : app.get_subcommands({})) guard_options(*command);
}

void add_threads(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "default: all processors; results do not depend on it")
      ->check(CLI::Range(1, 256))
      ->type_name("N");
}

void add_max_memory(CLI::App& command, uint64_t& bytes) {
  command
      .add_option("--max-memory", bytes,
                  "most memory for a .quench file, e.g. 2GiB; default: 128MiB + 64 x file + 256 x inputs")
      ->transform(CLI::AsSizeValue(false).description(""))
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 50).description(""))
      ->type_name("SIZE");
}

int resolve_threads(int threads) {
  if (threads > 0) return threads;
  const unsigned processors = std::thread::hardware_concurrency();
  return processors == 0 ? 1 : static_cast<int>(std::min(processors, 64u));
}

SizeOptions add_size(CLI::App& command, std::optional<double>& ratio, std::optional<double>& bits,
                     const std::string& group) {
  SizeOptions added{};
  added.ratio = command.add_option("--ratio", ratio, "bytes of MODEL over bytes of OUT")
                    ->check(above_zero())
                    ->type_name("R")
                    ->group(group);
  added.bits = command.add_option("--bits", bits, "bits per weight, everything in the file counted")
                   ->check(above_zero())
                   ->type_name("B")
                   ->group(group)
                   ->excludes(added.ratio);
  return added;
}

void add_coder(CLI::App& command, entropy::Coder& coder, const std::string& group) {
  std::map<std::string, entropy::Coder> coders;
  std::string names, uses;
  for (const entropy::CoderRow& each : entropy::kCoders) {
    coders[each.name] = each.coder;
    names += fmt::format("{}{}", names.empty() ? "" : "|", each.name);
    uses += fmt::format("{}{} ({})", uses.empty() ? "" : ", ", each.name, each.use);
  }
  command.add_option("--coder", coder, fmt::format("of the indices: {}; default {}", uses, entropy::name_of(coder)))
      ->transform(one_of<entropy::Coder>(coders))
      ->type_name(names)
      ->default_str("")
      ->group(group);
}

void ShapeOptions::add_to(CLI::App& command) {
  command.add_option("--shape", shapes_, "of an input that leaves dimensions open, e.g. x=1x3x320x320")
      ->type_name("NAME=AxBxC")
      ->allow_extra_args(false);
  command.add_option("--dim", dims_, "of a dimension that the model names, in all inputs, e.g. height=320")
      ->type_name("NAME=D")
      ->allow_extra_args(false);
}

namespace {

// NAME=1x3x32x32, of at most `most` dimensions.
std::pair<std::string, std::vector<int64_t>> parse_shape(const std::string& text, size_t most, const char* wanted) {
  constexpr int64_t kLargest = int64_t{1} << 32;
  const auto refuse = [&] { throw UsageError(fmt::format("{}: give {}", printable(text), wanted)); };
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) refuse();
  std::vector<int64_t> dims;
  const char* at = text.data() + equals + 1;
  const char* end = text.data() + text.size();
  while (true) {
    int64_t dim = 0;
    const auto [next, error] = std::from_chars(at, end, dim);
    if (error != std::errc() || dim < 1 || dim > kLargest) refuse();
    dims.push_back(dim);
    if (next == end) break;
    if (*next != 'x' || dims.size() == most) refuse();
    at = next + 1;
  }
  return {text.substr(0, equals), dims};
}

}  // namespace

measure::InputShapes ShapeOptions::get() const {
  measure::InputShapes shapes;
  const auto refuse_second = [](bool is_first, const std::string& text) {
    if (!is_first) throw UsageError(fmt::format("{}: this name has been given a size before", printable(text)));
  };
  for (const std::string& text : shapes_)
    refuse_second(shapes.whole.insert(parse_shape(text, SIZE_MAX, "--shape NAME=1x3x32x32")).second, text);
  for (const std::string& text : dims_) {
    const auto [name, size] = parse_shape(text, 1, "--dim NAME=32");
    refuse_second(shapes.dims.emplace(name, size.front()).second, text);
  }
  return shapes;
}

CLI::Option* add_data_option(CLI::App& command, std::vector<std::string>& data, const std::string& help) {
  return command.add_option("--data", data, help)->type_name("[NAME=]SPEC")->allow_extra_args(false);
}

void print_warning(const std::string& text) { fmt::print(stderr, "quench: warning: {}\n", printable(text, 1000)); }

}  // namespace quench::cli
