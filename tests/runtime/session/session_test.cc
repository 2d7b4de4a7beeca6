#include "runtime/session/session.h"

#include <atomic>
#include <cstdlib>
#include <thread>

#include "runtime/session/threads.h"
#include "tests/runtime/sample_graphs.h"

namespace quench::rt {
namespace {

// Counts what is out, and fails the allocation number `fail_at` and all later ones.
struct CountingAllocator {
  std::atomic<int64_t> blocks{0};
  std::atomic<int64_t> bytes{0};
  std::atomic<int64_t> calls{0};
  int64_t fail_at = INT64_MAX;
  bool once = false;

  Allocator hooks() {
    return {[](void* user, size_t size, size_t alignment) -> void* {
              auto& self = *static_cast<CountingAllocator*>(user);
              const int64_t call = self.calls++;
              if (self.once ? call == self.fail_at : call >= self.fail_at) return nullptr;
              ++self.blocks;
              self.bytes += static_cast<int64_t>(size);
              return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
            },
            [](void* user, void* block, size_t size) {
              auto& self = *static_cast<CountingAllocator*>(user);
              --self.blocks;
              self.bytes -= static_cast<int64_t>(size);
              std::free(block);
            },
            this};
  }
};

Status run_with(CountingAllocator& memory, const std::string& bytes, const HostTensor& x, int threads,
                std::vector<HostTensor>* outputs) {
  ModelOptions options;
  options.allocator = memory.hooks();
  SessionOptions session_options;
  session_options.allocator = memory.hooks();
  session_options.threads = threads;
  return try_run_model(bytes, {x}, outputs, options, session_options);
}

TEST(Session, TakesAllMemoryFromTheHooksAndGivesItBack) {
  CountingAllocator memory;
  std::vector<HostTensor> outputs;
  ASSERT_TRUE(run_with(memory, residual_graph().build(), random_tensor({1, 4, 6, 6}, 1), 1, &outputs).ok());
  EXPECT_GT(memory.calls, 5);
  EXPECT_EQ(memory.blocks, 0);
  EXPECT_EQ(memory.bytes, 0);
}

TEST(Session, SurvivesEveryFailedAllocation) {
  const std::string bytes = residual_graph().build();
  const HostTensor x = random_tensor({1, 4, 6, 6}, 1);
  CountingAllocator all;
  std::vector<HostTensor> expected;
  ASSERT_TRUE(run_with(all, bytes, x, 2, &expected).ok());
  for (const bool once : {false, true}) {
    for (int64_t n = 0; n < all.calls; ++n) {
      CountingAllocator memory;
      memory.fail_at = n;
      memory.once = once;
      std::vector<HostTensor> outputs;
      const Status status = run_with(memory, bytes, x, 2, &outputs);
      EXPECT_EQ(status.code(), StatusCode::kOutOfMemory) << n << ": " << status.detail();
      EXPECT_EQ(memory.blocks, 0) << n;
    }
  }
}

// Two sessions of a model, one of which takes another shape and comes back; released in either order.
Status share_and_reshape(CountingAllocator& model_memory, CountingAllocator& session_memory, const std::string& bytes,
                         bool first_first) {
  ModelOptions options;
  options.allocator = model_memory.hooks();
  ModelHandle model;
  QUENCH_RETURN_IF_ERROR(open_model(as_bytes(bytes), {}, options, model));
  SessionOptions session_options;
  session_options.allocator = session_memory.hooks();
  SessionHandle a;
  SessionHandle b;
  QUENCH_RETURN_IF_ERROR(create_session(*model, session_options, a));
  QUENCH_RETURN_IF_ERROR(create_session(*model, session_options, b));
  std::vector<HostTensor> outputs;
  QUENCH_RETURN_IF_ERROR(run_session(*a, {random_tensor({1, 4, 6, 6}, 1)}, &outputs));
  QUENCH_RETURN_IF_ERROR(run_session(*b, {random_tensor({1, 4, 6, 6}, 1)}, &outputs));
  QUENCH_RETURN_IF_ERROR(run_session(*a, {random_tensor({2, 4, 6, 6}, 1)}, &outputs));
  QUENCH_RETURN_IF_ERROR(run_session(*b, {random_tensor({2, 4, 6, 6}, 1)}, &outputs));
  QUENCH_RETURN_IF_ERROR(run_session(*a, {random_tensor({1, 4, 6, 6}, 1)}, &outputs));
  (first_first ? a : b).reset();
  return run_session(first_first ? *b : *a, {random_tensor({1, 4, 6, 6}, 1)}, &outputs);
}

TEST(Session, LeaksNothingOfSharedPlansWhateverAllocationFails) {
  const std::string bytes = residual_graph().build();
  for (const int way : {0, 1, 2, 3, 4, 5, 6, 7}) {
    const bool first_first = (way & 1) != 0;
    const bool fails_model = (way & 2) != 0;
    CountingAllocator all_of_model;
    CountingAllocator all_of_sessions;
    ASSERT_TRUE(share_and_reshape(all_of_model, all_of_sessions, bytes, first_first).ok());
    const int64_t calls = (fails_model ? all_of_model : all_of_sessions).calls;
    for (int64_t n = 0; n < calls; ++n) {
      CountingAllocator of_model;
      CountingAllocator of_sessions;
      CountingAllocator& failing = fails_model ? of_model : of_sessions;
      failing.fail_at = n;
      failing.once = (way & 4) != 0;
      const Status status = share_and_reshape(of_model, of_sessions, bytes, first_first);
      // A model can make up for a single failure by letting go of packed weights that no plan uses.
      if (!status.ok() || !fails_model || !failing.once) {
        EXPECT_EQ(status.code(), StatusCode::kOutOfMemory) << way << ", " << n << ": " << status.detail();
      }
      for (const CountingAllocator* memory : {&of_model, &of_sessions}) {
        EXPECT_EQ(memory->blocks, 0) << way << ", " << n;
        EXPECT_EQ(memory->bytes, 0) << way << ", " << n;
      }
    }
  }
}

// The allocator of the session that made a plan may be gone while another session runs the plan.
TEST(Session, LeavesNothingOfItsOwnInASharedPlan) {
  const std::string bytes = residual_graph().build();
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  const HostTensor x = random_tensor({1, 4, 6, 6}, 1);
  CountingAllocator memory;
  SessionOptions options;
  options.allocator = memory.hooks();
  SessionHandle a;
  SessionHandle b;
  ASSERT_TRUE(create_session(*model, options, a).ok());
  ASSERT_TRUE(create_session(*model, {}, b).ok());
  std::vector<HostTensor> first;
  std::vector<HostTensor> second;
  ASSERT_TRUE(run_session(*a, {x}, &first).ok());
  ASSERT_TRUE(run_session(*b, {x}, &second).ok());
  EXPECT_EQ(a->plan(), b->plan());
  a.reset();
  EXPECT_EQ(memory.blocks, 0);
  ASSERT_TRUE(run_session(*b, {x}, &second).ok());
  EXPECT_EQ(second[0].values<float>(), first[0].values<float>());
}

TEST(Session, RecoversWhenMemoryComesBack) {
  const std::string bytes = residual_graph().build();
  CountingAllocator memory;
  ModelOptions options;
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, options, model).ok());
  SessionOptions session_options;
  session_options.allocator = memory.hooks();
  SessionHandle session;
  ASSERT_TRUE(create_session(*model, session_options, session).ok());
  std::vector<HostTensor> outputs;
  memory.fail_at = memory.calls + 2;
  EXPECT_EQ(run_session(*session, {random_tensor({1, 4, 6, 6}, 1)}, &outputs).code(), StatusCode::kOutOfMemory);
  EXPECT_EQ(session->output(0).status().code(), StatusCode::kNotReady);
  memory.fail_at = INT64_MAX;
  EXPECT_TRUE(run_session(*session, {random_tensor({1, 4, 6, 6}, 1)}, &outputs).ok());
}

TEST(Session, KeepsItsMemoryLimit) {
  const std::string bytes = residual_graph().build();
  SessionOptions options;
  options.max_memory_bytes = 1 << 20;
  std::vector<HostTensor> outputs;
  EXPECT_TRUE(try_run_model(bytes, {random_tensor({1, 4, 6, 6}, 1)}, &outputs, {}, options).ok());
  EXPECT_FALSE(try_run_model(bytes, {random_tensor({2000, 4, 6, 6}, 1)}, &outputs, {}, options).ok());
}

// A normalized matrix product, whose weight, bias and mean a session may give.
std::string product_with_defaults() {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {-1, 3}).input("w", ElementType::kFloat32, {3, 2});
  graph.input("b", ElementType::kFloat32, {2}).input("mean", ElementType::kFloat32, {2});
  graph.initializer<float>("w", {3, 2}, {1, 2, 3, 4, 5, 6}).initializer<float>("b", {2}, {10, 20});
  graph.initializer<float>("scale", {2}, {1, 1}).initializer<float>("shift", {2}, {0, 0});
  graph.initializer<float>("mean", {2}, {1, 2}).initializer<float>("variance", {2}, {1, 1});
  graph.node("Gemm", {"x", "w", "b"}, {"h"});
  graph.node("BatchNormalization", {"h", "scale", "shift", "mean", "variance"}, {"y"}, {number("epsilon", 0)});
  return graph.output("y").build();
}

TEST(Session, AnInputWithADefaultMayBeLeftOutGivenAndLeftOutAgain) {
  const std::string bytes = product_with_defaults();
  for (const KernelSet kernels : {KernelSet::kFast, KernelSet::kReference}) {
    ModelOptions options;
    options.kernels = kernels;
    ModelHandle model;
    ASSERT_TRUE(open_model(as_bytes(bytes), {}, options, model).ok());
    SessionHandle session, other;
    ASSERT_TRUE(create_session(*model, {}, session).ok());
    ASSERT_TRUE(create_session(*model, {}, other).ok());
    const HostTensor x = HostTensor::of<float>({1, 3}, {1, 1, 1});
    const HostTensor w = HostTensor::of<float>({3, 2}, {1, 0, 0, 1, 0, 0});
    const HostTensor mean = HostTensor::of<float>({2}, {100, 200});
    const auto result = [&](SessionHandle& of) {
      std::vector<HostTensor> outputs;
      EXPECT_TRUE(run_session(*of, {x}, &outputs).ok());
      return outputs.at(0).values<float>();
    };
    EXPECT_EQ(result(session), (std::vector<float>{18, 30}));
    ASSERT_TRUE(session->set_input(3, mean.data(), mean.shape).ok());
    EXPECT_EQ(result(session), (std::vector<float>{-81, -168}));
    ASSERT_TRUE(session->set_input(1, w.data(), w.shape).ok());
    EXPECT_EQ(result(session), (std::vector<float>{-89, -179}));
    EXPECT_EQ(result(other), (std::vector<float>{18, 30}));
    ASSERT_TRUE(session->set_input(3, nullptr, {}).ok());
    EXPECT_EQ(result(session), (std::vector<float>{10, 19}));
    ASSERT_TRUE(session->set_input(1, nullptr, {}).ok());
    EXPECT_EQ(result(session), (std::vector<float>{18, 30}));
  }
}

TEST(Session, AnInputWithADefaultThatIsGivenIsCheckedLikeAnother) {
  ModelHandle model;
  const std::string bytes = product_with_defaults();
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  SessionHandle session;
  ASSERT_TRUE(create_session(*model, {}, session).ok());
  const HostTensor values = HostTensor::of<float>({3}, {1, 2, 3});
  EXPECT_EQ(session->set_input(2, values.data(), values.shape).code(), StatusCode::kShape);
  EXPECT_EQ(session->set_input(0, nullptr, {}).code(), StatusCode::kShape);  // x has no default
  EXPECT_EQ(session->set_input(4, nullptr, {}).code(), StatusCode::kInvalidArgument);
  const std::vector<int64_t> two = {2};
  ASSERT_TRUE(session->set_input_shape(2, two).ok());
  std::vector<HostTensor> outputs;
  EXPECT_EQ(run_session(*session, {HostTensor::of<float>({1, 3}, {1, 1, 1})}, &outputs).code(),
            StatusCode::kNotReady);  // a shape without values
}

TEST(Session, RunsInTheCallersArena) {
  const std::string bytes = residual_graph().build();
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  SessionHandle session;
  ASSERT_TRUE(create_session(*model, {}, session).ok());
  EXPECT_EQ(session->arena_bytes().status().code(), StatusCode::kNotReady);  // the batch is open
  const HostTensor x = random_tensor({2, 4, 6, 6}, 1);
  ASSERT_TRUE(session->set_input_shape(0, x.shape).ok());
  const Result<uint64_t> bytes_needed = session->arena_bytes();
  ASSERT_TRUE(bytes_needed.ok());

  // The arena between two guards that must stay as they are.
  const size_t guard = 256;
  const size_t size = static_cast<size_t>(*bytes_needed);
  auto* block = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, size + 2 * guard));
  std::memset(block, 0xA5, size + 2 * guard);
  EXPECT_EQ(session->set_arena(block + guard + 8, size).code(), StatusCode::kInvalidArgument);
  std::vector<HostTensor> outputs;
  ASSERT_TRUE(session->set_arena(block + guard, size - 1).ok());
  EXPECT_EQ(run_session(*session, {x}, &outputs).code(), StatusCode::kInvalidArgument);
  ASSERT_TRUE(session->set_arena(block + guard, size).ok());
  ASSERT_TRUE(run_session(*session, {x}, &outputs).ok());
  const auto* data = static_cast<const uint8_t*>(session->output(0)->data);
  EXPECT_GE(data, block + guard);
  EXPECT_LT(data, block + guard + size);
  for (size_t i = 0; i < guard; ++i) {
    ASSERT_EQ(block[i], 0xA5);
    ASSERT_EQ(block[guard + size + i], 0xA5);
  }
  std::vector<HostTensor> own;
  ASSERT_TRUE(session->set_arena(nullptr, 0).ok());
  ASSERT_TRUE(run_session(*session, {x}, &own).ok());
  EXPECT_EQ(own[0].values<float>(), outputs[0].values<float>());
  session.reset();
  std::free(block);
}

TEST(Session, RefusesWrongInputs) {
  const std::string bytes = residual_graph().build();
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  SessionHandle session;
  ASSERT_TRUE(create_session(*model, {}, session).ok());
  const HostTensor x = random_tensor({1, 4, 6, 6}, 1);
  const auto set = [&](int index, const void* data, std::vector<int64_t> shape) {
    return session->set_input(index, data, shape).code();
  };
  EXPECT_EQ(session->run().code(), StatusCode::kNotReady);
  EXPECT_EQ(set(1, x.data(), {1, 4, 6, 6}), StatusCode::kInvalidArgument);
  EXPECT_EQ(set(-1, x.data(), {1, 4, 6, 6}), StatusCode::kInvalidArgument);
  EXPECT_EQ(set(0, nullptr, {1, 4, 6, 6}), StatusCode::kInvalidArgument);
  EXPECT_EQ(set(0, static_cast<const char*>(x.data()) + 1, {1, 4, 6, 6}), StatusCode::kInvalidArgument);
  EXPECT_EQ(set(0, x.data(), {1, 4, 6}), StatusCode::kShape);
  EXPECT_EQ(set(0, x.data(), {1, 4, 6, 7}), StatusCode::kShape);
  EXPECT_EQ(set(0, x.data(), {-1, 4, 6, 6}), StatusCode::kShape);
  EXPECT_EQ(set(0, x.data(), {int64_t{1} << 60, 4, 6, 6}), StatusCode::kShape);
  EXPECT_EQ(set(0, x.data(), std::vector<int64_t>(9, 1)), StatusCode::kShape);
  EXPECT_EQ(session->output(0).status().code(), StatusCode::kNotReady);
  EXPECT_EQ(set(0, x.data(), {1, 4, 6, 6}), StatusCode::kOk);
  EXPECT_TRUE(session->run().ok());
  EXPECT_EQ(session->output(1).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(session->output(-1).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(session->output(0).ok());
}

TEST(Session, RunsAnEmptyBatch) {
  GraphBuilder graph;
  graph.input("x", ElementType::kFloat32, {-1, 4, 6, 6}).initializer("w", {4, 4, 3, 3}, random_values(144, 1));
  graph.node("Conv", {"x", "w"}, {"c"})
      .node("Relu", {"c"}, {"r"})
      .node("MaxPool", {"r"}, {"m"}, {ints("kernel_shape", {2, 2})});
  graph.node("Add", {"m", "m"}, {"y"}).output("y");
  std::vector<HostTensor> outputs = run_model(graph.build(), {HostTensor::of<float>({0, 4, 6, 6}, {})});
  ASSERT_EQ(outputs.size(), 1u);
  EXPECT_EQ(outputs[0].shape, (std::vector<int64_t>{0, 4, 3, 3}));
}

TEST(Session, UsesTheCallersThreads) {
  const std::string bytes = residual_graph().build();
  const HostTensor x = random_tensor({8, 4, 6, 6}, 1);
  const auto expected = run_model(bytes, {x});
  struct Calls {
    int count = 0;
    int largest = 0;
  } calls;
  SessionOptions options;
  options.threads = 4;
  options.parallel_user = &calls;
  options.parallel = [](void* user, int tasks, void (*task)(void*, int), void* argument) {
    auto& seen = *static_cast<Calls*>(user);
    ++seen.count;
    seen.largest = std::max(seen.largest, tasks);
    for (int i = tasks; i-- > 0;) task(argument, i);  // any order
  };
  const auto outputs = run_model(bytes, {x}, {}, options);
  EXPECT_GT(calls.count, 0);
  EXPECT_LE(calls.largest, 4);
  EXPECT_EQ(outputs[0].values<float>(), expected[0].values<float>());
}

TEST(Session, RandomNumbersAreTheNodesOwnAndTheSameEveryTime) {
  GraphBuilder graph(13);
  graph.input("x", ElementType::kFloat32, {-1, 1000});
  graph.node("RandomUniformLike", {"x"}, {"a"}, {});
  graph.node("RandomUniformLike", {"x"}, {"b"}, {});
  graph.output("a");
  graph.output("b");
  const std::string bytes = graph.build();
  const HostTensor x = random_tensor({100, 1000}, 1);
  const auto first = run_model(bytes, {x});
  EXPECT_NE(first[0].values<float>(), first[1].values<float>());
  SessionOptions options;
  options.threads = 3;
  const auto again = run_model(bytes, {x}, {}, options);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(again[i].values<float>(), first[i].values<float>());
}

TEST(Session, SessionsOfOneModelRunInTheirOwnThreads) {
  const std::string bytes = residual_graph().build();
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  const auto expected = run_model(bytes, {random_tensor({3, 4, 6, 6}, 1)});
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        SessionHandle session;
        std::vector<HostTensor> outputs;
        if (!create_session(*model, {}, session).ok() ||
            !run_session(*session, {random_tensor({3, 4, 6, 6}, 1)}, &outputs).ok() ||
            outputs[0].values<float>() != expected[0].values<float>()) {
          ++failures;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

TEST(Session, ThreadsCreateRunAndReshapeSessionsOfOneModel) {
  const std::string bytes = residual_graph().build();
  ModelHandle model;
  ASSERT_TRUE(open_model(as_bytes(bytes), {}, {}, model).ok());
  std::vector<HostTensor> inputs;
  std::vector<std::vector<float>> expected;
  for (int64_t batch = 1; batch <= 3; ++batch) {
    inputs.push_back(random_tensor({batch, 4, 6, 6}, 1));
    expected.push_back(run_model(bytes, {inputs.back()})[0].values<float>());
  }
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      SessionHandle session;
      for (size_t round = 0; round < 30; ++round) {
        if (round % 5 == 0 && !create_session(*model, {}, session).ok()) ++failures;
        const size_t chosen = (t + round * round) % 3;
        std::vector<HostTensor> outputs;
        if (!run_session(*session, {inputs[chosen]}, &outputs).ok() || outputs[0].values<float>() != expected[chosen]) {
          ++failures;
        }
        if (model->memory_peak() == 0) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(model->plans(), nullptr);
}

TEST(ThreadPool, RunsEveryTaskOnce) {
  Memory memory;
  ThreadPool* pool = nullptr;
  ASSERT_TRUE(ThreadPool::create(memory, 4, &pool).ok());
  for (int round = 0; round < 500; ++round) {
    const int tasks = round % 7;
    std::vector<std::atomic<int>> done(8);
    ThreadPool::run(
        pool, tasks,
        [](void* argument, int index) {
          ++(*static_cast<std::vector<std::atomic<int>>*>(argument))[static_cast<size_t>(index)];
        },
        &done);
    for (int i = 0; i < 8; ++i) ASSERT_EQ(done[static_cast<size_t>(i)], i < tasks ? 1 : 0);
  }
  ThreadPool::destroy(memory, pool);
  EXPECT_EQ(memory.used(), 0u);
}

}  // namespace
}  // namespace quench::rt
