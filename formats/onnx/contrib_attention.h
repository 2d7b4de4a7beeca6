// Attention of ONNX Runtime's own operators (domain com.microsoft), which its optimizer makes of the many nodes that an
// exporter writes for it. ONNX Runtime documents them in docs/ContribOperators.md.
#pragma once

#include <onnx/onnx_pb.h>

namespace quench {

// Replaces each node of com.microsoft's Attention in the main graph by ONNX's own operators, as the body of a function
// (inline_functions.h): then its weights are seen as those of a MatMul. Those stay that use what has no such form here:
// weights that are no initializer of float32 or float16, rotary embeddings, a past that lies in the buffer of the
// present, masks whose rank the graph does not tell, or of one axis unless EmbedLayerNormalization makes it, opsets
// before 11; and all in a model whose own functions stay.
void replace_attention(onnx::ModelProto& model);

}  // namespace quench
