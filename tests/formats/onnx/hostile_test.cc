// Bytes that are no model, or a damaged one: an error of one line or a valid model, nothing else.
#include <random>

#include "tests/formats/onnx/test_models.h"

namespace quench {
namespace {

using namespace testing;
using onnx::TensorProto;

// Everything that can be done with a model; only quench::Error may come out of it.
void use(const std::string& bytes) {
  const std::string error = error_of([&] {
    OnnxModel model = load_bytes(std::as_bytes(std::span(bytes)), "test.onnx", {.inline_bytes = 16});
    for (const Weight& weight : model.weights) {
      ASSERT_EQ(read(weight).size(), weight.bytes());
    }
    const GraphBytes graph = to_graph_bytes(model);
    parse_graph_bytes(std::as_bytes(std::span(graph.bytes)), false, "graph");
    parse_graph_bytes(std::as_bytes(std::span(graph.bytes)), true, "graph");
    to_graph_bytes(model, {.drop_names = true});
    check(model);
  });
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
}

std::string small_model() {
  onnx::ModelProto proto = parse_text(kNestedGraph);
  TensorProto* raw = proto.mutable_graph()->add_initializer();
  raw->set_name("raw");
  raw->set_data_type(TensorProto::FLOAT16);
  raw->add_dims(20);
  raw->set_raw_data(std::string(40, 'r'));
  return proto.SerializeAsString();
}

TEST(Hostile, AGraphThatGrowsAHundredfoldWhenParsedIsRefusedBefore) {
  const auto field = [](int number, const std::string& bytes) {
    std::string out{static_cast<char>(number << 3 | 2)};
    for (size_t size = bytes.size();; size >>= 7) {
      out += static_cast<char>(size >= 128 ? (size & 127) | 128 : size);
      if (size < 128) break;
    }
    return out + bytes;
  };
  std::string many;
  for (int i = 0; i < 500000; ++i) many += field(5, "");  // as an initializer, or a node's attribute
  const uint64_t limit = uint64_t{32} << 20;
  for (const std::string& graph :
       {field(7, many), field(7, field(1, many)), field(14, "") + field(7, field(15, many))}) {
    EXPECT_NE(error_of([&] { parse_graph_bytes(std::as_bytes(std::span(graph)), false, "g", limit); }).find("memory"),
              std::string::npos);
  }
  const std::string raw = field(7, field(5, field(9, many)));  // the same bytes as a tensor's values
  EXPECT_EQ(parse_graph_bytes(std::as_bytes(std::span(raw)), false, "g", limit).graph().initializer_size(), 1);
}

TEST(OnnxHostile, EveryPrefix) {
  const std::string bytes = small_model();
  for (size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    use(bytes.substr(0, size));
  }
}

TEST(OnnxHostile, EveryBitFlip) {
  const std::string bytes = small_model();
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    SCOPED_TRACE(bit);
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    use(flipped);
  }
}

TEST(OnnxHostile, RandomDamage) {
  const std::string bytes = small_model();
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    SCOPED_TRACE(round);
    std::string damaged = bytes;
    for (uint32_t count = 1 + random() % 6; count != 0; --count) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) damaged.insert(random() % damaged.size(), damaged, random() % damaged.size(), random() % 64);
    use(damaged);
  }
}

std::string load_error(const std::string& bytes) {
  return error_of([&] { load_bytes(std::as_bytes(std::span(bytes)), "test.onnx"); });
}

std::string load_error(const TensorProto& tensor) { return load_error(model_with(tensor).SerializeAsString()); }

TEST(OnnxHostile, FilesThatAreNoModels) {
  TemporaryFolder folder;
  EXPECT_TRUE(contains(error_of([&] { load(folder / "missing.onnx"); }), "missing.onnx: cannot be opened: No such"));
  EXPECT_TRUE(contains(error_of([&] { load(folder.path()); }), "not a regular file"));
  EXPECT_EQ(load_error(std::string()), "test.onnx: is empty");
  EXPECT_TRUE(contains(load_error("\x89PNG\r\n\x1A\n this is a picture"), "test.onnx: is an image, not a model"));
  EXPECT_TRUE(contains(load_error("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"), "Git LFS pointer"));
  onnx::ModelProto no_graph;
  no_graph.set_ir_version(8);
  EXPECT_EQ(load_error(no_graph.SerializeAsString()), "test.onnx: not an ONNX model: it has no graph");
  EXPECT_TRUE(contains(load_error(std::string("\x3A\xFF\xFF\xFF\xFF\x0F", 6)), "truncated"));
  EXPECT_TRUE(contains(load_error(std::string(11, '\xFF')), "a number of more than 64 bits"));
}

TensorProto floats(std::vector<int64_t> dims, int values) {
  TensorProto tensor;
  tensor.set_name("w");
  tensor.set_data_type(TensorProto::FLOAT);
  tensor.mutable_dims()->Assign(dims.begin(), dims.end());
  for (int i = 0; i < values; ++i) tensor.add_float_data(1);
  return tensor;
}

TEST(OnnxHostile, TensorsWhoseSizesAreWrong) {
  EXPECT_TRUE(contains(load_error(floats({3}, 2)), "'w': 2 values in its typed field where the shape needs 3"));
  EXPECT_TRUE(contains(load_error(floats({3}, 0)), "no values for its 3 elements"));
  EXPECT_TRUE(contains(load_error(floats({0}, 2)), "values where the shape needs none"));
  EXPECT_TRUE(contains(load_error(floats({-1}, 1)), "negative or absurdly large"));
  EXPECT_TRUE(contains(load_error(floats({-1, 0}, 0)), "negative or absurdly large"));
  EXPECT_TRUE(contains(load_error(floats({1ll << 31, 1ll << 31, 1ll << 31}, 1)), "negative or absurdly large"));
  EXPECT_TRUE(contains(load_error(floats({1ll << 50}, 1)), "1 values in its typed field"));
  TensorProto raw = floats({3}, 0);
  raw.set_raw_data("12345678901");
  EXPECT_TRUE(contains(load_error(raw), "11 bytes of raw_data where the shape and type need 12"));
  TensorProto both = floats({1}, 1);
  both.set_raw_data("1234");
  EXPECT_TRUE(contains(load_error(both), "values both in raw_data and in a typed field"));
  TensorProto other_field = floats({1}, 0);
  other_field.add_int32_data(1);
  EXPECT_TRUE(contains(load_error(other_field), "a field that is not for float32"));
  TensorProto two_fields = floats({1}, 1);
  two_fields.add_int32_data(1);
  EXPECT_TRUE(contains(load_error(two_fields), "values in two fields"));
  TensorProto strings = floats({1}, 0);
  strings.add_string_data("text");
  EXPECT_TRUE(contains(load_error(strings), "strings in a tensor that is not of strings"));
}

TEST(OnnxHostile, TypesThatDoNotExist) {
  for (const int32_t dtype : {0, -1, 99, 1000000, 256 + 1}) {
    TensorProto tensor = floats({1}, 1);
    tensor.set_data_type(dtype);
    EXPECT_TRUE(contains(load_error(tensor), "is not supported")) << dtype;
  }
}

TEST(OnnxHostile, GraphsInGraphsInGraphs) {
  onnx::ModelProto proto = parse_text("g (float[1] x) => (float[1] y) { y = Identity(x) }");
  onnx::GraphProto* graph = proto.mutable_graph();
  for (int depth = 0; depth < 200; ++depth) graph = graph->add_node()->add_attribute()->mutable_g();
  EXPECT_TRUE(contains(load_error(proto.SerializeAsString()), "nested too deeply"));
}

TEST(OnnxHostile, TheDeepestGraphThatTheScanAcceptsIsOneThatProtobufAccepts) {
  for (int depth = 25; depth < 40; ++depth) {
    onnx::ModelProto proto = parse_text("g (float[1] x) => (float[1] y) { y = Identity(x) }");
    onnx::GraphProto* graph = proto.mutable_graph();
    for (int i = 0; i < depth; ++i) graph = graph->add_node()->add_attribute()->mutable_g();
    *graph->add_initializer() = floats({1}, 1);
    const std::string error = load_error(proto.SerializeAsString());
    EXPECT_TRUE(error == "no error" || contains(error, "nested too deeply")) << depth << ": " << error;
    EXPECT_EQ(error == "no error", depth <= 32) << depth << ": " << error;
  }
}

TEST(OnnxHostile, ATensorGivenTwiceIsNotMerged) {
  onnx::ModelProto proto = parse_text(R"(g () => (float[2] y) { y = Constant<value = float[2] {1, 2}>() })");
  const std::string tensor = proto.graph().node(0).attribute(0).t().SerializeAsString();
  std::string attribute = proto.graph().node(0).attribute(0).SerializeAsString();
  attribute += "\x2A" + std::string(1, static_cast<char>(tensor.size())) + tensor;
  // Field 5 of the node, by hand, since the serializer would merge them.
  onnx::NodeProto node = proto.graph().node(0);
  node.clear_attribute();
  const std::string node_bytes =
      node.SerializeAsString() + "\x2A" + std::string(1, static_cast<char>(attribute.size())) + attribute;
  onnx::GraphProto graph = proto.graph();
  graph.clear_node();
  const std::string graph_bytes =
      "\x0A" + std::string(1, static_cast<char>(node_bytes.size())) + node_bytes + graph.SerializeAsString();
  proto.clear_graph();
  const std::string bytes =
      proto.SerializeAsString() + "\x3A" + std::string(1, static_cast<char>(graph_bytes.size())) + graph_bytes;
  EXPECT_TRUE(contains(load_error(bytes), "given twice"));
}

TEST(OnnxHostile, AGraphLargerThanAllowedIsRefused) {
  onnx::ModelProto proto = parse_text("g (float[1] x) => (float[1] y) { y = Identity(x) }");
  proto.mutable_graph()->set_doc_string(std::string(100000, 'd'));
  const std::string bytes = proto.SerializeAsString();
  const auto load_with = [&](uint64_t limit) {
    return error_of([&] { load_bytes(std::as_bytes(std::span(bytes)), "test.onnx", {.max_graph_bytes = limit}); });
  };
  EXPECT_TRUE(contains(load_with(99999), "larger than allowed"));
  EXPECT_EQ(load_with(200000), "no error");
}

}  // namespace
}  // namespace quench
