// Attention of ONNX Runtime's own operators (domain com.microsoft), which its optimizer makes of the many nodes that an
// exporter writes for it. ONNX Runtime documents them in docs/ContribOperators.md.
#pragma once

#include <onnx/onnx_pb.h>

namespace quench {

// Makes each node of com.microsoft's Attention in the main graph a call of a function of ONNX's own operators, which
// is added to the model for inline_functions: then its weights are seen as those of a MatMul. Those stay that use what
// has no such form here: weights that are no initializer of float32 or float16, rotary embeddings, a past that lies in
// the buffer of the present, masks whose rank the graph does not tell, or of one axis unless EmbedLayerNormalization
// makes it, opsets before 11.
void replace_attention(onnx::ModelProto& model);

}  // namespace quench
