#include "tests/runtime/graph_builder.h"

namespace quench::rt {
namespace {

TEST(Plan, RunsAGraph) {
  GraphBuilder graph;
  graph.input("x", DType::kFloat, {-1, 2});
  graph.node("Relu", {"x"}, {"a"}).node("Add", {"a", "x"}, {"y"});
  graph.output("y");
  const auto outputs = run_model(graph.build(), {HostTensor::of<float>({2, 2}, {1, -2, 3, -4})});
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].values<float>(), (std::vector<float>{2, -2, 6, -4}));
}

}  // namespace
}  // namespace quench::rt
