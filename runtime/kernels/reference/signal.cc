// Signals: DFT and STFT, the windows (Hann, Hamming, Blackman), MelWeightMatrix.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/kernels/reference/checks.h"
#include "runtime/kernels/reference/strided.h"
#include "runtime/kernels/tables.h"

namespace quench::rt {
namespace {

constexpr double kTwoPi = 6.283185307179586;
constexpr int64_t kLongest = int64_t{1} << 24;  // of a transform

struct Complex {
  double real;
  double imaginary;

  Complex operator*(const Complex& other) const {
    return {real * other.real - imaginary * other.imaginary, real * other.imaginary + imaginary * other.real};
  }
  void operator+=(const Complex& other) {
    real += other.real;
    imaginary += other.imaginary;
  }
};

// The discrete Fourier transform of `length` values in x, with y as scratch, by Stockham's method for any radix: the prime
// factors of the length one after the other. Gives back where the result lies, x or y. `roots` are the powers 0 to
// length - 1 of the root of unity.
Complex* transform(const Complex* roots, int64_t length, Complex* x, Complex* y) {
  int64_t stride = 1;
  int64_t radix = 2;
  for (int64_t left = length; left > 1; stride *= radix) {
    while (left % radix != 0) radix = radix * radix > left ? left : radix + 1;
    const int64_t each = left / radix;
    for (int64_t p = 0; p < each; ++p) {
      for (int64_t j = 0; j < radix; ++j) {
        const Complex twiddle = roots[p * j * stride];
        for (int64_t q = 0; q < stride; ++q) {
          Complex sum = {0, 0};
          for (int64_t k = 0; k < radix; ++k) {
            sum += x[q + stride * (p + each * k)] * roots[j * k % radix * (length / radix)];
          }
          y[q + stride * (radix * p + j)] = sum * twiddle;
        }
      }
    }
    std::swap(x, y);
    left = each;
  }
  return x;
}

// Lines that are transformed each on its own. In scratch lie the roots, and for each thread two lines.
struct FourierState {
  int64_t length;
  int64_t bins;  // of the transform that are kept, the first ones
  bool is_inverse;
  // DFT: the axis. STFT: elements between two frames.
  int axis;
  int64_t step;
};

Status set_fourier(InferContext& context, int64_t length, bool is_onesided, bool is_inverse, int64_t parts) {
  FourierState& state = context.state<FourierState>();
  if (length < 1 || length > kLongest) {
    return Status::error(StatusCode::kLimit, "a transform of %lld values", static_cast<long long>(length));
  }
  if (parts != 1 && parts != 2) return Status::error(StatusCode::kShape, "a value is neither real nor complex");
  if (is_onesided && (is_inverse || parts == 2)) {
    return Status::error(StatusCode::kInvalidArgument, "only the transform of a real signal has one side");
  }
  state.length = length;
  state.bins = is_onesided ? length / 2 + 1 : length;
  state.is_inverse = is_inverse;
  context.set_scratch((1 + 2 * context.threads()) * length * static_cast<int64_t>(sizeof(Complex)));
  return Status();
}

// Calls load(line, values), which fills in `length` values, and store(line, transformed) for each line.
template <typename Load, typename Store>
Status run_fourier(RunContext& context, int64_t lines, const Load& load, const Store& store) {
  const FourierState& state = context.state<FourierState>();
  const int64_t length = state.length;
  Complex* roots = static_cast<Complex*>(context.scratch());
  for (int64_t i = 0; i < length; ++i) {
    const double angle = kTwoPi * static_cast<double>(i) / static_cast<double>(length);
    roots[i] = {std::cos(angle), state.is_inverse ? std::sin(angle) : -std::sin(angle)};
  }
  context.parallel_for(lines, 1, [&](int64_t begin, int64_t end, int slot) {
    Complex* x = roots + (1 + 2 * slot) * length;
    for (int64_t line = begin; line < end; ++line) {
      load(line, x);
      store(line, transform(roots, length, x, x + length));
    }
  });
  return Status();
}

// Element number `index` of a real signal (`parts` is 1) or of a complex one.
Complex value_at(const float* x, int64_t index, int64_t parts) {
  return {x[index * parts], parts == 2 ? x[index * parts + 1] : 0};
}

void store_value(const Complex& value, double scale, int64_t index, float* y) {
  y[2 * index] = static_cast<float>(value.real * scale);
  y[2 * index + 1] = static_cast<float>(value.imaginary * scale);
}

// The axis is an attribute, since version 20 an input; the last axis has the parts of a value.
Status read_dft_axis(InferContext& context, int rank, int* axis) {
  int64_t wanted = context.attributes().get_int("axis", 1);
  if (context.opset() >= 20) {
    wanted = -2;
    QUENCH_RETURN_IF_ERROR(read_integer(context, 2, -kMaxRank, kMaxRank, &wanted));
  }
  QUENCH_RETURN_IF_ERROR(normalize_axis(wanted, rank, axis));
  return *axis < rank - 1 ? Status() : Status::error(StatusCode::kShape, "the axis is that of the parts of a value");
}

Status infer_dft(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, context.opset() < 20 ? 2 : 3, kFloatType));
  Shape shape = context.input(0)->shape;
  if (shape.rank < 2) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 2 or more", shape.rank);
  FourierState& state = context.state<FourierState>();
  QUENCH_RETURN_IF_ERROR(read_dft_axis(context, shape.rank, &state.axis));
  int64_t length = shape[state.axis];
  QUENCH_RETURN_IF_ERROR(read_integer(context, 1, 1, kLongest, &length));
  QUENCH_RETURN_IF_ERROR(set_fourier(context, length, context.attributes().get_int("onesided", 0) != 0,
                                     context.attributes().get_int("inverse", 0) != 0, shape[shape.rank - 1]));
  shape[state.axis] = state.bins;
  shape[shape.rank - 1] = 2;
  return context.set_output(0, ElementType::kFloat32, shape);
}

// Shorter signals are filled up with zeros, longer ones are cut.
Status run_dft(RunContext& context) {
  const FourierState& state = context.state<FourierState>();
  const Shape& shape = context.input(0)->shape;
  const int64_t parts = shape[shape.rank - 1];
  const int64_t size = shape[state.axis];
  const int64_t inner = shape.elements(state.axis + 1, shape.rank - 1);
  const int64_t present = std::min(size, state.length);
  const double scale = state.is_inverse ? 1 / static_cast<double>(state.length) : 1;
  const float* from = context.input(0)->as<float>();
  float* to = context.output(0)->as<float>();
  return run_fourier(
      context, shape.elements(0, state.axis) * inner,
      [=](int64_t line, Complex* x) {
        const int64_t first = line / inner * inner * size + line % inner;
        for (int64_t i = 0; i < present; ++i) x[i] = value_at(from, first + i * inner, parts);
        for (int64_t i = present; i < state.length; ++i) x[i] = {0, 0};
      },
      [=](int64_t line, const Complex* x) {
        const int64_t first = line / inner * inner * state.bins + line % inner;
        for (int64_t i = 0; i < state.bins; ++i) store_value(x[i], scale, first + i * inner, to);
      });
}

// STFT: the transform of each frame of a signal, multiplied with a window.

Status infer_stft(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 2, 4, kFloatType));
  const Shape& x = context.input(0)->shape;
  if (x.rank != 2 && x.rank != 3) return Status::error(StatusCode::kShape, "input 0 has rank %d, not 3", x.rank);
  FourierState& state = context.state<FourierState>();
  int64_t length = 0;
  if (context.input(2)) {
    QUENCH_RETURN_IF_ERROR(check_type(context, 2, kFloatType));
    if (context.input(2)->shape.rank != 1) return Status::error(StatusCode::kShape, "input 2 is no window");
    length = context.input(2)->elements();
  }
  QUENCH_RETURN_IF_ERROR(read_integer(context, 1, 1, int64_t{1} << 40, &state.step));
  QUENCH_RETURN_IF_ERROR(read_integer(context, 3, 1, kLongest, &length));
  if (length > x[1] || (context.input(2) && context.input(2)->elements() != length)) {
    return Status::error(StatusCode::kShape, "frames of %lld values do not fit the window or the signal",
                         static_cast<long long>(length));
  }
  QUENCH_RETURN_IF_ERROR(
      set_fourier(context, length, context.attributes().get_int("onesided", 1) != 0, false, x.rank == 3 ? x[2] : 1));
  return context.set_output(0, ElementType::kFloat32, {x[0], (x[1] - length) / state.step + 1, state.bins, 2});
}

Status run_stft(RunContext& context) {
  const FourierState& state = context.state<FourierState>();
  const Shape& shape = context.input(0)->shape;
  const int64_t parts = shape.rank == 3 ? shape[2] : 1;
  const int64_t frames = context.output(0)->shape[1];
  const float* from = context.input(0)->as<float>();
  const float* window = context.input(2) ? context.input(2)->as<float>() : nullptr;
  float* to = context.output(0)->as<float>();
  return run_fourier(
      context, shape[0] * frames,
      [=](int64_t line, Complex* x) {
        const int64_t first = line / frames * shape[1] + line % frames * state.step;
        for (int64_t i = 0; i < state.length; ++i) {
          x[i] = value_at(from, first + i, parts) * Complex{window ? window[i] : 1.0, 0};
        }
      },
      [=](int64_t line, const Complex* x) {
        for (int64_t i = 0; i < state.bins; ++i) store_value(x[i], 1, line * state.bins + i, to);
      });
}

// The windows are sums of cosines.

struct CosineTerms {
  double constant;
  double first;
  double second;
};
constexpr CosineTerms kHann = {0.5, -0.5, 0};
constexpr CosineTerms kHamming = {25.0 / 46, -21.0 / 46, 0};
constexpr CosineTerms kBlackman = {0.42, -0.5, 0.08};

// float32 only: no window of integers makes sense.
Status set_signal_output(InferContext& context, const Shape& shape) {
  ElementType type = ElementType::kUndefined;
  QUENCH_RETURN_IF_ERROR(read_type(context, "output_datatype", ElementType::kFloat32, &type));
  if (type == ElementType::kFloat32) return context.set_output(0, type, shape);
  return Status::error(StatusCode::kUnsupportedType, "the output would have type %s", name_of(type));
}

Status infer_window(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 1, 1, kIndexTypes));
  int64_t size = 0;
  QUENCH_RETURN_IF_ERROR(read_integer(context, 0, 0, int64_t{1} << 40, &size));
  return set_signal_output(context, {size});
}

template <const CosineTerms& kTerms>
Status run_window(RunContext& context) {
  const int64_t size = context.output(0)->elements();
  const bool is_periodic = context.attributes().get_int("periodic", 1) != 0;
  // A window of one value that is not periodic has no period.
  const auto period = static_cast<double>(is_periodic || size < 2 ? size : size - 1);
  for (int64_t i = 0; i < size; ++i) {
    const double angle = kTwoPi * static_cast<double>(i) / period;
    context.output(0)->as<float>()[i] =
        static_cast<float>(kTerms.constant + kTerms.first * std::cos(angle) + kTerms.second * std::cos(2 * angle));
  }
  return Status();
}

// MelWeightMatrix: triangles over the bins of a spectrum, whose corners are evenly spaced in mel.

struct MelState {
  int64_t bands;
  int64_t bins;
  double length;
  double rate;
  double lowest;
  double step;  // in mel

  // The bin of corner `index`, as a number that is whole.
  double corner(int64_t index) const {
    const double hertz = 700 * (std::pow(10, (lowest + step * static_cast<double>(index)) / 2595) - 1);
    return std::floor((length + 1) * hertz / rate);
  }
};

double mel(double hertz) { return 2595 * std::log10(1 + hertz / 700); }

Status infer_mel_weights(InferContext& context) {
  QUENCH_RETURN_IF_ERROR(check_node(context, 5, 5, kIndexTypes));
  MelState& state = context.state<MelState>();
  int64_t length = 0;
  double edges[2] = {};
  QUENCH_RETURN_IF_ERROR(read_integer(context, 0, 1, int64_t{1} << 30, &state.bands));
  QUENCH_RETURN_IF_ERROR(read_integer(context, 1, 1, int64_t{1} << 30, &length));
  QUENCH_RETURN_IF_ERROR(read_number(context, 2, &state.rate));
  QUENCH_RETURN_IF_ERROR(read_number(context, 3, &edges[0]));
  QUENCH_RETURN_IF_ERROR(read_number(context, 4, &edges[1]));
  state.bins = length / 2 + 1;
  state.length = static_cast<double>(length);
  state.lowest = mel(edges[0]);
  state.step = (mel(edges[1]) - state.lowest) / static_cast<double>(state.bands + 2);
  // All triangles lie over bins that are there.
  const double last = state.corner(state.bands + 1);
  if (!(state.rate > 0 && edges[0] >= 0 && edges[1] >= edges[0] && last >= 0 &&
        last < static_cast<double>(state.bins))) {
    return Status::error(StatusCode::kInvalidArgument, "the edges are not those of bands below half the sample rate");
  }
  return set_signal_output(context, {state.bins, state.bands});
}

Status run_mel_weights(RunContext& context) {
  const MelState& state = context.state<MelState>();
  const Tensor& output = *context.output(0);
  if (output.bytes() > 0) memset(output.data, 0, output.size_bytes());
  for (int64_t band = 0; band < state.bands; ++band) {
    const auto low = static_cast<int64_t>(state.corner(band));
    const auto middle = static_cast<int64_t>(state.corner(band + 1));
    const auto high = static_cast<int64_t>(state.corner(band + 2));
    for (int64_t bin = low; bin < std::max(high, middle + 1); ++bin) {
      const int64_t part = bin <= middle ? bin - low : high - bin;
      const int64_t whole = bin <= middle ? middle - low : high - middle;
      // A triangle without a left or a right side has its top.
      output.as<float>()[bin * state.bands + band] =
          whole == 0 || bin == middle ? 1 : static_cast<float>(part) / static_cast<float>(whole);
    }
  }
  return Status();
}

template <const CosineTerms& kTerms>
constexpr Kernel window(const char* op) {
  return {.op = op, .infer = infer_window, .run = run_window<kTerms>};
}

// A transform is not folded: it costs more than its bytes say.
constexpr Kernel kKernels[] = {
    {.op = "DFT", .infer = infer_dft, .run = run_dft, .state_bytes = sizeof(FourierState), .flags = kNotFolded},
    {.op = "STFT", .infer = infer_stft, .run = run_stft, .state_bytes = sizeof(FourierState), .flags = kNotFolded},
    window<kHann>("HannWindow"),
    window<kHamming>("HammingWindow"),
    window<kBlackman>("BlackmanWindow"),
    {.op = "MelWeightMatrix", .infer = infer_mel_weights, .run = run_mel_weights, .state_bytes = sizeof(MelState)},
};

}  // namespace

std::span<const Kernel> signal_kernels() { return kKernels; }

}  // namespace quench::rt
