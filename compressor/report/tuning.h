// What tuning made of a model.
#pragma once

#include <optional>
#include <vector>

#include "compressor/quantizer/compress.h"

namespace quench::report {

struct Tuning {
  quantizer::CompressReport file;
  std::optional<double> accuracy_before, accuracy_after;  // 0 to 1, on the test data, of the files
  std::optional<double> snr_db;                           // of the outputs, where there are no classes
  std::vector<double> paper_ratios;  // see CodedModel::paper_ratios: Huffman, rANS, arithmetic coding
};

}  // namespace quench::report
