// Reports for programs. Keys keep their names and meanings; new ones may be added. Sizes are in bytes, times in
// milliseconds, shares from 0 to 1, SNR in dB; a number that does not exist (the SNR of an exact copy) is null.
#pragma once

#include <string>
#include <string_view>

#include "compressor/compress/compress.h"
#include "compressor/compress/model_check.h"
#include "compressor/measure/benchmark.h"
#include "compressor/measure/evaluation.h"
#include "compressor/measure/image_comparison.h"
#include "compressor/measure/inspection.h"
#include "compressor/training/reports.h"

namespace quench::report {

// Indented, with a newline at the end.
// `evaluation` may be null: of the output against the input.
std::string to_json(const quantizer::CompressReport& report, const measure::Evaluation* evaluation);
std::string to_json(const measure::Evaluation& evaluation);
std::string to_json(const measure::Benchmark& benchmark);
std::string to_json(const measure::Inspection& inspection);
std::string to_json(const quantizer::ModelCheck& check);
std::string to_json(const measure::ImageComparison& comparison);
std::string to_json(const training::TrainReport& training);
std::string to_json(const training::CodecReport& training);

// As of the file, and "top1", "top1_before", "snr_db", and "paper_ratios" with a number for each coder.
std::string to_json(const training::TuneReport& tuning);

}  // namespace quench::report
