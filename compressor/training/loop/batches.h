// Batches of a data set for training, in an order drawn anew for each epoch, images augmented. What a batch holds
// depends on seed, epoch and place alone, so that a run that was broken off goes on as if it had not been.
//
//     Batches batches(dataset, {.batch = 128, .augment = true, .seed = 1});
//     batches.start(epoch);
//     for (int64_t i = 0; i < batches.count(); ++i) { Batch b = batches.next(); ... }
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <future>
#include <vector>

#include "compressor/data/dataset.h"

namespace quench::training {

struct BatchOptions {
  int64_t batch = 128;   // of all ranks together
  uint64_t samples = 0;  // of an epoch; 0: all
  bool augment = true;
  bool noise = false;
  uint64_t seed = 1;
  int rank = 0, ranks = 1;  // each takes its part of every batch
};

struct Batch {
  torch::Tensor inputs;  // batch x sample shape, float32
  torch::Tensor labels;  // int64; undefined without labels
  torch::Tensor noise;   // -1 and 1, of the inputs' shape; undefined where none is asked for
};

class Batches {
 public:
  // `dataset` must outlive this object. Throws quench::Error where it has fewer samples than a batch takes.
  Batches(const data::Dataset& dataset, const BatchOptions& options);
  ~Batches();

  // Whole batches in an epoch; what is left over is left out.
  int64_t count() const { return count_; }
  // From 0; `first`: the batch to begin with.
  void start(int epoch, int64_t first = 0);
  // The next batch is made in the background meanwhile.
  Batch next();

 private:
  Batch make(int64_t index) const;
  void augment(float* sample, uint64_t key) const;

  const data::Dataset& dataset_;
  BatchOptions options_;
  int64_t count_ = 0;
  int epoch_ = 0;
  int64_t position_ = 0;
  std::vector<uint64_t> order_;
  std::future<Batch> pending_;
};

}  // namespace quench::training
