// Inputs for a model of which no data is at hand, drawn from a seed to match its declared inputs.
//
// Rank-4 inputs with 1, 3 or 4 channels, N x C x H x W or N x H x W x C, get pictures of the "dead leaves" kind (Lee,
// Mumford and Huang 2001): overlapping shaded and textured discs and boxes of all sizes, whose edges and spectra
// resemble those of photographs. Those of uint8 have values of 0 to 255. Those of float types have the scale that the
// graph itself undoes, where its first nodes subtract and divide (0 to 255, 0 to 1, -1 to 1); otherwise each channel
// has about zero mean and unit variance, as preprocessed images have. Inputs that choose rows of a constant table
// (tokens: by Gather or OneHot, whatever their type) get any of its rows, each as often as another. Inputs of one or
// two channels, T, N x T, N x C x T or N x T x C, whose name says that they are sound, that stand beside a sample
// rate, or that a convolution or a Fourier transform takes, if at least 256 values long, get sounds like speech
// (seeded_sound.h). Other float inputs get independent normal values, of deviation 0.3 where a recurrent node starts
// from them or their name says so; integers and booleans 0 or 1.
//
// Names count where they say what is needed: a dimension has one size wherever its name stands, also in a sum; it is
// the batch where it is called so, or where another input's first dimension has its name; keys and values of the past
// are no pictures; a sample rate is 16,000, and a sound beside it, or called one, has 576 samples; a mask of integers
// hides nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "compressor/graph/evaluator.h"
#include "compressor/measure/input_shapes.h"

namespace quench::measure {

struct SeededShapes {
  int64_t batch = 1;  // for a leading dimension that the model leaves open
  InputShapes inputs = {};
};

// Whether every input of the model is a picture, whose seeded values are nearest to real ones.
bool takes_pictures(const OnnxModel& model);

// One set of inputs (graph inputs that are no initializers), batch `index` of an endless sequence. Open dimensions
// other than the batch become 224 (height and width), 576 (sound) or 16.
std::vector<graph::HostTensor> seeded_inputs(const OnnxModel& model, const SeededShapes& shapes, uint64_t seed,
                                             uint64_t index);

}  // namespace quench::measure
