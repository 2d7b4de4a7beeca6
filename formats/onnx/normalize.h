// What models of different writers have in different forms, and everything behind load() sees in one.
#pragma once

#include <onnx/onnx_pb.h>

namespace quench {

// ONNX's own operators are those of the domain "", which may also be written "ai.onnx".
void use_one_domain_name(onnx::ModelProto& model);

// Puts the nodes of every graph and function in an order in which each comes after those that make its inputs; those
// that are in one keep it. Converters to float16 append the nodes that they insert. Nodes of a circle stay where they
// are, behind the others: check() refuses them.
void sort_nodes(onnx::ModelProto& model);

}  // namespace quench
