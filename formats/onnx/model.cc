#include <charconv>
#include <utility>

#include "formats/error.h"
#include "formats/onnx/model_file.h"
#include "formats/onnx/weight_mark.h"

namespace quench {

int64_t weight_index(const onnx::TensorProto& tensor) {
  if (tensor.external_data_size() == 0) return -1;
  const std::string& mark = tensor.external_data(0).value();
  int64_t index = -1;
  if (mark.starts_with('#')) std::from_chars(mark.data() + 1, mark.data() + mark.size(), index);
  return index;
}

void set_weight_index(onnx::TensorProto& tensor, size_t index) {
  tensor.clear_external_data();
  onnx::StringStringEntryProto* entry = tensor.add_external_data();
  entry->set_key("location");
  entry->set_value(fmt::format("#{}", index));
  if (tensor.has_raw_data()) {
    tensor.clear_data_location();
  } else {
    tensor.set_data_location(onnx::TensorProto::EXTERNAL);
  }
}

void clear_weight_index(onnx::TensorProto& tensor) {
  tensor.clear_external_data();
  tensor.clear_data_location();
}

std::string weight_name(const onnx::TensorProto& tensor, const TensorPlace& place) {
  if (place.node == nullptr) return tensor.name();
  const onnx::NodeProto& node = *place.node;
  const std::string& output = node.output_size() != 0 ? node.output(0) : node.name();
  return node.op_type() == "Constant" ? output : output + "." + place.attribute->name();
}

void set_weight(OnnxModel& model, onnx::TensorProto& tensor, int32_t dtype, std::span<const int64_t> dims,
                std::shared_ptr<const WeightSource> source, uint64_t inline_bytes) {
  clear_data(tensor);
  tensor.set_data_type(dtype);
  const std::vector<int64_t> shape(dims.begin(), dims.end());  // `dims` may be the tensor's own
  tensor.mutable_dims()->Assign(shape.begin(), shape.end());
  Weight weight{tensor.name(), dtype, shape, &tensor, std::move(source)};
  if (weight.bytes() <= inline_bytes) {
    const std::vector<std::byte> raw = read(weight);
    tensor.set_raw_data(raw.data(), raw.size());
  }
  set_weight_index(tensor, model.weights.size());
  model.weights.push_back(std::move(weight));
}

void set_weight(OnnxModel& model, onnx::TensorProto& tensor, int32_t dtype, std::span<const int64_t> dims,
                std::shared_ptr<const WeightSource> source) {
  set_weight(model, tensor, dtype, dims, std::move(source), LoadOptions().inline_bytes);
}

void OnnxModel::reindex() {
  std::vector<Weight> live;
  for_each_tensor(proto, [&](onnx::TensorProto& tensor, const TensorPlace& place) {
    const int64_t index = weight_index(tensor);
    if (index < 0) return;
    Weight weight = weights.at(static_cast<size_t>(index));
    weight.name = weight_name(tensor, place);
    weight.tensor = &tensor;
    set_weight_index(tensor, live.size());
    live.push_back(std::move(weight));
  });
  weights = std::move(live);
}

OnnxModel OnnxModel::clone() const {
  OnnxModel copy;
  copy.name = name;
  copy.file_bytes = file_bytes;
  copy.external_files = external_files;
  copy.proto = proto;
  copy.breaks_inference = breaks_inference;
  copy.weights = weights;
  copy.reindex();
  return copy;
}

onnx::ModelProto parse_model(std::string_view bytes, std::string_view name) {
  onnx::ModelProto proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    throw Error::make("{}: not an ONNX model: the protobuf is damaged", name);
  }
  if (!proto.has_graph()) throw Error::make("{}: not an ONNX model: it has no graph", name);
  return proto;
}

}  // namespace quench
