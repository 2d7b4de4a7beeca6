// Reports for programs. Keys keep their names and meanings; new ones may be added. Sizes are in bytes, times in
// milliseconds, shares from 0 to 1, SNR in dB; a number that does not exist (the SNR of an exact copy) is null.
#pragma once

#include <string>

#include "compressor/quantizer/compress.h"
#include "compressor/report/benchmark.h"
#include "compressor/report/evaluation.h"
#include "compressor/report/inspection.h"

namespace quench::report {

// Indented, with a newline at the end.
// `evaluation` may be null: of the output against the input.
std::string to_json(const quantizer::CompressReport& report, const Evaluation* evaluation);
std::string to_json(const Evaluation& evaluation);
std::string to_json(const Benchmark& benchmark);
std::string to_json(const Inspection& inspection);

}  // namespace quench::report
