#include "compressor/compress/resident_weights.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "compressor/compress/model_quantizer.h"
#include "compressor/compress/storage_policy.h"
#include "tests/compressor/compress/small_model.h"

namespace quench::quantizer {
namespace {

class CountingSource : public WeightSource {
 public:
  CountingSource(std::shared_ptr<const WeightSource> source, std::atomic<int>& reads)
      : source_(std::move(source)), reads_(reads) {}
  std::vector<std::byte> read() const override {
    ++reads_;
    return source_->read();
  }

 private:
  std::shared_ptr<const WeightSource> source_;
  std::atomic<int>& reads_;
};

// A model with a count of the reads of each weight.
struct CountedModel {
  TemporaryFolder folder;
  OnnxModel model;
  std::vector<std::atomic<int>> reads;

  static OnnxModel load_small(const TemporaryFolder& folder) {
    write_model(folder / "m.onnx", make_small_model());
    return load(folder / "m.onnx");
  }
  CountedModel() : model(load_small(folder)), reads(model.weights.size()) {
    for (size_t w = 0; w < reads.size(); ++w) {
      model.weights[w].source = std::make_shared<CountingSource>(model.weights[w].source, reads[w]);
    }
  }
};

TEST(ResidentWeights, ReadsAWeightOnceForAnyNumberOfThreads) {
  CountedModel counted;
  const ResidentWeights weights(counted.model);
  ASSERT_TRUE(weights.resident());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (size_t w = 0; w < counted.reads.size(); ++w) {
        if (is_float_type(counted.model.weights[w].dtype)) weights.values(w);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t w = 0; w < counted.reads.size(); ++w) {
    EXPECT_EQ(counted.reads[w], is_float_type(counted.model.weights[w].dtype) ? 1 : 0) << counted.model.weights[w].name;
  }
}

TEST(ResidentWeights, SearchForAFinenessReadsNoWeightAgain) {
  CountedModel counted;
  const ResidentWeights weights(counted.model);
  const CompressOptions options;
  const std::vector<bool> is_learned(counted.model.weights.size(), true);
  ModelQuantizer quantizer(weights, options, choose_methods(counted.model, is_learned, {{}, {}, false, true}), nullptr);
  for (const double multiplier : {0.01, 0.02, 0.04}) {
    quantizer.quantize(multiplier);
    EXPECT_GT(quantizer.coded().size().bytes, 0u);
  }
  // Once to be quantized, once for how small they are as they are. Those that are stored like that go into each candidate
  // anew, in their own type.
  for (size_t w = 0; w < counted.reads.size(); ++w) {
    const TensorMethod method = quantizer.coded().methods[w];
    if (method == TensorMethod::kCodebook || method == TensorMethod::kGrid) {
      EXPECT_LE(counted.reads[w], 2) << counted.model.weights[w].name;
    }
  }
}

}  // namespace
}  // namespace quench::quantizer
