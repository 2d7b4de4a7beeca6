#include "compressor/measure/reference_outputs.h"

#include <algorithm>
#include <cstring>

#include "compressor/data/dataset.h"
#include "compressor/data/files.h"
#include "compressor/data/npy.h"
#include "compressor/measure/runner.h"
#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

namespace fs = std::filesystem;
using data::Array;
using graph::HostTensor;

Array slice(const Array& whole, uint64_t index) {
  const size_t bytes = whole.bytes.size() / static_cast<size_t>(whole.dims[0]);
  const auto begin = whole.bytes.begin() + static_cast<std::ptrdiff_t>(index * bytes);
  return {whole.type, {whole.dims.begin() + 1, whole.dims.end()}, {begin, begin + static_cast<std::ptrdiff_t>(bytes)}};
}

Array read_output(const fs::path& file, const std::string& output) {
  std::map<std::string, Array> arrays =
      data::read_npz(file, [&](const std::string& name, const auto&) { return name == output; });
  if (arrays.empty()) throw Error::make("{}: there is no array '{}'", printable(file.string()), printable(output));
  return std::move(arrays.begin()->second);
}

}  // namespace

ReferenceOutputs::ReferenceOutputs(fs::path folder, const std::vector<std::string>& outputs, uint64_t samples)
    : folder_(std::move(folder)), outputs_(outputs) {
  const std::string name = printable(folder_.string());
  if (!fs::is_directory(folder_)) throw Error::make("{}: there is no such folder", name);
  files_ = data::npz_files_of(folder_.string());
  if (!files_.empty()) {
    if (files_.size() == samples) return;
    throw Error::make("{}: there are {} .npz files in it, and {} samples in the data", name, files_.size(), samples);
  }
  for (const std::string& file : data::file_names_of(outputs, ".npy")) {
    files_.push_back(folder_ / file);
    if (!fs::exists(files_.back())) throw Error::make("{}: there are neither .npz files in it nor {}", name, file);
    whole_.push_back(data::read_npy(files_.back()));
    const Array& array = whole_.back();
    if (!array.dims.empty() && static_cast<uint64_t>(array.dims[0]) == samples && samples > 0) continue;
    throw Error::make("{}: an array of {} has no place for each of the {} samples", printable(files_.back().string()),
                      data::dims_text(array.dims), samples);
  }
}

HostTensor ReferenceOutputs::sample(size_t output, uint64_t index, const HostTensor& own, uint64_t rows) const {
  const fs::path& file = files_[whole_.empty() ? index : output];
  const Array array = whole_.empty() ? read_output(file, outputs_[output]) : slice(whole_[output], index);
  std::vector<int64_t> dims = own.dims;
  if (rows > 1 && !dims.empty()) dims[0] = 1;
  HostTensor tensor{own.name, static_cast<int32_t>(array.type), array.dims, array.bytes};
  if (dims.size() == tensor.dims.size() + 1 && dims[0] == 1) tensor.dims.insert(tensor.dims.begin(), 1);
  const bool fits = rows == 1 ? tensor.dims.size() == dims.size() : tensor.dims == dims;
  if (!fits) {
    throw Error::make("{}: output '{}' is of {} there, and of {} here", printable(file.string()),
                      printable(outputs_[output]), data::dims_text(array.dims), data::dims_text(dims));
  }
  try {
    return as_type(tensor, own.dtype);
  } catch (const Error& error) {
    throw Error::make("{}: output '{}': {}", printable(file.string()), printable(outputs_[output]), error.what());
  }
}

std::vector<HostTensor> ReferenceOutputs::at(std::span<const uint64_t> indices, uint64_t rows,
                                             const std::vector<HostTensor>& own) const {
  std::vector<HostTensor> outputs;
  for (size_t i = 0; i < own.size(); ++i) {
    if (rows == 1) {
      outputs.push_back(sample(i, indices[0], own[i], rows));
      continue;
    }
    if (own[i].dims.empty() || own[i].dims[0] != static_cast<int64_t>(rows)) {
      throw Error::make("output '{}' has no row for each of the {} samples that run at once", printable(own[i].name),
                        rows);
    }
    outputs.push_back(own[i]);
    const size_t bytes = own[i].bytes.size() / rows;
    for (size_t row = 0; row < indices.size(); ++row)
      std::memcpy(outputs.back().bytes.data() + row * bytes, sample(i, indices[row], own[i], rows).bytes.data(), bytes);
  }
  return outputs;
}

}  // namespace quench::measure
