// The operators on torch's side: ONNX's official backend cases, values against the runtime's, gradients against finite
// differences.

#include "compressor/training/operators/operators.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <unordered_map>

#include "compressor/training/autocast.h"
#include "formats/operators/operator.h"
#include "tests/compressor/graph/run_model.h"
#include "tests/conformance/backend_case.h"

namespace quench::training {
namespace {

using testing::error_of;
using testing::parse_text;
using torch::Tensor;

int64_t opset_of(const onnx::ModelProto& model) {
  for (const auto& opset : model.opset_import()) {
    if (opset.domain().empty()) return opset.version();
  }
  return 0;
}

// The values of a graph's outputs, node by node.
Tensors evaluate(const onnx::GraphProto& graph, int64_t opset, std::unordered_map<std::string, Tensor> values) {
  for (const onnx::TensorProto& initializer : graph.initializer()) {
    values.emplace(initializer.name(), to_torch(initializer));
  }
  for (const onnx::NodeProto& node : graph.node()) {
    Tensors inputs;
    for (const std::string& name : node.input()) inputs.push_back(name.empty() ? Tensor() : values.at(name));
    const Tensors outputs = find_operator(node.op_type())({node, opset}, inputs);
    for (int i = 0; i < node.output_size(); ++i) {
      if (!node.output(i).empty()) values[node.output(i)] = outputs.at(static_cast<size_t>(i));
    }
  }
  Tensors outputs;
  for (const auto& output : graph.output()) outputs.push_back(values.at(output.name()));
  return outputs;
}

// ONNX's official cases

// Where torch's side means to differ from them, and why.
const std::map<std::string, std::string> kExcluded = {
    {"node/test_training_dropout", "training mode"},
    {"node/test_training_dropout_default", "training mode"},
    {"node/test_training_dropout_default_mask", "training mode"},
    {"node/test_training_dropout_mask", "training mode"},
    {"node/test_training_dropout_zero_ratio", "training mode"},
    {"node/test_training_dropout_zero_ratio_mask", "training mode"},
};

// Types that torch lacks.
bool is_beyond_torch(const onnx::TensorProto& tensor) {
  switch (tensor.data_type()) {
    case onnx::TensorProto::STRING:
    case onnx::TensorProto::UINT16:
    case onnx::TensorProto::UINT32:
    case onnx::TensorProto::UINT64:
      return true;
    default:
      return false;
  }
}

// Why a case is none for these operators; empty if it is one.
std::string out_of_scope(const BackendCase& backend_case) {
  if (!backend_case.trouble().empty()) return backend_case.trouble();
  if (const auto excluded = kExcluded.find(backend_case.name()); excluded != kExcluded.end()) return excluded->second;
  for (const onnx::NodeProto& node : backend_case.model().graph().node()) {
    if (!node.domain().empty() || !find_operator(node.op_type())) return "operator not there: " + node.op_type();
  }
  for (const auto* values : {&backend_case.inputs(), &backend_case.outputs()}) {
    for (const CaseValue& value : *values) {
      if (value.kind != CaseValue::kTensor) return "sequences or optional values";
      if (is_beyond_torch(value.tensors.at(0))) return "type that torch lacks";
    }
  }
  return "";
}

rt::Tensor view(const Tensor& tensor, int32_t type) {
  rt::Tensor result;
  result.type = static_cast<ElementType>(type);
  result.shape.rank = static_cast<int>(tensor.dim());
  std::copy(tensor.sizes().begin(), tensor.sizes().end(), result.shape.dims);
  result.data = tensor.data_ptr();
  return result;
}

// Empty if the case passes.
std::string failure(const BackendCase& backend_case) {
  try {
    std::unordered_map<std::string, Tensor> values;
    for (size_t i = 0; i < backend_case.inputs().size(); ++i) {
      values[backend_case.input_names()[i]] = to_torch(backend_case.inputs()[i].tensors.at(0));
    }
    const Tensors outputs = evaluate(backend_case.model().graph(), opset_of(backend_case.model()), values);
    for (size_t i = 0; i < backend_case.outputs().size(); ++i) {
      const onnx::TensorProto& expected = backend_case.outputs()[i].tensors.at(0);
      const Tensor actual = outputs.at(i).detach().contiguous();
      if (actual.scalar_type() != to_torch(expected).scalar_type()) {
        return std::string("has type ") + torch::toString(actual.scalar_type());
      }
      const std::string text = difference(view(actual, expected.data_type()), expected);
      if (!text.empty()) return "output " + std::to_string(i) + ": " + text;
    }
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

std::filesystem::path data_folder() {
  const char* variable = std::getenv("QUENCH_ONNX_TESTDATA");
  return variable ? variable : QUENCH_ONNX_TESTDATA;
}

TEST(Operators, PassTheOfficialCases) {
  if (!std::filesystem::exists(data_folder() / "node")) {
    GTEST_SKIP() << "no ONNX backend cases in " << data_folder()
                 << ": install libonnx-testdata, or set QUENCH_ONNX_TESTDATA";
  }
  const torch::NoGradGuard no_gradients;
  int passed = 0;
  std::map<std::string, int> left_out;
  for (const char* group : {"node", "simple", "pytorch-operator", "pytorch-converted"}) {
    for (const auto& entry : std::filesystem::directory_iterator(data_folder() / group)) {
      if (!std::filesystem::exists(entry.path() / "model.onnx")) continue;
      const BackendCase backend_case(entry.path());
      const std::string reason = out_of_scope(backend_case);
      if (!reason.empty()) {
        ++left_out[reason];
        continue;
      }
      const std::string text = failure(backend_case);
      EXPECT_EQ(text, "") << backend_case.name();
      if (text.empty()) ++passed;
    }
  }
  std::printf("%d passed; left out:\n", passed);
  for (const auto& [reason, count] : left_out) std::printf("%5d  %s\n", count, reason.c_str());
  // What passed with ONNX 1.12's cases when this was written. Fewer means that an operator or a type got lost.
  constexpr int kFloor = 748;
  EXPECT_GE(passed, kFloor);
}

// Values and gradients, over graphs of float32 inputs

struct Graph {
  int opset;
  std::string text;
};

std::vector<Graph> resizes() {
  std::vector<Graph> graphs;
  const auto add = [&](const std::string& attributes, const std::string& scale) {
    graphs.push_back({17, "g (float[1,2,6,5] x) => (float[1,2,H,W] y) <float[4] s = {1, 1, " + scale +
                              "}> { y = Resize<" + attributes + ">(x, , s) }"});
  };
  for (const std::string transformation : {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"}) {
    for (const std::string scale : {"2, 2", "3, 0.5", "0.6, 1.7", "1, 4", "0.2, 0.2"}) {
      const std::string coordinates = "coordinate_transformation_mode = \"" + transformation + "\", ";
      for (const std::string rounding : {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}) {
        add(coordinates + "mode = \"nearest\", nearest_mode = \"" + rounding + "\"", scale);
      }
      add(coordinates + "mode = \"linear\"", scale);
      add(coordinates + "mode = \"cubic\"", scale);
      add(coordinates + "mode = \"cubic\", cubic_coeff_a = -0.5, exclude_outside = 1", scale);
    }
  }
  return graphs;
}

std::vector<Graph> graphs() {
  std::vector<Graph> graphs = {
      // Convolutions
      {17,
       "g (float[2,3,7,6] x, float[4,3,3,2] w, float[4] b) => (float[N,C,H,W] y) "
       "{ y = Conv<pads = [1, 0, 1, 0], strides = [2, 1]>(x, w, b) }"},
      {17,
       "g (float[2,3,7,6] x, float[4,3,3,2] w) => (float[N,C,H,W] y) "
       "{ y = Conv<pads = [1, 0, 0, 2], dilations = [2, 1]>(x, w) }"},
      {17,
       "g (float[1,4,7,6] x, float[4,1,3,3] w) => (float[N,C,H,W] y) "
       "{ y = Conv<auto_pad = \"SAME_UPPER\", strides = [2, 2], group = 4>(x, w) }"},
      {17,
       "g (float[1,2,7,6] x, float[4,2,2,2] w) => (float[N,C,H,W] y) { y = Conv<auto_pad = \"SAME_LOWER\">(x, w) }"},
      {17,
       "g (float[2,4,9] x, float[6,2,3] w, float[6] b) => (float[N,C,W] y) "
       "{ y = Conv<group = 2, pads = [1, 1], dilations = [2]>(x, w, b) }"},
      {17,
       "g (float[1,2,4,5,6] x, float[3,2,2,3,2] w) => (float[N,C,D,H,W] y) "
       "{ y = Conv<pads = [0, 1, 0, 1, 1, 0], strides = [2, 1, 1]>(x, w) }"},
      {17,
       "g (float[1,4,5,4] x, float[4,3,3,3] w, float[6] b) => (float[N,C,H,W] y) "
       "{ y = ConvTranspose<group = 2, strides = [2, 3], pads = [1, 0, 1, 0], output_padding = [1, 2]>(x, w, b) }"},
      {17,
       "g (float[1,4,5,4] x, float[4,3,3,3] w, float[3] b) => (float[N,C,H,W] y) "
       "{ y = ConvTranspose<strides = [2, 2], pads = [0, 1, 1, 0], output_padding = [1, 0]>(x, w, b) }"},
      {17,
       "g (float[1,2,3,3] x, float[2,3,3,3] w, float[3] b) => (float[N,C,H,W] y) "
       "{ y = ConvTranspose<strides = [3, 2], output_shape = [8, 8], auto_pad = \"SAME_UPPER\">(x, w, b) }"},
      {17,
       "g (float[1,2,5] x, float[2,3,4] w) => (float[N,C,W] y) "
       "{ y = ConvTranspose<strides = [3], auto_pad = \"SAME_LOWER\">(x, w) }"},
      {17,
       "g (float[1,2,3,4,3] x, float[2,2,2,2,3] w, float[2] b) => (float[N,C,D,H,W] y) "
       "{ y = ConvTranspose<dilations = [2, 1, 1], pads = [1, 1, 1, 1, 1, 1]>(x, w, b) }"},
      // Pools
      {17, "g (float[1,2,7,6] x) => (float[N,C,H,W] y) { y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x) }"},
      {17,
       "g (float[1,2,7,6] x) => (float[N,C,H,W] y) "
       "{ y = MaxPool<kernel_shape = [3, 2], strides = [2, 2], pads = [0, 0, 2, 1]>(x) }"},
      {17,
       "g (float[1,2,8,7] x) => (float[N,C,H,W] y) "
       "{ y = MaxPool<kernel_shape = [2, 3], strides = [3, 3], ceil_mode = 1>(x) }"},
      {17,
       "g (float[1,2,8,7] x) => (float[N,C,H,W] y) "
       "{ y = MaxPool<kernel_shape = [2, 3], strides = [3, 3], pads = [0, 1, 1, 0], ceil_mode = 1>(x) }"},
      {17, "g (float[1,2,9] x) => (float[N,C,W] y) { y = MaxPool<kernel_shape = [3], dilations = [2]>(x) }"},
      {17,
       "g (float[1,2,5,4,5] x) => (float[N,C,D,H,W] y) "
       "{ y = MaxPool<kernel_shape = [2, 2, 2], auto_pad = \"SAME_UPPER\">(x) }"},
      {17,
       "g (float[1,2,7,6] x) => (float[N,C,H,W] y) "
       "{ y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(x) }"},
      {17,
       "g (float[1,2,7,6] x) => (float[N,C,H,W] y) "
       "{ y = AveragePool<kernel_shape = [3, 2], strides = [2, 1], pads = [0, 1, 2, 0]>(x) }"},
      {17,
       "g (float[1,2,7,6] x) => (float[N,C,H,W] y) "
       "{ y = AveragePool<kernel_shape = [3, 2], strides = [2, 1], pads = [0, 1, 2, 0], count_include_pad = 1>(x) }"},
      {17,
       "g (float[1,2,8,7] x) => (float[N,C,H,W] y) "
       "{ y = AveragePool<kernel_shape = [3, 3], strides = [2, 3], ceil_mode = 1>(x) }"},
      {17,
       "g (float[1,2,8,7] x) => (float[N,C,H,W] y) { y = AveragePool<kernel_shape = [3, 3], strides = [2, 3], "
       "pads = [1, 1, 1, 1], ceil_mode = 1, count_include_pad = 1>(x) }"},
      {17,
       "g (float[1,2,8,7] x) => (float[N,C,H,W] y) { y = AveragePool<kernel_shape = [3, 3], strides = [2, 3], "
       "pads = [1, 0, 0, 1], ceil_mode = 1, count_include_pad = 1>(x) }"},
      {17,
       "g (float[1,2,7] x) => (float[N,C,W] y) { y = AveragePool<kernel_shape = [4], auto_pad = \"SAME_LOWER\">(x) }"},
      {17, "g (float[1,2,3,7,4] x) => (float[N,C,D,H,W] y) { y = AveragePool<kernel_shape = [2, 3, 2]>(x) }"},
      {17,
       "g (float[2,3,7,4] x) => (float[N,C,H,W] y, float[N,C,H,W] z) "
       "{ y = GlobalAveragePool(x) z = GlobalMaxPool(x) }"},
      // Matrices
      {17,
       "g (float[4,3] a, float[5,4] b, float[5] c) => (float[M,N] y) "
       "{ y = Gemm<transA = 1, transB = 1, alpha = 0.5, beta = 0.25>(a, b, c) }"},
      {17, "g (float[3,4] a, float[4,5] b) => (float[M,N] y) { y = Gemm<alpha = 2.0>(a, b) }"},
      {17, "g (float[2,1,3,4] a, float[3,4,5] b) => (float[A,B,M,N] y) { y = MatMul(a, b) }"},
      // Functions of elements
      {17,
       "g (float[2,3] a, float[2,1] b) => (float[2,3] y) "
       "{ s = Add(a, b) d = Sub(s, a) m = Mul(d, a) q = Div(m, s) e = Max(q, a, b) f = Min(e, s) "
       "h = Sum(f, a, b) y = Mean(h, a) }"},
      {17, "g (float[2,3] x, float[3] p) => (float[2,3] y) { e = Exp(x) y = Pow(e, p) }"},
      {17, "g (float[2,3] x) => (float[2,3] y) <float two = {2}> { y = Pow(x, two) }"},
      {17, "g (float[2,3,4] x, float[3,1] s) => (float[2,3,4] y) { y = PRelu(x, s) }"},
      {6, "g (float[2,3,4] x, float[3] s) => (float[2,3,4] y) { y = PRelu(x, s) }"},
      {17, "g (float[2,3] x) => (float[2,3] y) <float a = {-0.5}, float b = {0.25}> { y = Clip(x, a, b) }"},
      {10, "g (float[2,3] x) => (float[2,3] y) { y = Clip<min = -0.5, max = 0.25>(x) }"},
      {17,
       "g (float[2,30] x) => (float[2,30] y) { a = Elu<alpha = 0.5>(x) b = Selu(x) c = LeakyRelu(x) "
       "d = ThresholdedRelu<alpha = 0.3>(x) e = HardSigmoid<alpha = 0.7>(x) f = HardSwish(x) h = Softplus(x) "
       "i = Softsign(x) j = Sigmoid(x) k = Tanh(x) l = Erf(x) m = Abs(x) n = Relu(x) "
       "y = Sum(a, b, c, d, e, f, h, i, j, k, l, m, n) }"},
      {17,
       "g (float[2,30] x) => (float[2,30] y) { e = Exp(x) a = Sqrt(e) b = Log(a) c = Reciprocal(e) d = Sin(x) "
       "f = Cos(x) h = Neg(x) i = Sign(x) j = Floor(x) k = Ceil(x) l = Round(x) y = Sum(b, c, d, f, h, i, j, k, l) }"},
      {17,
       "g (float[2,3] a, float[3] b) => (float[2,3] y) { c = Less(a, b) d = Greater(a, b) e = Xor(c, d) "
       "f = And(e, c) h = Not(f) y = Where(h, a, b) }"},
      {17, "g (float[2,3] a) => (float[2,3] y) <float[1] b = {0.3}> { c = Mod<fmod = 1>(a, b) y = Add(c, a) }"},
      // Movement
      {17,
       "g (float[2,3,4] a, float[2,3,1] b) => (float[A,B] y) { c = Concat<axis = -1>(a, b) d = Transpose(c) "
       "e = Flatten<axis = 2>(d) s = Shape(e) y = Reshape(e, s) }"},
      {17,
       "g (float[5,6] x) => (float[A,B] y) <int64[2] s = {-1, 4}, int64[2] e = {-100, 1}, int64[2] a = {0, -1}, "
       "int64[2] step = {-2, -1}> { y = Slice(x, s, e, a, step) }"},
      {17,
       "g (float[5,6] x) => (float[A,B] y) <int64[1] s = {1}, int64[1] e = {9223372036854775807}, int64[1] a = {1}, "
       "int64[1] step = {2}> { y = Slice(x, s, e, a, step) }"},
      {17, "g (float[5,6] x) => (float[A,B] y) <int64[4] p = {1, -1, 0, 2}, float v = {0.5}> { y = Pad(x, p, v) }"},
      {17,
       "g (float[1,2,5,6] x) => (float[A,B,C,D] y) <int64[8] p = {0, 1, 2, 3, 0, 0, 4, 1}> "
       "{ y = Pad<mode = \"reflect\">(x, p) }"},
      {17, "g (float[3,4] x) => (float[A,B] y) <int64[4] p = {2, -1, 1, 3}> { y = Pad<mode = \"edge\">(x, p) }"},
      {19,
       "g (float[3,4] x) => (float[A,B] y) <int64[2] p = {5, 2}, int64[1] a = {-1}> "
       "{ y = Pad<mode = \"wrap\">(x, p, , a) }"},
      {10, "g (float[3,4] x) => (float[A,B] y) { y = Pad<pads = [0, 1, 2, 0], value = 0.5>(x) }"},
      {18,
       "g (float[7,2] x) => (float[A,B] y, float[C,B] z, float[D,B] w) "
       "{ y, z, w = Split<axis = 0, num_outputs = 3>(x) }"},
      {11, "g (float[7,2] x) => (float[A,B] y, float[C,B] z) { y, z = Split<axis = 0, split = [3, 4]>(x) }"},
      {17,
       "g (float[2,1,3] x) => (float[A,B,C,D] y) <int64[1] a = {1}, int64[2] b = {-1, 0}> "
       "{ s = Squeeze(x, a) y = Unsqueeze(s, b) }"},
      {17,
       "g (float[2,1,3] x) => (float[A,B,C] y) <int64[2] e = {4, 1}, int64[3] t = {1, 2, 3}> "
       "{ a = Expand(x, e) y = Tile(a, t) }"},
      {17,
       "g (float[1,8,2,3] x) => (float[A,B,C,D] y, float[E,F,G,H] z) { y = DepthToSpace<blocksize = 2>(x) "
       "d = DepthToSpace<blocksize = 2, mode = \"CRD\">(x) z = SpaceToDepth<blocksize = 2>(d) }"},
      {17,
       "g (float[2,4,5] x) => (float[2,4,5] y, float[2,4,5] z) <int64 k = {1}, int64 m = {-1}> "
       "{ y = Trilu(x, k) z = Trilu<upper = 0>(x, m) }"},
      // Indices
      {17, "g (float[3,4,2] x) => (float[A,B,C,D] y) <int64[2,2] i = {0, -1, 3, 0}> { y = Gather<axis = -2>(x, i) }"},
      {17, "g (float[3,4] x) => (float[A] y) <int64 i = {-1}> { y = Gather<axis = 1>(x, i) }"},
      {17,
       "g (float[3,4] x) => (float[A,B] y) <int64[2,4] i = {0, -1, 1, 0, 2, 2, 0, 1}> { y = GatherElements(x, i) }"},
      {17,
       "g (float[2,3,4] x) => (float[A,B,C] y) <int64[2,2,1] i = {0, -1, 1, 0}> "
       "{ y = GatherND<batch_dims = 1>(x, i) }"},
      {17,
       "g (float[3,4] x, float[2,4] u) => (float[3,4] y) <int64[2,4] i = {0, -1, 1, 0, 1, 0, 2, 1}> "
       "{ y = ScatterElements(x, i, u) }"},
      {16,
       "g (float[3,4] x, float[3,2] u) => (float[3,4] y, float[3,4] z) <int64[3,2] i = {0, 0, 1, -1, 2, 2}> "
       "{ y = ScatterElements<axis = 1, reduction = \"add\">(x, i, u) "
       "z = ScatterElements<axis = 1, reduction = \"mul\">(x, i, u) }"},
      {17,
       "g (float[3,4] x, float[2,4] u) => (float[3,4] y, float[3,4] z, float[3,4] w) <int64[2,1] i = {2, 0}> "
       "{ y = ScatterND(x, i, u) z = ScatterND<reduction = \"add\">(x, i, u) "
       "w = ScatterND<reduction = \"mul\">(x, i, u) }"},
      {18,
       "g (float[3,4] x, float[3] u) => (float[3,4] y) <int64[3,2] i = {2, 1, 0, -1, 2, 1}> "
       "{ y = ScatterND<reduction = \"max\">(x, i, u) }"},
      // Reductions
      {17,
       "g (float[2,3,4] x) => (float[A,B] y, float[A,C,B] z, float[] w, float[A,B] v, float[D] u) "
       "<int64[1] a = {1}> { y = ReduceSum<keepdims = 0>(x, a) z = ReduceMean<axes = [-2]>(x) "
       "w = ReduceMax<keepdims = 0>(x) v = ReduceL2<axes = [1], keepdims = 0>(x) "
       "u = ReduceProd<axes = [0, 2], keepdims = 0>(x) }"},
      {17,
       "g (float[2,3,4] x) => (float[A,B] y, float[A,C,B] z, float[A,B] w, float[D] v, float[E,F,G] u) "
       "{ y = ReduceLogSumExp<axes = [1], keepdims = 0>(x) z = ReduceMin<axes = [-2]>(x) e = Exp(x) "
       "w = ReduceLogSum<axes = [2], keepdims = 0>(e) v = ReduceL1<axes = [0, 2], keepdims = 0>(x) "
       "u = ReduceSumSquare<axes = [0]>(x) }"},
      {17, "g (float[2,3,4] x) => (float[2,3,4] y, float[2,3,4] z) { y = Softmax<axis = 1>(x) z = LogSoftmax(x) }"},
      {12, "g (float[2,3,4] x) => (float[2,3,4] y, float[2,3,4] z) { y = Softmax(x) z = LogSoftmax<axis = 2>(x) }"},
      // Normalization
      {17,
       "g (float[2,3,4,2] x, float[3] s, float[3] b) => (float[2,3,4,2] y) "
       "{ y = InstanceNormalization<epsilon = 0.01>(x, s, b) }"},
      {17,
       "g (float[2,3,4] x, float[3,4] s, float[3,4] b) => (float[2,3,4] y) "
       "{ y = LayerNormalization<axis = 1, epsilon = 0.01>(x, s, b) }"},
      {17,
       "g (float[2,3,4] x, float[4] s) => (float[2,3,4] y, float[2,3,1] m, float[2,3,1] d) "
       "{ y, m, d = LayerNormalization<epsilon = 0.01>(x, s) }"},
      {17,
       "g (float[2,3,4] x, float[1,3,1] s, float[2,1,4] b) => (float[2,3,4] y) "
       "{ y = LayerNormalization<axis = 1>(x, s, b) }"},
      {17, "g (float[2,3,4] x, float[4] s, float b) => (float[2,3,4] y) { y = LayerNormalization<axis = 1>(x, s, b) }"},
      {17, "g (float[2,7,3] x) => (float[2,7,3] y) { y = LRN<size = 4, alpha = 0.5, beta = 0.6, bias = 1.5>(x) }"},
      // Recurrent layers
      {17,
       "g (float[5,3,4] x, float[2,8,4] w, float[2,8,2] r, float[2,16] b, float[2,3,2] h, float[2,3,2] c, "
       "float[2,6] p) => (float[S,D,B,H] y, float[D,B,H] yh, float[D,B,H] yc) <int32[3] n = {5, 2, 3}> "
       "{ y, yh, yc = LSTM<hidden_size = 2, direction = \"bidirectional\">(x, w, r, b, n, h, c, p) }"},
      {17,
       "g (float[3,5,4] x, float[1,8,4] w, float[1,8,2] r) => (float[B,S,D,H] y, float[B,D,H] yh, float[B,D,H] yc) "
       "{ y, yh, yc = LSTM<hidden_size = 2, direction = \"reverse\", layout = 1, clip = 0.25, input_forget = 1>"
       "(x, w, r) }"},
      {17,
       "g (float[5,3,4] x, float[2,6,4] w, float[2,6,2] r, float[2,12] b, float[2,3,2] h) "
       "=> (float[S,D,B,H] y, float[D,B,H] yh) <int32[3] n = {1, 5, 3}> "
       "{ y, yh = GRU<hidden_size = 2, direction = \"bidirectional\", linear_before_reset = 1>(x, w, r, b, n, h) }"},
      {17,
       "g (float[5,3,4] x, float[1,6,4] w, float[1,6,2] r, float[1,12] b) "
       "=> (float[S,D,B,H] y, float[D,B,H] yh) { y, yh = GRU<hidden_size = 2, direction = \"reverse\">(x, w, r, b) }"},
      {17,
       "g (float[5,3,4] x, float[2,2,4] w, float[2,2,2] r, float[2,4] b) "
       "=> (float[S,D,B,H] y, float[D,B,H] yh) { y, yh = RNN<hidden_size = 2, direction = \"bidirectional\">(x, w, r, "
       "b) }"},
      {17,
       "g (float[5,3,4] x, float[2,2,4] w, float[2,2,2] r, float[2,4] b) "
       "=> (float[S,D,B,H] y, float[D,B,H] yh) { y, yh = RNN<hidden_size = 2, direction = \"bidirectional\", "
       "activations = [\"Relu\", \"Sigmoid\"]>(x, w, r, b) }"},
      {17,
       "g (float[5,3,4] x, float[1,6,4] w, float[1,6,2] r) => (float[S,D,B,H] y, float[D,B,H] yh) "
       "{ y, yh = GRU<hidden_size = 2, activations = [\"Tanh\", \"Relu\"]>(x, w, r) }"},
      {17,
       "g (float[5,3,4] x, float[1,8,4] w, float[1,8,2] r) => (float[S,D,B,H] y, float[D,B,H] yh, float[D,B,H] yc) "
       "{ y, yh, yc = LSTM<hidden_size = 2, activations = [\"Sigmoid\", \"Relu\", \"Sigmoid\"]>(x, w, r) }"},
      {17,
       "g (float[4,2,3] x, float[2,8,3] w, float[2,8,2] r, float[2,2,2] h, float[2,2,2] c) => (float[S,D,B,H] y, "
       "float[D,B,H] yh, float[D,B,H] yc) <int32[2] n = {0, 3}> { y, yh, yc = LSTM<hidden_size = 2, direction = "
       "\"bidirectional\", activation_alpha = [0.3, 0.1, 0.2, 1.5], activation_beta = [0.4, 0.7], activations = "
       "[\"HardSigmoid\", \"leakyrelu\", \"SOFTSIGN\", \"sigmoid\", \"ThresholdedRelu\", \"ScaledTanh\"]>"
       "(x, w, r, , n, h, c) }"},
      {17,
       "g (float[4,2,3] x, float[2,6,3] w, float[2,6,2] r) => (float[S,D,B,H] y, float[D,B,H] yh) "
       "{ y, yh = GRU<hidden_size = 2, direction = \"bidirectional\", activation_alpha = [0.5, 2.0], "
       "activation_beta = [0.25], activations = [\"Affine\", \"Elu\", \"Sigmoid\", \"Softplus\"]>(x, w, r) }"},
      // Resizing, beside the sweep
      {17,
       "g (float[1,2,6,5] x) => (float[N,C,H,W] y) <int64[4] s = {1, 2, 9, 1}> "
       "{ y = Resize<mode = \"linear\", coordinate_transformation_mode = \"pytorch_half_pixel\">(x, , , s) }"},
      {17,
       "g (float[1,2,6,5] x) => (float[N,C,H,W] y) <float[8] r = {0, 0, 0.2, -0.1, 1, 1, 0.7, 1.2}, "
       "int64[4] s = {1, 2, 5, 7}> { y = Resize<mode = \"linear\", coordinate_transformation_mode = "
       "\"tf_crop_and_resize\", extrapolation_value = 0.5>(x, r, , s) }"},
      {18,
       "g (float[4,5,2] x) => (float[H,W,C] y) <float[2] s = {1.5, 2}> "
       "{ y = Resize<mode = \"cubic\", axes = [1, 0]>(x, , s) }"},
      {17,
       "g (float[1,2,5] x) => (float[N,C,W] y) <float[3] s = {1, 1, 2.5}> { y = Resize<mode = \"linear\">(x, , s) }"},
      {17,
       "g (float[1,2,3,2,4] x) => (float[N,C,D,H,W] y) <float[5] s = {1, 1, 2, 1.5, 0.5}> "
       "{ y = Resize<mode = \"linear\">(x, , s) }"},
      {10, "g (float[1,2,6,5] x) => (float[N,C,H,W] y) <float[4] s = {1, 1, 0.7, 1.6}> { y = Resize(x, s) }"},
      {9,
       "g (float[1,2,3,4] x) => (float[N,C,H,W] y) <float[4] s = {1, 1, 2, 3}> { y = Upsample<mode = \"linear\">(x, s) "
       "}"},
      {8, "g (float[1,2,3,4] x) => (float[N,C,H,W] y) { y = Upsample<scales = [1.0, 1.0, 2.0, 2.0]>(x) }"},
  };
  for (Graph& graph : resizes()) graphs.push_back(std::move(graph));
  return graphs;
}

std::vector<testing::Input> random_inputs(const onnx::GraphProto& graph) {
  std::vector<testing::Input> inputs;
  for (const auto& input : graph.input()) {
    std::vector<int64_t> dims;
    for (const auto& dim : input.type().tensor_type().shape().dim()) dims.push_back(dim.dim_value());
    inputs.push_back(testing::random_input(dims, static_cast<uint32_t>(inputs.size() + 1)));
  }
  return inputs;
}

// All elements of all outputs.
Tensor evaluate_all(const onnx::ModelProto& model, const Tensors& inputs) {
  std::unordered_map<std::string, Tensor> values;
  for (size_t i = 0; i < inputs.size(); ++i) values[model.graph().input(static_cast<int>(i)).name()] = inputs[i];
  Tensors outputs = evaluate(model.graph(), opset_of(model), values);
  for (Tensor& output : outputs) output = output.reshape(-1);
  return at::cat(outputs);
}

Tensors as_tensors(const std::vector<testing::Input>& inputs, torch::ScalarType type) {
  Tensors tensors;
  for (const testing::Input& input : inputs) tensors.push_back(at::tensor(input.values).reshape(input.dims).to(type));
  return tensors;
}

void expect_the_runtimes_values(const onnx::ModelProto& model) {
  const torch::NoGradGuard no_gradients;
  const std::vector<testing::Input> inputs = random_inputs(model.graph());
  const std::vector<float> expected = testing::run(testing::load_proto(model), inputs);
  const Tensor actual = evaluate_all(model, as_tensors(inputs, torch::kFloat));
  ASSERT_EQ(static_cast<size_t>(actual.numel()), expected.size());
  EXPECT_TRUE(at::allclose(actual, at::tensor(expected), 1e-5, 1e-5))
      << "off by " << (actual - at::tensor(expected)).abs().max().item<float>();
}

TEST(Operators, GiveTheRuntimesValues) {
  for (const Graph& graph : graphs()) {
    SCOPED_TRACE(graph.text);
    EXPECT_NO_THROW(expect_the_runtimes_values(parse_text(graph.text, graph.opset)));
  }
}

// The derivative of a weighted sum of the outputs along a direction in which all inputs move.
TEST(Operators, HaveTheGradientsOfFiniteDifferences) {
  torch::manual_seed(3);
  for (const Graph& graph : graphs()) {
    SCOPED_TRACE(graph.text);
    const onnx::ModelProto model = parse_text(graph.text, graph.opset);
    Tensors inputs = as_tensors(random_inputs(model.graph()), torch::kDouble);
    for (Tensor& input : inputs) input.requires_grad_();
    const Tensor outputs = evaluate_all(model, inputs);
    ASSERT_EQ(outputs.scalar_type(), torch::kDouble);
    const Tensor weights = at::randn_like(outputs.detach());
    const Tensors gradients = torch::autograd::grad({(outputs * weights).sum()}, inputs);

    const torch::NoGradGuard no_gradients;
    constexpr double kStep = 1e-5;
    Tensors ahead;
    Tensors behind;
    double derivative = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Tensor direction = at::randn_like(inputs[i]);
      derivative += (gradients[i] * direction).sum().item<double>();
      ahead.push_back(inputs[i] + kStep * direction);
      behind.push_back(inputs[i] - kStep * direction);
    }
    const Tensor change = (evaluate_all(model, ahead) - evaluate_all(model, behind)) * weights;
    EXPECT_NEAR(derivative, change.sum().item<double>() / (2 * kStep), 1e-6 * (1 + std::abs(derivative)));
  }
}

// With an input such as a layer before would hand over.
void expect_close_under_autocast(const onnx::ModelProto& model) {
  Tensors inputs = as_tensors(random_inputs(model.graph()), torch::kFloat);
  inputs[0] = inputs[0].to(torch::kBFloat16).to(torch::kFloat);
  for (Tensor& input : inputs) input.requires_grad_();
  const Tensor expected = evaluate_all(model, inputs).detach();
  Tensors lowered = inputs;
  lowered[0] = inputs[0].to(torch::kBFloat16);
  const Autocast autocast(torch::kCPU, true);
  const Tensor actual = evaluate_all(model, lowered).to(torch::kFloat);
  const float distance = (actual.detach() - expected).norm().item<float>();
  EXPECT_LT(distance, 0.02f * expected.norm().item<float>());
  EXPECT_EQ(torch::autograd::grad({actual.sum()}, {inputs[0]})[0].sizes(), inputs[0].sizes());
}

TEST(Operators, RunUnderAutocast) {
  for (const Graph& graph : graphs()) {
    SCOPED_TRACE(graph.text);
    EXPECT_NO_THROW(expect_close_under_autocast(parse_text(graph.text, graph.opset)));
  }
}

TEST(Operators, LayTheSecondOperandAlongAnAxisBeforeVersion7) {
  const onnx::ModelProto model = parse_text(
      "g (float[2,3,4,5] a, float[3,4] b) => (float[2,3,4,5] y) { y = Mul<broadcast = 1, axis = 1>(a, b) }", 6);
  const Tensors inputs = as_tensors(random_inputs(model.graph()), torch::kFloat);
  const Tensor expected = (inputs[0] * inputs[1].unsqueeze(-1)).reshape(-1);
  EXPECT_TRUE(at::equal(evaluate_all(model, inputs), expected));
}

TEST(Operators, KeepWhatNeedsNoCopy) {
  const auto run = [](const std::string& text, const Tensors& inputs) {
    const onnx::ModelProto model = parse_text(text);
    std::unordered_map<std::string, Tensor> values;
    for (size_t i = 0; i < inputs.size(); ++i) values[model.graph().input(static_cast<int>(i)).name()] = inputs[i];
    return evaluate(model.graph(), 17, values)[0];
  };
  const Tensor x = at::randn({2, 3, 4, 4});
  EXPECT_EQ(run("g (float[2,3,4,4] x) => (float[A,B,C,D] y) <int64[1] s = {0}, int64[1] e = {4}, int64[1] a = {2}, "
                "int64[1] step = {2}> { y = Slice(x, s, e, a, step) }",
                {x})
                .data_ptr(),
            x.data_ptr());
  EXPECT_EQ(run("g (float[2,3,4,4] x) => (float[A,B] y) { y = Flatten(x) }", {x}).data_ptr(), x.data_ptr());
  EXPECT_EQ(run("g (float[2,3,4,4] x) => (float[A,B,C,D] y) { y = Identity(x) }", {x}).data_ptr(), x.data_ptr());
  const Tensor channels_last = x.contiguous(torch::MemoryFormat::ChannelsLast);
  const Tensor w = at::randn({3, 3, 3, 3});
  for (const char* pads : {"1, 1, 1, 1", "1, 0, 1, 2"}) {
    const std::string text = std::string(
                                 "g (float[2,3,4,4] x, float[3,3,3,3] w) => (float[A,B,C,D] y) "
                                 "{ c = Conv<pads = [") +
                             pads + "]>(x, w) y = Relu(c) }";
    EXPECT_TRUE(run(text, {channels_last, w}).is_contiguous(torch::MemoryFormat::ChannelsLast)) << pads;
  }
}

TEST(Operators, ThatAreNotThereAreNull) {
  EXPECT_EQ(find_operator("BatchNormalization"), nullptr);
  EXPECT_EQ(find_operator("NoSuchOperator"), nullptr);
  EXPECT_EQ(find_operator(""), nullptr);
}

TEST(Operators, HaveARowEach) {
  const std::vector<std::string_view> names = operator_names();
  EXPECT_GT(names.size(), 100u);
  for (const std::string_view name : names) {
    EXPECT_NE(operators::find(name), nullptr) << name << " has no row in formats/operators/operator.cc";
  }
}

TEST(Operators, RefuseInOneLine) {
  const auto error = [](const std::string& text, int opset = 17) {
    const onnx::ModelProto model = parse_text(text, opset);
    return error_of([&] { evaluate_all(model, as_tensors(random_inputs(model.graph()), torch::kFloat)); });
  };
  EXPECT_EQ(error("g (float[2,3] x) => (float[A,B] y) { y = Add(x) }"), "input 1 is missing");
  EXPECT_EQ(error("g (float[2,3] x) => (float[A,B] y) <int64[1] a = {0}> { y = Squeeze(x, a) }"),
            "axis 0 has 2 elements, not 1");
  EXPECT_EQ(error("g (float[1,1,4] x, float[1,1,2] w) => (float[A,B,C] y) { y = Conv<pads = [1]>(x, w) }"),
            "attribute 'pads' has 1 values where 2 are needed");
  EXPECT_EQ(error("g (float[1,1,4] x, float[1,1,5] w) => (float[A,B,C] y) { y = Conv(x, w) }"),
            "a window of 5 elements does not fit an input of 4");
  EXPECT_EQ(error("g (float[2,1,3] x, float[1,1,3] w, float[1,1,1] r) => (float[A,B,C,D] y) "
                  "{ y = RNN<hidden_size = 1, activations = [\"Gelu\"]>(x, w, r) }"),
            "activation 'Gelu' is none that ONNX has");
  EXPECT_EQ(error("g (float[2,3] x) => (float[A,B] y) { y = Resize<antialias = 1>(x) }", 18),
            "attribute 'antialias' is 1, which cannot be trained");
  EXPECT_EQ(error("g (float[2,3] x) => (float[A,B] y) <int64[1,1] i = {2}> { y = GatherND(x, i) }"),
            "an index is outside an axis of 2 elements");
  EXPECT_EQ(error("g (float[2,3] x) => (float[A,B] y) { y = Cast<to = 8>(x) }"),
            "type string cannot be trained; it would have to be converted before");
}

TEST(ToTorch, ReadsRawDataAndTypedFieldsAlike) {
  onnx::TensorProto typed;
  typed.set_name("t");
  typed.add_dims(3);
  const auto expect = [](const onnx::TensorProto& tensor, const Tensor& expected) {
    const Tensor actual = to_torch(tensor);
    EXPECT_EQ(actual.scalar_type(), expected.scalar_type());
    EXPECT_TRUE(at::equal(actual, expected)) << actual;
    onnx::TensorProto raw;
    raw.set_data_type(tensor.data_type());
    *raw.mutable_dims() = tensor.dims();
    raw.set_raw_data(expected.data_ptr(), expected.nbytes());
    EXPECT_TRUE(at::equal(to_torch(raw), expected));
  };
  for (const int type : {onnx::TensorProto::INT8, onnx::TensorProto::UINT8, onnx::TensorProto::INT16,
                         onnx::TensorProto::INT32, onnx::TensorProto::BOOL}) {
    onnx::TensorProto tensor = typed;
    tensor.set_data_type(type);
    for (const int value : {1, 0, 1}) tensor.add_int32_data(value);
    const std::map<int, torch::ScalarType> types = {{onnx::TensorProto::INT8, torch::kChar},
                                                    {onnx::TensorProto::UINT8, torch::kByte},
                                                    {onnx::TensorProto::INT16, torch::kShort},
                                                    {onnx::TensorProto::INT32, torch::kInt},
                                                    {onnx::TensorProto::BOOL, torch::kBool}};
    expect(tensor, at::tensor(std::vector<int64_t>{1, 0, 1}).to(types.at(type)));
  }
  onnx::TensorProto half = typed;
  half.set_data_type(onnx::TensorProto::FLOAT16);
  for (const int bits : {0x3c00, 0xc000, 0x3800}) half.add_int32_data(bits);
  expect(half, at::tensor(std::vector<float>{1, -2, 0.5}).to(torch::kHalf));
  onnx::TensorProto brain = typed;
  brain.set_data_type(onnx::TensorProto::BFLOAT16);
  for (const int bits : {0x3f80, 0xc000, 0x3f00}) brain.add_int32_data(bits);
  expect(brain, at::tensor(std::vector<float>{1, -2, 0.5}).to(torch::kBFloat16));
  onnx::TensorProto wide = typed;
  wide.set_data_type(onnx::TensorProto::INT64);
  for (const int64_t value : {int64_t{-1}, int64_t{1} << 40, int64_t{0}}) wide.add_int64_data(value);
  expect(wide, at::tensor(std::vector<int64_t>{-1, int64_t{1} << 40, 0}));
  onnx::TensorProto real = typed;
  real.set_data_type(onnx::TensorProto::DOUBLE);
  for (const double value : {0.1, -2.0, 3.0}) real.add_double_data(value);
  expect(real, at::tensor(std::vector<double>{0.1, -2, 3}, torch::kDouble));
}

TEST(ToTorch, RefusesWhatIsNotAllThere) {
  onnx::TensorProto tensor;
  tensor.set_name("t");
  tensor.set_data_type(onnx::TensorProto::FLOAT);
  tensor.add_dims(3);
  EXPECT_EQ(error_of([&] { to_torch(tensor); }), "tensor 't' has 0 values in the graph where its dimensions ask for 3");
  tensor.set_raw_data(std::string(11, '\0'));
  EXPECT_EQ(error_of([&] { to_torch(tensor); }), "tensor 't' has 11 bytes where its dimensions ask for 12");
  tensor.set_data_location(onnx::TensorProto::EXTERNAL);
  EXPECT_EQ(error_of([&] { to_torch(tensor); }),
            "tensor 't' has its values in another file; load the model as a whole");
  tensor.set_data_type(onnx::TensorProto::UINT32);
  EXPECT_EQ(error_of([&] { to_torch(tensor); }), "type uint32 cannot be trained; it would have to be converted before");
}

}  // namespace
}  // namespace quench::training
