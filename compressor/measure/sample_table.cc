#include "compressor/measure/sample_table.h"

#include <algorithm>
#include <cstring>

#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::measure {

using graph::HostTensor;
using onnx::TensorProto;

namespace {

size_t rank_of(const Column& column) {
  return column.input.has_dims ? column.input.dims.size() : column.array ? column.array->dims.size() : 0;
}

bool has_own_axis(const Column& column) { return column.array && column.array->dims.size() == rank_of(column) + 1; }

// Whether its first axis may count samples.
bool may_be_rows(const Column& column) {
  const bool has_row = column.array && rank_of(column) > 0 && column.array->dims.size() == rank_of(column);
  return has_row && fixed_batch(column.input) <= 1;
}

uint64_t length_of(const Column& column) {
  return column.data ? column.data->size() : static_cast<uint64_t>(column.array->dims[0]);
}

// The sizes that tensors give to dimensions with names.
std::map<std::string, int64_t> named_dims(const std::vector<Column>& columns, const std::vector<HostTensor>& inputs) {
  std::map<std::string, int64_t> known;
  for (const Column& column : columns) {
    const auto tensor = std::ranges::find(inputs, column.input.name, &HostTensor::name);
    if (tensor == inputs.end()) continue;
    for (size_t d = 0; d < column.input.dim_names.size() && d < tensor->dims.size(); ++d) {
      if (!column.input.dim_names[d].empty()) known[column.input.dim_names[d]] = tensor->dims[d];
    }
  }
  return known;
}

HostTensor filled(const Column& column, const std::map<std::string, int64_t>& known) {
  const ValueSpec& input = column.input;
  std::vector<int64_t> dims = input.dims;
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] >= 0) continue;
    const auto named = known.find(input.dim_names[d]);
    if (named != known.end()) dims[d] = named->second;
    if (dims[d] < 0 && d == 0) dims[d] = 1;
  }
  if (!input.has_dims || std::ranges::any_of(dims, [](int64_t dim) { return dim < 0; })) {
    throw Error::make("{}: the model leaves the shape of input '{}' open; give it with --shape or --dim", column.name,
                      printable(input.name));
  }
  HostTensor tensor = HostTensor::float32(input.name, dims);
  std::ranges::fill(tensor.floats(), *column.fill);
  return as_input(tensor, input);
}

}  // namespace

HostTensor as_input(const HostTensor& tensor, const ValueSpec& input) {
  const bool is_short_float = is_float_type(input.dtype) && input.dtype != TensorProto::DOUBLE;
  try {
    return as_type(tensor, is_short_float ? static_cast<int32_t>(TensorProto::FLOAT) : input.dtype);
  } catch (const Error& error) {
    throw Error::make("input '{}': {}", printable(input.name), error.what());
  }
}

uint64_t fixed_batch(const ValueSpec& input) {
  return input.has_dims && !input.dims.empty() && input.dims[0] > 0 ? static_cast<uint64_t>(input.dims[0]) : 0;
}

HostTensor rows_of(const data::Dataset& dataset, const ValueSpec& input, std::span<const uint64_t> indices,
                   std::span<int64_t> labels) {
  std::vector<int64_t> dims = {static_cast<int64_t>(indices.size())};
  dims.insert(dims.end(), dataset.sample_shape().begin(), dataset.sample_shape().end());
  HostTensor tensor = HostTensor::float32(input.name, dims);
  dataset.fill(indices, tensor.floats(), labels);
  const data::Array* exact = dataset.exact();
  if (exact && exact->type != ElementType::kFloat32) {
    const size_t bytes = exact->bytes.size() / dataset.size();
    tensor.dtype = static_cast<int32_t>(exact->type);
    tensor.bytes.resize(indices.size() * bytes);
    for (size_t i = 0; i < indices.size(); ++i)
      std::memcpy(tensor.bytes.data() + i * bytes, exact->bytes.data() + indices[i] * bytes, bytes);
  }
  return as_input(tensor, input);
}

SampleTable::SampleTable(std::vector<Column> columns) : columns_(std::move(columns)), axes_(columns_.size()) {
  find_size();
  size_t labelled = 0;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Column& column = columns_[c];
    if (has_own_axis(column)) axes_[c] = Axis::kOwn;
    if (may_be_rows(column) && counts_rows_ && length_of(column) == size_) axes_[c] = Axis::kFirst;
    if (column.array) check_shape(c);
    if (!column.data) continue;
    rows_ = std::max(rows_, fixed_batch(column.input));
    if (column.data->class_count() == 0) continue;
    labelled_ = labelled++ == 0 ? column.data.get() : nullptr;
  }
}

void SampleTable::find_size() {
  const Column* counted = nullptr;
  for (const Column& column : columns_) {
    if (!column.data && !has_own_axis(column)) continue;
    if (counted && length_of(*counted) != length_of(column)) {
      throw Error::make("{} has {} samples, and {} has {}", counted->name, length_of(*counted), column.name,
                        length_of(column));
    }
    counted = &column;
  }
  counts_rows_ = counted || all_count_rows();
  if (!counted && counts_rows_) counted = &*std::ranges::find_if(columns_, may_be_rows);
  if (counted) size_ = length_of(*counted);
  if (size_ == 0) throw Error::make("{}: there are no samples in it", counted->name);
}

bool SampleTable::all_count_rows() const {
  const Column* first = nullptr;
  size_t axes = 0;
  for (const Column& column : columns_) {
    if (!column.array) continue;
    if (!may_be_rows(column) || (first && length_of(*first) != length_of(column))) return false;
    axes = std::max(axes, rank_of(column));
    first = &column;
  }
  return axes >= 2;
}

std::vector<int64_t> SampleTable::sample_dims(size_t column) const {
  std::vector<int64_t> dims = columns_[column].array->dims;
  if (axes_[column] == Axis::kFirst) dims[0] = 1;
  if (axes_[column] == Axis::kOwn) dims.erase(dims.begin());
  return dims;
}

void SampleTable::check_shape(size_t column) const {
  const Column& checked = columns_[column];
  const std::vector<int64_t> dims = sample_dims(column), &declared = checked.input.dims;
  bool fits = dims.size() == declared.size();
  for (size_t d = 0; fits && d < dims.size(); ++d) fits = declared[d] < 0 || declared[d] == dims[d];
  // One sample of so many rows would fit, but that is hardly what was meant.
  const bool is_other_count = counts_rows_ && may_be_rows(checked) && fixed_batch(checked.input) == 0 &&
                              axes_[column] == Axis::kNone && dims[0] != 1;
  if (is_other_count) {
    throw Error::make("{}: is {} long, and there are {} samples; with one axis more it can have other lengths",
                      checked.name, dims[0], size_);
  }
  if (fits || !checked.input.has_dims) return;
  throw Error::make("{}: an array of {} does not fit the model's input '{}' of {}", checked.name,
                    data::dims_text(checked.array->dims), printable(checked.input.name), data::dims_text(declared));
}

HostTensor SampleTable::values(size_t column, uint64_t index, std::span<int64_t> labels) const {
  const ValueSpec& input = columns_[column].input;
  if (columns_[column].data) {
    const std::vector<uint64_t> repeated(rows_, index);
    return rows_of(*columns_[column].data, input, repeated, labels);
  }
  const data::Array& array = *columns_[column].array;
  HostTensor tensor{input.name, static_cast<int32_t>(array.type), sample_dims(column), {}};
  const std::span<const std::byte> all(array.bytes);
  const size_t bytes = all.size() / size_;
  const auto own = axes_[column] == Axis::kNone ? all : all.subspan(index * bytes, bytes);
  tensor.bytes.assign(own.begin(), own.end());
  return as_input(tensor, input);
}

std::string SampleTable::file_of(uint64_t index) const {
  for (const Column& column : columns_) {
    std::string file = column.data ? column.data->file_of(index) : "";
    if (!file.empty()) return file;
  }
  return {};
}

SampleTable::Row SampleTable::at(uint64_t index) const {
  Row row;
  for (size_t c = 0; c < columns_.size(); ++c) {
    if (columns_[c].fill) continue;
    const bool has_label = labelled_ && columns_[c].data.get() == labelled_;
    if (has_label) row.labels.resize(rows_);
    row.inputs.push_back(values(c, index, has_label ? std::span(row.labels) : std::span<int64_t>()));
  }
  if (!row.labels.empty()) row.labels.resize(1);
  const std::map<std::string, int64_t> known = named_dims(columns_, row.inputs);
  for (const Column& column : columns_) {
    if (column.fill) row.inputs.push_back(filled(column, known));
  }
  return row;
}

}  // namespace quench::measure
