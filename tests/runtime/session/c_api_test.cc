// The C API and its C++ wrapper on .quench files made here.
#include <quench/quench.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <quench/quench.hpp>

#include "formats/container/writer.h"
#include "formats/entropy/encoder.h"
#include "tests/runtime/sample_graphs.h"

namespace quench::rt {
namespace {

std::vector<std::byte> file_of(const std::string& proto) {
  container::Writer writer = container::Writer::in_memory();
  EXPECT_TRUE(writer.set_graph(as_bytes(proto)).ok());
  return *writer.finish_bytes();
}

// y = x W + b with W of 3 x 2 quantized to multiples of 0.5, b exact; x is N x 3.
constexpr uint16_t kIndices[] = {9, 7, 5, 8, 7, 10};  // W = {1, 0, -1, 0.5, 0, 1.5}
constexpr float kBias[] = {0.25f, -8};

std::vector<std::byte> sample_file() {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {-1, 3})
      .stripped("W", ElementType::kFloat32, {3, 2})
      .stripped("b", ElementType::kFloat32, {2});
  graph.node("Gemm", {"x", "W", "b"}, {"y"}).output("y");
  const std::string proto = graph.build();

  container::Writer writer = container::Writer::in_memory();
  const auto check = [](const Status& status) { ASSERT_TRUE(status.ok()) << status.detail(); };
  check(writer.set_graph(as_bytes(proto)));
  check(writer.add_codebook(container::Codebook::uniform(0.5f, 15, 7)).status());
  entropy::ModelFitter fitter(entropy::Coder::kArithmetic);
  check(fitter.add({3, 2, 1, 15, 7}, kIndices));
  check(writer.add_entropy_model(fitter.finish()).status());
  coded::Tensor weight;
  weight.element_count = 6;
  weight.indices = kIndices;
  weight.rows = 3;
  weight.channels = 2;
  check(writer.add_quantized(weight));
  check(writer.add_lossless(ElementType::kFloat32, std::as_bytes(std::span(kBias)), 2));
  Result<std::vector<std::byte>> file = writer.finish_bytes();
  check(file.status());
  return *file;
}

TEST(CApi, RunsAFile) {
  const std::vector<std::byte> file = sample_file();
  const std::string path = testing::TempDir() + "c_api_test.quench";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(file.data()), static_cast<long>(file.size()));

  quench_status status = QUENCH_STATUS_INIT;
  quench_model* model = nullptr;
  ASSERT_EQ(quench_model_open_file(path.c_str(), nullptr, &model, &status), QUENCH_OK) << status.message;
  std::remove(path.c_str());  // the mapping stays
  ASSERT_EQ(quench_model_input_count(model), 1);
  ASSERT_EQ(quench_model_output_count(model), 1);
  quench_value_info info;
  ASSERT_EQ(quench_model_input(model, 0, &info, &status), QUENCH_OK);
  EXPECT_EQ(std::string(info.name, info.name_length), "x");
  EXPECT_EQ(info.type, QUENCH_FLOAT32);
  EXPECT_EQ(info.rank, 2);
  EXPECT_EQ(info.shape[0], -1);
  EXPECT_EQ(info.shape[1], 3);
  ASSERT_EQ(quench_model_output(model, 0, &info, &status), QUENCH_OK);
  EXPECT_STREQ(info.name, "y");
  EXPECT_EQ(info.name_length, 1u);

  quench_session* session = nullptr;
  ASSERT_EQ(quench_session_create(model, nullptr, &session, &status), QUENCH_OK) << status.message;
  const float x[] = {1, 2, 3, 4, 5, 6};
  const int64_t shape[] = {2, 3};
  ASSERT_EQ(quench_session_set_input(session, 0, x, shape, 2, &status), QUENCH_OK) << status.message;
  uint64_t arena = 0;
  ASSERT_EQ(quench_session_arena_bytes(session, &arena, &status), QUENCH_OK) << status.message;
  EXPECT_GE(arena, 16u);
  EXPECT_LE(arena, 1u << 16);
  ASSERT_EQ(quench_session_run(session, &status), QUENCH_OK) << status.message;
  quench_tensor y;
  ASSERT_EQ(quench_session_output(session, 0, &y, &status), QUENCH_OK);
  EXPECT_EQ(y.type, QUENCH_FLOAT32);
  EXPECT_EQ(y.rank, 2);
  EXPECT_EQ(y.shape[0], 2);
  EXPECT_EQ(y.shape[1], 2);
  ASSERT_EQ(y.bytes, 16u);
  const auto* values = static_cast<const float*>(y.data);
  const float expected[] = {1 - 2 + 0.25f, 1 + 4.5f - 8, 4 - 5 + 0.25f, 2.5f + 9 - 8};
  for (int i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(values[i], expected[i]);
  EXPECT_GT(quench_model_peak_bytes(model), 0u);
  EXPECT_GT(quench_session_peak_bytes(session), 0u);
  quench_session_release(session);
  quench_model_release(model);
}

TEST(CApi, WrapperRunsAndThrows) {
  const std::vector<std::byte> file = sample_file();
  const quench::Model model = quench::Model::open(file);
  EXPECT_EQ(model.input_count(), 1);
  EXPECT_EQ(model.input(0).name_view(), "x");
  quench::Session session(model);
  const float x[] = {1, 2, 3};
  session.set_input(0, x, {1, 3});
  std::vector<std::byte> memory(static_cast<size_t>(session.arena_bytes()) + 64);
  std::byte* aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  session.set_arena({aligned, static_cast<size_t>(session.arena_bytes())});
  session.run();
  const std::span<const float> y = session.output<float>(0);
  ASSERT_EQ(y.size(), 2u);
  EXPECT_FLOAT_EQ(y[0], -0.75f);
  EXPECT_FLOAT_EQ(y[1], -2.5f);
  EXPECT_THROW(session.output<int32_t>(0), quench::RuntimeError);
  try {
    session.set_input(0, x, {1, 4});
    FAIL();
  } catch (const quench::RuntimeError& error) {
    EXPECT_EQ(error.code(), QUENCH_SHAPE);
    EXPECT_NE(std::string(error.what()).find("'x'"), std::string::npos) << error.what();
  }
}

TEST(CApi, ReadsWhatTheFileSaysOfItself) {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {2}).node("Neg", {"x"}, {"y"}).output("y");
  const auto property = [](std::string_view key, std::string_view value) {
    return WireWriter().bytes(14, WireWriter().bytes(1, key).bytes(2, value).str()).str();
  };
  const std::string proto = graph.build() + property("labels", "cat\ndog") + property("empty", "") +
                            property("tool", "another") + WireWriter().bytes(14, "\xff\xff").str();
  container::Writer writer = container::Writer::in_memory();
  ASSERT_TRUE(writer.set_graph(as_bytes(proto)).ok());
  ASSERT_TRUE(writer.add_metadata("tool", "quench 9").ok());
  const std::vector<std::byte> file = *writer.finish_bytes();
  const quench::Model model = quench::Model::open(file);
  EXPECT_EQ(model.metadata("tool"), "quench 9");
  EXPECT_EQ(model.metadata("labels"), "cat\ndog");
  EXPECT_EQ(model.metadata("empty"), "");
  EXPECT_EQ(model.metadata("label"), std::nullopt);
  const char* text = "unchanged";
  size_t length = 9;
  quench_status status = QUENCH_STATUS_INIT;
  EXPECT_EQ(quench_model_metadata(model.get(), "label", &text, &length, &status), QUENCH_NOT_FOUND);
  EXPECT_EQ(text, nullptr);
  EXPECT_EQ(length, 0u);
  EXPECT_STREQ(status.message, "the file says nothing of 'label'");
  EXPECT_EQ(quench_model_metadata(nullptr, "label", &text, &length, nullptr), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_model_metadata(model.get(), nullptr, &text, &length, nullptr), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_model_metadata(model.get(), "tool", nullptr, &length, nullptr), QUENCH_INVALID_ARGUMENT);
}

TEST(CApi, SaysWhatIsWrong) {
  const std::vector<std::byte> file = sample_file();
  quench_status status = QUENCH_STATUS_INIT;
  quench_model* model = nullptr;
  EXPECT_EQ(quench_model_open_file("/nowhere/model.quench", nullptr, &model, &status), QUENCH_IO);
  EXPECT_NE(std::string(status.message).find("/nowhere/model.quench"), std::string::npos) << status.message;
  EXPECT_EQ(status.code, QUENCH_IO);
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(quench_model_open_file(testing::TempDir().c_str(), nullptr, &model, &status), QUENCH_IO);  // a folder
  EXPECT_EQ(quench_model_open_memory("not a model, but long enough to hold the header of one ..............", 68,
                                     nullptr, &model, &status),
            QUENCH_BAD_MAGIC);
  EXPECT_EQ(quench_model_open_memory(nullptr, 0, nullptr, &model, &status), QUENCH_TRUNCATED);
  EXPECT_EQ(quench_model_open_memory(file.data(), file.size() - 1, nullptr, &model, nullptr), QUENCH_TRUNCATED);
  EXPECT_STREQ(quench_status_name(QUENCH_OK), "no error");
  EXPECT_NE(std::string(quench_status_name(99)), "");
  EXPECT_STREQ(quench_version(), "0.2.0");
}

TEST(CApi, NamesInMessagesDoNothingToATerminal) {
  // An escape sequence, a bell, a line's end, text that runs to the left, a stray byte: in the place of an operator.
  for (const auto& [name, shown] :
       std::map<std::string, std::string>{{"a\x1b[2Jb\a\n", "a?[2Jb??"},
                                          {"\xE2\x80\xAE"
                                           "x\xC2\x9B",
                                           "?x?"},
                                          {"x\xFF\xC3", "x??"},
                                          {"\xC3\xA4\xE4\xB8\xAD", "\xC3\xA4\xE4\xB8\xAD"}}) {
    GraphBuilder graph(13);
    graph.input("x", ElementType::kFloat32, {1}).node(name, {"x"}, {"y"}).output("y");
    const std::vector<std::byte> file = file_of(graph.build());
    quench_status status = QUENCH_STATUS_INIT;
    quench_model* model = nullptr;
    EXPECT_NE(quench_model_open_memory(file.data(), file.size(), nullptr, &model, &status), QUENCH_OK);
    EXPECT_NE(std::string(status.message).find("(" + shown + ")"), std::string::npos) << status.message;
  }
}

TEST(CApi, ToleratesNull) {
  quench_status status = QUENCH_STATUS_INIT;
  quench_model_release(nullptr);
  quench_session_release(nullptr);
  EXPECT_EQ(quench_model_input_count(nullptr), 0);
  EXPECT_EQ(quench_model_output_count(nullptr), 0);
  EXPECT_EQ(quench_model_peak_bytes(nullptr), 0u);
  EXPECT_EQ(quench_session_peak_bytes(nullptr), 0u);
  quench_value_info info;
  quench_tensor tensor;
  uint64_t bytes = 0;
  quench_session* session = nullptr;
  quench_model* model = nullptr;
  EXPECT_EQ(quench_model_open_file(nullptr, nullptr, &model, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_model_open_file("x", nullptr, nullptr, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_model_open_memory(nullptr, 5, nullptr, &model, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_model_input(nullptr, 0, &info, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_model_output(nullptr, 0, &info, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_create(nullptr, nullptr, &session, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_set_input(nullptr, 0, &bytes, nullptr, 0, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_set_input_shape(nullptr, 0, nullptr, 0, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_prepare(nullptr, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_arena_bytes(nullptr, &bytes, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_set_arena(nullptr, nullptr, 0, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_run(nullptr, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_output(nullptr, 0, &tensor, &status), QUENCH_INVALID_ARGUMENT);

  const std::vector<std::byte> file = sample_file();
  ASSERT_EQ(quench_model_open_memory(file.data(), file.size(), nullptr, &model, nullptr), QUENCH_OK);
  EXPECT_EQ(quench_model_input(model, 0, nullptr, &status), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_model_input(model, 1, &info, &status), QUENCH_INVALID_ARGUMENT);
  ASSERT_EQ(quench_session_create(model, nullptr, &session, nullptr), QUENCH_OK);
  EXPECT_EQ(quench_session_set_input(session, 0, &bytes, nullptr, 2, nullptr), QUENCH_INVALID_ARGUMENT);
  const int64_t shape[] = {1, 3};
  EXPECT_EQ(quench_session_set_input(session, 0, &bytes, shape, 99, nullptr), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_output(session, 0, nullptr, nullptr), QUENCH_INVALID_ARGUMENT);
  quench_session_release(session);
  quench_model_release(model);
}

TEST(CApi, OptionsOfAnOlderHeaderKeepTheirMeaning) {
  const std::vector<std::byte> file = sample_file();
  quench_model* model = nullptr;
  quench_model_options options = {};
  EXPECT_EQ(quench_model_open_memory(file.data(), file.size(), &options, &model, nullptr), QUENCH_INVALID_ARGUMENT);
  options.size = sizeof options;
  options.max_memory_bytes = 64;
  EXPECT_EQ(quench_model_open_memory(file.data(), file.size(), &options, &model, nullptr), QUENCH_OUT_OF_MEMORY);
  options.size = offsetof(quench_model_options, max_memory_bytes);  // a header that did not have the field yet
  EXPECT_EQ(quench_model_open_memory(file.data(), file.size(), &options, &model, nullptr), QUENCH_OK);
  quench_session* session = nullptr;
  quench_session_options session_options = {};
  session_options.size = sizeof session_options;
  session_options.threads = 1000;
  EXPECT_EQ(quench_session_create(model, &session_options, &session, nullptr), QUENCH_INVALID_ARGUMENT);
  session_options.threads = 2;
  EXPECT_EQ(quench_session_create(model, &session_options, &session, nullptr), QUENCH_OK);
  quench_session_release(session);
  quench_model_release(model);

  quench_model_options half = {};
  half.size = sizeof half;
  half.allocator.allocate = [](void*, size_t, size_t) -> void* { return nullptr; };
  EXPECT_EQ(quench_model_open_memory(file.data(), file.size(), &half, &model, nullptr), QUENCH_INVALID_ARGUMENT);
}

// y[i] = x for `size` places: the file stays a few hundred bytes.
std::vector<std::byte> spreading_file(int64_t size) {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {1}).initializer("size", {1}, std::vector<int64_t>{size});
  graph.node("Expand", {"x", "size"}, {"y"}).output("y");
  return file_of(graph.build());
}

TEST(CApi, ASmallFileMayNotTakeMuchMemoryUnlessAsked) {
  const std::vector<std::byte> file = spreading_file(int64_t{1} << 26);  // 256 MiB
  quench_model* model = nullptr;
  quench_session* session = nullptr;
  quench_status status = QUENCH_STATUS_INIT;
  const float x = 1;
  const int64_t shape[] = {1};
  quench_session_options options = {};
  options.size = sizeof options;
  ASSERT_EQ(quench_model_open_memory(file.data(), file.size(), nullptr, &model, &status), QUENCH_OK);
  for (const uint64_t limit : {uint64_t{0}, uint64_t{1} << 29}) {
    options.max_memory_bytes = limit;
    ASSERT_EQ(quench_session_create(model, &options, &session, &status), QUENCH_OK);
    ASSERT_EQ(quench_session_set_input(session, 0, &x, shape, 1, &status), QUENCH_OK);
    uint64_t bytes = 0;
    EXPECT_EQ(quench_session_arena_bytes(session, &bytes, &status), limit > 0 ? QUENCH_OK : QUENCH_LIMIT);
    quench_session_release(session);
  }
  quench_model_release(model);

  // Folded, it is the model's.
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {1}).initializer("size", {1}, std::vector<int64_t>{1 << 26});
  graph.node("ConstantOfShape", {"size"}, {"c"}).node("Add", {"x", "c"}, {"y"}).output("y");
  const std::vector<std::byte> folded = file_of(graph.build());
  ASSERT_EQ(quench_model_open_memory(folded.data(), folded.size(), nullptr, &model, &status), QUENCH_OK);
  ASSERT_EQ(quench_session_create(model, &options, &session, &status), QUENCH_OK);
  EXPECT_EQ(quench_session_prepare(session, &status), QUENCH_OUT_OF_MEMORY);
  quench_session_release(session);
  quench_model_release(model);
}

TEST(CApi, MemoryGrowsWithTheInputsThatAreGiven) {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {-1}).initializer("repeats", {1}, std::vector<int64_t>{20});
  graph.node("Tile", {"x", "repeats"}, {"y"}).output("y");
  const std::vector<std::byte> file = file_of(graph.build());
  quench_model* model = nullptr;
  quench_session* session = nullptr;
  ASSERT_EQ(quench_model_open_memory(file.data(), file.size(), nullptr, &model, nullptr), QUENCH_OK);
  ASSERT_EQ(quench_session_create(model, nullptr, &session, nullptr), QUENCH_OK);
  const int64_t shape[] = {int64_t{1} << 22};
  uint64_t bytes = 0;
  ASSERT_EQ(quench_session_set_input_shape(session, 0, shape, 1, nullptr), QUENCH_OK);
  EXPECT_EQ(quench_session_arena_bytes(session, &bytes, nullptr), QUENCH_OK);  // 320 MiB of 16
  EXPECT_GT(bytes, uint64_t{300} << 20);
  quench_session_release(session);
  quench_model_release(model);
}

TEST(CApi, ARefusedInputChangesNothing) {
  const std::vector<std::byte> file = sample_file();
  quench_model* model = nullptr;
  quench_session* session = nullptr;
  ASSERT_EQ(quench_model_open_memory(file.data(), file.size(), nullptr, &model, nullptr), QUENCH_OK);
  ASSERT_EQ(quench_session_create(model, nullptr, &session, nullptr), QUENCH_OK);
  const float x[] = {1, 2, 3, 4, 5, 6};
  const int64_t one[] = {1, 3}, two[] = {2, 3}, wrong[] = {2, 4}, huge[] = {INT64_MAX, 3};
  ASSERT_EQ(quench_session_set_input(session, 0, x, one, 2, nullptr), QUENCH_OK);
  ASSERT_EQ(quench_session_run(session, nullptr), QUENCH_OK);
  const void* misaligned = reinterpret_cast<const char*>(x) + 1;
  EXPECT_EQ(quench_session_set_input(session, 0, nullptr, two, 2, nullptr), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_set_input(session, 0, misaligned, two, 2, nullptr), QUENCH_INVALID_ARGUMENT);
  EXPECT_EQ(quench_session_set_input(session, 0, x, wrong, 2, nullptr), QUENCH_SHAPE);
  EXPECT_EQ(quench_session_set_input(session, 0, x, huge, 2, nullptr), QUENCH_SHAPE);
  quench_tensor y;
  ASSERT_EQ(quench_session_output(session, 0, &y, nullptr), QUENCH_OK);  // still that of the run
  EXPECT_EQ(y.shape[0], 1);
  ASSERT_EQ(quench_session_run(session, nullptr), QUENCH_OK);
  quench_session_release(session);
  quench_model_release(model);
}

TEST(CApi, DataThatIsTooShortForANewShapeIsNotRead) {
  const std::vector<std::byte> file = sample_file();
  quench_model* model = nullptr;
  quench_session* session = nullptr;
  ASSERT_EQ(quench_model_open_memory(file.data(), file.size(), nullptr, &model, nullptr), QUENCH_OK);
  ASSERT_EQ(quench_session_create(model, nullptr, &session, nullptr), QUENCH_OK);
  const std::vector<float> x(6, 1.0f);
  const int64_t one[] = {1, 3}, two[] = {2, 3}, many[] = {1000, 3};
  ASSERT_EQ(quench_session_set_input(session, 0, x.data(), two, 2, nullptr), QUENCH_OK);
  ASSERT_EQ(quench_session_set_input_shape(session, 0, one, 2, nullptr), QUENCH_OK);
  EXPECT_EQ(quench_session_run(session, nullptr), QUENCH_OK);  // there is more than enough
  ASSERT_EQ(quench_session_set_input_shape(session, 0, many, 2, nullptr), QUENCH_OK);
  EXPECT_EQ(quench_session_run(session, nullptr), QUENCH_NOT_READY);
  EXPECT_EQ(quench_session_prepare(session, nullptr), QUENCH_OK);
  const std::vector<float> enough(3000, 1.0f);
  ASSERT_EQ(quench_session_set_input(session, 0, enough.data(), many, 2, nullptr), QUENCH_OK);
  EXPECT_EQ(quench_session_run(session, nullptr), QUENCH_OK);
  quench_session_release(session);
  quench_model_release(model);
}

// Whatever allocation fails, opening and running is QUENCH_OUT_OF_MEMORY, gives everything back, and works afterwards.
TEST(CApi, EveryFailedAllocationIsAnError) {
  struct Failing {
    int64_t calls = 0, fail_at = INT64_MAX, held = 0;
  } memory;
  const quench_allocator hooks = {[](void* user, size_t bytes, size_t alignment) -> void* {
                                    auto& self = *static_cast<Failing*>(user);
                                    if (self.calls++ == self.fail_at) return nullptr;
                                    self.held += static_cast<int64_t>(bytes);
                                    return std::aligned_alloc(alignment,
                                                              (bytes + alignment - 1) / alignment * alignment);
                                  },
                                  [](void* user, void* block, size_t bytes) {
                                    static_cast<Failing*>(user)->held -= static_cast<int64_t>(bytes);
                                    std::free(block);
                                  },
                                  &memory};
  const std::vector<std::byte> file = sample_file();
  const float x[] = {1, 2, 3};
  const int64_t shape[] = {1, 3};
  for (const int threads : {1, 2}) {
    const auto run = [&]() -> quench_code {
      memory.calls = 0;
      quench_model_options model_options = {};
      model_options.size = sizeof model_options;
      model_options.allocator = hooks;
      quench_session_options options = {};
      options.size = sizeof options;
      options.allocator = hooks;
      options.threads = threads;
      quench_model* model = nullptr;
      quench_session* session = nullptr;
      quench_code code = quench_model_open_memory(file.data(), file.size(), &model_options, &model, nullptr);
      if (code == QUENCH_OK) code = quench_session_create(model, &options, &session, nullptr);
      if (code == QUENCH_OK) code = quench_session_set_input(session, 0, x, shape, 2, nullptr);
      if (code == QUENCH_OK) code = quench_session_run(session, nullptr);
      if (code == QUENCH_OUT_OF_MEMORY && session) {
        memory.fail_at = INT64_MAX;
        EXPECT_EQ(quench_session_run(session, nullptr), QUENCH_OK);
      }
      quench_session_release(session);
      quench_model_release(model);
      EXPECT_EQ(memory.held, 0);
      return code;
    };
    memory.fail_at = INT64_MAX;
    ASSERT_EQ(run(), QUENCH_OK);
    const int64_t calls = memory.calls;
    EXPECT_GT(calls, 10);
    for (int64_t k = 0; k < calls; ++k) {
      memory.fail_at = k;
      EXPECT_EQ(run(), QUENCH_OUT_OF_MEMORY) << k;
    }
  }
}

TEST(CApi, ACallerCanStop) {
  const std::vector<std::byte> file = sample_file();
  quench_model* model = nullptr;
  quench_session* session = nullptr;
  quench_status status = QUENCH_STATUS_INIT;
  bool stop = true;
  quench_session_options options = {};
  options.size = sizeof options;
  options.cancelled = [](void* user) { return *static_cast<bool*>(user) ? 1 : 0; };
  options.cancelled_user = &stop;
  ASSERT_EQ(quench_model_open_memory(file.data(), file.size(), nullptr, &model, &status), QUENCH_OK);
  ASSERT_EQ(quench_session_create(model, &options, &session, &status), QUENCH_OK);
  const float x[] = {1, 2, 3};
  const int64_t shape[] = {1, 3};
  ASSERT_EQ(quench_session_set_input(session, 0, x, shape, 2, &status), QUENCH_OK);
  EXPECT_EQ(quench_session_prepare(session, &status), QUENCH_CANCELLED);
  EXPECT_STREQ(status.message, quench_status_name(QUENCH_CANCELLED));
  stop = false;
  EXPECT_EQ(quench_session_prepare(session, &status), QUENCH_OK) << status.message;
  stop = true;
  EXPECT_EQ(quench_session_run(session, &status), QUENCH_CANCELLED);
  stop = false;
  EXPECT_EQ(quench_session_run(session, &status), QUENCH_OK) << status.message;
  quench_session_release(session);
  quench_model_release(model);
}

void open_and_run(std::span<const std::byte> bytes) {
  quench_model_options options = {};
  options.size = sizeof options;
  options.max_memory_bytes = 1 << 24;
  options.max_tensor_elements = 1 << 16;
  quench_model* model = nullptr;
  if (quench_model_open_memory(bytes.data(), bytes.size(), &options, &model, nullptr) != QUENCH_OK) return;
  quench_session* session = nullptr;
  ASSERT_EQ(quench_session_create(model, nullptr, &session, nullptr), QUENCH_OK);
  const float x[] = {1, 2, 3};
  const int64_t shape[] = {1, 3};
  if (quench_session_set_input(session, 0, x, shape, 2, nullptr) == QUENCH_OK) {
    static_cast<void>(quench_session_run(session, nullptr));
  }
  quench_session_release(session);
  quench_model_release(model);
}

TEST(CApi, SurvivesDamagedFiles) {
  const std::vector<std::byte> file = sample_file();
  for (size_t length = 0; length < file.size(); ++length) {
    const std::vector<std::byte> prefix(file.begin(), file.begin() + static_cast<long>(length));
    quench_model* model = nullptr;
    EXPECT_NE(quench_model_open_memory(prefix.data(), prefix.size(), nullptr, &model, nullptr), QUENCH_OK) << length;
  }
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    std::vector<std::byte> damaged = file;
    damaged[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    open_and_run(damaged);
  }
}

}  // namespace
}  // namespace quench::rt
