// Transforms, windows and mel bands against their definitions.
#include <cmath>
#include <complex>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

using Values = std::vector<std::complex<double>>;

// By the definition.
Values transformed(const Values& x, bool inverse) {
  const auto count = static_cast<double>(x.size());
  Values y(x.size());
  for (size_t k = 0; k < x.size(); ++k) {
    for (size_t i = 0; i < x.size(); ++i) {
      const double angle = 2 * std::acos(-1.0) * std::fmod(static_cast<double>(i * k), count) / count;
      y[k] += x[i] * std::polar(1.0, inverse ? angle : -angle);
    }
    if (inverse) y[k] /= count;
  }
  return y;
}

void append(const Values& values, size_t count, std::vector<float>* to) {
  for (size_t i = 0; i < count; ++i) {
    to->push_back(static_cast<float>(values[i].real()));
    to->push_back(static_cast<float>(values[i].imag()));
  }
}

TEST(Dft, OfAnyLength) {
  for (const int64_t length : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 25, 30, 31, 49, 64, 77, 100, 128, 360}) {
    for (const int64_t parts : {1, 2}) {
      for (const bool inverse : {false, true}) {
        const Value x = Value::random({2, length, parts}, static_cast<uint32_t>(length));
        const std::vector<float> values = x.values<float>();
        std::vector<float> expected;
        for (size_t line = 0; line < 2; ++line) {
          Values signal;
          for (size_t i = 0; i < static_cast<size_t>(length); ++i) {
            const size_t at = (line * static_cast<size_t>(length) + i) * static_cast<size_t>(parts);
            signal.emplace_back(values[at], parts == 2 ? values[at + 1] : 0);
          }
          append(transformed(signal, inverse), signal.size(), &expected);
        }
        expect_near(run_node("DFT", 17, {int_of("inverse", inverse)}, {x}), expected, 1e-4f);
      }
    }
  }
}

TEST(Dft, AlongAnyAxisOfAnyLength) {
  const Shape shape = {3, 4, 5, 1};
  const Value x = Value::random(shape, 1);
  const std::vector<float> values = x.values<float>();
  for (int axis = 0; axis < 3; ++axis) {
    for (const int64_t length : {2, 5, 8}) {
      for (const bool onesided : {false, true}) {
        Shape of_output = shape;
        of_output[axis] = onesided ? length / 2 + 1 : length;
        of_output[3] = 2;
        const Value length_input = Value::of<int64_t>({}, {length});
        const Value axis_input = Value::of<int64_t>({}, {axis - 4});
        const Value old = run_node("DFT", 17, {int_of("axis", axis), int_of("onesided", onesided)}, {x, length_input});
        ASSERT_TRUE(old.shape == of_output);
        for (int64_t i = 0; i < of_output.elements(); i += 2) {
          std::vector<int64_t> at = coordinates_of(of_output, i);
          const auto bin = static_cast<size_t>(at[static_cast<size_t>(axis)]);
          Values line(static_cast<size_t>(length));
          at[3] = 0;
          for (int64_t k = 0; k < length && k < shape[axis]; ++k) {
            at[static_cast<size_t>(axis)] = k;
            line[static_cast<size_t>(k)] = values[broadcast_index(shape, at)];
          }
          const std::complex<double> wanted = transformed(line, false)[bin];
          ASSERT_NEAR(old.values<float>()[static_cast<size_t>(i)], wanted.real(), 1e-4);
          ASSERT_NEAR(old.values<float>()[static_cast<size_t>(i) + 1], wanted.imag(), 1e-4);
        }
        EXPECT_TRUE(run_node("DFT", 20, {int_of("onesided", onesided)}, {x, length_input, axis_input}) == old);
      }
    }
  }
  EXPECT_TRUE((run_node("DFT", 20, {}, {x}) == run_node("DFT", 17, {int_of("axis", 2)}, {x})));
}

TEST(Dft, WhatCannotBeIsRefused) {
  const Value x = Value::random({2, 4, 2}, 1);
  EXPECT_EQ(code_of("DFT", 17, {int_of("axis", 2)}, {x}), StatusCode::kShape);
  EXPECT_EQ(code_of("DFT", 17, {int_of("axis", -1)}, {x}), StatusCode::kShape);
  EXPECT_EQ(code_of("DFT", 17, {int_of("axis", 3)}, {x}), StatusCode::kShape);
  EXPECT_EQ(code_of("DFT", 17, {int_of("onesided", 1)}, {x}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("DFT", 17, {}, {Value::random({2, 4, 3}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("DFT", 17, {}, {Value::random({2, 0, 1}, 1)}), StatusCode::kLimit);
  EXPECT_EQ(code_of("DFT", 17, {}, {x, Value::indices({0})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("DFT", 17, {}, {x, Value::indices({INT64_MAX})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("DFT", 17, {}, {x, Value::indices({4})}, 0b01), StatusCode::kNotReady);
  EXPECT_EQ(code_of("DFT", 20, {}, {x, std::nullopt, Value::indices({5})}), StatusCode::kShape);
}

TEST(Stft, TransformsWindowedFrames) {
  const Value x = Value::random({2, 23, 1}, 1);
  const Value window = Value::random({6}, 2);
  const std::vector<float> values = x.values<float>();
  for (const bool onesided : {false, true}) {
    std::vector<float> expected;
    for (size_t batch = 0; batch < 2; ++batch) {
      for (size_t frame = 0; frame < 5; ++frame) {
        Values signal;
        for (size_t i = 0; i < 6; ++i) {
          signal.emplace_back(values[batch * 23 + frame * 4 + i] * window.values<float>()[i]);
        }
        append(transformed(signal, false), onesided ? 4 : 6, &expected);
      }
    }
    const Value y = run_node("STFT", 17, {int_of("onesided", onesided)}, {x, Value::indices({4}), window});
    EXPECT_TRUE((y.shape == Shape{2, 5, onesided ? 4 : 6, 2}));
    expect_near(y, expected, 1e-4f);
  }
  const Value step = Value::indices({4});
  const Value ones = Value::of<float>({6}, std::vector<float>(6, 1));
  EXPECT_TRUE(run_node("STFT", 17, {}, {x, step, std::nullopt, Value::indices({6})}) ==
              run_node("STFT", 17, {}, {x, step, ones}));
  EXPECT_EQ(code_of("STFT", 17, {}, {x, step}), StatusCode::kLimit);
  EXPECT_EQ(code_of("STFT", 17, {}, {x, step, window, Value::indices({5})}), StatusCode::kShape);
  EXPECT_EQ(code_of("STFT", 17, {}, {x, step, std::nullopt, Value::indices({24})}), StatusCode::kShape);
  EXPECT_EQ(code_of("STFT", 17, {}, {x, Value::indices({0}), window}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("STFT", 17, {}, {Value::random({2, 23, 2}, 1), step, window}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("STFT", 17, {}, {Value::random({2}, 1), step, window}), StatusCode::kShape);
}

TEST(Signal, WindowsAreSumsOfCosines) {
  struct Case {
    const char* op;
    double constant, first, second;
  };
  for (const Case& each : {Case{"HannWindow", 0.5, 0.5, 0}, Case{"HammingWindow", 25.0 / 46, 21.0 / 46, 0},
                           Case{"BlackmanWindow", 0.42, 0.5, 0.08}}) {
    for (const bool periodic : {false, true}) {
      std::vector<float> expected;
      for (int i = 0; i < 10; ++i) {
        const double angle = 2 * std::acos(-1.0) * i / (periodic ? 10 : 9);
        expected.push_back(
            static_cast<float>(each.constant - each.first * std::cos(angle) + each.second * std::cos(2 * angle)));
      }
      expect_near(run_node(each.op, 17, {int_of("periodic", periodic)}, {Value::of<int32_t>({}, {10})}), expected);
    }
    for (const int64_t size : {0, 1}) {
      const Value y = run_node(each.op, 17, {int_of("periodic", 0)}, {Value::indices({size})});
      EXPECT_EQ(y.shape.elements(), size);
      for (const float value : y.values<float>()) EXPECT_TRUE(std::isfinite(value));
    }
    EXPECT_EQ(code_of(each.op, 17, {}, {Value::indices({-1})}), StatusCode::kInvalidArgument);
    EXPECT_EQ(code_of(each.op, 17, {}, {Value::indices({4})}, 0), StatusCode::kNotReady);
    EXPECT_EQ(code_of(each.op, 17, {int_of("output_datatype", 7)}, {Value::indices({4})}),
              StatusCode::kUnsupportedType);
  }
}

std::vector<std::optional<Value>> mel_inputs(int64_t bands, int64_t length, int64_t rate, float low, float high) {
  return {Value::indices({bands}), Value::indices({length}), Value::indices({rate}), Value::scalar(low),
          Value::scalar(high)};
}

TEST(Signal, MelBandsAreTrianglesBetweenTheirNeighbours) {
  const Value y = run_node("MelWeightMatrix", 17, {}, mel_inputs(8, 512, 16000, 100, 7600));
  ASSERT_TRUE((y.shape == Shape{257, 8}));
  const std::vector<float> values = y.values<float>();
  int64_t top_before = 0;
  for (size_t band = 0; band < 8; ++band) {
    int64_t top = -1;
    for (size_t bin = 0; bin < 257; ++bin) {
      const float value = values[bin * 8 + band];
      ASSERT_TRUE(value >= 0 && value <= 1);
      if (value == 1) top = static_cast<int64_t>(bin);
      // A band falls as the next one rises, so that between two tops they sum up to one.
      if (top > 0 && value > 0 && value < 1 && band < 7) {
        EXPECT_NEAR(value + values[bin * 8 + band + 1], 1, 1e-5);
      }
    }
    EXPECT_GT(top, top_before);
    top_before = top;
  }
  const StatusCode bad = StatusCode::kInvalidArgument;
  EXPECT_EQ(code_of("MelWeightMatrix", 17, {}, mel_inputs(0, 512, 16000, 100, 7600)), bad);
  EXPECT_EQ(code_of("MelWeightMatrix", 17, {}, mel_inputs(8, 512, 16000, 7600, 100)), bad);
  EXPECT_EQ(code_of("MelWeightMatrix", 17, {}, mel_inputs(8, 512, 16000, 100, 12000)), bad);
  EXPECT_EQ(code_of("MelWeightMatrix", 17, {}, mel_inputs(8, 512, 0, 100, 7600)), bad);
  EXPECT_EQ(code_of("MelWeightMatrix", 17, {}, mel_inputs(8, 512, 16000, -800, 7600)), bad);
  EXPECT_EQ(code_of("MelWeightMatrix", 17, {}, mel_inputs(8, 512, 16000, NAN, 7600)), bad);
  EXPECT_EQ(code_of("MelWeightMatrix", 17, {}, mel_inputs(8, 512, 16000, 100, INFINITY)), bad);
}

}  // namespace
}  // namespace quench::rt
