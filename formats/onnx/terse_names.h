// Names that say no more than which value is meant. Every name is a string of its own in ONNX, and a coder cannot foresee
// the next one, so that names are most of what a graph with short ones takes. Terse names repeat from block to block as
// the operators do: a node's output takes a name that nothing needs any more, as a register is used again, and a weight
// with one use has no name at all. formats/container/FORMAT.md, "Terse names", says how they are read.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>
#include <string_view>

namespace quench {

// What stands for the next initializer without a name.
inline constexpr char kNextInitializer[] = "+";

// "a", "b", ..., "z", "aa", "ab", ...
std::string short_name(size_t number);

// Inputs, outputs and initializers with more uses keep their names; those with one use are put into the order of their
// use. False, with nothing changed, for graphs whose names reach further: those with subgraphs, functions, training
// information, sparse initializers or annotations, and those whose input or output is called "+". The nodes of the graph
// make each value before it is used.
bool make_names_terse(onnx::ModelProto& model);

// The other way: every value has a name of its own, "a", "b", ... in the order of the nodes. Throws quench::Error, with
// `file` in front, for a name that nothing defines.
void expand_terse_names(onnx::ModelProto& model, std::string_view file);

}  // namespace quench
