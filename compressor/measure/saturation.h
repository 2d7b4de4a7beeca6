// Where outputs stop telling errors: a Sigmoid at its end, a maximum, a threshold or a rounding gives the same value for
// many inputs, and on made-up inputs an output may not move at all, however wrong the weights are.
#pragma once

#include <string>
#include <vector>

#include "compressor/graph/evaluator.h"

namespace quench::measure {

// What errors are to be measured at in place of the outputs.
struct TellingValues {
  std::vector<bool> outputs;       // of each of the graph's outputs: whether it is one of them
  std::vector<std::string> inner;  // in place of the others, each once; none is an output
};

// An output stays unless a saturating node stands at its end, with nothing behind it but changes of place, type, scale
// and offset. Then what it is made of takes its place, where that is computed: the logits of a Softmax, what an ArgMax
// compares; of parts that are put together, each.
TellingValues telling_values(const onnx::GraphProto& graph);

}  // namespace quench::measure
