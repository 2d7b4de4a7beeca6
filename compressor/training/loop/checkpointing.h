// When a training saves what it needs to go on, what that is, and how it comes back.
//
//     Checkpointing checkpointing(parts, run_key(options), options, communicator);
//     if (options.resume) progress = checkpointing.load();
//     ...
//     if (checkpointing.is_due()) checkpointing.save(progress);     // at the end of a step
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compressor/training/graph_module.h"
#include "compressor/training/loop/checkpoint.h"
#include "compressor/training/loop/optimizer.h"
#include "compressor/training/loop/options.h"
#include "compressor/training/quantization/annealer.h"
#include "compressor/training/run_key.h"
#include "compressor/training/training_record.h"

namespace quench::training {

// How far a training is.
struct TrainingProgress {
  int64_t step = 0;                         // steps done
  double loss_sum = 0;                      // over those of this epoch
  TrainingRecord::Evaluations evaluations;  // likewise, in all processes
  double seconds = 0;                       // breaks left out
  std::vector<TrainingRecord> records;      // of earlier trainings, too, which this one follows
};

class Checkpointing {
 public:
  // What is saved and comes back.
  struct Parts {
    GraphModule& module;
    Annealer* annealer;  // null: there is none
    Optimizer& optimizer;
  };

  // `key`: what must be the same to go on. The rest must outlive this object.
  Checkpointing(Parts parts, RunKey key, const LoopOptions& options, Communicator& communicator);

  // Whether the options' time has passed since the last one, or since this object was made.
  bool is_due() const;
  // By the first rank, where the options name a file. Throws quench::Error: no space left, say.
  void save(const TrainingProgress& progress);
  // On all ranks. Throws quench::Error for a file that is missing, damaged or another run's; that one's message names
  // the option that differs.
  TrainingProgress load();
  // Whether there is one to go on from.
  bool has_saved() const { return has_saved_; }

 private:
  TrainingProgress restore(const Checkpoint& checkpoint);

  Parts parts_;
  RunKey key_;
  std::string model_;  // its identity before the training
  const LoopOptions& options_;
  Communicator& communicator_;
  double last_ = 0;  // seconds
  bool has_saved_ = false;
};

}  // namespace quench::training
