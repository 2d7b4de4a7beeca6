// The data of a training: batches of the training set, and the test set where there is one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "compressor/data/dataset.h"
#include "compressor/training/distributed/communicator.h"
#include "compressor/training/loop/batches.h"
#include "compressor/training/loop/options.h"
#include "formats/onnx/model_file.h"

namespace quench::training {

class TrainingData {
 public:
  // Throws quench::Error for data that is missing or does not fit the model, that has fewer samples than a batch takes,
  // or no labels where no teacher tells what to learn.
  TrainingData(const OnnxModel& model, const LoopOptions& options, bool has_teacher, const Communicator& communicator);

  Batches& batches() { return *batches_; }
  const Batches& batches() const { return *batches_; }
  // Of the labels of the training set; 0: there are none.
  int64_t class_count() const { return training_->class_count(); }
  // Null: there is none.
  const data::Dataset* test() const { return test_.get(); }

 private:
  std::unique_ptr<data::Dataset> training_, test_;
  std::unique_ptr<Batches> batches_;
};

// The test data that goes with the options' training data; null where there is none.
std::unique_ptr<data::Dataset> open_test_data(const OnnxModel& model, const LoopOptions& options);

}  // namespace quench::training
