// How good a model is on test data.
#pragma once

#include <optional>

#include "compressor/data/dataset.h"
#include "compressor/training/distributed/communicator.h"
#include "compressor/training/loop/teacher.h"
#include "formats/onnx/model_file.h"

namespace quench::training {

struct TestResult {
  std::optional<double> accuracy;        // 0 to 1, where there are labels and a score for each class
  std::optional<double> loss;            // cross entropy in nats, likewise
  std::optional<double> log_likelihood;  // mean log density of the samples in nats, where the output is that
  std::optional<double> snr_db;  // against the teacher's outputs (measure/fidelity.h), where there is no accuracy
};

// The only output as rows of one score for each class; nullopt: it has none. Data that has no sample of the last classes
// fits, too, but not where there is a teacher, so that labels need not mean anything to the model.
std::optional<torch::Tensor> scores_of(const Tensors& outputs, int64_t classes, bool has_teacher);

// `teacher` may be null. `batch`: what the model takes at a time; 0: any number. With a communicator all ranks must
// call it: each measures its share, and all get the result. Throws quench::Error where the runtime cannot run the
// model.
TestResult measure(Teacher& model, int64_t batch, const data::Dataset& dataset, Teacher* teacher,
                   Communicator* communicator = nullptr);

// The mean of the model's first output, the log density of each sample, over all samples; nats. Likewise.
double log_likelihood(Teacher& model, const data::Dataset& dataset, Communicator* communicator = nullptr);

// The batch size that a model with one input declares; 0 where it is open.
int64_t input_batch(const OnnxModel& model);

}  // namespace quench::training
