// A graph as the runtime sees it: the ModelProto's wire bytes, checked and indexed. Names, attributes and weights
// inside the bytes stay where they are, so the bytes must outlive the graph.
//
// Values (what flows along an edge) are numbered; a node refers to its inputs and outputs by number, -1 for an omitted
// one. Constant nodes have become initializers. Nodes that no output needs are marked dead. The bodies of If, Loop and
// Scan are subgraphs: their nodes and values stand in the same lists, and what they see of the graphs around them is
// simply a number from there.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "formats/coded/tensor.h"
#include "formats/operators/operator.h"
#include "runtime/contract/memory.h"
#include "runtime/graph/wire.h"
#include "runtime/kernels/registry.h"

namespace quench::rt {

// What a caller is willing to spend on a model. Exceeding one of these is kLimit; exceeding max_memory_bytes
// kOutOfMemory.
struct Limits {
  uint64_t max_memory_bytes = uint64_t{1} << 36;  // all memory of a model or of a session
  uint64_t max_graph_bytes = uint64_t{1} << 30;
  uint64_t max_tensor_elements = uint64_t{1} << 34;
  uint32_t max_nodes = 1u << 15;
  uint32_t max_values = 1u << 19;  // names in the graph: of inputs, outputs, weights, and what nodes read and write
};

// How a stripped tensor is stored, before any of it is decoded: as coded::Tensor says, without indices. Its dimensions are
// in the graph.
struct WeightInfo {
  coded::Tensor tensor;
  coded::Codebook codebook;     // of a quantized tensor
  uint64_t chunk_elements = 0;  // decoded in pieces that begin at multiples of this, a tensor takes no more memory
};

// Where the values of stripped tensors come from: tensors that have elements, but no data in the graph. Tensor k is the
// k-th of them in the order of the bytes, those inside nodes' attributes and subgraphs included. Both functions are
// called under a lock of the model.
struct WeightSource {
  // Null: the source has what the graph declares. Otherwise a tensor of another type or size than the graph's is
  // refused.
  Status (*describe)(void* user, uint32_t tensor, WeightInfo* info) = nullptr;
  // Fills `out` with the values of the elements from number `first` (row-major) on, in compute_type(type): as many as
  // `out` holds. Null: all weights are in the graph.
  Status (*decode)(void* user, uint32_t tensor, uint64_t first, std::span<std::byte> out) = nullptr;
  void* user = nullptr;
};

// A TensorProto.
struct StoredTensor {
  std::string_view name;
  ElementType type = ElementType::kUndefined;  // as declared
  Shape shape;
  Bytes proto;
  int64_t source = -1;  // number in the WeightSource; -1 if the data is in `proto`
};

// Writes the values in compute_type(stored.type) to `out`, which has exactly their bytes.
Status read_stored(const StoredTensor& stored, const WeightSource& source, std::span<std::byte> out);

struct ValueInfo {
  std::string_view name;
  ElementType type = ElementType::kUndefined;  // as declared; kUndefined if it is not
  int rank = -1;                               // -1: not declared
  int64_t dims[kMaxRank] = {};                 // -1: dynamic
  bool is_sequence = false;                    // a list of such tensors
  bool is_optional = false;                    // may be nothing
  int value = -1;
};

// A weight made of others when it is first needed: BatchNormalization folded into the node before. Those others are
// stored, never derived in turn.
struct Derivation {
  enum Kind : uint8_t { kWeight, kBias };
  Kind kind = kWeight;
  int base = -1;  // initializer that is scaled, -1 for a bias of zeros
  int scale = -1, shift = -1, mean = -1, variance = -1;
  float epsilon = 0;
  operators::ChannelMap map;  // of the weight
};

struct Initializer {
  StoredTensor stored;
  ElementType type = ElementType::kUndefined;  // as computed
  Shape shape;
  // Where the values come from if not from `stored`.
  const Derivation* derivation = nullptr;
  const void* direct = nullptr;
};

struct Node {
  std::string_view name, op, domain;
  int opset = 1;
  std::span<int> inputs, outputs;
  std::span<Attribute> attributes;
  const Kernel* kernel = nullptr;
  bool live = false;
  int place = -1;  // among the file's nodes, where names are terse and would not tell one from another
};

struct Value {
  std::string_view name;
  int producer = -1;     // node
  int initializer = -1;  // number of the initializer that it is, or that an input has for its default
  int input = -1;        // number of the graph input that it is
  int uses = 0;          // by live nodes and as a graph output
  bool is_output = false;
  int subgraph = -1;  // that it is in; -1: the model's graph
};

// A list of nodes, after which all of `outputs` are known if all of `inputs` were before.
struct Subgraph {
  int first = 0;  // of its nodes, which lie together
  int count = 0;
  std::span<int> inputs, outputs;               // values
  std::span<const ValueInfo> declared_outputs;  // of a subgraph: what it says of them
};

struct Graph {
  explicit Graph(Pool& pool)
      : nodes(pool),
        subgraphs(pool),
        values(pool),
        initializers(pool),
        inputs(pool),
        outputs(pool),
        stored_attributes(pool) {}

  // Those of a subgraph before those of the graph around it, each in an order in which values are made before they are
  // used.
  List<Node> nodes;
  List<Subgraph> subgraphs;  // of nodes' attributes, by number
  Subgraph main;             // the model's graph; its inputs and outputs are below
  List<Value> values;
  List<Initializer> initializers;
  List<ValueInfo> inputs;      // those that a caller must give, then those with a value of their own
  size_t required_inputs = 0;  // how many the first are
  List<ValueInfo> outputs;
  List<StoredTensor> stored_attributes;  // Attribute::stored; the model fills Attribute::tensor
  Bytes model_proto;                     // that it was read from
};

struct GraphOptions {
  Limits limits;
  bool terse_names = false;                         // formats/container/FORMAT.md, "Terse names"
  std::span<const std::string_view> extra_outputs;  // names of inner values to be outputs too, behind the declared ones
};

// Reads a ModelProto. Kernels are not looked up yet.
Status read_graph(Bytes model_proto, const GraphOptions& options, Pool& pool, Graph& graph);

// The value of a key in a ModelProto's metadata_props; its data are nullptr where there is none.
std::string_view find_property(Bytes model_proto, std::string_view key);

// Folds BatchNormalization with constant parameters into the Conv, ConvTranspose or Gemm before it.
Status fold_batch_normalization(Pool& pool, Graph& graph);

// Recounts uses and marks the nodes that outputs need.
void mark_live(Graph& graph);

// "node 'name' (Op)", or with the first output's name if the node has none, "node 17 (Op)" where names are terse; `text` has room for kNodeLabel bytes.
inline constexpr int kNodeLabel = 96;
const char* label(const Graph& graph, const Node& node, char* text);

// `status` with the node's label in front of its detail.
Status at_node(const Graph& graph, const Node& node, const Status& status);

}  // namespace quench::rt
