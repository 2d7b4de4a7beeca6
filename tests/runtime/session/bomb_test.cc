// Small models that ask for much: deep, quadratic or endless work, and memory out of proportion to the file.
#include <pthread.h>

#include <chrono>

#include "tests/runtime/sample_graphs.h"

namespace quench::rt {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// A linear operator with `count` BatchNormalizations behind it, each x / 2 + 1.
std::string chain_of_normalizations(int count) {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {1, 1, 1, 1}).initializer("w", {1, 1, 1, 1}, std::vector<float>{3});
  graph.initializer("scale", {1}, std::vector<float>{0.5f}).initializer("shift", {1}, std::vector<float>{1});
  graph.initializer("mean", {1}, std::vector<float>{0}).initializer("variance", {1}, std::vector<float>{1});
  graph.node("Conv", {"x", "w"}, {"y0"});
  for (int i = 0; i < count; ++i) {
    graph.node("BatchNormalization", {"y" + std::to_string(i), "scale", "shift", "mean", "variance"},
               {"y" + std::to_string(i + 1)}, {number("epsilon", 0)});
  }
  return graph.output("y" + std::to_string(count)).build();
}

// Runs on a stack as small as that of a thread of a small device.
template <typename Function>
void on_a_small_stack(Function function) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 128 << 10), 0);
  pthread_t thread{};
  ASSERT_EQ(pthread_create(
                &thread, &attributes,
                [](void* argument) -> void* {
                  (*static_cast<Function*>(argument))();
                  return nullptr;
                },
                &function),
            0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST(Bomb, AChainOfNormalizationsIsNotAsDeepAsItIsLong) {
  for (const int count : {1, 2, 3, 300, 30000}) {
    const std::string bytes = chain_of_normalizations(count);
    const auto start = std::chrono::steady_clock::now();
    on_a_small_stack([&] {
      const auto outputs = run_model(bytes, {HostTensor::of({1, 1, 1, 1}, std::vector<float>{4})});
      float expected = 12;
      for (int i = 0; i < count; ++i) expected = expected / 2 + 1;
      ASSERT_EQ(outputs.size(), 1u);
      EXPECT_FLOAT_EQ(outputs[0].values<float>()[0], expected) << count;
    });
    EXPECT_LT(seconds_since(start), 20);
  }
}

TEST(Bomb, ASplitIntoManyPartsIsPlannedInNoQuadraticTime) {
  constexpr int kParts = 1 << 16;
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {kParts});
  std::vector<std::string> parts;
  for (int i = 0; i < kParts; ++i) parts.push_back("p" + std::to_string(i));
  graph.node("Split", {"x"}, parts).node("Concat", parts, {"y"}, {integer("axis", 0)}).output("y");
  const auto start = std::chrono::steady_clock::now();
  const HostTensor x = random_tensor({kParts}, 3);
  EXPECT_EQ(run_model(graph.build(), {x})[0].values<float>(), x.values<float>());
  EXPECT_LT(seconds_since(start), 20);
}

// c is square, and is known when planning.
GraphBuilder product_of_constants(int64_t size) {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {1}).initializer("size", {2}, std::vector<int64_t>{size, size});
  graph.node("ConstantOfShape", {"size"}, {"c"}, {tensor("value", {1}, std::vector<float>{2})});
  graph.node("MatMul", {"c", "c"}, {"m"}).node("ReduceMax", {"m"}, {"r"}, {integer("keepdims", 0)});
  graph.node("Add", {"x", "r"}, {"y"}).output("y");
  return graph;
}

TEST(Bomb, FoldingHasABudget) {
  for (const int64_t size : {4, 1500}) {
    const std::string bytes = product_of_constants(size).build();
    ModelHandle model;
    SessionHandle session;
    ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
    ASSERT_TRUE(create_session(*model, {}, session).ok());
    std::vector<HostTensor> outputs;
    ASSERT_TRUE(run_session(*session, {HostTensor::of({1}, std::vector<float>{1})}, &outputs).ok());
    EXPECT_FLOAT_EQ(outputs[0].values<float>()[0], 1 + 4 * static_cast<float>(size));
    bool multiplies = false;
    for (const Step& step : session->plan()->steps()) multiplies |= std::string_view(step.kernel->op) == "MatMul";
    EXPECT_EQ(multiplies, size == 1500);  // by a fast kernel, when the session runs
  }
}

TEST(Bomb, ManyFoldedNodesShareOneBudget) {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {1}).initializer("size", {1}, std::vector<int64_t>{1 << 22});
  graph.node("ConstantOfShape", {"size"}, {"c"}, {tensor("value", {1}, std::vector<float>{1})});
  std::vector<std::string> sums = {"x"};
  for (int i = 0; i < 400; ++i) {
    sums.push_back("s" + std::to_string(i));
    graph.node("ReduceMax", {"c"}, {sums.back()}, {integer("keepdims", 1)});
  }
  graph.node("Sum", sums, {"y"}).output("y");
  const std::string bytes = graph.build();
  ModelHandle model;
  SessionHandle session;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  ASSERT_TRUE(create_session(*model, {}, session).ok());
  ASSERT_TRUE(session->prepare().ok());
  EXPECT_GT(session->plan()->steps().size(), 300u);
}

TEST(Bomb, ACallerCanStopPlanningAndRunning) {
  struct Asked {
    int calls = 0;
    int stop_at = 0;
  };
  const std::string bytes = residual_graph().build();
  const HostTensor x = random_tensor({1, 4, 6, 6}, 1);
  const auto expected = run_model(bytes, {x});
  bool done = false;
  for (int stop_at = 1; !done; ++stop_at) {
    ASSERT_LT(stop_at, 100);
    Asked asked{0, stop_at};
    SessionOptions options;
    options.cancellation = {[](void* user) {
                              auto& self = *static_cast<Asked*>(user);
                              return ++self.calls == self.stop_at ? 1 : 0;
                            },
                            &asked};
    ModelHandle model;
    SessionHandle session;
    ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
    ASSERT_TRUE(create_session(*model, options, session).ok());
    std::vector<HostTensor> outputs;
    const Status status = run_session(*session, {x}, &outputs);
    done = status.ok();
    if (done) {
      EXPECT_GT(stop_at, 5);
      break;
    }
    EXPECT_EQ(status.code(), StatusCode::kCancelled);
    ASSERT_TRUE(run_session(*session, {x}, &outputs).ok());  // it goes on afterwards
    EXPECT_EQ(outputs[0].values<float>(), expected[0].values<float>());
  }
}

}  // namespace
}  // namespace quench::rt
