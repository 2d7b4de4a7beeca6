#include "runtime/graph/graph.h"

#include <algorithm>
#include <cstdio>

namespace quench::rt {
namespace {

constexpr int kMaxDepth = 32;  // of subgraphs in subgraphs
constexpr uint64_t kMaxArity = 1u << 16;
constexpr uint64_t kFirstVersionWithDefaults = 4;  // of the IR

// Field numbers of onnx.proto.
namespace model_field {
enum : uint32_t { kIrVersion = 1, kGraph = 7, kOpsetImport = 8, kMetadata = 14 };
}
namespace graph_field {
enum : uint32_t { kNode = 1, kInitializer = 5, kInput = 11, kOutput = 12, kSparseInitializer = 15 };
}
namespace node_field {
enum : uint32_t { kInput = 1, kOutput = 2, kName = 3, kOpType = 4, kAttribute = 5, kDomain = 7 };
}
namespace attribute_field {
enum : uint32_t {
  kName = 1,
  kFloat = 2,
  kInt = 3,
  kString = 4,
  kTensor = 5,
  kGraph = 6,
  kFloats = 7,
  kInts = 8,
  kStrings = 9,
  kTensors = 10,
  kGraphs = 11,
  kType = 20,
  kSparseTensor = 22,
  kSparseTensors = 23
};
}
namespace tensor_field {
enum : uint32_t {
  kDims = 1,
  kDataType = 2,
  kFloatData = 4,
  kInt32Data = 5,
  kStringData = 6,
  kInt64Data = 7,
  kName = 8,
  kRawData = 9,
  kDoubleData = 10,
  kUint64Data = 11
};
}

float float_from_bits(uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Numbers beyond those of ElementType are all the same to the runtime: types that it does not have.
ElementType type_of(uint64_t number) {
  return number <= static_cast<uint64_t>(ElementType::kBfloat16) ? static_cast<ElementType>(number)
                                                                 : ElementType::kUndefined;
}

// A node while its inputs and outputs are still names.
struct NamedNode {
  std::span<std::string_view> inputs, outputs;
};

// A GraphProto while its nodes are named ones.
struct Scope {
  explicit Scope(Pool& pool) : nodes(pool), named(pool), initializers(pool), inputs(pool), outputs(pool) {}

  List<Node> nodes;
  List<NamedNode> named;
  List<Initializer> initializers;
  List<ValueInfo> inputs, outputs;
};

struct OpsetImport {
  std::string_view domain;
  int64_t version = 0;
};

std::string_view plain_domain(std::string_view domain) { return domain == "ai.onnx" ? std::string_view() : domain; }

class GraphReader {
 public:
  GraphReader(const GraphOptions& options, Pool& pool, Graph& graph)
      : options_(options),
        pool_(pool),
        graph_(graph),
        main_(pool),
        scopes_(pool),
        opsets_(pool),
        names_(pool),
        nameless_(pool),
        hidden_(pool) {}

  Status read(Bytes model);

 private:
  Status read_model_fields(Bytes model, Bytes& graph);
  Status read_opset(Bytes bytes);
  Status read_scope(Bytes graph, Scope& scope);
  Status count_fields(Bytes graph, Scope& scope);
  Status read_node(Bytes bytes, Scope& scope);
  Status read_attribute(Bytes bytes, Attribute& attribute);
  Status read_subgraph(Bytes bytes, int* number);
  Status read_repeated(Bytes bytes, Attribute& attribute);
  Status read_tensor(Bytes bytes, StoredTensor& tensor);
  Status count_values(size_t more);
  Status read_value_info(Bytes bytes, ValueInfo& info);
  Status read_type(Bytes bytes, ValueInfo& info);
  Status read_shape(Bytes bytes, ValueInfo& info);
  Status count_sparse(Bytes bytes);

  Status number_names();
  Status define_initializers(const Scope& scope);
  Status define_inputs();
  Status define_nodes(Scope& scope, Subgraph& defined);
  Status define_subgraph(int number);
  Status constant_node(const Node& node, bool& is_constant);
  Status define_outputs();
  Status define(std::string_view name, int* value);
  Status add_value(std::string_view name, int* value);
  int input_value(std::string_view name);
  size_t number_of(std::string_view name) const;
  int find(std::string_view name) const;
  Status find_opset(Node& node) const;

  const GraphOptions& options_;
  Pool& pool_;
  Graph& graph_;
  Scope main_;
  List<Scope*> scopes_;  // of the subgraphs
  List<OpsetImport> opsets_;
  List<std::string_view> names_;  // sorted
  std::span<int> visible_;        // of each name: the value that it means where the reader is; -1
  List<int> nameless_;            // values of the initializers without a name, where names are terse
  size_t next_nameless_ = 0;
  // What names meant before a subgraph gave them a meaning of its own.
  struct Hidden {
    size_t name;
    int value;
  };
  List<Hidden> hidden_;
  int depth_ = 0;      // of the subgraph that is being read
  int subgraph_ = -1;  // that is being defined
  uint64_t node_count_ = 0;
  uint64_t value_count_ = 0;
  uint64_t ir_version_ = 0;
  int64_t next_source_ = 0;
};

Status GraphReader::read(Bytes model) {
  if (model.size() > options_.limits.max_graph_bytes) {
    return Status::error(StatusCode::kLimit, "graph: %zu bytes are more than the limit allows", model.size());
  }
  Bytes graph;
  QUENCH_RETURN_IF_ERROR(read_model_fields(model, graph));
  QUENCH_RETURN_IF_ERROR(read_scope(graph, main_));
  QUENCH_RETURN_IF_ERROR(number_names());
  QUENCH_RETURN_IF_ERROR(define_initializers(main_));
  QUENCH_RETURN_IF_ERROR(define_inputs());
  QUENCH_RETURN_IF_ERROR(define_nodes(main_, graph_.main));
  return define_outputs();
}

Status GraphReader::read_model_fields(Bytes model, Bytes& graph) {
  bool found = false;
  WireReader reader(model);
  for (WireField field; reader.next(field);) {
    if (field.number == model_field::kIrVersion && field.is_varint()) ir_version_ = field.value;
    if (!field.is_bytes()) continue;
    if (field.number == model_field::kGraph) {
      if (found) return Status::error(StatusCode::kCorrupt, "graph: the model has two graphs");
      graph = field.bytes;
      found = true;
    } else if (field.number == model_field::kOpsetImport) {
      QUENCH_RETURN_IF_ERROR(read_opset(field.bytes));
    }
  }
  QUENCH_RETURN_IF_ERROR(reader.status());
  if (!found) return Status::error(StatusCode::kCorrupt, "graph: the model has no graph");
  return Status();
}

Status GraphReader::read_opset(Bytes bytes) {
  OpsetImport import;
  WireReader reader(bytes);
  for (WireField field; reader.next(field);) {
    if (field.number == 1 && field.is_bytes()) import.domain = plain_domain(field.text());
    if (field.number == 2 && field.is_varint()) import.version = static_cast<int64_t>(field.value);
  }
  QUENCH_RETURN_IF_ERROR(reader.status());
  if (import.version < 0 || import.version > 1 << 20) {
    return Status::error(StatusCode::kCorrupt, "graph: an operator set has an impossible version");
  }
  return opsets_.push(import) ? Status() : out_of_memory();
}

Status GraphReader::find_opset(Node& node) const {
  for (const OpsetImport& import : opsets_) {
    if (import.domain != node.domain) continue;
    node.opset = static_cast<int>(import.version);
    return Status();
  }
  if (!node.domain.empty()) return Status();  // no kernel will be found, which says more than this could
  return at_node(graph_, node,
                 Status::error(StatusCode::kCorrupt, "the model does not say which operator set version it uses"));
}

Status GraphReader::read_scope(Bytes graph, Scope& scope) {
  QUENCH_RETURN_IF_ERROR(count_fields(graph, scope));
  WireReader reader(graph);
  for (WireField field; reader.next(field);) {
    if (!field.is_bytes()) continue;
    switch (field.number) {
      case graph_field::kNode:
        QUENCH_RETURN_IF_ERROR(read_node(field.bytes, scope));
        break;
      case graph_field::kInitializer: {
        Initializer initializer;
        QUENCH_RETURN_IF_ERROR(read_tensor(field.bytes, initializer.stored));
        initializer.type = compute_type(initializer.stored.type);
        initializer.shape = initializer.stored.shape;
        if (!scope.initializers.push(initializer)) return out_of_memory();
        break;
      }
      case graph_field::kSparseInitializer:
        QUENCH_RETURN_IF_ERROR(count_sparse(field.bytes));
        break;
      case graph_field::kInput:
      case graph_field::kOutput: {
        ValueInfo info;
        QUENCH_RETURN_IF_ERROR(read_value_info(field.bytes, info));
        if (!(field.number == graph_field::kInput ? scope.inputs : scope.outputs).push(info)) return out_of_memory();
        break;
      }
      default:
        break;
    }
  }
  return reader.status();
}

// Makes room for what a graph has.
Status GraphReader::count_fields(Bytes graph, Scope& scope) {
  size_t nodes = 0;
  size_t initializers = 0;
  size_t inputs = 0;
  size_t outputs = 0;
  WireReader reader(graph);
  for (WireField field; reader.next(field);) {
    if (!field.is_bytes()) continue;
    nodes += field.number == graph_field::kNode;
    initializers += field.number == graph_field::kInitializer;
    inputs += field.number == graph_field::kInput;
    outputs += field.number == graph_field::kOutput;
  }
  QUENCH_RETURN_IF_ERROR(reader.status());
  node_count_ += nodes;
  if (node_count_ > options_.limits.max_nodes) {
    return Status::error(StatusCode::kLimit, "graph: more nodes than the limit allows");
  }
  QUENCH_RETURN_IF_ERROR(count_values(initializers + inputs + outputs));
  return scope.nodes.reserve(nodes) && scope.named.reserve(nodes) && scope.initializers.reserve(initializers) &&
                 scope.inputs.reserve(inputs) && scope.outputs.reserve(outputs)
             ? Status()
             : out_of_memory();
}

Status GraphReader::count_values(size_t more) {
  value_count_ += more;
  if (value_count_ <= options_.limits.max_values) return Status();
  return Status::error(StatusCode::kLimit, "graph: more inputs, outputs, weights and inner values than the limit of %u",
                       options_.limits.max_values);
}

Status GraphReader::read_node(Bytes bytes, Scope& scope) {
  size_t inputs = 0;
  size_t outputs = 0;
  size_t attributes = 0;
  WireReader counter(bytes);
  for (WireField field; counter.next(field);) {
    if (!field.is_bytes()) continue;
    inputs += field.number == node_field::kInput;
    outputs += field.number == node_field::kOutput;
    attributes += field.number == node_field::kAttribute;
  }
  QUENCH_RETURN_IF_ERROR(counter.status());
  if (inputs > kMaxArity || outputs > kMaxArity || attributes > kMaxArity) {
    return Status::error(StatusCode::kLimit, "graph: a node has more than %d inputs, outputs or attributes",
                         static_cast<int>(kMaxArity));
  }
  QUENCH_RETURN_IF_ERROR(count_values(inputs + outputs));

  Node node;
  NamedNode named;
  if (!pool_.make(inputs, &named.inputs) || !pool_.make(outputs, &named.outputs) || !pool_.make(inputs, &node.inputs) ||
      !pool_.make(outputs, &node.outputs) || !pool_.make(attributes, &node.attributes)) {
    return out_of_memory();
  }
  inputs = outputs = attributes = 0;
  WireReader reader(bytes);
  for (WireField field; reader.next(field);) {
    if (!field.is_bytes()) continue;
    switch (field.number) {
      case node_field::kInput:
        named.inputs[inputs++] = field.text();
        break;
      case node_field::kOutput:
        named.outputs[outputs++] = field.text();
        break;
      case node_field::kName:
        node.name = field.text();
        break;
      case node_field::kOpType:
        node.op = field.text();
        break;
      case node_field::kDomain:
        node.domain = plain_domain(field.text());
        break;
      case node_field::kAttribute:
        QUENCH_RETURN_IF_ERROR(read_attribute(field.bytes, node.attributes[attributes++]));
        break;
      default:
        break;
    }
  }
  if (options_.terse_names) node.place = scope.nodes.count();
  if (!scope.nodes.push(node) || !scope.named.push(named)) return out_of_memory();
  return Status();
}

// What is kept of subgraphs that nobody defines, those in a list, is never looked at.
Status GraphReader::read_subgraph(Bytes bytes, int* number) {
  if (++depth_ > kMaxDepth) return Status::error(StatusCode::kLimit, "graph: subgraphs are nested too deeply");
  void* block = pool_.allocate(sizeof(Scope), alignof(Scope));
  if (!block) return out_of_memory();
  Scope* scope = new (block) Scope(pool_);
  *number = scopes_.count();
  if (!scopes_.push(scope)) return out_of_memory();
  QUENCH_RETURN_IF_ERROR(read_scope(bytes, *scope));
  --depth_;
  return Status();
}

Status GraphReader::read_attribute(Bytes bytes, Attribute& attribute) {
  bool has_f = false;
  bool has_i = false;
  bool has_s = false;
  bool has_t = false;
  StoredTensor tensor;
  WireReader reader(bytes);
  for (WireField field; reader.next(field);) {
    switch (field.number) {
      case attribute_field::kName:
        if (field.is_bytes()) attribute.name = field.text();
        break;
      case attribute_field::kFloat:
        if (field.type == WireField::kFixed32) {
          attribute.f = float_from_bits(static_cast<uint32_t>(field.value));
          has_f = true;
        }
        break;
      case attribute_field::kInt:
        if (field.is_varint()) {
          attribute.i = static_cast<int64_t>(field.value);
          has_i = true;
        }
        break;
      case attribute_field::kString:
        if (field.is_bytes()) {
          attribute.s = field.text();
          has_s = true;
        }
        break;
      case attribute_field::kTensor:
        if (field.is_bytes()) {
          QUENCH_RETURN_IF_ERROR(read_tensor(field.bytes, tensor));
          has_t = true;
        }
        break;
      case attribute_field::kGraph:
        if (!field.is_bytes()) break;
        if (attribute.subgraph >= 0) return Status::error(StatusCode::kCorrupt, "graph: an attribute has two graphs");
        QUENCH_RETURN_IF_ERROR(read_subgraph(field.bytes, &attribute.subgraph));
        break;
      case attribute_field::kType:
        if (field.is_varint() && field.value <= 64) attribute.type = static_cast<int32_t>(field.value);
        break;
      // Not used by any operator here, but the stripped tensors in them count.
      case attribute_field::kGraphs: {
        int ignored = -1;
        if (field.is_bytes()) QUENCH_RETURN_IF_ERROR(read_subgraph(field.bytes, &ignored));
        break;
      }
      case attribute_field::kTensors: {
        StoredTensor ignored;
        if (field.is_bytes()) QUENCH_RETURN_IF_ERROR(read_tensor(field.bytes, ignored));
        break;
      }
      case attribute_field::kSparseTensor:
      case attribute_field::kSparseTensors:
        if (field.is_bytes()) QUENCH_RETURN_IF_ERROR(count_sparse(field.bytes));
        break;
      default:
        break;
    }
  }
  QUENCH_RETURN_IF_ERROR(reader.status());
  QUENCH_RETURN_IF_ERROR(read_repeated(bytes, attribute));
  if (attribute.type == 0) {  // written before the field existed
    attribute.type = has_f                        ? Attribute::kFloat
                     : has_i                      ? Attribute::kInt
                     : has_s                      ? Attribute::kString
                     : has_t                      ? Attribute::kTensor
                     : attribute.subgraph >= 0    ? Attribute::kGraph
                     : !attribute.floats.empty()  ? Attribute::kFloats
                     : !attribute.ints.empty()    ? Attribute::kInts
                     : !attribute.strings.empty() ? Attribute::kStrings
                                                  : 0;
  }
  if (has_t && attribute.type == Attribute::kTensor) {
    attribute.stored = graph_.stored_attributes.count();
    if (!graph_.stored_attributes.push(tensor)) return out_of_memory();
  } else if (attribute.type == Attribute::kTensor) {
    return Status::error(StatusCode::kCorrupt, "graph: a tensor attribute holds no tensor");
  }
  return Status();
}

// floats, ints and strings, each packed or one field per value: counted first, then read.
Status GraphReader::read_repeated(Bytes bytes, Attribute& attribute) {
  std::span<float> floats;
  std::span<int64_t> ints;
  std::span<std::string_view> strings;
  for (int pass = 0; pass < 2; ++pass) {
    size_t float_count = 0;
    size_t int_count = 0;
    size_t string_count = 0;
    WireReader reader(bytes);
    for (WireField field; reader.next(field);) {
      if (field.number == attribute_field::kFloats && field.type == WireField::kFixed32) {
        if (pass == 1) floats[float_count] = float_from_bits(static_cast<uint32_t>(field.value));
        ++float_count;
      } else if (field.number == attribute_field::kFloats && field.is_bytes()) {
        WireReader packed(field.bytes);
        for (uint32_t bits = 0; packed.next_fixed32(bits); ++float_count) {
          if (pass == 1) floats[float_count] = float_from_bits(bits);
        }
        QUENCH_RETURN_IF_ERROR(packed.status());
      } else if (field.number == attribute_field::kInts && field.is_varint()) {
        if (pass == 1) ints[int_count] = static_cast<int64_t>(field.value);
        ++int_count;
      } else if (field.number == attribute_field::kInts && field.is_bytes()) {
        WireReader packed(field.bytes);
        for (uint64_t value = 0; packed.next_varint(value); ++int_count) {
          if (pass == 1) ints[int_count] = static_cast<int64_t>(value);
        }
        QUENCH_RETURN_IF_ERROR(packed.status());
      } else if (field.number == attribute_field::kStrings && field.is_bytes()) {
        if (pass == 1) strings[string_count] = field.text();
        ++string_count;
      }
    }
    if (pass == 0 &&
        (!pool_.make(float_count, &floats) || !pool_.make(int_count, &ints) || !pool_.make(string_count, &strings))) {
      return out_of_memory();
    }
  }
  attribute.floats = floats;
  attribute.ints = ints;
  attribute.strings = strings;
  return Status();
}

Status GraphReader::read_tensor(Bytes bytes, StoredTensor& tensor) {
  tensor = StoredTensor();
  tensor.proto = bytes;
  bool has_data = false;
  bool too_many_dims = false;
  const auto add_dim = [&](uint64_t size) {
    if (tensor.shape.rank == kMaxRank) {
      too_many_dims = true;
      return;
    }
    tensor.shape.dims[tensor.shape.rank++] = static_cast<int64_t>(size);
  };
  WireReader reader(bytes);
  for (WireField field; reader.next(field);) {
    switch (field.number) {
      case tensor_field::kDims:
        if (field.is_varint()) add_dim(field.value);
        if (field.is_bytes()) {
          WireReader packed(field.bytes);
          for (uint64_t size = 0; packed.next_varint(size);) add_dim(size);
          QUENCH_RETURN_IF_ERROR(packed.status());
        }
        break;
      case tensor_field::kDataType:
        if (field.is_varint()) tensor.type = type_of(field.value);
        break;
      case tensor_field::kName:
        if (field.is_bytes()) tensor.name = field.text();
        break;
      case tensor_field::kFloatData:
      case tensor_field::kInt32Data:
      case tensor_field::kStringData:
      case tensor_field::kInt64Data:
      case tensor_field::kRawData:
      case tensor_field::kDoubleData:
      case tensor_field::kUint64Data:
        if (!field.is_bytes() || !field.bytes.empty() || field.number == tensor_field::kStringData) has_data = true;
        break;
      default:
        break;
    }
  }
  QUENCH_RETURN_IF_ERROR(reader.status());
  const int name_length = static_cast<int>(std::min<size_t>(tensor.name.size(), 60));
  if (too_many_dims) {
    return Status::error(StatusCode::kShape, "tensor '%.*s' has more than %d dimensions", name_length,
                         tensor.name.data(), kMaxRank);
  }
  if (!tensor.shape.valid(8)) {
    return Status::error(StatusCode::kShape, "tensor '%.*s' has an impossible shape", name_length, tensor.name.data());
  }
  const int64_t elements = tensor.shape.elements();
  if (static_cast<uint64_t>(elements) > options_.limits.max_tensor_elements) {
    return Status::error(StatusCode::kLimit, "tensor '%.*s' has more elements than the limit allows", name_length,
                         tensor.name.data());
  }
  if (elements > 0 && !has_data) tensor.source = next_source_++;
  return Status();
}

Status GraphReader::count_sparse(Bytes bytes) {
  WireReader reader(bytes);
  for (WireField field; reader.next(field);) {
    StoredTensor ignored;
    if (field.is_bytes() && (field.number == 1 || field.number == 2)) {
      QUENCH_RETURN_IF_ERROR(read_tensor(field.bytes, ignored));
    }
  }
  return reader.status();
}

// ValueInfoProto {name = 1, type = 2}
Status GraphReader::read_value_info(Bytes bytes, ValueInfo& info) {
  WireReader reader(bytes);
  for (WireField field; reader.next(field);) {
    if (!field.is_bytes()) continue;
    if (field.number == 1) info.name = field.text();
    if (field.number == 2) QUENCH_RETURN_IF_ERROR(read_type(field.bytes, info));
  }
  return reader.status();
}

// TypeProto {tensor_type = 1 {elem_type = 1, shape = 2}, sequence_type = 4 {elem_type = 1}, optional_type = 9 {elem_type
// = 1}}: a tensor, a sequence of tensors, or either of these as an optional value. Anything else has no element type.
Status GraphReader::read_type(Bytes bytes, ValueInfo& info) {
  WireReader reader(bytes);
  for (WireField field; reader.next(field);) {
    if (!field.is_bytes()) continue;
    const bool is_list = field.number == 4 && !info.is_sequence;
    const bool may_be_nothing = field.number == 9 && !info.is_sequence && !info.is_optional;
    if (field.number != 1 && !is_list && !may_be_nothing) continue;
    info.is_sequence = info.is_sequence || is_list;
    info.is_optional = info.is_optional || may_be_nothing;
    WireReader type(field.bytes);
    for (WireField part; type.next(part);) {
      if (field.number != 1) {
        if (part.number == 1 && part.is_bytes()) QUENCH_RETURN_IF_ERROR(read_type(part.bytes, info));
        continue;
      }
      if (part.number == 1 && part.is_varint()) info.type = type_of(part.value);
      if (part.number == 2 && part.is_bytes()) QUENCH_RETURN_IF_ERROR(read_shape(part.bytes, info));
    }
    QUENCH_RETURN_IF_ERROR(type.status());
  }
  return reader.status();
}

// TensorShapeProto {dim = 1 {dim_value = 1}}
Status GraphReader::read_shape(Bytes bytes, ValueInfo& info) {
  info.rank = 0;
  WireReader reader(bytes);
  for (WireField field; reader.next(field);) {
    if (field.number != 1 || !field.is_bytes()) continue;
    if (info.rank == kMaxRank) {
      return Status::error(StatusCode::kShape, "value '%.*s' has more than %d dimensions",
                           static_cast<int>(std::min<size_t>(info.name.size(), 60)), info.name.data(), kMaxRank);
    }
    int64_t size = -1;
    WireReader dim(field.bytes);
    for (WireField part; dim.next(part);) {
      // Exporters write 0 or -1 for "any".
      if (part.number == 1 && part.is_varint() && static_cast<int64_t>(part.value) > 0) {
        size = static_cast<int64_t>(part.value);
      }
    }
    QUENCH_RETURN_IF_ERROR(dim.status());
    info.dims[info.rank++] = size;
  }
  return reader.status();
}

// Sorting gives numbers without a hash table, in O(bytes log names) whatever the names are.
Status GraphReader::number_names() {
  if (!names_.reserve(value_count_)) return out_of_memory();
  const auto add = [&](std::string_view name) { return name.empty() || names_.push(name); };
  const auto add_scope = [&](const Scope& scope) {
    bool added = true;
    for (const ValueInfo& info : scope.inputs) added = added && add(info.name);
    for (const ValueInfo& info : scope.outputs) added = added && add(info.name);
    for (const Initializer& initializer : scope.initializers) added = added && add(initializer.stored.name);
    for (const NamedNode& node : scope.named) {
      for (std::string_view name : node.inputs) added = added && add(name);
      for (std::string_view name : node.outputs) added = added && add(name);
    }
    return added;
  };
  if (!add_scope(main_)) return out_of_memory();
  for (const Scope* scope : scopes_) {
    if (!add_scope(*scope)) return out_of_memory();
  }
  std::sort(names_.begin(), names_.end());
  names_.truncate(static_cast<size_t>(std::unique(names_.begin(), names_.end()) - names_.begin()));
  if (!pool_.make(names_.size(), &visible_)) return out_of_memory();
  for (int& value : visible_) value = -1;
  if (!graph_.values.reserve(names_.size()) || !graph_.nodes.reserve(node_count_)) return out_of_memory();
  for (size_t i = 0; i < scopes_.size(); ++i) {
    if (!graph_.subgraphs.push(Subgraph())) return out_of_memory();
  }
  return Status();
}

// The name is one that number_names has seen.
size_t GraphReader::number_of(std::string_view name) const {
  return static_cast<size_t>(std::lower_bound(names_.begin(), names_.end(), name) - names_.begin());
}

// The value that a name means here; -1: none, or one that nothing has made yet.
int GraphReader::find(std::string_view name) const {
  const size_t number = number_of(name);
  return number < names_.size() && names_[number] == name ? visible_[number] : -1;
}

Status named_error(StatusCode code, std::string_view name, const char* what) {
  return Status::error(code, "value '%.*s' %s", static_cast<int>(std::min<size_t>(name.size(), 80)), name.data(), what);
}

// A new value. In a subgraph its name hides one of the graphs around it.
Status GraphReader::define(std::string_view name, int* value) {
  const size_t number = number_of(name);
  const int before = visible_[number];
  if (before >= 0 && graph_.values[before].subgraph == subgraph_ && !options_.terse_names) {
    return named_error(StatusCode::kCorrupt, name, "is defined twice");
  }
  if (subgraph_ >= 0 && !hidden_.push({number, before})) return out_of_memory();
  visible_[number] = graph_.values.count();
  return add_value(name, value);
}

Status GraphReader::add_value(std::string_view name, int* value) {
  Value made;
  made.name = name;
  made.subgraph = subgraph_;
  *value = graph_.values.count();
  return graph_.values.push(made) ? Status() : out_of_memory();
}

// What a node reads by this name; a terse "+" is the next of the initializers without a name.
int GraphReader::input_value(std::string_view name) {
  if (name == "+" && next_nameless_ < nameless_.size()) return nameless_[next_nameless_++];
  return find(name);
}

Status GraphReader::define_initializers(const Scope& scope) {
  for (const Initializer& initializer : scope.initializers) {
    const int number = graph_.initializers.count();
    if (!graph_.initializers.push(initializer)) return out_of_memory();
    const bool nameless = initializer.stored.name.empty();
    if (nameless && !options_.terse_names) continue;
    int value = -1;
    QUENCH_RETURN_IF_ERROR(nameless ? add_value({}, &value) : define(initializer.stored.name, &value));
    if (nameless && !nameless_.push(value)) return out_of_memory();
    graph_.values[value].initializer = number;
  }
  return Status();
}

// A declared input that has an initializer too may be left out; before IR version 4 it is a constant, as all weights had
// to be inputs then.
Status GraphReader::define_inputs() {
  List<ValueInfo> required(pool_), with_default(pool_);
  for (ValueInfo info : main_.inputs) {
    if (info.name.empty()) return Status::error(StatusCode::kCorrupt, "graph: an input has no name");
    info.value = find(info.name);
    const bool has_default = info.value >= 0 && graph_.values[info.value].initializer >= 0;
    if (has_default && ir_version_ < kFirstVersionWithDefaults) continue;
    if (has_default) {
      info.type = graph_.initializers[graph_.values[info.value].initializer].stored.type;
      info.is_sequence = info.is_optional = false;
    }
    if (size_of(info.type) == 0) {
      if (has_default) continue;  // a constant that no kernel takes
      return named_error(StatusCode::kUnsupportedType, info.name,
                         "is an input of a type that the runtime does not have");
    }
    if (!has_default) QUENCH_RETURN_IF_ERROR(define(info.name, &info.value));
    if (!(has_default ? with_default : required).push(info)) return out_of_memory();
  }
  graph_.required_inputs = required.size();
  for (const ValueInfo& info : with_default) {
    if (!required.push(info)) return out_of_memory();
  }
  graph_.inputs = required;
  for (int i = 0; i < graph_.inputs.count(); ++i) {
    Value& value = graph_.values[graph_.inputs[i].value];
    if (value.input >= 0) return named_error(StatusCode::kCorrupt, value.name, "is defined twice");
    value.input = i;
  }
  return Status();
}

Status GraphReader::define_nodes(Scope& scope, Subgraph& defined) {
  int kept = 0;
  for (size_t n = 0; n < scope.nodes.size(); ++n) {
    Node node = scope.nodes[n];
    const NamedNode& named = scope.named[n];
    for (int& output : node.outputs) output = -1;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      node.inputs[i] = input_value(named.inputs[i]);
      if (node.inputs[i] >= 0 || named.inputs[i].empty()) continue;
      if (node.name.empty() && !named.outputs.empty()) node.name = named.outputs[0];  // only for the message
      return at_node(graph_, node,
                     named_error(StatusCode::kCorrupt, named.inputs[i], "is used before anything makes it"));
    }
    for (const Attribute& attribute : node.attributes) {
      if (attribute.subgraph >= 0) QUENCH_RETURN_IF_ERROR(define_subgraph(attribute.subgraph));
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!named.outputs[i].empty()) QUENCH_RETURN_IF_ERROR(define(named.outputs[i], &node.outputs[i]));
    }
    QUENCH_RETURN_IF_ERROR(find_opset(node));
    bool is_constant = false;
    QUENCH_RETURN_IF_ERROR(constant_node(node, is_constant));
    if (!is_constant) scope.nodes[kept++] = node;
  }
  defined.first = graph_.nodes.count();
  defined.count = kept;
  for (int n = 0; n < kept; ++n) {
    for (int output : scope.nodes[n].outputs) {
      if (output >= 0) graph_.values[output].producer = graph_.nodes.count();
    }
    if (!graph_.nodes.push(scope.nodes[n])) return out_of_memory();
  }
  return Status();
}

// What it defines is gone when the graph around it goes on.
Status GraphReader::define_subgraph(int number) {
  Scope& scope = *scopes_[number];
  Subgraph& defined = graph_.subgraphs[number];
  const int around = subgraph_;
  const size_t mark = hidden_.size();
  subgraph_ = number;
  QUENCH_RETURN_IF_ERROR(define_initializers(scope));
  if (!pool_.make(scope.inputs.size(), &defined.inputs) || !pool_.make(scope.outputs.size(), &defined.outputs)) {
    return out_of_memory();
  }
  size_t inputs = 0;
  for (const ValueInfo& info : scope.inputs) {
    if (info.name.empty()) return Status::error(StatusCode::kCorrupt, "graph: an input of a subgraph has no name");
    const int value = find(info.name);
    // A weight: all had to be inputs before IR version 4.
    if (value >= 0 && graph_.values[value].subgraph == number && graph_.values[value].initializer >= 0) continue;
    QUENCH_RETURN_IF_ERROR(define(info.name, &defined.inputs[inputs++]));
  }
  defined.inputs = defined.inputs.first(inputs);
  QUENCH_RETURN_IF_ERROR(define_nodes(scope, defined));
  defined.declared_outputs = scope.outputs.span();
  for (size_t i = 0; i < scope.outputs.size(); ++i) {
    const std::string_view name = scope.outputs[i].name;
    defined.outputs[i] = find(name);
    if (defined.outputs[i] < 0) {
      return named_error(StatusCode::kCorrupt, name, "is an output of a subgraph, but nothing makes it");
    }
  }
  for (; hidden_.size() > mark; hidden_.truncate(hidden_.size() - 1)) {
    const Hidden& last = hidden_[hidden_.size() - 1];
    at(visible_, last.name) = last.value;
  }
  subgraph_ = around;
  return Status();
}

// Turns a Constant node into an initializer; sparse and string constants stay nodes, which no kernel takes.
Status GraphReader::constant_node(const Node& node, bool& is_constant) {
  if (node.op != "Constant" || !node.domain.empty() || node.outputs.size() != 1 || node.outputs[0] < 0 ||
      node.attributes.size() != 1) {
    return Status();
  }
  const Attribute& attribute = node.attributes[0];
  Initializer initializer;
  const void* values = nullptr;
  if (attribute.name == "value" && attribute.type == Attribute::kTensor) {
    initializer.stored = graph_.stored_attributes[attribute.stored];
    initializer.type = compute_type(initializer.stored.type);
    initializer.shape = initializer.stored.shape;
  } else if (attribute.name == "value_float" && attribute.type == Attribute::kFloat) {
    initializer.type = ElementType::kFloat32;
    values = &attribute.f;
  } else if (attribute.name == "value_int" && attribute.type == Attribute::kInt) {
    initializer.type = ElementType::kInt64;
    values = &attribute.i;
  } else if (attribute.name == "value_floats" && attribute.type == Attribute::kFloats) {
    initializer.type = ElementType::kFloat32;
    initializer.shape = {static_cast<int64_t>(attribute.floats.size())};
    values = attribute.floats.data();
  } else if (attribute.name == "value_ints" && attribute.type == Attribute::kInts) {
    initializer.type = ElementType::kInt64;
    initializer.shape = {static_cast<int64_t>(attribute.ints.size())};
    values = attribute.ints.data();
  } else {
    return Status();
  }
  if (attribute.name != "value") {
    const uint64_t bytes = static_cast<uint64_t>(initializer.shape.elements() * size_of(initializer.type));
    void* copy = pool_.allocate(std::max<uint64_t>(bytes, 1), kAlignment);
    if (!copy) return out_of_memory();
    if (bytes > 0) std::memcpy(copy, values, static_cast<size_t>(bytes));
    initializer.direct = copy;
  }
  Value& value = graph_.values[node.outputs[0]];
  initializer.stored.name = value.name;
  value.initializer = static_cast<int>(graph_.initializers.size());
  is_constant = true;
  return graph_.initializers.push(initializer) ? Status() : out_of_memory();
}

Status GraphReader::define_outputs() {
  for (ValueInfo info : main_.outputs) {
    if (info.name.empty()) return Status::error(StatusCode::kCorrupt, "graph: an output has no name");
    info.value = find(info.name);
    if (info.value < 0) return named_error(StatusCode::kCorrupt, info.name, "is an output that nothing makes");
    graph_.values[info.value].is_output = true;
    if (!graph_.outputs.push(info)) return out_of_memory();
  }
  for (std::string_view name : options_.extra_outputs) {
    ValueInfo info;
    info.name = name;
    info.value = find(name);
    if (info.value < 0) return named_error(StatusCode::kNotFound, name, "is not in the graph");
    graph_.values[info.value].is_output = true;
    if (!graph_.outputs.push(info)) return out_of_memory();
  }
  if (graph_.outputs.size() == 0) return Status::error(StatusCode::kCorrupt, "graph: the model has no outputs");
  return Status();
}

}  // namespace

// StringStringEntryProto {key = 1, value = 2}
std::string_view find_property(Bytes model_proto, std::string_view key) {
  WireReader reader(model_proto);
  for (WireField field; reader.next(field);) {
    if (field.number != model_field::kMetadata || !field.is_bytes()) continue;
    std::string_view name;
    std::string_view value;
    WireReader entry(field.bytes);
    for (WireField part; entry.next(part);) {
      if (part.is_bytes() && part.number == 1) name = part.text();
      if (part.is_bytes() && part.number == 2) value = part.text();
    }
    if (name == key) return value.data() ? value : std::string_view("");
  }
  return {};
}

Status read_graph(Bytes model_proto, const GraphOptions& options, Pool& pool, Graph& graph) {
  graph.model_proto = model_proto;
  return GraphReader(options, pool, graph).read(model_proto);
}

namespace {

void mark_live(Graph& graph, const Subgraph& part) {
  for (int n = part.first + part.count; n-- > part.first;) {
    Node& node = graph.nodes[n];
    for (int output : node.outputs) {
      if (output >= 0 && graph.values[output].uses > 0) node.live = true;
    }
    if (!node.live) continue;
    for (int input : node.inputs) {
      if (input >= 0) ++graph.values[input].uses;
    }
    for (const Attribute& attribute : node.attributes) {
      if (attribute.subgraph < 0) continue;
      const Subgraph& inner = graph.subgraphs[attribute.subgraph];
      for (int output : inner.outputs) ++graph.values[output].uses;
      mark_live(graph, inner);
    }
  }
}

}  // namespace

void mark_live(Graph& graph) {
  for (Value& value : graph.values) value.uses = 0;
  for (Node& node : graph.nodes) node.live = false;
  for (const ValueInfo& output : graph.outputs) ++graph.values[output.value].uses;
  mark_live(graph, graph.main);
}

const char* label(const Graph& graph, const Node& node, char* text) {
  if (node.place >= 0) {
    snprintf(text, kNodeLabel, "node %d (%.*s)", node.place, static_cast<int>(std::min<size_t>(node.op.size(), 32)),
             node.op.data());
    return text;
  }
  std::string_view name = node.name;
  for (int output : node.outputs) {
    if (name.empty() && output >= 0) name = graph.values[output].name;
  }
  snprintf(text, kNodeLabel, "node '%.*s' (%.*s)", static_cast<int>(std::min<size_t>(name.size(), 48)), name.data(),
           static_cast<int>(std::min<size_t>(node.op.size(), 32)), node.op.data());
  return text;
}

Status at_node(const Graph& graph, const Node& node, const Status& status) {
  char text[kNodeLabel];
  return Status::error(status.code(), "%s: %s", label(graph, node, text), status.detail());
}

}  // namespace quench::rt
