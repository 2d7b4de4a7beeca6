// The data of a training: batches of the training set, and what its epochs are judged by.
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
  // or no labels where neither a teacher nor a density tells what to learn; for one that is learned, also where a value
  // is not finite.
  TrainingData(const OnnxModel& model, const LoopOptions& options, bool has_teacher, const Communicator& communicator);

  Batches& batches() { return *batches_; }
  const Batches& batches() const { return *batches_; }
  // Of the labels of the training set; 0: there are none.
  int64_t class_count() const { return training_->class_count(); }
  // The validation split, or else the test data. Null: there is neither.
  const data::Dataset* judging() const { return judging_.get(); }

 private:
  std::unique_ptr<data::Dataset> training_, judging_;
  std::unique_ptr<Batches> batches_;
};

// The test data that goes with the options' training data; null where there is none.
std::unique_ptr<data::Dataset> open_test_data(const OnnxModel& model, const LoopOptions& options);

// The validation split of the training data; null where none is asked for.
std::unique_ptr<data::Dataset> open_validation_data(const OnnxModel& model, const LoopOptions& options);

}  // namespace quench::training
