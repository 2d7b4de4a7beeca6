// What is asked of nodes and models everywhere.
#pragma once

#include <onnx/onnx_pb.h>

#include <string_view>

namespace quench {

// Null where the node has none of that name.
const onnx::AttributeProto* find_attribute(const onnx::NodeProto& node, std::string_view name);
// An attribute's integer or number, or `fallback` where it is absent.
int64_t integer_attribute(const onnx::NodeProto& node, std::string_view name, int64_t fallback);
float float_attribute(const onnx::NodeProto& node, std::string_view name, float fallback);

// The node's input where it exists and has a name.
bool has_input(const onnx::NodeProto& node, int index);
bool has_output(const onnx::NodeProto& node, int index);

// Version of ONNX's own operators that the model imports; 0 when it imports none.
int64_t default_opset(const onnx::ModelProto& model);

}  // namespace quench
