// Operators that move, gather, reduce and multiply, against index arithmetic and hand-made values.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

Value counting(Shape shape) {
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Value::of(shape, values);
}

TEST(Movement, TransposeTakesEveryPermutation) {
  const Value x = counting({2, 3, 4, 5});
  std::vector<int64_t> perm = {0, 1, 2, 3};
  do {
    const Value result = run_node("Transpose", 13, {ints_of("perm", perm)}, {x});
    for (int64_t i = 0; i < result.shape.elements(); ++i) {
      const auto at = coordinates_of(result.shape, i);
      std::vector<int64_t> from(4);
      for (size_t axis = 0; axis < 4; ++axis) from[static_cast<size_t>(perm[axis])] = at[axis];
      ASSERT_EQ(result.values<float>()[static_cast<size_t>(i)], static_cast<float>(broadcast_index(x.shape, from)));
    }
  } while (std::next_permutation(perm.begin(), perm.end()));
  EXPECT_EQ(code_of("Transpose", 13, {ints_of("perm", {0, 0, 1, 2})}, {x}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("Transpose", 13, {ints_of("perm", {0, 1})}, {x}), StatusCode::kShape);
  EXPECT_EQ(code_of("Transpose", 13, {ints_of("perm", {0, 1, 2, 4})}, {x}), StatusCode::kShape);
}

// As Python slices a list.
std::vector<float> python_slice(const std::vector<float>& x, int64_t start, int64_t end, int64_t step) {
  const auto size = static_cast<int64_t>(x.size());
  if (start < 0) start += size;
  if (end < 0) end += size;
  std::vector<float> result;
  if (step > 0) {
    for (int64_t i = std::max<int64_t>(start, 0); i < std::min(end, size); i += step) {
      result.push_back(x[static_cast<size_t>(i)]);
    }
  } else {
    for (int64_t i = std::min(start, size - 1); i > std::max<int64_t>(end, -1); i += step) {
      result.push_back(x[static_cast<size_t>(i)]);
    }
  }
  return result;
}

TEST(Movement, SliceCutsAsPythonDoes) {
  const Value x = counting({5});
  for (int64_t start = -7; start <= 7; ++start) {
    for (int64_t end = -7; end <= 7; ++end) {
      for (int64_t step : {1, 2, 3, 7, -1, -2, -9}) {
        const Value result = run_node(
            "Slice", 13, {}, {x, Value::indices({start}), Value::indices({end}), std::nullopt, Value::indices({step})});
        ASSERT_EQ(result.values<float>(), python_slice(x.values<float>(), start, end, step))
            << start << ':' << end << ':' << step;
      }
    }
  }
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const auto cut = [&](int64_t start, int64_t end, int64_t step) {
    return run_node("Slice", 13, {},
                    {x, Value::indices({start}), Value::indices({end}), Value::indices({0}), Value::indices({step})})
        .values<float>();
  };
  EXPECT_EQ(cut(kMost, kLeast, -1), (std::vector<float>{4, 3, 2, 1, 0}));
  EXPECT_EQ(cut(kLeast, kMost, kMost), (std::vector<float>{0}));
  EXPECT_EQ(cut(kMost, kLeast, kLeast), (std::vector<float>{4}));
  EXPECT_EQ(
      code_of("Slice", 13, {}, {x, Value::indices({0}), Value::indices({1}), Value::indices({0}), Value::indices({0})}),
      StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("Slice", 13, {}, {x, Value::indices({0}), Value::indices({1}), Value::indices({1})}),
            StatusCode::kShape);
  EXPECT_EQ(code_of("Slice", 13, {}, {x, Value::indices({0, 1}), Value::indices({1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("Slice", 13, {}, {x, Value::indices({0}), Value::indices({1})}, 0b001), StatusCode::kNotReady);
  EXPECT_EQ(run_node("Slice", 9, {ints_of("starts", {1}), ints_of("ends", {-1})}, {x}).values<float>(),
            (std::vector<float>{1, 2, 3}));
}

TEST(Movement, PadModesAsNumPy) {
  const Value x = Value::of<float>({3}, {1, 2, 3});
  const auto pad = [&](const char* mode, int64_t begin, int64_t end) {
    return run_node("Pad", 19, {string_of("mode", mode)}, {x, Value::indices({begin, end}), Value::scalar(9)})
        .values<float>();
  };
  EXPECT_EQ(pad("constant", 1, 2), (std::vector<float>{9, 1, 2, 3, 9, 9}));
  EXPECT_EQ(pad("constant", -1, 1), (std::vector<float>{2, 3, 9}));
  EXPECT_EQ(pad("constant", -2, -1), (std::vector<float>{}));
  EXPECT_EQ(pad("constant", 4, -3), (std::vector<float>{9, 9, 9, 9}));
  EXPECT_EQ(pad("constant", 5, -4), (std::vector<float>{9, 9, 9, 9}));
  EXPECT_EQ(pad("edge", 2, 1), (std::vector<float>{1, 1, 1, 2, 3, 3}));
  EXPECT_EQ(pad("reflect", 2, 2), (std::vector<float>{3, 2, 1, 2, 3, 2, 1}));
  EXPECT_EQ(pad("reflect", 5, 0), (std::vector<float>{2, 1, 2, 3, 2, 1, 2, 3}));
  EXPECT_EQ(pad("wrap", 4, 1), (std::vector<float>{3, 1, 2, 3, 1, 2, 3, 1}));
  EXPECT_EQ(run_node("Pad", 18, {}, {counting({2, 2}), Value::indices({1, 0}), std::nullopt, Value::indices({-1})})
                .values<float>(),
            (std::vector<float>{0, 0, 1, 0, 2, 3}));
  EXPECT_EQ(run_node("Pad", 2, {ints_of("pads", {1, 0}), float_of("value", 5)}, {x}).values<float>(),
            (std::vector<float>{5, 1, 2, 3}));
  EXPECT_EQ(code_of("Pad", 13, {}, {x, Value::indices({-4, 0})}), StatusCode::kShape);
  EXPECT_EQ(code_of("Pad", 13, {}, {x, Value::indices({0})}), StatusCode::kShape);
  EXPECT_EQ(code_of("Pad", 13, {}, {x, Value::indices({std::numeric_limits<int64_t>::max(), 1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("Pad", 13, {string_of("mode", "reflect")}, {Value::random({0}, 1), Value::indices({1, 1})}),
            StatusCode::kShape);
}

TEST(Movement, ConcatAndSplitAreInverse) {
  const Value x = counting({3, 7, 2});
  DirectNode split("Split", 13, {int_of("axis", -2)}, {x, Value::indices({2, 0, 5})}, 3);
  ASSERT_TRUE(split.infer().ok());
  ASSERT_TRUE(split.run().ok());
  EXPECT_EQ(split.output(1).shape[1], 0);
  EXPECT_TRUE(run_node("Concat", 13, {int_of("axis", 1)}, {split.output(0), split.output(1), split.output(2)}) == x);
  const auto split_code = [&](int opset, std::vector<TestAttribute> attributes, std::optional<Value> parts,
                              int outputs) {
    DirectNode node("Split", opset, std::move(attributes), {x, std::move(parts)}, outputs);
    return node.infer().code();
  };
  EXPECT_EQ(split_code(13, {int_of("axis", 1)}, std::nullopt, 2), StatusCode::kShape);
  EXPECT_EQ(split_code(18, {int_of("axis", 1)}, std::nullopt, 2), StatusCode::kOk);
  EXPECT_EQ(split_code(13, {int_of("axis", 1)}, Value::indices({-1, 8}), 2), StatusCode::kShape);
  EXPECT_EQ(split_code(13, {int_of("axis", 1)}, Value::indices({1, 8}), 2), StatusCode::kShape);
  EXPECT_EQ(split_code(13, {int_of("axis", 1)}, Value::indices({1, 2}), 2), StatusCode::kShape);
  EXPECT_EQ(split_code(13, {int_of("axis", 1)}, Value::indices({7}), 2), StatusCode::kShape);
  EXPECT_EQ(split_code(13, {int_of("axis", 3)}, Value::indices({7}), 1), StatusCode::kShape);
  EXPECT_EQ(code_of("Concat", 13, {int_of("axis", 1)}, {x, counting({3, 7, 3})}), StatusCode::kShape);
  EXPECT_EQ(code_of("Concat", 13, {int_of("axis", 1)}, {x, counting({3, 7})}), StatusCode::kShape);
}

TEST(Movement, ReshapeResolvesItsShape) {
  const Value x = counting({2, 3, 4});
  const auto shape_of = [&](std::vector<int64_t> wanted, int64_t allow_zero = 0) {
    return run_node("Reshape", 14, {int_of("allowzero", allow_zero)}, {x, Value::indices(wanted)}).shape;
  };
  EXPECT_TRUE((shape_of({0, -1}) == Shape{2, 12}));
  EXPECT_TRUE((shape_of({-1}) == Shape{24}));
  EXPECT_TRUE((shape_of({4, 1, 6}) == Shape{4, 1, 6}));
  const auto refused = [&](const Value& from, std::vector<int64_t> wanted, int64_t allow_zero = 0) {
    return code_of("Reshape", 14, {int_of("allowzero", allow_zero)}, {from, Value::indices(wanted)});
  };
  EXPECT_EQ(refused(x, {-1, -1}), StatusCode::kShape);
  EXPECT_EQ(refused(x, {5, -1}), StatusCode::kShape);
  EXPECT_EQ(refused(x, {25}), StatusCode::kShape);
  EXPECT_EQ(refused(x, {-2, -12}), StatusCode::kShape);
  EXPECT_EQ(refused(x, {1, 1, 1, 0}), StatusCode::kShape);
  EXPECT_EQ(refused(x, {1, 1, 1, 1, 1, 1, 1, 1, 24}), StatusCode::kLimit);
  constexpr int64_t kBig = int64_t{1} << 32;
  EXPECT_EQ(refused(x, {kBig, kBig, kBig}), StatusCode::kShape);
  const Value empty = Value::random({0, 3}, 1);
  EXPECT_EQ(refused(empty, {3, 0}, 1), StatusCode::kOk);
  EXPECT_EQ(refused(empty, {0, -1}, 1), StatusCode::kShape);
  EXPECT_EQ(code_of("Unsqueeze", 13, {}, {x, Value::indices({0, 0})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("Unsqueeze", 13, {}, {x, Value::indices({9})}), StatusCode::kShape);
  EXPECT_EQ(code_of("Unsqueeze", 13, {}, {x, Value::indices({0, 1, 2, 3, 4, 5})}), StatusCode::kLimit);
  EXPECT_EQ(code_of("Squeeze", 13, {}, {x, Value::indices({1})}), StatusCode::kShape);
  EXPECT_TRUE((run_node("Squeeze", 11, {}, {counting({1, 3, 1})}).shape == Shape{3}));
  EXPECT_TRUE((run_node("Flatten", 13, {int_of("axis", 3)}, {x}).shape == Shape{24, 1}));
  EXPECT_TRUE((run_node("Flatten", 13, {int_of("axis", -1)}, {x}).shape == Shape{6, 4}));
  EXPECT_EQ(code_of("Flatten", 13, {int_of("axis", 4)}, {x}), StatusCode::kShape);
}

TEST(Movement, IndicesAreCheckedWhenRunning) {
  const Value x = counting({3, 2});
  EXPECT_EQ(run_node("Gather", 13, {}, {x, Value::indices({2, -3})}).values<float>(), (std::vector<float>{4, 5, 0, 1}));
  EXPECT_EQ(run_node("Gather", 13, {int_of("axis", 1)}, {x, Value::of<int32_t>({}, {-1})}).values<float>(),
            (std::vector<float>{1, 3, 5}));
  for (int64_t index : {int64_t{3}, int64_t{-4}, std::numeric_limits<int64_t>::min()}) {
    EXPECT_EQ(code_of("Gather", 13, {}, {x, Value::indices({0, index})}), StatusCode::kInvalidArgument);
    EXPECT_EQ(code_of("GatherElements", 13, {}, {x, Value::of<int64_t>({1, 2}, {0, index})}),
              StatusCode::kInvalidArgument);
    EXPECT_EQ(code_of("GatherND", 13, {}, {x, Value::of<int64_t>({1, 2}, {index, 0})}), StatusCode::kInvalidArgument);
    EXPECT_EQ(code_of("ScatterND", 13, {}, {x, Value::of<int64_t>({1, 1}, {index}), counting({1, 2})}),
              StatusCode::kInvalidArgument);
    EXPECT_EQ(code_of("ScatterElements", 13, {}, {x, Value::of<int64_t>({1, 2}, {index, 0}), counting({1, 2})}),
              StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(code_of("GatherElements", 13, {}, {x, Value::of<int64_t>({1, 3}, {0, 0, 0})}), StatusCode::kShape);
  EXPECT_EQ(code_of("ScatterND", 13, {}, {x, Value::of<int64_t>({1, 1}, {0}), counting({2, 2})}), StatusCode::kShape);
}

TEST(Movement, MatMulBroadcastsAsNumPy) {
  const std::vector<std::pair<Shape, Shape>> shapes = {{{3}, {3}},
                                                       {{2, 3}, {3}},
                                                       {{3}, {3, 4}},
                                                       {{2, 3}, {3, 4}},
                                                       {{5, 2, 3}, {3, 4}},
                                                       {{2, 3}, {5, 3, 4}},
                                                       {{5, 1, 2, 3}, {6, 3, 4}},
                                                       {{1, 2, 3}, {5, 3, 4}},
                                                       {{3}, {5, 3, 4}},
                                                       {{5, 6, 2, 3}, {3}},
                                                       {{0, 3}, {3, 4}},
                                                       {{2, 0}, {0, 4}},
                                                       {{4, 2, 3}, {4, 3, 1}}};
  for (const auto& [a, b] : shapes) {
    const Value x = Value::random(a, 1);
    const Value y = Value::random(b, 2);
    const Value result = run_node("MatMul", 13, {}, {x, y});
    const int64_t inner = a[a.rank - 1];
    Shape full = result.shape;
    // A vector's own axis is 1 in between.
    if (b.rank == 1) full[full.rank++] = 1;
    if (a.rank == 1) {
      const int64_t columns = full[full.rank - 1];
      full[full.rank - 1] = 1;
      full[full.rank++] = columns;
    }
    std::vector<float> expected;
    for (int64_t i = 0; i < full.elements(); ++i) {
      auto at = coordinates_of(full, i);
      double sum = 0;
      for (int64_t k = 0; k < inner; ++k) {
        auto left = at;
        auto right = at;
        left.back() = k;
        right[right.size() - 2] = k;
        if (b.rank == 1) right = {k};
        if (a.rank == 1) left = {k};
        sum += static_cast<double>(x.values<float>()[broadcast_index(a, left)]) *
               y.values<float>()[broadcast_index(b, right)];
      }
      expected.push_back(static_cast<float>(sum));
    }
    expect_near(result, expected);
  }
  EXPECT_EQ(code_of("MatMul", 13, {}, {counting({2, 3}), counting({2, 3})}), StatusCode::kShape);
  EXPECT_EQ(code_of("MatMul", 13, {}, {Value::scalar(1), counting({1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("MatMul", 13, {}, {counting({2, 1, 3}), counting({3, 3, 1})}), StatusCode::kShape);
}

TEST(Movement, GemmScalesTransposesAndAdds) {
  const Value a = Value::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const Value b = Value::of<float>({3, 2}, {1, 0, 0, 1, 1, 1});
  const Value at = run_node("Transpose", 13, {}, {a});
  const Value bt = run_node("Transpose", 13, {}, {b});
  const Value c = Value::of<float>({2}, {10, 20});
  // 2 a b + 0.5 c
  const std::vector<float> expected = {13, 20, 25, 32};
  for (const bool turn_a : {false, true}) {
    for (const bool turn_b : {false, true}) {
      expect_near(
          run_node("Gemm", 13,
                   {float_of("alpha", 2), float_of("beta", 0.5f), int_of("transA", turn_a), int_of("transB", turn_b)},
                   {turn_a ? at : a, turn_b ? bt : b, c}),
          expected);
    }
  }
  expect_near(run_node("Gemm", 13, {}, {a, b, Value::of<float>({2, 1}, {1, 2})}), {5, 6, 12, 13});
  expect_near(run_node("Gemm", 13, {}, {a, b}), {4, 5, 10, 11});
  EXPECT_EQ(code_of("Gemm", 13, {}, {a, a}), StatusCode::kShape);
  EXPECT_EQ(code_of("Gemm", 13, {}, {a, b, Value::random({3}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("Gemm", 13, {}, {a, b, Value::random({1, 2, 2}, 1)}), StatusCode::kShape);
}

TEST(Movement, ReductionsOverEveryChoiceOfAxes) {
  const Value x = Value::random({3, 2, 4}, 7);
  const std::vector<float> values = x.values<float>();
  for (int chosen = 1; chosen < 8; ++chosen) {
    std::vector<int64_t> axes;
    Shape shape = x.shape;
    for (int axis = 0; axis < 3; ++axis) {
      if ((chosen >> axis & 1) == 0) continue;
      axes.push_back(axis % 2 == 0 ? axis : axis - 3);
      shape[axis] = 1;
    }
    std::vector<double> sum(static_cast<size_t>(shape.elements()));
    std::vector<double> exponentials(sum.size());
    std::vector<float> largest(sum.size(), -1e9f);
    for (int64_t i = 0; i < x.shape.elements(); ++i) {
      const size_t to = broadcast_index(shape, coordinates_of(x.shape, i));
      const float value = values[static_cast<size_t>(i)];
      sum[to] += value;
      exponentials[to] += std::exp(value);
      largest[to] = std::max(largest[to], value);
    }
    std::vector<float> sums(sum.begin(), sum.end());
    std::vector<float> logarithms;
    for (double value : exponentials) logarithms.push_back(static_cast<float>(std::log(value)));
    expect_near(run_node("ReduceSum", 11, {ints_of("axes", axes)}, {x}), sums);
    expect_near(run_node("ReduceSum", 13, {int_of("keepdims", 0)}, {x, Value::indices(axes)}), sums);
    expect_near(run_node("ReduceMax", 18, {}, {x, Value::indices(axes)}), largest);
    expect_near(run_node("ReduceLogSumExp", 13, {ints_of("axes", axes)}, {x}), logarithms);
  }
  EXPECT_TRUE(run_node("ReduceSum", 13, {int_of("noop_with_empty_axes", 1)}, {x}) == x);
  EXPECT_EQ(run_node("ReduceMean", 13, {int_of("keepdims", 0)}, {Value::indices({1, 2, 6})}).values<int64_t>(),
            (std::vector<int64_t>{3}));
  // Of nothing: the neutral element.
  const Value empty = Value::random({2, 0}, 1);
  EXPECT_EQ(run_node("ReduceSum", 11, {ints_of("axes", {1})}, {empty}).values<float>(), (std::vector<float>{0, 0}));
  EXPECT_EQ(run_node("ReduceProd", 11, {ints_of("axes", {1})}, {empty}).values<float>(), (std::vector<float>{1, 1}));
  EXPECT_EQ(code_of("ArgMax", 13, {int_of("axis", 1)}, {empty}), StatusCode::kShape);
  EXPECT_EQ(code_of("ReduceSum", 11, {ints_of("axes", {0, 0})}, {x}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("ReduceSum", 11, {ints_of("axes", {3})}, {x}), StatusCode::kShape);
  const Value ties = Value::of<float>({4}, {1, 3, 3, 0});
  EXPECT_EQ(run_node("ArgMax", 13, {}, {ties}).values<int64_t>(), (std::vector<int64_t>{1}));
  EXPECT_EQ(run_node("ArgMax", 13, {int_of("select_last_index", 1)}, {ties}).values<int64_t>(),
            (std::vector<int64_t>{2}));
}

TEST(Movement, ResizeByHand) {
  const Value x = Value::of<float>({1, 1, 4}, {1, 2, 3, 4});
  const auto resize = [&](std::vector<TestAttribute> attributes, std::vector<float> scales) {
    return run_node("Resize", 13, std::move(attributes),
                    {x, std::nullopt, Value::of<float>({static_cast<int64_t>(scales.size())}, scales)})
        .values<float>();
  };
  const TestAttribute linear = string_of("mode", "linear");
  const TestAttribute asymmetric = string_of("coordinate_transformation_mode", "asymmetric");
  EXPECT_EQ(resize({}, {1, 1, 2}), (std::vector<float>{1, 1, 2, 2, 3, 3, 4, 4}));
  EXPECT_EQ(resize({linear}, {1, 1, 2}), (std::vector<float>{1, 1.25f, 1.75f, 2.25f, 2.75f, 3.25f, 3.75f, 4}));
  EXPECT_EQ(resize({linear, asymmetric}, {1, 1, 2}), (std::vector<float>{1, 1.5f, 2, 2.5f, 3, 3.5f, 4, 4}));
  EXPECT_EQ(resize({asymmetric, string_of("nearest_mode", "ceil")}, {1, 1, 2}),
            (std::vector<float>{1, 2, 2, 3, 3, 4, 4, 4}));
  // Shrinking to half with half_pixel lies between neighbours.
  EXPECT_EQ(resize({linear}, {1, 1, 0.5f}), (std::vector<float>{1.5f, 3.5f}));
  EXPECT_EQ(run_node("Upsample", 9, {}, {x, Value::of<float>({3}, {2, 1, 1})}).values<float>(),
            (std::vector<float>{1, 2, 3, 4, 1, 2, 3, 4}));
  EXPECT_EQ(run_node("Resize", 18, {ints_of("axes", {-1})}, {x, std::nullopt, std::nullopt, Value::indices({2})})
                .values<float>(),
            (std::vector<float>{1, 3}));
  const auto refused = [&](std::vector<TestAttribute> attributes, std::vector<float> scales) {
    return code_of("Resize", 13, std::move(attributes),
                   {x, std::nullopt, Value::of<float>({static_cast<int64_t>(scales.size())}, scales)});
  };
  EXPECT_EQ(refused({}, {1, 1}), StatusCode::kShape);
  EXPECT_EQ(refused({}, {1, 1, -1}), StatusCode::kShape);
  EXPECT_EQ(refused({}, {1, 1, std::numeric_limits<float>::infinity()}), StatusCode::kShape);
  EXPECT_EQ(refused({}, {1, 1, std::numeric_limits<float>::quiet_NaN()}), StatusCode::kShape);
  EXPECT_EQ(refused({string_of("mode", "lanczos")}, {1, 1, 1}), StatusCode::kUnsupportedFeature);
  EXPECT_EQ(code_of("Resize", 13, {}, {x}), StatusCode::kInvalidArgument);
}

TEST(Movement, DropoutOfNothingKeepsAllInTrainingToo) {
  const Value x = Value::of<float>({2}, {1, -2}), on = Value::truths({}, {1});
  EXPECT_EQ(run_node("Dropout", 13, {}, {x, Value::scalar(0.0f), on}).values<float>(), (std::vector<float>{1, -2}));
  EXPECT_EQ(code_of("Dropout", 13, {}, {x, Value::scalar(0.5f), on}), StatusCode::kUnsupportedFeature);
  EXPECT_EQ(code_of("Dropout", 13, {}, {x, std::nullopt, on}), StatusCode::kUnsupportedFeature);
}

TEST(Movement, ResizeTakesNothingOfWhatItDoesNotWeigh) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Value x = Value::of<float>({1, 1, 2, 3}, {1, 2, 3, infinity, infinity, infinity});
  const Value scales = Value::of<float>({4}, {1, 1, 1, 5.0f / 3});
  const std::vector<TestAttribute> attributes = {string_of("mode", "linear"),
                                                 string_of("coordinate_transformation_mode", "align_corners")};
  EXPECT_EQ(run_node("Resize", 13, attributes, {x, std::nullopt, scales}).values<float>(),
            (std::vector<float>{1, 1.5f, 2, 2.5f, 3, infinity, infinity, infinity, infinity, infinity}));
  EXPECT_EQ(run_node("Resize", 13, {}, {Value::scalar(7.0f)}).values<float>(), (std::vector<float>{7}));
}

// Rows and columns beyond the input, in either place, are the extrapolation value.
TEST(Movement, ResizeCropsBeyondTheInput) {
  const Value x = Value::of<float>({1, 1, 2, 2}, {1, 2, 3, 4});
  const Value region = Value::of<float>({8}, {0, 0, 0, 0, 1, 1, 2, 2});
  const auto crop = [&](const char* mode) {
    return run_node("Resize", 13,
                    {string_of("mode", mode), string_of("coordinate_transformation_mode", "tf_crop_and_resize"),
                     float_of("extrapolation_value", -1)},
                    {x, region, std::nullopt, Value::indices({1, 1, 3, 3})})
        .values<float>();
  };
  EXPECT_EQ(crop("linear"), (std::vector<float>{1, 2, -1, 3, 4, -1, -1, -1, -1}));
  EXPECT_EQ(crop("nearest"), (std::vector<float>{1, 2, -1, 3, 4, -1, -1, -1, -1}));
}

TEST(Movement, RangesAndFills) {
  const auto range = [](float start, float limit, float delta) {
    return run_node("Range", 13, {}, {Value::scalar(start), Value::scalar(limit), Value::scalar(delta)})
        .values<float>();
  };
  EXPECT_EQ(range(1, 2, 0.25f), (std::vector<float>{1, 1.25f, 1.5f, 1.75f}));
  EXPECT_EQ(range(3, 0, -1), (std::vector<float>{3, 2, 1}));
  EXPECT_EQ(range(3, 0, 1), (std::vector<float>{}));
  EXPECT_EQ(code_of("Range", 13, {}, {Value::scalar(0), Value::scalar(1), Value::scalar(0)}),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(run_node("ConstantOfShape", 13, {}, {Value::indices({2, 2})}).values<float>(),
            (std::vector<float>{0, 0, 0, 0}));
  EXPECT_EQ(code_of("ConstantOfShape", 13, {}, {Value::indices({-1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("ConstantOfShape", 13, {}, {Value::indices({2})}, 0), StatusCode::kNotReady);
  EXPECT_EQ(run_node("Expand", 13, {}, {Value::of<float>({2, 1}, {1, 2}), Value::indices({2, 1, 3})}).values<float>(),
            (std::vector<float>{1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2}));
  EXPECT_EQ(code_of("Expand", 13, {}, {counting({2, 1}), Value::indices({-1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("Tile", 13, {}, {counting({2}), Value::indices({-1})}), StatusCode::kShape);
  EXPECT_EQ(run_node("Trilu", 14, {}, {counting({2, 3})}).values<float>(), (std::vector<float>{0, 1, 2, 0, 4, 5}));
  EXPECT_EQ(
      run_node("Trilu", 14, {int_of("upper", 0)}, {counting({2, 3}), Value::of<int64_t>({}, {1})}).values<float>(),
      (std::vector<float>{0, 1, 0, 3, 4, 5}));
}

TEST(Movement, CenterCropPadKeepsTheMiddle) {
  const Value x = Value::of<float>({1, 5}, {1, 2, 3, 4, 5});
  const auto cut = [&](int64_t size) {
    return run_node("CenterCropPad", 18, {ints_of("axes", {-1})}, {x, Value::indices({size})}).values<float>();
  };
  using Floats = std::vector<float>;
  EXPECT_EQ(cut(0), Floats());
  EXPECT_EQ(cut(2), (Floats{2, 3}));
  EXPECT_EQ(cut(3), (Floats{2, 3, 4}));
  EXPECT_EQ(cut(6), (Floats{1, 2, 3, 4, 5, 0}));
  EXPECT_EQ(cut(8), (Floats{0, 1, 2, 3, 4, 5, 0, 0}));
  EXPECT_EQ(run_node("CenterCropPad", 18, {}, {x, Value::indices({2, 1})}).values<float>(), (Floats{3, 0}));
  EXPECT_EQ(code_of("CenterCropPad", 18, {}, {x, Value::indices({1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("CenterCropPad", 18, {}, {x, Value::indices({1, -1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("CenterCropPad", 18, {}, {x, Value::indices({1, INT64_MAX})}), StatusCode::kShape);
}

TEST(Movement, ReverseSequenceTurnsTheFirstOfEach) {
  const Shape shape = {3, 4, 2};
  const Value x = Value::random(shape, 1);
  for (const int64_t batch_axis : {0, 1}) {
    const std::vector<int64_t> lengths =
        batch_axis == 0 ? std::vector<int64_t>({0, 4, 2}) : std::vector<int64_t>({3, 0, 2, 1});
    const Value y =
        run_node("ReverseSequence", 10, {int_of("batch_axis", batch_axis), int_of("time_axis", 1 - batch_axis)},
                 {x, Value::indices(lengths)});
    for (int64_t i = 0; i < shape.elements(); ++i) {
      std::vector<int64_t> at = coordinates_of(shape, i);
      const int64_t length = lengths[static_cast<size_t>(at[static_cast<size_t>(batch_axis)])];
      int64_t& time = at[static_cast<size_t>(1 - batch_axis)];
      if (time < length) time = length - 1 - time;
      ASSERT_EQ(y.values<float>()[static_cast<size_t>(i)], x.values<float>()[broadcast_index(shape, at)]);
    }
  }
  EXPECT_EQ(code_of("ReverseSequence", 10, {}, {x, Value::indices({1, 1, 1})}), StatusCode::kShape);
  EXPECT_EQ(code_of("ReverseSequence", 10, {}, {x, Value::indices({1, 1, 1, 4})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("ReverseSequence", 10, {}, {x, Value::indices({1, 1, 1, -1})}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of("ReverseSequence", 10, {int_of("batch_axis", 2)}, {x, Value::indices({1, 1})}), StatusCode::kShape);
}

TEST(Movement, EyeLikeHasOnesOnItsDiagonal) {
  const Value x = Value::random({3, 4}, 1);
  for (const int64_t k :
       {int64_t{0}, int64_t{1}, int64_t{3}, int64_t{4}, int64_t{-2}, int64_t{-3}, INT64_MIN, INT64_MAX}) {
    std::vector<float> expected(12);
    for (int64_t row = 0; row < 3; ++row) {
      for (int64_t column = 0; column < 4; ++column) {
        if (column - row == k) expected[static_cast<size_t>(row * 4 + column)] = 1;
      }
    }
    EXPECT_EQ(run_node("EyeLike", 9, {int_of("k", k)}, {x}).values<float>(), expected) << k;
  }
  EXPECT_EQ(run_node("EyeLike", 9, {int_of("dtype", 7)}, {Value::random({1, 2}, 1)}).values<int64_t>(),
            (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(code_of("EyeLike", 9, {}, {Value::random({4}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("EyeLike", 9, {int_of("dtype", 8)}, {x}), StatusCode::kUnsupportedType);
}

TEST(Movement, ScatteredIntegersAreCombined) {
  const Value x = Value::indices({1, -2, 3, INT64_MAX});
  const Value updates = Value::indices({5, -7, 4, 1});
  using Numbers = std::vector<int64_t>;
  const std::vector<std::pair<std::string, Numbers>> cases = {{"add", {-1, 2, 3, INT64_MIN}},
                                                              {"mul", {-35, -8, 3, INT64_MAX}},
                                                              {"max", {5, 4, 3, INT64_MAX}},
                                                              {"min", {-7, -2, 3, 1}}};
  for (const auto& [reduction, expected] : cases) {
    const std::vector<TestAttribute> attributes = {string_of("reduction", reduction)};
    EXPECT_EQ(run_node("ScatterElements", 18, attributes, {x, Value::indices({0, 0, 1, 3}), updates}).values<int64_t>(),
              expected);
    EXPECT_EQ(run_node("ScatterND", 18, attributes, {x, Value::of<int64_t>({4, 1}, {0, 0, 1, -1}), updates})
                  .values<int64_t>(),
              expected);
  }
  const Value bytes = run_node("ScatterElements", 18, {string_of("reduction", "add")},
                               {Value::of<int8_t>({2}, {127, -1}), Value::indices({0}), Value::of<int8_t>({1}, {1})});
  EXPECT_EQ(bytes.values<int8_t>(), (std::vector<int8_t>{-128, -1}));
}

}  // namespace
}  // namespace quench::rt
