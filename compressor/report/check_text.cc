#include <fmt/format.h>

#include <algorithm>

#include "compressor/data/array.h"
#include "compressor/report/table.h"
#include "compressor/report/text.h"

namespace quench::report {
namespace {

using quantizer::CheckedOperator;
using quantizer::CheckedValue;
using quantizer::CheckedWeight;
using quantizer::ModelCheck;

constexpr auto kLeft = Table::Align::kLeft;

// "batch x 3 x ? x ?".
std::string shape_text(const CheckedValue& value) {
  if (!value.has_dims) return "not declared";
  if (value.dims.empty()) return "scalar";
  std::string text;
  for (size_t i = 0; i < value.dims.size(); ++i) {
    const std::string open = value.dim_names[i].empty() ? "?" : value.dim_names[i];
    text += (i == 0 ? "" : " x ") + (value.dims[i] < 0 ? open : std::to_string(value.dims[i]));
  }
  return text;
}

// How to say the sizes of what is open; the first dimension is taken for the batch.
std::string hint_for(const CheckedValue& value) {
  if (!value.has_dims) return fmt::format("--shape {}=AxBxC", value.name);
  std::string hints;
  for (size_t i = 0; i < value.dims.size(); ++i) {
    if (value.dims[i] >= 0) continue;
    if (value.dim_names[i].empty()) return fmt::format("--shape {}=AxBxC", value.name);
    hints += fmt::format("{}--dim {}=N", hints.empty() ? "" : " ", value.dim_names[i]);
  }
  return hints;
}

std::string value_table(const ModelCheck& check) {
  Table table({{"", kLeft}, {"name", kLeft}, {"type", kLeft}, {"shape", kLeft}, {"open", kLeft}});
  for (const CheckedValue& input : check.inputs) {
    table.row(
        {"input", input.name, input.type, shape_text(input), input.has_default ? "may be left out" : hint_for(input)});
  }
  for (const CheckedValue& output : check.outputs) {
    table.row({"output", output.name, output.type, shape_text(output)});
  }
  return table.text();
}

std::string operator_table(const ModelCheck& check) {
  Table table({{"operator", kLeft}, {"nodes"}, {"the runtime", kLeft}});
  for (const CheckedOperator& op : check.operators) {
    table.row({op.name, std::to_string(op.nodes), op.runs ? "" : fmt::format("lacks it: node '{}'", op.first)});
  }
  table.rule();
  table.row({"all", std::to_string(check.nodes)});
  return table.text();
}

std::string weight_table(const ModelCheck& check) {
  Table table({{"weight", kLeft}, {"shape", kLeft}, {"type", kLeft}, {"bytes"}, {"stored", kLeft}});
  uint64_t bytes = 0, tiny_bytes = 0, tiny = 0;
  for (const CheckedWeight& weight : check.weights) {
    bytes += weight.bytes;
    if (weight.is_tiny) {
      ++tiny;
      tiny_bytes += weight.bytes;
    } else {
      table.row({weight.name, data::dims_text(weight.dims), weight.type, human_bytes(weight.bytes), weight.reason});
    }
  }
  table.rule();
  if (tiny > 0) table.row({fmt::format("{} tiny", tiny), "", "", human_bytes(tiny_bytes), "exact, in the graph"});
  table.row({"all", "", "", human_bytes(bytes),
             fmt::format("{} of floats, in float32", human_bytes(4 * check.float_elements()))});
  return table.text();
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + printable(name);
  return text;
}

// Beside the batch, of which one is enough.
bool has_open_sizes(const ModelCheck& check) {
  return std::ranges::any_of(check.inputs, [](const CheckedValue& input) {
    return !input.has_dims || std::any_of(input.dims.begin() + (input.dims.empty() ? 0 : 1), input.dims.end(),
                                          [](int64_t dim) { return dim < 0; });
  });
}

std::string opsets_text(const ModelCheck& check) {
  std::string text;
  for (const auto& [domain, version] : check.opsets) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", printable(domain), version);
  }
  return text;
}

// Seconds, or minutes: two digits are more than is known.
std::string time_text(double seconds) {
  if (seconds < 1) return "a second";
  return seconds < 100 ? fmt::format("{:.0f} s", seconds) : fmt::format("{:.0f} min", seconds / 60);
}

std::string verdict(const ModelCheck& check) {
  const std::vector<std::string> missing = check.missing();
  std::string text;
  if (!missing.empty()) text += fmt::format("the runtime lacks {}\n", list(missing));
  if (!check.refusal.empty())
    text += fmt::format("does not run on made-up inputs: {}\n", printable(check.refusal, 1000));
  if (!check.refusal.empty() && missing.empty() && has_open_sizes(check)) {
    text += "sizes that the model leaves open were made up, too: --dim and --shape say others\n";
  }
  if (!check.refusal.empty() && !check.is_quench) {
    text += check.cut_at.empty()
                ? "compress knows its weights alone: each is quantized by its own error\n"
                : fmt::format("compress looks at what comes before {}, if that runs\n", printable(check.cut_at, 200));
  }
  if (check.run_ms) {
    text += fmt::format("runs on made-up inputs: {:.3g} ms for one sample, {}\n", *check.run_ms,
                        human_bytes(*check.run_bytes));
  }
  if (check.compress_seconds) {
    text += fmt::format("compress takes about {} of processor time and {}: a guess, within a factor of three\n",
                        time_text(*check.compress_seconds), human_bytes(*check.compress_bytes));
  }
  return text;
}

}  // namespace

std::string to_text(const ModelCheck& check) {
  std::string text = fmt::format("{}: {}, IR version {}, operator sets {}", check.file, human_bytes(check.bytes),
                                 check.ir_version, opsets_text(check));
  if (!check.producer.empty()) text += ", made by " + printable(check.producer);
  text += "\n\n" + value_table(check) + "\n" + operator_table(check) + "\n" + weight_table(check) + "\n";
  return text + verdict(check);
}

std::string headline(const ModelCheck& check) {
  const auto quantized =
      std::count_if(check.weights.begin(), check.weights.end(), [](const auto& weight) { return weight.is_quantized; });
  uint64_t elements = 0;
  for (const CheckedWeight& weight : check.weights) elements += weight.is_quantized ? weight.elements : 0;
  std::string text =
      fmt::format("{}: {}, {} nodes; {} of {} weights to quantize, {} of {} values\n", check.file, opsets_text(check),
                  check.nodes, quantized, check.weights.size(), elements, check.real_elements());
  const std::vector<std::string> missing = check.missing();
  if (!missing.empty()) text += fmt::format("the runtime lacks {}: quantized blindly (quench check)\n", list(missing));
  return text;
}

}  // namespace quench::report
