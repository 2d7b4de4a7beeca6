// What training made of a network or an image codec, and tuning of a model. No libtorch here.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "compressor/compress/compress.h"
#include "compressor/training/training_record.h"

namespace quench::training {

struct TrainReport {
  uint64_t parameters = 0;
  uint64_t output_bytes = 0;                  // of the .onnx file; 0: another process has written it
  std::optional<double> accuracy;             // 0 to 1, of the file on the test data
  std::optional<double> validation_accuracy;  // the same on the validation split
  // Of a density, mean log p in nats per sample, of the file on the test data and on the validation split.
  std::optional<double> log_likelihood, validation_log_likelihood;
  int column = 0;  // that the file holds alone; 0: it is the whole network
  // Of a network of columns, of each column alone; empty where there are none, or no test data.
  std::vector<double> column_accuracies;
};

struct TuneReport {
  quantizer::CompressReport file;                         // 0 bytes of output: another process has written it
  std::vector<double> paper_ratios;                       // of each of entropy::kCoders; see CodedModel::paper_ratios
  std::optional<double> accuracy_before, accuracy_after;  // 0 to 1, on the test data, of the files
  std::optional<double> validation_before, validation_after;  // the same on the validation split
  std::optional<double> snr_db;                               // of the outputs, where there are no classes
  std::vector<TrainingRecord> records;
};

struct CodecReport {
  uint64_t parameters = 0;
  uint64_t encoder_bytes = 0, decoder_bytes = 0;  // of the .onnx files; 0: another process has written them
  std::vector<TrainingRecord::RatePoint> rates;   // on the test pictures at the end, where there are such
};

}  // namespace quench::training
