// Random numbers: RandomUniform, RandomNormal, both with the shape of an input, Bernoulli, Multinomial. Each number is a
// function of its place in the output and of the node's seed (without one of the node's place in the graph), and in a loop
// of the round, so that every run gives the same ones, with any number of threads.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

// The finalizer of SplitMix64: numbers that differ in one bit become numbers that have nothing to do with each other.
uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

class Stream {
 public:
  explicit Stream(const NodeContext& context) {
    const Attribute* seed = context.attributes().find("seed", Attribute::kFloat);
    const uint64_t place = uint64_t{1} << 32 | static_cast<uint32_t>(context.node());
    key_ = mix(kStep + (seed ? std::bit_cast<uint32_t>(seed->f) : place));
    if (context.round() != 0) key_ = mix(key_ + context.round());
  }

  uint64_t bits(int64_t index) const { return mix(key_ + (static_cast<uint64_t>(index) + 1) * kStep); }
  // In [0, 1), in steps that float32 has.
  double uniform(int64_t index) const { return static_cast<double>(bits(index) >> 40) * 0x1p-24; }
  // By the method of Box and Muller; the logarithm is of a number above 0.
  double normal(int64_t index) const {
    const double radius = std::sqrt(-2 * std::log((static_cast<double>(bits(2 * index) >> 11) + 0.5) * 0x1p-53));
    return radius * std::cos(6.283185307179586 * uniform(2 * index + 1));
  }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;
  uint64_t key_;
};

// RandomUniform and RandomNormal

Status set_random_output(InferContext& context, ElementType otherwise, const Shape& shape) {
  ElementType type = ElementType::kUndefined;
  QUENCH_RETURN_IF_ERROR(read_type(context, "dtype", otherwise, &type));
  if (type != ElementType::kFloat32) {
    return Status::error(StatusCode::kUnsupportedType, "the output would have type %s", name_of(type));
  }
  return context.set_output(0, type, shape);
}

Status infer_random(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 0, 0, kAllTypes));
  IntList sizes;
  QUENCH_RETURN_IF_ERROR(read_attribute(context, "shape", &sizes));
  if (!sizes.present || sizes.count > kMaxRank) {
    return Status::error(StatusCode::kLimit, "a shape of rank %d, or none", sizes.count);
  }
  Shape shape;
  for (const int64_t size : sizes.view()) shape[shape.rank++] = size;
  return set_random_output(context, ElementType::kFloat32, shape);
}

Status infer_random_like(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kAllTypes));
  return set_random_output(context, context.input(0)->type, context.input(0)->shape);
}

template <bool kNormal>
Status run_random(RunContext& context) {
  const Stream stream(context);
  const Attributes& attributes = context.attributes();
  const double low = attributes.get_float(kNormal ? "mean" : "low", 0);
  const double width = attributes.get_float(kNormal ? "scale" : "high", 1) - (kNormal ? 0 : low);
  float* y = context.output(0)->as<float>();
  context.parallel_for(context.output(0)->elements(), kParallelGrain, [=](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      y[i] = static_cast<float>(low + width * (kNormal ? stream.normal(i) : stream.uniform(i)));
    }
  });
  return Status();
}

// Bernoulli: 1 with the probability that the input says.

Status infer_bernoulli(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  ElementType type = ElementType::kUndefined;
  QUENCH_RETURN_IF_ERROR(read_type(context, "dtype", ElementType::kFloat32, &type));
  return context.set_output(0, type, context.input(0)->shape);
}

Status run_bernoulli(RunContext& context) {
  const Stream stream(context);
  const Tensor& output = *context.output(0);
  const float* x = context.input(0)->as<float>();
  const int64_t bytes = size_of(output.type);
  const int64_t one = output.type == ElementType::kFloat32 ? std::bit_cast<int32_t>(1.0f) : 1;
  if (output.bytes() > 0) memset(output.data, 0, output.size_bytes());
  for (int64_t i = 0, count = output.elements(); i < count; ++i) {
    if (stream.uniform(i) < x[i]) memcpy(output.as<uint8_t>() + i * bytes, &one, static_cast<size_t>(bytes));
  }
  return Status();
}

// Multinomial: numbers of classes, drawn with probabilities whose logarithms, but for a constant, the input's rows are.

Status infer_multinomial(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kFloatType));
  const Shape& x = context.input(0)->shape;
  ElementType type = ElementType::kUndefined;
  QUENCH_RETURN_IF_ERROR(read_type(context, "dtype", ElementType::kInt32, &type));
  if (!contains(kIndexTypes, type)) {
    return Status::error(StatusCode::kUnsupportedType, "the output would have type %s", name_of(type));
  }
  if (x.rank != 2 || x[1] < 1) return Status::error(StatusCode::kShape, "input 0 is no rows of classes");
  if (x[1] > (int64_t{1} << 31)) return Status::error(StatusCode::kLimit, "there are too many classes");
  context.set_scratch(x[1] * static_cast<int64_t>(sizeof(double)));
  return context.set_output(0, type, {x[0], context.attributes().get_int("sample_size", 1)});
}

Status run_multinomial(RunContext& context) {
  const Stream stream(context);
  const Tensor& output = *context.output(0);
  const int64_t classes = context.input(0)->shape[1];
  const int64_t samples = output.shape[1];
  double* sums = static_cast<double*>(context.scratch());
  for (int64_t row = 0; row < output.shape[0]; ++row) {
    const float* x = context.input(0)->as<float>() + row * classes;
    const double largest = *std::max_element(x, x + classes);
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sums[c] = sum += std::exp(x[c] - largest);
    for (int64_t i = row * samples; i < (row + 1) * samples; ++i) {
      const int64_t found = std::upper_bound(sums, sums + classes, stream.uniform(i) * sum) - sums;
      const int64_t drawn = found < classes ? found : classes - 1;  // NaNs have no place
      if (output.type == ElementType::kInt32) {
        output.as<int32_t>()[i] = static_cast<int32_t>(drawn);
      } else {
        output.as<int64_t>()[i] = drawn;
      }
    }
  }
  return Status();
}

// Nothing is drawn while planning: a few bytes of a file could ask for any number of constants.
constexpr Kernel random(const char* op, Status (*infer)(InferContext&), Status (*run)(RunContext&)) {
  return {.op = op, .infer = infer, .run = run, .flags = kNotFolded};
}

constexpr Kernel kKernels[] = {
    random("RandomUniform", infer_random, run_random<false>),
    random("RandomNormal", infer_random, run_random<true>),
    random("RandomUniformLike", infer_random_like, run_random<false>),
    random("RandomNormalLike", infer_random_like, run_random<true>),
    random("Bernoulli", infer_bernoulli, run_bernoulli),
    random("Multinomial", infer_multinomial, run_multinomial),
};

}  // namespace

std::span<const Kernel> random_kernels() { return kKernels; }

}  // namespace quench::rt
