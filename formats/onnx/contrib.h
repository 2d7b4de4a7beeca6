// Operators that are not ONNX's own, which stand for several that are: ONNX Runtime's (domain com.microsoft), which its
// optimizer and its exporter of language models write (documented in its docs/ContribOperators.md), and ImageScaler.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>
#include <vector>

namespace quench {

// Replaces each node of com.microsoft's Attention, MultiHeadAttention, GroupQueryAttention and RotaryEmbedding, and of
// ImageScaler, also in subgraphs, by ONNX's own operators, as the body of a function (inline_functions.h): then the
// weights of a projection are seen as those of a MatMul.
//
// Attention: its weights must be an initializer of float32 or float16.
// MultiHeadAttention: all forms of its inputs; keys whose rank the graph does not tell are taken to be of three axes.
// GroupQueryAttention: local_window_size counts the query's own key, as in ONNX Runtime since September 2025. The
// present's buffer is as long as the past's, or as total_sequence_length says where that is longer; where that is no
// shape or constant, as past and new ones together. Behind a sample's new ones it is zero.
//
// RotaryEmbedding: inputs of three or four axes, which the graph must tell; its attribute `scale` has no effect.
//
// Those stay that use what has no such form here (contrib_refusals()), and all in a model whose own functions stay.
void replace_contrib(onnx::ModelProto& model);

// Why nodes of these operators stayed, a line for each of them.
std::vector<std::string> contrib_refusals(const onnx::ModelProto& model);

}  // namespace quench
