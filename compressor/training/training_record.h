// What is known after each epoch of a training: what the loop emits, checkpoints keep, and reports show. No libtorch here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quench::training {

struct TrainingRecord {
  int epoch = 0;       // from 1
  int epochs = 0;      // in all
  int64_t step = 0;    // steps done
  double seconds = 0;  // since the start, breaks left out
  double learning_rate = 0;
  double loss = 0;                       // mean over the epoch, without the rate term
  std::optional<double> accuracy;        // of the test data, 0 to 1: with hard weights where there are such
  std::optional<double> soft_accuracy;   // with soft ones, while they are in use
  std::optional<double> test_loss;       // cross entropy in nats
  std::optional<double> log_likelihood;  // of a density: mean of log p of the held-out data, nats per sample
  std::optional<double> snr_db;          // of the outputs against the teacher's, where there are no classes

  // Of the right-hand sides of ODE blocks, all blocks together: means over the epoch, of one pass forward and back.
  struct Evaluations {
    double forward = 0, backward = 0;
  };
  std::optional<Evaluations> evaluations;  // where the training chooses how the blocks are solved

  struct Quantization {
    double sigma = 0;    // hardness
    double price = 0;    // squared normalised distance per bit
    double beta = 0;     // loss per bit per weight
    double entropy = 0;  // bits per weight, order 0, of the quantized weights
    // Share of the weights that went to another center, mean over the steps; none in records of Quench 0.2.
    std::optional<double> flips;
    double ratio = 0;                           // bytes of the original over bytes of the file as it would be now
    std::map<std::string, double> tensor_bits;  // entropy of each tensor
    std::vector<int64_t> histogram;             // weights at each center of the first codebook
    std::vector<float> centers;                 // of the first codebook, L x d
  };
  std::optional<Quantization> quantization;

  // Of an image codec: means over the test pictures at one quality, with nearest centers.
  struct RatePoint {
    double quality = 0;
    double bits_per_pixel = 0;  // by the frequencies of the training; a file's coder does better
    double ms_ssim = 0;
    double psnr_db = 0;
  };
  std::vector<RatePoint> rates;  // by quality; empty: this is no codec, or there are no test pictures
};

// One line of JSON without a newline, and back; throws quench::Error for what is no such line. Keys keep their names and
// meanings; new ones may be added.
std::string to_json_line(const TrainingRecord& record);
TrainingRecord training_record(std::string_view line);

}  // namespace quench::training
