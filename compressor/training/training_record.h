// What is known after each epoch of a training.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace quench::report {

struct TrainingRecord {
  int epoch = 0;       // from 1
  int epochs = 0;      // in all
  int64_t step = 0;    // steps done
  double seconds = 0;  // since the start, breaks left out
  double learning_rate = 0;
  double loss = 0;                      // mean over the epoch, without the rate term
  std::optional<double> accuracy;       // of the test data, 0 to 1: with hard weights where there are such
  std::optional<double> soft_accuracy;  // with soft ones, while they are in use
  std::optional<double> test_loss;      // cross entropy in nats
  std::optional<double> snr_db;         // of the outputs against the teacher's, where there are no classes

  struct Quantization {
    double sigma = 0;                           // hardness
    double price = 0;                           // squared normalised distance per bit
    double beta = 0;                            // loss per bit per weight
    double entropy = 0;                         // bits per weight, order 0, of the quantized weights
    double ratio = 0;                           // bytes of the original over bytes of the file as it would be now
    std::map<std::string, double> tensor_bits;  // entropy of each tensor
    std::vector<int64_t> histogram;             // weights at each center of the first codebook
    std::vector<float> centers;                 // of the first codebook, L x d
  };
  std::optional<Quantization> quantization;
};

// "epoch 3/20  loss 0.1234  accuracy 92.10 %  entropy 1.10  sigma 1.0  ratio 31.2": one line without a newline.
std::string to_line(const TrainingRecord& record);

}  // namespace quench::report
