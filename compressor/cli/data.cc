#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>

#include "compressor/cli/commands.h"
#include "compressor/cli/options.h"
#include "compressor/data/dataset.h"
#include "compressor/data/npy.h"

namespace quench::cli {
namespace {

struct Arguments {
  std::string spec, output;
  uint64_t samples = 0;
  PreprocessingOptions preprocessing;
};

void run(const Arguments& arguments) {
  const bool npz = arguments.output.ends_with(".npz");
  if (!npz && !arguments.output.ends_with(".npy")) throw UsageError("-o must name a .npz or a .npy file");
  FileUse files;
  files.reads_data(arguments.spec);
  files.writes(arguments.output);
  const std::unique_ptr<data::Dataset> dataset = data::open_dataset(arguments.spec, arguments.preprocessing.get());
  const uint64_t count = arguments.samples == 0 ? dataset->size() : std::min(arguments.samples, dataset->size());
  std::vector<uint64_t> indices(count);
  std::iota(indices.begin(), indices.end(), uint64_t{0});
  std::vector<float> values(count * dataset->sample_elements());
  std::vector<int64_t> labels(dataset->class_count() > 0 ? count : 0);
  dataset->fill(indices, values, labels);
  std::vector<int64_t> dims = {static_cast<int64_t>(count)};
  dims.insert(dims.end(), dataset->sample_shape().begin(), dataset->sample_shape().end());
  data::Array samples = data::Array::float32(dims, values);
  if (!npz) return data::write_npy(arguments.output, samples);
  std::vector<std::pair<std::string, data::Array>> arrays = {{"x", std::move(samples)}};
  if (!labels.empty()) arrays.emplace_back("y", data::Array::int64({static_cast<int64_t>(count)}, labels));
  data::write_npz(arguments.output, arrays);
}

}  // namespace

void add_data(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("data", "Write preprocessed data as NumPy arrays: x, and labels y in a .npz");
  command->add_option("spec", arguments->spec, "as of --data of the other commands")->required()->type_name("SPEC");
  command->add_option("-o,--output", arguments->output, "a .npz or .npy file")->required()->type_name("OUT");
  command->add_option("--samples", arguments->samples, "only the first N")->check(above_zero())->type_name("N");
  arguments->preprocessing.add_to(*command);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace quench::cli
