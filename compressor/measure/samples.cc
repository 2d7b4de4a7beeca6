#include "compressor/measure/samples.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>

#include "compressor/data/npy.h"
#include "compressor/measure/sample_table.h"
#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::measure {

using onnx::TensorProto;

// Samples in the data's order.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual uint64_t size() const = 0;
  virtual bool has_labels() const = 0;
  virtual uint64_t batch_size(uint64_t fallback) const = 0;
  // At most batch_size(indices.size()) of them; without the indices.
  virtual Samples::Batch at(std::span<const uint64_t> indices) const = 0;
  virtual std::string file_of(uint64_t index) const = 0;
};

namespace {

namespace fs = std::filesystem;

constexpr const char* kLabels = "y";
constexpr uint64_t kHeldOut = 4;      // one of so many samples
constexpr size_t kLongestList = 300;  // of names in a message

std::string list_of(const std::vector<std::string>& names) {
  return printable(fmt::format("{}", fmt::join(names, ", ")), kLongestList);
}

struct Inputs {
  std::string model;
  std::vector<ValueSpec> needed, with_default;

  const ValueSpec* find(const std::string& name) const {
    for (const std::vector<ValueSpec>* specs : {&needed, &with_default}) {
      const auto found = std::ranges::find(*specs, name, &ValueSpec::name);
      if (found != specs->end()) return &*found;
    }
    return nullptr;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const ValueSpec& input : needed) names.push_back(input.name);
    return names;
  }
};

// One data set for the only input.
class DatasetSource : public SampleSource {
 public:
  DatasetSource(const ValueSpec& input, const std::string& spec, data::DatasetOptions options) : input_(input) {
    if (input.has_dims) options.model_input = input.dims;
    dataset_ = data::open_dataset(spec, options);
  }

  uint64_t size() const override { return dataset_->size(); }
  bool has_labels() const override { return dataset_->class_count() > 0; }
  uint64_t batch_size(uint64_t fallback) const override {
    const uint64_t fixed = fixed_batch(input_);
    return std::max<uint64_t>(1, fixed > 0 ? fixed : fallback);
  }

  Samples::Batch at(std::span<const uint64_t> indices) const override {
    Samples::Batch batch;
    batch.rows = batch_size(indices.size());
    std::vector<uint64_t> repeated(batch.rows);
    for (size_t i = 0; i < repeated.size(); ++i) repeated[i] = indices[i % indices.size()];
    if (has_labels()) batch.labels.resize(batch.rows);
    batch.inputs.push_back(rows_of(*dataset_, input_, repeated, batch.labels));
    if (has_labels()) batch.labels.resize(indices.size());
    return batch;
  }
  std::string file_of(uint64_t index) const override { return dataset_->file_of(index); }

 private:
  ValueSpec input_;
  std::unique_ptr<data::Dataset> dataset_;
};

Samples::Batch batch_of(SampleTable::Row row, uint64_t rows) {
  Samples::Batch batch;
  batch.inputs = std::move(row.inputs);
  batch.labels = std::move(row.labels);
  batch.rows = rows;
  return batch;
}

std::string array_text(const fs::path& file, const std::string& name) {
  return fmt::format("{}: array '{}'", printable(file.string()), printable(name));
}

// The array that has an input's values: of its name, or, where names need not be given, as in data sets: `x` or the
// only one. Empty: none.
std::string array_for(const std::string& input, bool needs_name, const std::vector<std::string>& names) {
  for (const std::string& name : {input, std::string("x")}) {
    if (std::ranges::find(names, name) != names.end()) return name;
    if (needs_name) return "";
  }
  return names.size() == 1 ? names.front() : "";
}

std::vector<std::string> arrays_in(const fs::path& file) {
  std::vector<std::string> all;
  data::read_npz(file, [&](const std::string&, const std::vector<std::string>& names) {
    all = names;
    return false;
  });
  return all;
}

std::vector<int64_t> labels_of(const data::Array& array, const std::string& name, uint64_t samples) {
  if (is_float(array.type)) throw Error::make("{} must hold integer labels", name);
  std::vector<int64_t> labels = array.to_int64();
  if (labels.size() != samples)
    throw Error::make("{}: there are {} samples but {} labels", name, samples, labels.size());
  for (const int64_t label : labels) {
    if (label < 0) throw Error::make("{}: label {} is below 0", name, label);
  }
  return labels;
}

struct SampleFile {
  SampleTable table;
  std::vector<int64_t> labels;  // empty: none
};

// The only array of a .npy file is that of the only input.
SampleFile read_npy_samples(const fs::path& file, const Inputs& inputs) {
  if (inputs.needed.size() != 1) {
    throw Error::make("{}: has one array, and the model has the inputs {}: .npz files have an array for each",
                      printable(file.string()), list_of(inputs.names()));
  }
  std::vector<Column> columns;
  columns.push_back({.input = inputs.needed[0], .name = printable(file.string()), .array = data::read_npy(file)});
  return {SampleTable(std::move(columns)), {}};
}

SampleFile read_samples(const fs::path& file, const Inputs& inputs) {
  if (file.extension() == ".npy") return read_npy_samples(file, inputs);
  std::vector<std::string> all = arrays_in(file);
  std::map<std::string, std::string> wanted;  // array -> input
  const bool needs_names = inputs.needed.size() != 1;
  for (const std::vector<ValueSpec>* specs : {&inputs.needed, &inputs.with_default}) {
    for (const ValueSpec& input : *specs) {
      const bool is_needed = specs == &inputs.needed;
      const std::string array = array_for(input.name, needs_names || !is_needed, all);
      if (!array.empty()) wanted.emplace(array, input.name);
      if (!array.empty() || !is_needed) continue;
      throw Error::make("{}: there is no array '{}' for the model's input of that name; it has {}",
                        printable(file.string()), printable(input.name), list_of(all));
    }
  }
  const bool labelled = !wanted.contains(kLabels) && std::ranges::find(all, kLabels) != all.end();
  std::map<std::string, data::Array> arrays = data::read_npz(file, [&](const std::string& name, const auto&) {
    return wanted.contains(name) || (labelled && name == kLabels);
  });
  std::vector<Column> columns;
  columns.reserve(wanted.size());
  for (const auto& [array, input] : wanted) {
    columns.push_back(
        {.input = *inputs.find(input), .name = array_text(file, array), .array = std::move(arrays.at(array))});
  }
  SampleFile read{SampleTable(std::move(columns)), {}};
  if (labelled) read.labels = labels_of(arrays.at(kLabels), array_text(file, kLabels), read.table.size());
  return read;
}

// Files that are read again whenever they are needed, since all of them together may exceed the memory.
class FilesSource final : public SampleSource {
 public:
  FilesSource(Inputs inputs, std::vector<fs::path> files) : inputs_(std::move(inputs)), files_(std::move(files)) {
    for (size_t f = 0; f < files_.size(); ++f) {
      const SampleFile& content = read(f);
      if (f > 0 && has_labels_ == content.labels.empty()) {
        throw Error::make("{}: has {}labels ('{}'), unlike {}", printable(files_[f].string()),
                          content.labels.empty() ? "no " : "", kLabels, printable(files_[0].string()));
      }
      has_labels_ = !content.labels.empty();
      ends_.push_back(size() + content.table.size());
    }
  }

  uint64_t size() const override { return ends_.empty() ? 0 : ends_.back(); }
  bool has_labels() const override { return has_labels_; }
  uint64_t batch_size(uint64_t) const override { return 1; }

  Samples::Batch at(std::span<const uint64_t> indices) const override {
    const size_t file = file_with(indices[0]);
    const uint64_t index = indices[0] - (file == 0 ? 0 : ends_[file - 1]);
    const SampleFile& content = read(file);
    Samples::Batch batch = batch_of(content.table.at(index), content.table.rows());
    if (has_labels_) batch.labels = {content.labels[index]};
    return batch;
  }
  std::string file_of(uint64_t index) const override {
    const size_t file = file_with(index);
    return ends_[file] - (file == 0 ? 0 : ends_[file - 1]) == 1 ? files_[file].string() : "";
  }

 private:
  size_t file_with(uint64_t index) const {
    return static_cast<size_t>(std::ranges::upper_bound(ends_, index) - ends_.begin());
  }

  const SampleFile& read(size_t file) const {
    if (!last_ || last_file_ != file) last_.emplace(read_samples(files_[file], inputs_));
    last_file_ = file;
    return *last_;
  }

  Inputs inputs_;
  std::vector<fs::path> files_;
  std::vector<uint64_t> ends_;  // how many samples there are in each file and those before it
  bool has_labels_ = false;
  mutable std::optional<SampleFile> last_;  // the one that was read last
  mutable size_t last_file_ = 0;
};

// The columns of NAME=SPEC.
class TableSource : public SampleSource {
 public:
  explicit TableSource(std::vector<Column> columns) : table_(std::move(columns)) {}

  uint64_t size() const override { return table_.size(); }
  bool has_labels() const override { return table_.has_labels(); }
  uint64_t batch_size(uint64_t) const override { return 1; }
  Samples::Batch at(std::span<const uint64_t> indices) const override {
    return batch_of(table_.at(indices[0]), table_.rows());
  }
  std::string file_of(uint64_t index) const override { return table_.file_of(index); }

 private:
  SampleTable table_;
};

bool has_preprocessing(const data::DatasetOptions& options) {
  return !options.mean.empty() || !options.std.empty() || options.scale || options.layout || options.bgr;
}

void check_preprocessing(const data::DatasetOptions& options, bool has_images) {
  if (has_preprocessing(options) && !has_images && !options.images_only)
    throw Error("--mean, --std, --scale, --layout and --order are for images, and the data are arrays");
}

// `zeros` or a number.
std::optional<float> fill_of(const std::string& spec) {
  if (spec == "zeros") return 0.f;
  char* end = nullptr;
  const float value = std::strtof(spec.c_str(), &end);
  return !spec.empty() && *end == 0 && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

bool is_array(const std::string& spec) {
  return spec.ends_with(".npy") || spec.ends_with(".npz") || spec.find(".npz:") != std::string::npos;
}

// FILE.npy, FILE.npz or FILE.npz:ARRAY.
data::Array read_array(const std::string& spec, const std::string& input) {
  if (spec.ends_with(".npy")) return data::read_npy(spec);
  const size_t end = std::min(spec.find(".npz:"), spec.size() - 4) + 4;
  const std::string file = spec.substr(0, end);
  const std::vector<std::string> names = arrays_in(file);
  const std::string name = end < spec.size() ? spec.substr(end + 1) : array_for(input, false, names);
  std::map<std::string, data::Array> arrays =
      data::read_npz(file, [&](const std::string& each, const auto&) { return each == name; });
  if (!arrays.empty()) return std::move(arrays.begin()->second);
  throw Error::make("{}: there is no array '{}'; it has {}", printable(file), printable(name.empty() ? input : name),
                    list_of(names));
}

// NAME=SPEC, cut at the first '=' that has an input's name before it.
struct NamedSpec {
  const ValueSpec* input = nullptr;  // none: there is no such name
  std::string spec;
};

NamedSpec parse_named(const std::string& text, const Inputs& inputs) {
  for (size_t at = text.find('='); at != std::string::npos; at = text.find('=', at + 1)) {
    if (const ValueSpec* input = inputs.find(text.substr(0, at))) return {input, text.substr(at + 1)};
  }
  return {nullptr, text};
}

Column column_of(const NamedSpec& named, const data::DatasetOptions& preprocessing) {
  const std::string name = fmt::format("--data {}={}", printable(named.input->name), printable(named.spec));
  Column column{.input = *named.input, .name = name};
  if (named.spec.empty()) throw Error::make("{}: nothing is given behind the name", name);
  column.fill = fill_of(named.spec);
  if (column.fill) return column;
  if (is_array(named.spec)) {
    column.array = read_array(named.spec, named.input->name);
    return column;
  }
  data::DatasetOptions options = preprocessing;
  if (named.input->has_dims) options.model_input = named.input->dims;
  column.data = data::open_dataset(named.spec, options);
  return column;
}

std::shared_ptr<const SampleSource> open_named(const Inputs& inputs, const std::vector<NamedSpec>& specs,
                                               const data::DatasetOptions& preprocessing) {
  std::vector<Column> columns;
  bool has_images = false;
  for (const NamedSpec& named : specs) {
    if (std::ranges::find(columns, named.input->name, [](const Column& column) { return column.input.name; }) !=
        columns.end()) {
      throw Error::make("--data: input '{}' is given twice", printable(named.input->name));
    }
    columns.push_back(column_of(named, preprocessing));
    has_images |= columns.back().data != nullptr;
  }
  for (const ValueSpec& input : inputs.needed) {
    if (std::ranges::none_of(specs, [&](const NamedSpec& named) { return named.input->name == input.name; }))
      throw Error::make("{}: no data are given for input '{}' (--data {}=SPEC)", inputs.model, printable(input.name),
                        printable(input.name));
  }
  check_preprocessing(preprocessing, has_images);
  return std::make_shared<TableSource>(std::move(columns));
}

// The files of samples that specs name; none where one of them is something else.
std::vector<fs::path> sample_files(const std::vector<std::string>& specs) {
  std::vector<fs::path> files;
  for (const std::string& spec : specs) {
    std::vector<fs::path> own = data::array_files_of(spec);
    if (own.empty()) return {};
    files.insert(files.end(), own.begin(), own.end());
  }
  return files;
}

// One spec that data/dataset.h takes for the only input.
bool is_dataset(const Inputs& inputs, const std::vector<std::string>& specs, const std::vector<fs::path>& files) {
  if (inputs.needed.size() != 1 || specs.size() != 1) return false;
  if (files.empty()) return true;
  if (fs::is_directory(specs[0])) return false;
  const std::vector<std::string> names = arrays_in(specs[0]);
  return names.size() == 1 || std::ranges::find(names, "x") != names.end();
}

Inputs inputs_of(const std::string& name, const onnx::ModelProto& model, const InputShapes& shapes) {
  check_shapes(name, model.graph(), shapes);
  Inputs inputs{name, declared_inputs(model.graph(), shapes), inputs_with_default(model, shapes)};
  if (inputs.needed.empty()) throw Error::make("{}: the model has no inputs that data could be given to", name);
  for (const ValueSpec& input : inputs.needed) {
    if (input.dtype == TensorProto::STRING)
      throw Error::make("{}: input '{}' takes strings, which data cannot be", name, printable(input.name));
  }
  return inputs;
}

std::shared_ptr<const SampleSource> open_source(const Inputs& inputs, const std::vector<std::string>& specs,
                                                const data::DatasetOptions& preprocessing) {
  std::vector<NamedSpec> named;
  named.reserve(specs.size());
  for (const std::string& spec : specs) named.push_back(parse_named(spec, inputs));
  const auto has_name = [](const NamedSpec& spec) { return spec.input != nullptr; };
  if (std::ranges::all_of(named, has_name)) return open_named(inputs, named, preprocessing);
  if (std::ranges::any_of(named, has_name)) {
    const NamedSpec& other = *std::ranges::find_if_not(named, has_name);
    throw Error::make("--data {}: begins with the name of no input, unlike others; the model has {}",
                      printable(other.spec), list_of(inputs.names()));
  }
  const std::vector<fs::path> files = sample_files(specs);
  if (is_dataset(inputs, specs, files))
    return std::make_shared<DatasetSource>(inputs.needed[0], specs[0], preprocessing);
  if (files.empty()) {
    throw Error::make(
        "{}: the model has the inputs {}: give --data NAME=SPEC for each, or .npz files with their arrays",
        inputs.model, list_of(inputs.names()));
  }
  check_preprocessing(preprocessing, false);
  return std::make_shared<FilesSource>(inputs, files);
}

}  // namespace

Samples::Samples(const std::string& model_name, const onnx::ModelProto& model, const std::vector<std::string>& specs,
                 const data::DatasetOptions& preprocessing, const InputShapes& shapes)
    : source_(open_source(inputs_of(model_name, model, shapes), specs, preprocessing)) {}

Samples Samples::part(Part part) const {
  Samples samples = *this;
  samples.part_ = part;
  return samples;
}

std::string Samples::file_of(uint64_t index) const { return source_->file_of(index); }

uint64_t Samples::size() const {
  const uint64_t all = source_->size(), held_out = all < kLeastCalibrated ? all : all / kHeldOut;
  return part_ == Part::kHeldOut ? held_out : part_ == Part::kCalibration ? all - held_out : all;
}

uint64_t Samples::place_of(uint64_t index) const {
  if (part_ == Part::kHeldOut && source_->size() >= kLeastCalibrated) return kHeldOut * index + kHeldOut - 1;
  return part_ == Part::kCalibration ? index + index / (kHeldOut - 1) : index;
}

bool Samples::has_labels() const { return source_->has_labels(); }
uint64_t Samples::batch_size(uint64_t fallback) const { return source_->batch_size(fallback); }

Samples::Batch Samples::batch(uint64_t first, uint64_t count) const {
  if (first >= size()) return {};
  count = std::min({count, size() - first, batch_size(count)});
  std::vector<uint64_t> indices;
  indices.reserve(count);
  for (uint64_t k = first; k < first + count; ++k) indices.push_back(place_of(data::spread_index(k, size())));
  Batch batch = source_->at(indices);
  batch.samples = count;
  batch.indices = std::move(indices);
  return batch;
}

}  // namespace quench::measure
