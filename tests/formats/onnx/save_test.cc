// Saving: what was loaded comes back, to the bit, embedded or beside the file.
#include <google/protobuf/util/message_differencer.h>
#include <onnx/checker.h>

#include "tests/formats/onnx/test_models.h"

namespace quench {
namespace {

using namespace testing;
using onnx::TensorProto;

// kNestedGraph with two weights that are too large to stay in the proto.
onnx::ModelProto large_model() {
  onnx::ModelProto proto = parse_text(kNestedGraph);
  for (int i = 0; i < 2; ++i) {
    TensorProto* tensor = proto.mutable_graph()->add_initializer();
    tensor->set_name("large" + std::to_string(i));
    tensor->set_data_type(TensorProto::FLOAT);
    tensor->add_dims(300 + 700 * i);
    for (int k = 0; k < 300 + 700 * i; ++k) tensor->add_float_data(static_cast<float>(k * (i + 1)));
  }
  // One in a Constant node of a subgraph.
  TensorProto* constant = proto.mutable_graph()
                              ->mutable_node(2)
                              ->mutable_attribute(1)
                              ->mutable_g()
                              ->mutable_node(0)
                              ->mutable_attribute(0)
                              ->mutable_t();
  constant->mutable_float_data()->Clear();
  constant->clear_dims();
  constant->add_dims(1000);
  constant->add_dims(2);
  for (int k = 0; k < 2000; ++k) constant->add_float_data(static_cast<float>(-k));
  return proto;
}

// All values as raw_data, so that two models can be compared field by field.
onnx::ModelProto canonical(const OnnxModel& model) {
  const GraphBytes all = to_graph_bytes(model, {.keep_inline = [](const Weight&) { return true; }});
  EXPECT_TRUE(all.stripped.empty());
  onnx::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromString(all.bytes));
  return proto;
}

TEST(OnnxSave, LoadedAndSavedIsTheSameModel) {
  TemporaryFolder folder;
  const onnx::ModelProto original = large_model();
  const OnnxModel model = load_proto(original);
  save(folder / "m.onnx", model);
  onnx::ModelProto parsed;
  ASSERT_TRUE(parsed.ParseFromString(read_file(folder / "m.onnx")));
  EXPECT_NO_THROW(onnx::checker::check_model(parsed));
  const onnx::ModelProto expected = canonical(model);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(parsed, expected));
  // The streamed bytes are those that protobuf itself would write.
  EXPECT_EQ(read_file(folder / "m.onnx"), expected.SerializeAsString());
}

TEST(OnnxSave, ExternalDataComesBack) {
  TemporaryFolder folder;
  const OnnxModel model = load_proto(large_model());
  save(folder / "m.onnx", model, {SaveOptions::ExternalData::kAlways});
  EXPECT_LT(std::filesystem::file_size(folder / "m.onnx"), 2000u);
  EXPECT_NO_THROW(onnx::checker::check_model((folder / "m.onnx").string()));
  const OnnxModel again = load(folder / "m.onnx");
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(canonical(again), canonical(model)));
}

TEST(OnnxSave, TheModelCanBeSavedOverItself) {
  TemporaryFolder folder;
  save(folder / "m.onnx", load_proto(large_model()));
  const std::string before = read_file(folder / "m.onnx");
  const OnnxModel model = load(folder / "m.onnx");
  save(folder / "m.onnx", model);
  EXPECT_EQ(read_file(folder / "m.onnx"), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(OnnxSave, AFailureLeavesTheOldFile) {
  TemporaryFolder folder;
  write_file(folder / "m.onnx", "old");
  const OnnxModel model = load_proto(large_model());
  const GraphBytes graph = to_graph_bytes(model);
  const onnx::ModelProto proto = parse_graph_bytes(std::as_bytes(std::span(graph.bytes)), false, "graph");
  for (const auto external : {SaveOptions::ExternalData::kWhenNeeded, SaveOptions::ExternalData::kAlways}) {
    const auto provider = [&](size_t index, const TensorProto&) {
      if (index == 3) throw Error("no more values");
      return read(model.weights[graph.stripped[index]]);
    };
    EXPECT_EQ(error_of([&] { save(folder / "m.onnx", proto, provider, {external}); }), "no more values");
    EXPECT_EQ(read_file(folder / "m.onnx"), "old");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  }
}

TEST(OnnxSave, ValuesOfTheWrongSizeAreRefused) {
  TemporaryFolder folder;
  const OnnxModel model = load_proto(large_model());
  const GraphBytes graph = to_graph_bytes(model);
  const onnx::ModelProto proto = parse_graph_bytes(std::as_bytes(std::span(graph.bytes)), false, "graph");
  const auto provider = [&](size_t, const TensorProto&) { return std::vector<std::byte>(3); };
  EXPECT_TRUE(contains(error_of([&] { save(folder / "m.onnx", proto, provider); }), "3 bytes where 8 are expected"));
}

TEST(OnnxSave, StrippedAndFilledAgainIsTheSameFile) {
  TemporaryFolder folder;
  const OnnxModel model = load_proto(large_model());
  const GraphBytes graph = to_graph_bytes(model);
  EXPECT_EQ(graph.stripped.size(), model.weights.size());
  const onnx::ModelProto proto = parse_graph_bytes(std::as_bytes(std::span(graph.bytes)), false, "graph");
  std::vector<size_t> asked;
  save(folder / "filled.onnx", proto, [&](size_t index, const TensorProto& tensor) {
    asked.push_back(index);
    const Weight& weight = model.weights[graph.stripped[index]];
    EXPECT_EQ(tensor.data_type(), weight.dtype);
    return read(weight);
  });
  save(folder / "direct.onnx", model);
  EXPECT_EQ(read_file(folder / "filled.onnx"), read_file(folder / "direct.onnx"));
  for (size_t i = 0; i < asked.size(); ++i) EXPECT_EQ(asked[i], i);
}

TEST(OnnxSave, AFolderThatIsNotThereIsAnError) {
  const OnnxModel model = load_proto(large_model());
  EXPECT_NE(error_of([&] { save("/nonexistent/folder/m.onnx", model); }).find("/nonexistent/folder"),
            std::string::npos);
}

}  // namespace
}  // namespace quench
