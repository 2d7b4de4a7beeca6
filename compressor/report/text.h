// Reports for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "compressor/compress/compress.h"
#include "compressor/compress/model_check.h"
#include "compressor/measure/benchmark.h"
#include "compressor/measure/evaluation.h"
#include "compressor/measure/inspection.h"
#include "compressor/training/reports.h"

namespace quench::report {

// Lines that end in a newline. `evaluation` may be null: of the output against the input.
std::string to_text(const quantizer::CompressReport& report, const measure::Evaluation* evaluation,
                    std::string_view input, std::string_view output);
// `changed`: how many of the samples with another class are listed.
std::string to_text(const measure::Evaluation& evaluation, uint64_t changed = 0);
std::string to_text(const measure::Benchmark& benchmark);
std::string to_text(const measure::Inspection& inspection);
std::string to_text(const quantizer::ModelCheck& check);
// One line, or two where the runtime lacks operators.
std::string headline(const quantizer::ModelCheck& check);
std::string to_text(const training::TrainReport& training, std::string_view output);
// `prefix`: of the files' names.
std::string to_text(const training::CodecReport& training, std::string_view prefix);
std::string to_text(const training::TuneReport& tuning, std::string_view input, std::string_view output);

}  // namespace quench::report
