// Weights of a .quench file through the model's WeightSource, by pieces.
#include "formats/container/writer.h"
#include "formats/entropy/encoder.h"
#include "tests/runtime/sample_graphs.h"

namespace quench::rt {
namespace {

constexpr int64_t kRows = 1000;
constexpr int64_t kColumns = 600;
constexpr uint64_t kElements = kRows * kColumns;

// y = Gather(W, rows) + b: W quantized to multiples of 0.5, b exact; both have several chunks.
std::vector<std::byte> large_file(const std::vector<uint16_t>& indices, const std::vector<int64_t>& exact) {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {kRows, kColumns})
      .stripped("W", ElementType::kFloat32, {kRows, kColumns})
      .stripped("b", ElementType::kInt64, {kRows, kColumns});
  graph.node("Cast", {"b"}, {"f"}, {integer("to", 1)})
      .node("Add", {"x", "W"}, {"s"})
      .node("Add", {"s", "f"}, {"y"})
      .output("y");
  const std::string proto = graph.build();
  container::Writer writer = container::Writer::in_memory();
  const auto check = [](const Status& status) { ASSERT_TRUE(status.ok()) << status.detail(); };
  check(writer.set_graph(as_bytes(proto)));
  check(writer.add_codebook(container::Codebook::uniform(0.5f, 15, 7)).status());
  entropy::ModelFitter fitter(entropy::Coder::kRans);
  check(fitter.add({kRows, kColumns, 1, 15, 7}, indices));
  check(writer.add_entropy_model(fitter.finish()).status());
  coded::Tensor weight;
  weight.element_count = kElements;
  weight.indices = indices;
  weight.rows = kRows;
  weight.channels = kColumns;
  check(writer.add_quantized(weight));
  check(writer.add_lossless(ElementType::kInt64, std::as_bytes(std::span(exact)), kElements));
  Result<std::vector<std::byte>> file = writer.finish_bytes();
  check(file.status());
  return *file;
}

template <typename T>
void expect_pieces(const WeightSource& source, uint32_t tensor, const std::vector<T>& expected) {
  WeightInfo info;
  ASSERT_TRUE(source.describe(source.user, tensor, &info).ok());
  ASSERT_LT(info.chunk_elements, kElements);
  const uint64_t chunk = info.chunk_elements;
  const std::pair<uint64_t, uint64_t> pieces[] = {{0, kElements},
                                                  {0, 1},
                                                  {kElements - 1, 1},
                                                  {0, chunk},
                                                  {chunk, chunk},
                                                  {chunk - 1, 2},
                                                  {chunk + 3, 7},
                                                  {5, 2 * chunk},
                                                  {0, 0},
                                                  {kElements, 0},
                                                  {chunk - 9, 9},
                                                  {chunk, 1},
                                                  {1, kElements - 1},
                                                  {kElements - 20, 20}};
  for (const auto& [first, count] : pieces) {
    std::vector<T> values(count + 1, T{77});
    const Status status =
        source.decode(source.user, tensor, first, std::as_writable_bytes(std::span(values).first(count)));
    ASSERT_TRUE(status.ok()) << first << " + " << count << ": " << status.detail();
    for (uint64_t i = 0; i < count; ++i) ASSERT_EQ(values[i], expected[first + i]) << first << " + " << i;
    EXPECT_EQ(values[count], T{77});
  }
  std::vector<T> values(2);
  const std::span<std::byte> out = std::as_writable_bytes(std::span(values));
  EXPECT_EQ(source.decode(source.user, tensor, kElements - 1, out).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(source.decode(source.user, tensor, UINT64_MAX, out).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(source.decode(source.user, tensor, 0, out.first(sizeof(T) + 1)).code(), StatusCode::kInvalidArgument);
}

TEST(WeightSource, DescribesAndDecodesAnyPieceOfATensor) {
  std::vector<uint16_t> indices(kElements);
  std::vector<float> floats(kElements);
  std::vector<int64_t> exact(kElements);
  for (uint64_t i = 0; i < kElements; ++i) {
    indices[i] = static_cast<uint16_t>(4 + i * i % 7);
    floats[i] = 0.5f * static_cast<float>(indices[i] - 7);
    exact[i] = static_cast<int64_t>(i * 3 % 1000);
  }
  const std::vector<std::byte> file = large_file(indices, exact);
  ModelHandle model;
  const Status status = open_container(file, {}, model);
  ASSERT_TRUE(status.ok()) << status.detail();
  const WeightSource& source = model->weights();

  WeightInfo info;
  ASSERT_TRUE(source.describe(source.user, 0, &info).ok());
  EXPECT_EQ(info.tensor.type, ElementType::kFloat32);
  EXPECT_EQ(info.tensor.element_count, kElements);
  EXPECT_EQ(info.tensor.encoding, coded::Encoding::kQuantized);
  EXPECT_EQ(info.tensor.channels, kColumns);
  EXPECT_EQ(info.tensor.scales.kind, coded::ScaleKind::kNone);
  EXPECT_EQ(info.codebook.entries, 15u);
  EXPECT_EQ(info.codebook.dimension, 1u);
  EXPECT_EQ(info.codebook.centers.size(), 15u);
  ASSERT_TRUE(source.describe(source.user, 1, &info).ok());
  EXPECT_EQ(info.tensor.type, ElementType::kInt64);
  EXPECT_NE(info.tensor.encoding, coded::Encoding::kQuantized);
  EXPECT_EQ(source.describe(source.user, 2, &info).code(), StatusCode::kCorrupt);

  expect_pieces(source, 0, floats);
  expect_pieces(source, 1, exact);
}

TEST(WeightSource, ReadsALargeTensorInLittleMemory) {
  const std::vector<uint16_t> indices(kElements, 8);
  const std::vector<std::byte> file = large_file(indices, std::vector<int64_t>(kElements, 1));
  ModelHandle model;
  ASSERT_TRUE(open_container(file, {}, model).ok());
  const WeightSource& source = model->weights();
  WeightInfo info;
  ASSERT_TRUE(source.describe(source.user, 0, &info).ok());
  const uint64_t before = model->memory_used();
  std::vector<float> piece(info.chunk_elements);
  for (uint64_t first = 0; first < kElements; first += piece.size()) {
    const std::span<float> part = std::span(piece).first(std::min<uint64_t>(piece.size(), kElements - first));
    ASSERT_TRUE(source.decode(source.user, 0, first, std::as_writable_bytes(part)).ok());
    EXPECT_EQ(part.back(), 0.5f);
  }
  EXPECT_LT(model->memory_peak() - before, kElements * sizeof(float) / 2);
}

TEST(WeightSource, WhatDisagreesWithTheGraphIsRefused) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {2}).stripped("w", ElementType::kFloat32, {2});
  graph.node("Add", {"x", "w"}, {"y"}).output("y");
  const std::string bytes = graph.build();
  WeightInfo said;
  WeightSource source;
  source.user = &said;
  source.describe = [](void* user, uint32_t, WeightInfo* info) {
    *info = *static_cast<WeightInfo*>(user);
    return Status();
  };
  source.decode = [](void*, uint32_t, uint64_t, std::span<std::byte> out) {
    std::memset(out.data(), 0, out.size());
    return Status();
  };
  const auto run = [&](ElementType type, uint64_t elements) {
    said.tensor.type = type;
    said.tensor.element_count = elements;
    ModelHandle model;
    EXPECT_TRUE(open_model(as_bytes(bytes), source, {}, model).ok());
    SessionHandle session;
    EXPECT_TRUE(create_session(*model, {}, session).ok());
    std::vector<HostTensor> outputs;
    return run_session(*session, {random_tensor({2}, 1)}, &outputs).code();
  };
  EXPECT_EQ(run(ElementType::kFloat32, 2), StatusCode::kOk);
  EXPECT_EQ(run(ElementType::kFloat32, 3), StatusCode::kCorrupt);
  EXPECT_EQ(run(ElementType::kFloat16, 2), StatusCode::kCorrupt);
  source.describe = nullptr;
  EXPECT_EQ(run(ElementType::kFloat16, 3), StatusCode::kOk);
}

}  // namespace
}  // namespace quench::rt
