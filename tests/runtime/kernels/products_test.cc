// Einsum and Det against their definitions.
#include <cmath>
#include <map>
#include <numeric>

#include "tests/runtime/kernels/direct_node.h"

namespace quench::rt {
namespace {

// The sum over all values of all letters; `terms` and `result` have no ellipsis, and no axis is broadcast.
std::vector<float> sum_of_products(const std::vector<std::string>& terms, const std::string& result,
                                   const std::vector<Value>& operands) {
  std::map<char, int64_t> sizes;
  for (size_t k = 0; k < terms.size(); ++k) {
    for (size_t i = 0; i < terms[k].size(); ++i) sizes[terms[k][i]] = operands[k].shape[static_cast<int>(i)];
  }
  int64_t total = 1;
  for (const auto& [letter, size] : sizes) total *= size;
  const auto element = [&](const std::string& term, std::map<char, int64_t>& at) {
    int64_t index = 0;
    for (const char letter : term) index = index * sizes[letter] + at[letter];
    return static_cast<size_t>(index);
  };
  int64_t outputs = 1;
  for (const char letter : result) outputs *= sizes[letter];
  std::vector<double> sums(static_cast<size_t>(outputs));
  for (int64_t i = 0; i < total; ++i) {
    std::map<char, int64_t> at;
    int64_t rest = i;
    for (const auto& [letter, size] : sizes) {
      at[letter] = rest % size;
      rest /= size;
    }
    double product = 1;
    for (size_t k = 0; k < terms.size(); ++k) product *= operands[k].values<float>()[element(terms[k], at)];
    sums[element(result, at)] += product;
  }
  return {sums.begin(), sums.end()};
}

Value einsum(const std::string& equation, const std::vector<Value>& operands) {
  return run_node("Einsum", 12, {string_of("equation", equation)}, {operands.begin(), operands.end()});
}

StatusCode einsum_code(const std::string& equation, const std::vector<Value>& operands) {
  return code_of("Einsum", 12, {string_of("equation", equation)}, {operands.begin(), operands.end()});
}

TEST(Einsum, SumsWhatItsEquationSays) {
  const Value square = Value::random({3, 3}, 1);
  const Value matrix = Value::random({3, 4}, 2);
  const Value cube = Value::random({2, 4, 3}, 3);
  const Value vector = Value::random({4}, 4);
  struct Case {
    std::string equation;
    std::vector<std::string> terms;
    std::string result;
    std::vector<Value> operands;
  };
  const std::vector<Case> cases = {
      {"ij->ji", {"ij"}, "ji", {matrix}},
      {"ij->", {"ij"}, "", {matrix}},
      {"ij->i", {"ij"}, "i", {matrix}},
      {"ii->i", {"ii"}, "i", {square}},
      {"ii", {"ii"}, "", {square}},
      {"ba", {"ba"}, "ab", {matrix}},
      {" ij , jk -> ik ", {"ij", "jk"}, "ik", {square, matrix}},
      {"ij,jk", {"ij", "jk"}, "ik", {square, matrix}},
      {"bij,jk->bik", {"bij", "jk"}, "bik", {cube, square}},
      {"bij,bik->bjk", {"bij", "bik"}, "bjk", {cube, cube}},
      {"i,j->ij", {"i", "j"}, "ij", {vector, vector}},
      {"i,i", {"i", "i"}, "", {vector, vector}},
      {"ij,j,kj->ik", {"ij", "j", "kj"}, "ik", {matrix, vector, matrix}},
      {"ij,j,kj,jk->ik", {"ij", "j", "kj", "jk"}, "ik", {matrix, vector, matrix, Value::random({4, 3}, 5)}},
      {"i,j,k,i,j,k->ki", {"i", "j", "k", "i", "j", "k"}, "ki", {vector, vector, vector, vector, vector, vector}},
      {"Za,aZ->Za", {"Za", "aZ"}, "Za", {square, square}},
  };
  for (const Case& each : cases) {
    expect_near(einsum(each.equation, each.operands), sum_of_products(each.terms, each.result, each.operands));
  }
}

TEST(Einsum, AnEllipsisIsBroadcast) {
  const Value a = Value::random({2, 1, 3, 4}, 1);
  const Value b = Value::random({5, 4, 2}, 2);
  const std::vector<float> as = a.values<float>();
  const std::vector<float> bs = b.values<float>();
  std::vector<float> expected;
  for (size_t n = 0; n < 2; ++n) {
    for (size_t m = 0; m < 5; ++m) {
      for (size_t i = 0; i < 3; ++i) {
        for (size_t k = 0; k < 2; ++k) {
          double sum = 0;
          for (size_t j = 0; j < 4; ++j) sum += as[(n * 3 + i) * 4 + j] * bs[(m * 4 + j) * 2 + k];
          expected.push_back(static_cast<float>(sum));
        }
      }
    }
  }
  for (const char* equation : {"...ij,...jk->...ik", "...ij,...jk"}) {
    const Value y = einsum(equation, {a, b});
    EXPECT_TRUE((y.shape == Shape{2, 5, 3, 2}));
    expect_near(y, expected);
  }
  const Value diagonal = einsum("...ii->...i", {Value::of<float>({1, 2, 2}, {1, 2, 3, 4})});
  EXPECT_EQ(diagonal.values<float>(), (std::vector<float>{1, 4}));
}

TEST(Einsum, BadEquationsAreRefused) {
  const Value x = Value::random({2, 3}, 1);
  for (const char* equation :
       {"ij->ik", "ij->ii", "i1->i", "ij,->i", "ij->i.j", "ij->......", "->", "ij->i->j", "", "ij,ij->ij"}) {
    EXPECT_NE(einsum_code(equation, {x}), StatusCode::kOk) << equation;
  }
  EXPECT_EQ(einsum_code("ij,ij->ij", {x, Value::random({3, 2}, 1)}), StatusCode::kShape);
  EXPECT_EQ(einsum_code("i->i", {x}), StatusCode::kShape);
  EXPECT_EQ(einsum_code("ijk->i", {x}), StatusCode::kShape);
  EXPECT_EQ(einsum_code("...ijk->i", {x}), StatusCode::kShape);
  EXPECT_EQ(einsum_code("......ij->i", {x}), StatusCode::kShape);
  EXPECT_EQ(einsum_code("i,i,i,i,i,i,i->i", {x, x, x, x, x, x, x}), StatusCode::kUnsupportedFeature);
  EXPECT_EQ(einsum_code("i->i", {Value::indices({1})}), StatusCode::kUnsupportedType);
  EXPECT_NE(einsum_code(std::string(100, 'i') + "->i", {x}), StatusCode::kOk);
}

// By the sum over all permutations.
double determinant(const std::vector<float>& a, size_t size) {
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), size_t{0});
  double sum = 0;
  do {
    double product = 1;
    for (size_t i = 0; i < size; ++i) {
      product *= a[i * size + order[i]];
      for (size_t k = 0; k < i; ++k) product *= order[k] > order[i] ? -1 : 1;
    }
    sum += product;
  } while (std::next_permutation(order.begin(), order.end()));
  return sum;
}

TEST(Det, IsTheSumOverPermutations) {
  for (int64_t size = 1; size <= 5; ++size) {
    const Value x = Value::random({3, size, size}, static_cast<uint32_t>(size));
    const std::vector<float> values = x.values<float>();
    std::vector<float> expected;
    for (int64_t i = 0; i < 3; ++i) {
      const auto begin = values.begin() + i * size * size;
      expected.push_back(
          static_cast<float>(determinant(std::vector<float>(begin, begin + size * size), static_cast<size_t>(size))));
    }
    expect_near(run_node("Det", 11, {}, {x}), expected, 1e-4f);
  }
  EXPECT_EQ(run_node("Det", 11, {}, {Value::of<float>({2, 2}, {0, 1, 0, 2})}).values<float>()[0], 0);
  EXPECT_EQ(code_of("Det", 11, {}, {Value::random({2, 3}, 1)}), StatusCode::kShape);
  EXPECT_EQ(code_of("Det", 11, {}, {Value::random({2}, 1)}), StatusCode::kShape);
}

}  // namespace
}  // namespace quench::rt
