#include "compressor/cli/options.h"

#include <fmt/format.h>

#include <charconv>
#include <thread>

#include "compressor/data/files.h"
#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::cli {

void PreprocessingOptions::add_to(CLI::App& command) {
  const std::string group = "Preprocessing: value = (pixel * scale - mean) / std";
  command.add_option("--mean", mean_, "one number per channel, or one for all; default 0")
      ->delimiter(',')
      ->type_name("M,...")
      ->group(group);
  command.add_option("--std", std_, "likewise; default 1")->delimiter(',')->type_name("S,...")->group(group);
  command.add_option("--scale", scale_, "default 1/255 for images, 1 for .npy and .npz")->type_name("X")->group(group);
  command.add_option("--layout", layout_, "of the model's input; default: what its shape says")
      ->check(CLI::IsMember({"nchw", "nhwc"}).description(""))
      ->type_name("nchw|nhwc")
      ->group(group);
}

data::DatasetOptions PreprocessingOptions::get() const {
  data::DatasetOptions options{mean_, std_, scale_, {}, {}};
  if (!layout_.empty()) options.layout = layout_ == "nhwc" ? data::Layout::kNhwc : data::Layout::kNchw;
  return options;
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
                    ->check(CLI::PositiveNumber)
                    ->type_name("R")
                    ->group(group);
  added.bits = command.add_option("--bits", bits, "bits per weight, everything in the file counted")
                   ->check(CLI::PositiveNumber)
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

void add_shapes(CLI::App& command, std::vector<std::string>& shapes) {
  command.add_option("--shape", shapes, "of an input that leaves dimensions open, e.g. x=1x3x320x320")
      ->type_name("NAME=AxBxC")
      ->allow_extra_args(false);
}

std::map<std::string, std::vector<int64_t>> parse_shapes(const std::vector<std::string>& shapes) {
  std::map<std::string, std::vector<int64_t>> parsed;
  for (const std::string& text : shapes) {
    const size_t equals = text.rfind('=');
    const auto refuse = [&] { throw UsageError(fmt::format("--shape {}: give NAME=1x3x32x32", text)); };
    if (equals == std::string::npos || equals == 0) refuse();
    std::vector<int64_t>& dims = parsed[text.substr(0, equals)];
    const char* at = text.data() + equals + 1;
    const char* end = text.data() + text.size();
    while (true) {
      int64_t dim = 0;
      const auto [next, error] = std::from_chars(at, end, dim);
      if (error != std::errc() || dim < 1 || dim > (int64_t{1} << 32)) refuse();
      dims.push_back(dim);
      if (next == end) break;
      if (*next != 'x') refuse();
      at = next + 1;
    }
  }
  return parsed;
}

void print_warning(const std::string& text) { fmt::print(stderr, "quench: warning: {}\n", printable(text, 1000)); }

}  // namespace quench::cli
