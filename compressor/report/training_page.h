// The course of a training as a page with plots.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "compressor/report/training_record.h"

namespace quench::report {

// HTML (see page.h): loss and accuracy over time and, where weights were quantized, their entropy, hardness and ratio,
// the histogram of the centers' use as it condenses, and the rate of each tensor.
std::string training_page(std::string_view model, std::span<const TrainingRecord> records);

}  // namespace quench::report
