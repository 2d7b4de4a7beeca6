#include "compressor/measure/benchmark.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <quench/quench.hpp>

#include "compressor/measure/quench_file.h"
#include "formats/error.h"

namespace quench::measure {
namespace {

constexpr int kDecodeRuns = 5;

double milliseconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// What the runtime holds, as the allocator that it is given sees it.
class CountingAllocator {
 public:
  quench_allocator hook() { return {allocate, release, this}; }
  uint64_t peak() const { return peak_; }

 private:
  static void* allocate(void* user, size_t bytes, size_t alignment) {
    auto& self = *static_cast<CountingAllocator*>(user);
    const uint64_t held = self.held_ += bytes;
    uint64_t peak = self.peak_;
    while (held > peak && !self.peak_.compare_exchange_weak(peak, held)) {
    }
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  }
  static void release(void* user, void* block, size_t bytes) {
    static_cast<CountingAllocator*>(user)->held_ -= bytes;
    std::free(block);
  }

  std::atomic<uint64_t> held_ = 0, peak_ = 0;
};

// A model and a session that count their memory.
class CountedSession {
 public:
  CountedSession(const std::filesystem::path& path, const BenchmarkOptions& options,
                 std::span<const graph::HostTensor> inputs) {
    quench_model_options model_options{};
    model_options.size = sizeof model_options;
    model_options.allocator = memory_.hook();
    model_options.max_memory_bytes = options.max_memory;
    model_.emplace(Model::open(path.string(), &model_options));
    quench_session_options session_options{};
    session_options.size = sizeof session_options;
    session_options.allocator = memory_.hook();
    session_options.threads = options.threads;
    session_options.max_memory_bytes = options.max_memory;
    session_.emplace(*model_, &session_options);
    for (int32_t i = 0; i < model_->input_count(); ++i) {
      for (const graph::HostTensor& input : inputs) {
        if (input.name == model_->input(i).name_view()) session_->set_input(i, input.bytes.data(), input.dims);
      }
    }
    session_->prepare();
  }

  Session& session() { return *session_; }
  uint64_t peak_bytes() const { return memory_.peak(); }

 private:
  CountingAllocator memory_;
  std::optional<Model> model_;
  std::optional<Session> session_;
};

double decode_all(const QuenchFile& file, uint64_t& elements) {
  const container::Reader& reader = file.reader();
  const AlignedBuffer scratch(reader.max_scratch_size());
  uint64_t largest = 0;
  elements = 0;
  for (uint32_t t = 0; t < reader.tensor_count(); ++t) {
    const container::TensorInfo info = reader.tensor(t);
    elements += info.element_count;
    largest = std::max({largest, info.element_count * sizeof(float), element_bytes(info.type, info.element_count)});
  }
  const AlignedBuffer values(largest);
  std::vector<double> times;
  times.reserve(kDecodeRuns);
  for (int run = 0; run < kDecodeRuns; ++run) {
    times.push_back(milliseconds([&] {
      for (uint32_t t = 0; t < reader.tensor_count(); ++t) {
        const container::TensorInfo info = reader.tensor(t);
        if (is_float(info.type)) {
          const std::span floats(reinterpret_cast<float*>(values.span().data()), info.element_count);
          file.check(reader.decode_float32(t, floats, scratch.span()));
        } else {
          const uint64_t bytes = element_bytes(info.type, info.element_count);
          file.check(reader.decode_bytes(t, values.span().first(bytes), scratch.span()));
        }
      }
    }));
  }
  return median(std::move(times));
}

}  // namespace

Benchmark benchmark(const std::filesystem::path& path, const BenchmarkOptions& options) {
  if (!is_quench_file(path)) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) throw Error::make("{}: there is no such file", path.string());
    throw Error::make("{}: this is not a .quench file; make one with quench compress", path.string());
  }
  Benchmark result;
  result.threads = options.threads;
  result.runs = std::max(1, options.runs);
  std::vector<graph::HostTensor> inputs;
  {
    const QuenchFile file(path, options.max_memory);
    result.file_bytes = file.size();
    result.decode_ms = decode_all(file, result.weights);
    inputs = Runner::open(path, 1, options.max_memory)->seeded_inputs(options.shapes, options.seed).draw(0);
  }
  try {
    std::optional<CountedSession> counted;
    result.load_ms = milliseconds([&] { counted.emplace(path, options, inputs); });
    result.first_result_ms = result.load_ms + milliseconds([&] { counted->session().run(); });
    std::vector<double> times;
    times.reserve(static_cast<size_t>(result.runs));
    for (int run = 0; run < result.runs; ++run) times.push_back(milliseconds([&] { counted->session().run(); }));
    result.min_ms = *std::min_element(times.begin(), times.end());
    result.median_ms = median(std::move(times));
    result.arena_bytes = counted->session().arena_bytes();
    result.peak_bytes = counted->peak_bytes();
  } catch (const RuntimeError& error) {
    refuse(path.string(), error);
  }
  return result;
}

}  // namespace quench::measure
