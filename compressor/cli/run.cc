#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/data/npy.h"
#include "compressor/measure/runner.h"
#include "compressor/report/table.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using graph::HostTensor;

struct Arguments {
  std::string file;
  std::vector<std::string> inputs, outputs;
  int threads = 0;
};

// NAME=path or path alone. A path may have '=' in it: what is before it counts only if it names something.
struct NamedPath {
  std::string name;  // empty: the next one in order
  std::string path;
};

NamedPath parse_named_path(const std::string& text, const std::vector<std::string>& names) {
  const size_t equals = text.find('=');
  if (equals != std::string::npos) {
    const std::string name = text.substr(0, equals);
    if (std::find(names.begin(), names.end(), name) != names.end()) return {name, text.substr(equals + 1)};
    std::error_code error;
    if (!fs::exists(text, error))
      throw Error::make("{}: there is no '{}'; the model has {}", text, name, fmt::join(names, ", "));
  }
  return {"", text};
}

// Each path with a name; those without one take the names in order.
std::vector<NamedPath> assign_names(const std::vector<std::string>& texts, const std::vector<std::string>& names) {
  std::vector<NamedPath> assigned;
  assigned.reserve(texts.size());
  for (const std::string& text : texts) assigned.push_back(parse_named_path(text, names));
  std::set<std::string> taken;
  for (const NamedPath& path : assigned) {
    if (!path.name.empty() && !taken.insert(path.name).second) throw Error::make("'{}' is given twice", path.name);
  }
  for (NamedPath& path : assigned) {
    if (!path.name.empty()) continue;
    const auto next =
        std::find_if(names.begin(), names.end(), [&](const std::string& name) { return !taken.contains(name); });
    if (next == names.end()) throw Error::make("{}: the model has only {}", path.path, fmt::join(names, ", "));
    path.name = *next;
    taken.insert(path.name);
  }
  return assigned;
}

std::vector<HostTensor> read_inputs(const measure::Runner& model, const std::vector<std::string>& texts) {
  std::vector<std::string> names;
  for (const measure::ValueSpec& input : model.inputs()) names.push_back(input.name);
  std::vector<HostTensor> inputs;
  for (const NamedPath& path : assign_names(texts, names)) {
    data::Array array = data::read_npy(path.path);
    inputs.push_back({path.name, static_cast<int32_t>(array.type), std::move(array.dims), std::move(array.bytes)});
    std::erase(names, path.name);
  }
  if (!names.empty())
    throw Error::make("{}: no values are given for {} (--input NAME=x.npy)", model.name(), fmt::join(names, ", "));
  return inputs;
}

void write_output(const fs::path& path, const HostTensor& tensor) {
  data::write_npy(path, {static_cast<ElementType>(tensor.dtype), tensor.dims, tensor.bytes});
}

// Names of outputs may hold anything; '/' would lead elsewhere.
std::string file_name_of(std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  return (name.starts_with('.') ? "_" : "") + name + ".npy";
}

void write_outputs(const std::vector<HostTensor>& outputs, const std::vector<std::string>& texts) {
  std::vector<std::string> names;
  names.reserve(outputs.size());
  for (const HostTensor& output : outputs) names.push_back(output.name);
  if (texts.size() == 1 && (texts[0].ends_with('/') || fs::is_directory(texts[0]))) {
    fs::create_directories(texts[0]);
    for (const HostTensor& output : outputs) write_output(fs::path(texts[0]) / file_name_of(output.name), output);
    return;
  }
  for (const NamedPath& path : assign_names(texts, names)) {
    write_output(path.path,
                 outputs[static_cast<size_t>(std::find(names.begin(), names.end(), path.name) - names.begin())]);
  }
}

std::string summary(const std::vector<HostTensor>& outputs) {
  report::Table table({{"output", report::Table::Align::kLeft},
                       {"type", report::Table::Align::kLeft},
                       {"shape", report::Table::Align::kLeft},
                       {"least"},
                       {"greatest"},
                       {"mean"}});
  for (const HostTensor& output : outputs) {
    const std::vector<float> values =
        data::Array{static_cast<ElementType>(output.dtype), output.dims, output.bytes}.to_float();
    if (values.empty()) {
      table.row({output.name, type_name(output.dtype), data::dims_text(output.dims)});
      continue;
    }
    double sum = 0;
    for (const float value : values) sum += value;
    const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
    table.row({output.name, type_name(output.dtype), data::dims_text(output.dims), fmt::format("{:.5g}", *least),
               fmt::format("{:.5g}", *greatest), fmt::format("{:.5g}", sum / static_cast<double>(values.size()))});
  }
  return table.text();
}

void run(const Arguments& arguments) {
  const std::unique_ptr<measure::Runner> model =
      measure::Runner::open(arguments.file, resolve_threads(arguments.threads));
  const std::vector<HostTensor> outputs = model->run(read_inputs(*model, arguments.inputs));
  write_outputs(outputs, arguments.outputs);
  fmt::print("{}", summary(outputs));
}

}  // namespace

void add_run(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("run", "Run a model on .npy files");
  command->add_option("file", arguments->file, "a .quench or .onnx file")->required()->type_name("FILE");
  command->add_option("--input", arguments->inputs, "values of an input; without a name, of the next one in order")
      ->type_name("[NAME=]x.npy")
      ->allow_extra_args(false);
  command->add_option("--output", arguments->outputs, "where an output goes; a folder takes all of them")
      ->type_name("[NAME=]y.npy")
      ->allow_extra_args(false);
  add_threads(*command, arguments->threads);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
