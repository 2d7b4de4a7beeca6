// The inputs of a model as the columns of a table whose rows are samples: arrays of one file or of several, images,
// constants. Which axis of an array counts the samples is said in samples.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compressor/data/array.h"
#include "compressor/data/dataset.h"
#include "compressor/measure/runner.h"

namespace quench::measure {

// Where the values of an input come from: one of the three.
struct Column {
  ValueSpec input;
  std::string name;                                // for messages
  std::shared_ptr<const data::Dataset> data = {};  // a row for each sample
  std::optional<data::Array> array = {};
  std::optional<float> fill = {};  // everywhere
};

class SampleTable {
 public:
  // Throws quench::Error where the columns have different lengths or do not fit their inputs.
  explicit SampleTable(std::vector<Column> columns);

  uint64_t size() const { return size_; }
  // Of the inputs of one sample, which is repeated where the model fixes a batch.
  uint64_t rows() const { return rows_; }
  bool has_labels() const { return labelled_ != nullptr; }
  std::string file_of(uint64_t index) const;  // as of data::Dataset, of the first column that has one

  struct Row {
    std::vector<graph::HostTensor> inputs;
    std::vector<int64_t> labels;  // one, or empty
  };
  Row at(uint64_t index) const;

 private:
  enum class Axis : uint8_t { kNone, kFirst, kOwn };  // that counts the samples: the input's first, or one more

  void find_size();
  bool all_count_rows() const;
  std::vector<int64_t> sample_dims(size_t column) const;
  void check_shape(size_t column) const;
  graph::HostTensor values(size_t column, uint64_t index, std::span<int64_t> labels) const;

  std::vector<Column> columns_;
  std::vector<Axis> axes_;
  const data::Dataset* labelled_ = nullptr;  // the only column with labels
  bool counts_rows_ = false;                 // arrays of size_ along the first axis have a row for each sample
  uint64_t size_ = 1, rows_ = 1;
};

// Values as the type that an input declares, but float16 and bfloat16 as float32, which all that runs graphs takes.
graph::HostTensor as_input(const graph::HostTensor& tensor, const ValueSpec& input);

// The batch that an input's declaration fixes; 0: none.
uint64_t fixed_batch(const ValueSpec& input);

// Samples `indices` of a data set, a row for each. `labels`: as of Dataset::fill.
graph::HostTensor rows_of(const data::Dataset& dataset, const ValueSpec& input, std::span<const uint64_t> indices,
                          std::span<int64_t> labels);

}  // namespace quench::measure
