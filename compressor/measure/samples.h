// Real inputs for a model, from what --data names: for calibration and evaluation alike.
//
//     Samples samples(model.name, model.proto, {"faces/"}, {});
//     Samples::Batch batch = samples.batch(0, 64);     // batch.inputs: for Runner::run or graph::Evaluator::run
//
// The data of a model with one input may be any data set of data/dataset.h. For several inputs it is
//     FILE.npz ...    arrays named as the inputs
//     DIR ...         a folder of such files and no images, in the order of their names; or, for one input, of .npy files
//     NAME=SPEC ...   for each input: a data set of images, FILE.npy, FILE.npz (the array of the input's name, `x` or
//                     the only one), FILE.npz:ARRAY, `zeros`, or a number, which fills the input
// Inputs with default values may be left out. Arrays become values of the input's type. Which of their axes counts the
// samples, for those of one file or of all NAME=SPEC together:
// - of an array with one axis more than its input, the first; each sample has the whole of the input's shape.
// - Where there is such an array, or images: of arrays of as many samples along their first axis, whose input leaves
//   its first dimension open or has 1 there, that axis. Other arrays are the same for all samples, if the model fixes
//   their first dimension, or there is one thing along it.
// - Where there is none: if all inputs are like that, one has two axes or more, and all arrays are of the same length,
//   the first axis. Otherwise the arrays are one sample.
// Integers of an array `y`, if no input has that name, are labels: one for each sample.
//
// Open dimensions of an input that is filled are those of the same name in other inputs; the first is 1.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "compressor/data/dataset.h"
#include "compressor/graph/evaluator.h"
#include "compressor/measure/input_shapes.h"

namespace quench::measure {

class SampleSource;

class Samples {
 public:
  // Throws quench::Error with the name of the file, the option or the input that does not fit. `shapes` are in place of
  // what the model declares.
  Samples(const std::string& model_name, const onnx::ModelProto& model, const std::vector<std::string>& specs,
          const data::DatasetOptions& preprocessing, const InputShapes& shapes = {});

  // Every 4th sample of the data's order is held out from calibration, to measure on; of fewer than kLeastCalibrated
  // all are, and none is left to calibrate on. Fewer are learned by heart: calibrated on two, six of ten models came
  // out at -3 to 18 dB on two others, up to nine times smaller than on made-up inputs, on which they have 7 to 35 dB
  // (oww_alexa, crepe_tiny, vv_duration, ...); on 12 pictures, three models are within 3 dB of what they have on 172.
  static constexpr uint64_t kLeastCalibrated = 16;
  enum class Part : uint8_t { kAll, kCalibration, kHeldOut };
  Samples part(Part part) const;

  uint64_t size() const;
  bool has_labels() const;

  // The file that has the sample of this place in the data alone; empty: none has.
  std::string file_of(uint64_t index) const;

  struct Batch {
    std::vector<graph::HostTensor> inputs;  // of the declared types, but float16 and bfloat16 as float32
    std::vector<int64_t> labels;            // empty: none
    std::vector<uint64_t> indices;          // of the samples in the data's order
    uint64_t samples = 0;                   // repeated behind them, up to the batch size that the model demands
    uint64_t rows = 0;                      // of the inputs' first dimension, with those
  };
  // Samples [first, first + count) of an order that spreads over the whole set; fewer at the end, and where `count`
  // exceeds batch_size(count). No samples behind the end.
  Batch batch(uint64_t first, uint64_t count) const;
  // How many samples can run at once: what the model declares, one where samples are whole sets of inputs; `fallback`
  // where it is open.
  uint64_t batch_size(uint64_t fallback) const;

 private:
  uint64_t place_of(uint64_t index) const;  // in the data, of a sample of this part

  std::shared_ptr<const SampleSource> source_;
  Part part_ = Part::kAll;
};

}  // namespace quench::measure
