// How a TensorProto of an OnnxModel says which weight is its own: its first external_data entry is "location" with the
// value "#<index>". A stripped tensor also has data_location EXTERNAL, so that ONNX's shape inference does not take it
// for one whose values are missing.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "formats/onnx/model_file.h"

namespace quench {

void set_weight_index(onnx::TensorProto& tensor, size_t index);

// Removes the mark, as from every tensor before it is written.
void clear_weight_index(onnx::TensorProto& tensor);

std::string weight_name(const onnx::TensorProto& tensor, const TensorPlace& place);

void set_weight(OnnxModel& model, onnx::TensorProto& tensor, int32_t dtype, std::span<const int64_t> dims,
                std::shared_ptr<const WeightSource> source, uint64_t inline_bytes);

// A ModelProto with a graph from its bytes; throws otherwise.
onnx::ModelProto parse_model(std::string_view bytes, std::string_view name);

}  // namespace quench
