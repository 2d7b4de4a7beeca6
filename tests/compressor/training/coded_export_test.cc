// The file that is written from a module, run by the runtime, against the module with its hard weights.
#include "compressor/training/quantization/coded_export.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "compressor/graph/simplify.h"
#include "tests/compressor/training/small_networks.h"
#include "tests/formats/onnx/test_models.h"

namespace quench::training {
namespace {

using Mode = GraphModule::Mode;
using testing::contains;
using testing::error_of;
using testing::TemporaryFolder;
using torch::Tensor;

struct ExportOptions {
  WeightBindingOptions quantizer;
  entropy::Coder coder = entropy::kDefaultCoder;
  int64_t least_elements = 400;
};

// What the loop does around an export, on untrained values.
class Exported {
 public:
  Exported(const OnnxModel& model, Tensor inputs, const ExportOptions& options = {})
      : module_(model, torch::kCPU), inputs_(std::move(inputs)) {
    const std::vector<NormalizedWeight> normalized = find_normalized_weights(model);
    const Tensor before = run_module(module_, inputs_, Mode::kEvaluate);
    make_positive(module_, normalized);
    EXPECT_GT(snr_db(run_module(module_, inputs_, Mode::kEvaluate), before), 100) << "signs move, the function stays";
    keep_positive(module_, normalized);
    std::vector<std::string> names;
    for (const auto& [name, tensor] : module_.parameters()) {
      if (tensor.dim() >= 2 && tensor.numel() >= options.least_elements) names.push_back(name);
    }
    WeightBinding quantizer(module_.parameters(), names, options.quantizer);
    quantizer.hardness() = {1, 0.02, true};
    quantizer.quantize(module_.parameters());
    const Tensor unsnapped =
        run_module(module_, inputs_, Mode::kEvaluate, quantizer.hard_weights(module_.parameters()));
    snap_scales(module_, quantizer, normalized);
    const NamedTensors hard = quantizer.hard_weights(module_.parameters());
    expected_ = run_model(module_.to_onnx(hard), inputs_);
    snapping_db = snr_db(expected_, unsnapped);
    const CodedExport coded(module_, quantizer, {}, options.coder);
    predicted_size = coded.coded().size().bytes;
    coded.coded().save(folder_ / "model.quench", report);
    size = std::filesystem::file_size(folder_ / "model.quench");
    file_db = snr_db(run_file(folder_ / "model.quench", inputs_), expected_);
  }

  uint64_t predicted_size = 0, size = 0;
  double snapping_db = 0, file_db = 0;
  quantizer::CompressReport report;

 private:
  TemporaryFolder folder_;
  GraphModule module_;
  Tensor inputs_, expected_;
};

// Rounding of small tensors alone gives about 35 dB in each.
constexpr double kFileDb = 30;

void expect_faithful(const Exported& file) {
  EXPECT_GT(file.file_db, kFileDb);
  EXPECT_GT(file.snapping_db, kFileDb) << "scales move by 2.2 % at most";
  EXPECT_EQ(file.predicted_size, file.size);
  EXPECT_EQ(file.report.output_bytes, file.size);
}

Tensor images() { return random_inputs({4, 3, 32, 32}); }

TEST(CodedExport, KeepsNormalizedConvolutions) {
  expect_faithful(Exported(convolutional_network(), random_inputs({8, 3, 12, 12})));
}

TEST(CodedExport, KeepsResidualNetworks) { expect_faithful(Exported(residual_network("euler"), images())); }

TEST(CodedExport, KeepsNormalizationThatCannotBeFolded) {
  expect_faithful(Exported(residual_network("linear-multistep"), images()));
}

TEST(CodedExport, KeepsFoldedNetworks) {
  OnnxModel folded = residual_network("euler");
  graph::simplify(folded);
  expect_faithful(Exported(folded, images()));
}

TEST(CodedExport, KeepsVectorsOfAnyDimension) {
  for (const int dimension : {2, 4, 8}) {
    ExportOptions options;
    options.quantizer.dimension = dimension;
    options.quantizer.centers = 200;
    expect_faithful(Exported(convolutional_network(), random_inputs({8, 3, 12, 12}), options));
  }
}

TEST(CodedExport, KeepsCodebooksForTensorsAndScalesForChannels) {
  ExportOptions options;
  options.quantizer.codebook = quantizer::CodebookScope::kTensor;
  options.quantizer.channel_scales = true;
  expect_faithful(Exported(residual_network("euler"), images(), options));
  options.quantizer.codebook = quantizer::CodebookScope::kModel;
  expect_faithful(Exported(convolutional_network(), random_inputs({8, 3, 12, 12}), options));
}

TEST(CodedExport, WritesEveryCoder) {
  for (const auto& [coder, name, use] : entropy::kCoders) {
    ExportOptions options;
    options.coder = coder;
    expect_faithful(Exported(convolutional_network(), random_inputs({8, 3, 12, 12}), options));
  }
}

TEST(CodedExport, IsMuchSmallerThanTheModel) {
  const OnnxModel model = residual_network("euler");
  const Exported file(model, images());
  uint64_t weights = 0;
  for (const Weight& weight : model.weights) weights += weight.bytes();
  EXPECT_LT(file.size * 8, weights);
}

TEST(CodedExport, KeepsNormalizationBehindAMatrix) {
  // Columns get the scales; negative ones, too.
  for (const bool transposed : {false, true}) {
    const std::string gemm = transposed ? "float[24,20] w" : "float[20,24] w";
    const std::string attribute = transposed ? "<transB = 1>" : "";
    expect_faithful(Exported(network_of("net (float[N,20] x) => (float[N,24] y) <" + gemm +
                                        ", float[24] s, float[24] t, float[24] m, float[24] v> { h = Gemm" + attribute +
                                        "(x, w) y = BatchNormalization(h, s, t, m, v) }"),
                             random_inputs({16, 20})));
  }
}

TEST(CodedExport, KeepsNormalizationBehindATransposedConvolution) {
  expect_faithful(Exported(network_of(R"(net (float[N,12,5,5] x) => (float[N,10,10,10] y)
                             <float[12,10,2,2] w, float[10] s, float[10] t, float[10] m, float[10] v>
                             { h = ConvTranspose<strides = [2,2]>(x, w) y = BatchNormalization(h, s, t, m, v) })"),
                           random_inputs({4, 12, 5, 5})));
}

TEST(CodedExport, KeepsAWeightThatTwoNodesShare) {
  expect_faithful(Exported(network_of(R"(net (float[N,16,6,6] x) => (float[N,16,6,6] y)
                                         <float[16,16,3,3] w, float[16] s, float[16] t, float[16] m, float[16] v>
                                         { a = Conv<pads = [1,1,1,1]>(x, w) b = BatchNormalization(a, s, t, m, v)
                                           r = Relu(b) y = Conv<pads = [1,1,1,1]>(r, w) })"),
                           random_inputs({4, 16, 6, 6})));
}

TEST(CodedExport, FindsOnlyWeightsOfTheirOwn) {
  EXPECT_EQ(find_normalized_weights(convolutional_network()).size(), 2u);
  EXPECT_EQ(find_normalized_weights(residual_network("euler")).size(), 7u);
  EXPECT_EQ(find_normalized_weights(residual_network("linear-multistep")).size(), 3u) << "bn2 follows conv1";
}

TEST(CodedExport, AZeroTensorHasAFile) {
  OnnxModel model = convolutional_network();
  for (onnx::TensorProto& tensor : *model.proto.mutable_graph()->mutable_initializer()) {
    if (tensor.name() != "w2") continue;
    const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    set_weight(model, tensor, tensor.data_type(), dims,
               owned_source(from_float(tensor.data_type(), std::vector<float>(24 * 8 * 9))));
  }
  model.reindex();
  expect_faithful(Exported(model, random_inputs({8, 3, 12, 12})));
}

}  // namespace
}  // namespace quench::training
