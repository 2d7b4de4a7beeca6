// Inputs for a model of which no data is at hand, drawn from a seed to match its declared inputs.
//
// Rank-4 inputs with 1, 3 or 4 channels, N x C x H x W or N x H x W x C, get pictures like photographs
// (seeded_pictures.h), in the scale that the model takes as far as it shows (picture_scale.h); those of uint8 have values
// of 0 to 255. Inputs that choose rows of a constant table (tokens: by Gather or OneHot, whatever their type) get any of
// its rows, each as often as another. Inputs of one or two channels, T, N x T, N x C x T or N x T x C, whose name says
// that they are sound, that stand beside a sample rate, or that a convolution or a Fourier transform takes, if at least
// 256 values long, get sounds like speech (seeded_sound.h). Other float inputs get independent normal values, of
// deviation 0.3 where a recurrent node starts from them or their name says so; integers and booleans 0 or 1.
//
// Names count where they say what is needed: a dimension has one size wherever its name stands, also in a sum; it is
// the batch where it is called so, or where another input's first dimension has its name; keys and values of the past
// are no pictures; a sample rate is 16,000, and a sound beside it, or called one, has 576 samples; a mask of integers
// hides nothing.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "compressor/graph/evaluator.h"
#include "compressor/measure/input_shapes.h"
#include "compressor/measure/input_use.h"
#include "compressor/measure/seeded_pictures.h"

namespace quench::measure {

struct SeededShapes {
  int64_t batch = 1;  // for a leading dimension that the model leaves open
  InputShapes inputs = {};
};

// Whether every input of the model is a picture, whose seeded values are nearest to real ones.
bool takes_pictures(const OnnxModel& model);

class SeededInputs {
 public:
  // `model` must outlive this object. Where it comes without the values of its weights, the scale of pictures shows in
  // `with_weights` only, a model of the same inputs.
  SeededInputs(const OnnxModel& model, const SeededShapes& shapes, uint64_t seed,
               const OnnxModel* with_weights = nullptr);

  // One set of inputs (graph inputs that are no initializers), batch `index` of an endless sequence. Open dimensions
  // other than the batch become 224 (height and width), 576 (sound) or 16.
  std::vector<graph::HostTensor> draw(uint64_t index, int64_t batch) const;
  std::vector<graph::HostTensor> draw(uint64_t index) const { return draw(index, shapes_.batch); }

 private:
  graph::HostTensor draw_floats(const onnx::ValueInfoProto& input, std::vector<int64_t> dims, bool has_sample_rate,
                                Random& random) const;
  graph::HostTensor draw_integers(const onnx::ValueInfoProto& input, std::vector<int64_t> dims, Random& random) const;
  bool is_sound(const onnx::ValueInfoProto& input, std::span<const int64_t> dims, bool has_sample_rate) const;

  const OnnxModel& model_;
  SeededShapes shapes_;
  uint64_t seed_;
  InputUse use_;
  std::set<std::string> initializers_;
  std::map<std::string, PictureScale> scales_;  // of pictures of float types
};

}  // namespace quench::measure
