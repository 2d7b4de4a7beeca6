// The part of a model in front of what the runtime cannot run.
#pragma once

#include <optional>
#include <string>

#include "formats/onnx/model_file.h"

namespace quench::graph {

// Takes away the nodes that the runtime cannot run and all that needs their results: operators that it lacks, and those
// whose outputs have a shape that only data can tell (NonZero, NonMaxSuppression and their like, Reshape to a shape that is
// not known). The floating-point values that these would take become outputs, behind those of the model that can still be
// made; what only served others goes, too. Initializers stay, and the model is not reindexed, so that weights keep their
// indices. Returns what the first of these nodes is called; nothing where there is none, or no such value in front of
// them, and then the model is as it was.
std::optional<std::string> cut_to_runnable(OnnxModel& model);

}  // namespace quench::graph
