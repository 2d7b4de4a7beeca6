#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "formats/error.h"
#include "formats/onnx/model_file.h"
#include "formats/onnx/terse_names.h"
#include "formats/onnx/weight_mark.h"

namespace quench {
namespace {

void drop_docs(onnx::FunctionProto& function) {
  function.clear_doc_string();
  for (onnx::NodeProto& node : *function.mutable_node()) node.clear_doc_string();
}

void drop_docs(onnx::GraphProto& graph) {
  graph.clear_doc_string();
  graph.clear_value_info();
  for (onnx::ValueInfoProto& value : *graph.mutable_input()) value.clear_doc_string();
  for (onnx::ValueInfoProto& value : *graph.mutable_output()) value.clear_doc_string();
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    node.clear_doc_string();
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) attribute.clear_doc_string();
  }
}

// Renames the values of a graph and its subgraphs. A subgraph sees the names of the graphs around it; ONNX forbids it
// to define one of them again, so names are also unique over the nesting after renaming, while graphs side by side
// reuse them.
class Renamer {
 public:
  void rename_main(onnx::GraphProto& graph) {
    std::unordered_map<std::string, std::string> names;
    for (const onnx::ValueInfoProto& value : graph.input()) keep(value.name(), names);
    for (const onnx::ValueInfoProto& value : graph.output()) keep(value.name(), names);
    rename(graph, std::move(names));
  }

 private:
  using Names = std::unordered_map<std::string, std::string>;

  void keep(const std::string& name, Names& names) {
    names.emplace(name, name);
    reserved_.insert(name);
  }

  void define(const std::string& name, Names& names) {
    if (name.empty() || names.contains(name)) return;
    std::string short_one = short_name(next_++);
    while (reserved_.contains(short_one)) short_one = short_name(next_++);
    names.emplace(name, std::move(short_one));
  }

  void rename(onnx::GraphProto& graph, Names names) {
    define_all(graph, names);
    graph.set_name("g");
    for (onnx::TensorProto& tensor : *graph.mutable_initializer()) apply(*tensor.mutable_name(), names);
    for (onnx::SparseTensorProto& tensor : *graph.mutable_sparse_initializer()) {
      apply(*tensor.mutable_values()->mutable_name(), names);
    }
    for (onnx::ValueInfoProto& value : *graph.mutable_input()) apply(*value.mutable_name(), names);
    for (onnx::ValueInfoProto& value : *graph.mutable_output()) apply(*value.mutable_name(), names);
    for (onnx::TensorAnnotation& annotation : *graph.mutable_quantization_annotation()) {
      apply(*annotation.mutable_tensor_name(), names);
      for (auto& entry : *annotation.mutable_quant_parameter_tensor_names()) apply(*entry.mutable_value(), names);
    }
    for (onnx::NodeProto& node : *graph.mutable_node()) rename(node, names);
  }

  void define_all(const onnx::GraphProto& graph, Names& names) {
    for (const onnx::ValueInfoProto& value : graph.input()) define(value.name(), names);
    for (const onnx::TensorProto& tensor : graph.initializer()) define(tensor.name(), names);
    for (const onnx::SparseTensorProto& tensor : graph.sparse_initializer()) define(tensor.values().name(), names);
    for (const onnx::NodeProto& node : graph.node()) {
      for (const std::string& output : node.output()) define(output, names);
    }
  }

  void rename(onnx::NodeProto& node, const Names& names) {
    node.clear_name();
    for (std::string& input : *node.mutable_input()) apply(input, names);
    for (std::string& output : *node.mutable_output()) apply(output, names);
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.has_t()) attribute.mutable_t()->clear_name();
      for (onnx::TensorProto& tensor : *attribute.mutable_tensors()) tensor.clear_name();
      if (attribute.has_g()) rename_subgraph(*attribute.mutable_g(), names);
      for (onnx::GraphProto& graph : *attribute.mutable_graphs()) rename_subgraph(graph, names);
    }
  }

  void rename_subgraph(onnx::GraphProto& graph, const Names& names) {
    const size_t outer_next = next_;
    rename(graph, names);
    next_ = outer_next;
  }

  static void apply(std::string& name, const Names& names) {
    if (name.empty()) return;
    const auto found = names.find(name);
    if (found == names.end()) throw Error::make("the value '{}' is used but nothing defines it", printable(name));
    name = found->second;
  }

  std::unordered_set<std::string> reserved_;
  size_t next_ = 0;
};

void drop_names(onnx::ModelProto& proto) {
  proto.clear_doc_string();
  for_each_graph(proto, [](onnx::GraphProto& graph) { drop_docs(graph); });
  for (onnx::FunctionProto& function : *proto.mutable_functions()) drop_docs(function);
  for_each_tensor(proto, [](onnx::TensorProto& tensor, const TensorPlace&) { tensor.clear_doc_string(); });
  // The bindings of training_info name inner values.
  if (proto.training_info_size() == 0) Renamer().rename_main(*proto.mutable_graph());
}

// The length-delimited fields in a message of this type, those of its parts included: each becomes a message or a string
// of its own. Stops at the first byte that is wrong, which the parser then finds as well.
uint64_t count_fields(google::protobuf::io::CodedInputStream& in, const google::protobuf::Descriptor& type, int depth) {
  using google::protobuf::FieldDescriptor;
  using google::protobuf::internal::WireFormatLite;
  constexpr int kMaxDepth = 100;  // protobuf's own
  uint64_t count = 0;
  while (const uint32_t tag = in.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&in, tag)) return count;
      continue;
    }
    ++count;
    int length = 0;
    if (!in.ReadVarintSizeAsInt(&length)) return count;
    const FieldDescriptor* field = type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    if (field == nullptr || field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || depth == kMaxDepth) {
      if (!in.Skip(length)) return count;
      continue;
    }
    const auto limit = in.PushLimit(length);
    count += count_fields(in, *field->message_type(), depth + 1);
    if (!in.Skip(std::max(in.BytesUntilLimit(), 0))) return count;
    in.PopLimit(limit);
  }
  return count;
}

// On the average of what a field takes, and of a field's bytes: packed numbers take 8 for one.
uint64_t parsed_size(std::span<const std::byte> bytes) {
  constexpr uint64_t kPerField = 128;
  constexpr uint64_t kPerByte = 8;
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                                            static_cast<int>(bytes.size()));
  return kPerField * count_fields(in, *onnx::ModelProto::descriptor(), 0) + kPerByte * bytes.size();
}

}  // namespace

GraphBytes to_graph_bytes(const OnnxModel& model, const GraphOptions& options) {
  onnx::ModelProto proto = model.proto;
  GraphBytes result;
  try {
    if (options.drop_names) drop_names(proto);
  } catch (const Error& error) {
    throw Error::make("{}: {}", model.name, error.what());
  }
  result.terse = options.drop_names && make_names_terse(proto);
  for_each_tensor(proto, [&](onnx::TensorProto& tensor, const TensorPlace&) {
    const int64_t index = weight_index(tensor);
    clear_weight_index(tensor);
    if (index < 0) return;
    const Weight& weight = model.weights.at(static_cast<size_t>(index));
    if (options.keep_inline && options.keep_inline(weight)) {
      const std::vector<std::byte> raw = read(weight);
      tensor.set_raw_data(raw.data(), raw.size());
      return;
    }
    tensor.clear_raw_data();
    result.stripped.push_back(static_cast<size_t>(index));
  });
  if (!proto.SerializeToString(&result.bytes)) throw Error::make("{}: the graph is too large", model.name);
  return result;
}

onnx::ModelProto parse_graph_bytes(std::span<const std::byte> bytes, bool terse, std::string_view name,
                                   uint64_t max_memory) {
  if (max_memory < std::numeric_limits<uint64_t>::max() && parsed_size(bytes) > max_memory) {
    throw Error::make("{}: the graph would take more memory than its limit of {} bytes (--max-memory raises it)", name,
                      max_memory);
  }
  onnx::ModelProto proto = parse_model({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name);
  // A mark in the file would be taken for one of ours.
  for_each_tensor(proto, [](onnx::TensorProto& tensor, const TensorPlace&) { clear_weight_index(tensor); });
  if (terse) expand_terse_names(proto, name);
  return proto;
}

}  // namespace quench
