#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>

#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/data/files.h"
#include "compressor/data/image.h"
#include "compressor/data/npy.h"
#include "compressor/data/preprocessing.h"
#include "compressor/measure/properties.h"
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
  uint64_t max_memory = 0;
  PreprocessingOptions preprocessing;
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

const measure::ValueSpec& spec_of(const measure::Runner& model, const std::string& name) {
  for (const auto* specs : {&model.inputs(), &model.inputs_with_default()}) {
    for (const measure::ValueSpec& spec : *specs) {
      if (spec.name == name) return spec;
    }
  }
  throw Error::make("{}: there is no input '{}'", model.name(), name);
}

// A batch of one image.
HostTensor read_picture(const measure::ValueSpec& input, const std::string& path, data::DatasetOptions preprocessing) {
  const data::Image image = data::read_image(path);
  if (input.has_dims) preprocessing.model_input = input.dims;
  const data::ImageTarget target(preprocessing, image.width, image.height);
  std::vector<int64_t> dims = {1};
  dims.insert(dims.end(), target.shape().begin(), target.shape().end());
  HostTensor tensor = HostTensor::float32(input.name, std::move(dims));
  target.convert(image, tensor.floats());
  return tensor;
}

std::vector<HostTensor> read_inputs(const measure::Runner& model, const std::vector<NamedPath>& paths,
                                    const Arguments& arguments) {
  const bool has_images = std::ranges::any_of(paths, [](const auto& path) { return data::is_image_name(path.path); });
  if (arguments.preprocessing.is_given() && !has_images)
    throw Error("--preset, --mean, --std, --scale, --layout and --order are for images, and the inputs are arrays");
  std::vector<HostTensor> inputs;
  std::set<std::string> given;
  for (const NamedPath& path : paths) {
    if (data::is_image_name(path.path)) {
      inputs.push_back(read_picture(spec_of(model, path.name), path.path,
                                    arguments.preprocessing.get(arguments.file, arguments.max_memory)));
      given.insert(path.name);
      continue;
    }
    data::Array array = data::read_npy(path.path);
    inputs.push_back({path.name, static_cast<int32_t>(array.type), std::move(array.dims), std::move(array.bytes)});
    given.insert(path.name);
  }
  std::vector<std::string> missing;
  for (const measure::ValueSpec& input : model.inputs()) {
    if (!given.contains(input.name)) missing.push_back(input.name);
  }
  if (!missing.empty())
    throw Error::make("{}: no values are given for {} (--input NAME=x.npy)", model.name(), fmt::join(missing, ", "));
  return inputs;
}

// Without a copy of the values, which may be all the memory that there is.
void write_output(const fs::path& path, HostTensor& tensor) {
  data::Array array{static_cast<ElementType>(tensor.dtype), tensor.dims, std::move(tensor.bytes)};
  data::write_npy(path, array);
  tensor.bytes = std::move(array.bytes);
}

bool is_folder(const std::vector<std::string>& texts) {
  return texts.size() == 1 && (texts[0].ends_with('/') || fs::is_directory(texts[0]));
}

// Where each output goes, by its name; nowhere for those that are not there.
std::vector<NamedPath> output_paths(const std::vector<std::string>& names, const std::vector<std::string>& texts) {
  if (!is_folder(texts)) return assign_names(texts, names);
  const std::vector<std::string> files = data::file_names_of(names, ".npy");
  std::vector<NamedPath> paths;
  for (size_t i = 0; i < names.size(); ++i) paths.push_back({names[i], (fs::path(texts[0]) / files[i]).string()});
  return paths;
}

// Nothing in a folder that does not exist yet can be lost.
void check_files(const Arguments& arguments, const std::vector<NamedPath>& inputs,
                 const std::vector<NamedPath>& outputs) {
  FileUse files;
  files.reads_model(arguments.file);
  for (const NamedPath& input : inputs) files.reads(input.path);
  if (is_folder(arguments.outputs) && !fs::exists(arguments.outputs[0])) return;
  for (const NamedPath& output : outputs) files.writes(output.path);
}

void write_outputs(std::vector<HostTensor>& outputs, const std::vector<NamedPath>& paths) {
  for (const NamedPath& path : paths) {
    for (HostTensor& output : outputs) {
      if (output.name == path.name) write_output(path.path, output);
    }
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
    const bool is_float32 = output.dtype == onnx::TensorProto::FLOAT;
    const std::vector<float> converted =
        is_float32 ? std::vector<float>()
                   : data::Array{static_cast<ElementType>(output.dtype), output.dims, output.bytes}.to_float();
    const std::span<const float> values = is_float32 ? output.floats() : std::span<const float>(converted);
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

// The classes with the highest scores, of an output with one for each label that the model's file has.
std::string best_classes(const measure::Runner& model, const std::vector<HostTensor>& outputs) {
  constexpr size_t kMost = 5;
  std::vector<std::string> labels;
  std::istringstream lines(measure::property(model.model(), data::kLabelsKey));
  for (std::string line; std::getline(lines, line);) labels.push_back(line);
  for (const HostTensor& output : outputs) {
    if (output.dtype != onnx::TensorProto::FLOAT || output.floats().size() != labels.size()) continue;
    const std::span<const float> scores = output.floats();
    std::vector<size_t> order(labels.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, std::greater(), [&](size_t i) { return scores[i]; });
    report::Table table({{"class", report::Table::Align::kLeft}, {output.name}});
    for (size_t i = 0; i < std::min(kMost, order.size()); ++i)
      table.row({printable(labels[order[i]]), fmt::format("{:.5g}", scores[order[i]])});
    return "\n" + table.text();
  }
  return "";
}

void run(const Arguments& arguments) {
  const std::unique_ptr<measure::Runner> model =
      measure::Runner::open(arguments.file, resolve_threads(arguments.threads), arguments.max_memory);
  std::vector<std::string> input_names, output_names;
  for (const measure::ValueSpec& input : model->inputs()) input_names.push_back(input.name);
  for (const measure::ValueSpec& input : model->inputs_with_default()) input_names.push_back(input.name);
  for (const onnx::ValueInfoProto& output : model->graph().output()) output_names.push_back(output.name());
  const std::vector<NamedPath> inputs = assign_names(arguments.inputs, input_names);
  const std::vector<NamedPath> outputs = output_paths(output_names, arguments.outputs);
  check_files(arguments, inputs, outputs);
  std::vector<HostTensor> results = model->run(read_inputs(*model, inputs, arguments));
  if (is_folder(arguments.outputs)) fs::create_directories(arguments.outputs[0]);
  write_outputs(results, outputs);
  fmt::print("{}{}", summary(results), best_classes(*model, results));
}

}  // namespace

void add_run(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("run", "Run a model on .npy files or images");
  command->add_option("file", arguments->file, "a .quench or .onnx file")->required()->type_name("FILE");
  command
      ->add_option("--input", arguments->inputs,
                   "values of an input, or an image; without a name, of the next one in order")
      ->type_name("[NAME=]x.npy")
      ->allow_extra_args(false);
  command->add_option("--output", arguments->outputs, "where an output goes; a folder takes all of them")
      ->type_name("[NAME=]y.npy")
      ->allow_extra_args(false);
  add_threads(*command, arguments->threads);
  add_max_memory(*command, arguments->max_memory);
  arguments->preprocessing.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
