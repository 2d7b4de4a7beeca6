// The course of a training as a line for each epoch and as a page with plots, and the courses of several in one plot.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compressor/report/plot.h"
#include "compressor/training/training_record.h"

namespace quench::report {

// "epoch 3/20  1:10  loss 0.1234  accuracy 92.10 %  entropy 1.10 bits  sigma 1  ratio 31.20", without a newline.
std::string to_line(const training::TrainingRecord& record);

// HTML (see page.h): loss and accuracy (or SNR, or log likelihood) over time and, where weights were quantized, their
// entropy, hardness and ratio, the histogram of the centers' use as it condenses, and the rate of each tensor. `figure`
// (see Page::figure) shows what was learned; empty: nothing does.
std::string training_page(std::string_view model, std::span<const training::TrainingRecord> records,
                          std::string_view figure = {});

enum class Quantity : uint8_t { kAccuracy, kSnr, kLikelihood, kLoss, kEntropy, kFlips, kRatio };

struct TrainingRun {
  std::string name;
  std::vector<training::TrainingRecord> records;
};

// One quantity of several trainings by epoch, as an SVG file.
std::string training_curves(const std::vector<TrainingRun>& runs, Quantity quantity);

}  // namespace quench::report
