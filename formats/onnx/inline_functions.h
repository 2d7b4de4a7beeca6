// Functions of a model (FunctionProto, since IR version 8): exporters of PyTorch write some for what it calls modules
// and for operators that ONNX lacks.
#pragma once

#include <onnx/onnx_pb.h>

namespace quench {

// Replaces each call of one of the model's functions, also in subgraphs and in other functions, by the nodes of its
// body, and removes the functions. Inner values get names of their own; an attribute that the call leaves out has the
// function's default or is left out. All functions stay, with their calls, where one that is called uses operators that
// mean something else in the versions that the model imports, where two have the same name, and where a default is a
// tensor or a graph. Throws where functions call themselves, where they or graphs are nested too deeply, and where they
// come to more than a million nodes or 256 MiB, the weights counted that a second call repeats.
void inline_functions(onnx::ModelProto& model);

}  // namespace quench
