#include "compressor/compress/error_feedback.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "compressor/quantizer/hard_assignment.h"
#include "compressor/quantizer/trellis_assignment.h"

namespace quench::quantizer {
namespace {

// Rows do not see each other: so many at a time stay in the cache. A multiple of all dimensions of vectors.
constexpr int64_t kRowsAtOnce = 64;
// A trellis that is cut has to begin each part in the state that the one before ended in: the longer, the better.
constexpr int64_t kTrellisRowsAtOnce = 256;

// Upper triangular U with U^T U = H^-1 for H, as far as it is trusted, its columns in `order`. With the order reversed by
// P, P H P = L L^T, so that U = P L^-1 P: one decomposition and no inverse.
Eigen::MatrixXf spread_matrix(const Eigen::MatrixXd& moment, const std::vector<int64_t>& order, MomentTrust trust) {
  const Eigen::Index n = moment.rows();
  Eigen::MatrixXd reversed(n, n);
  for (Eigen::Index j = 0; j < n; ++j) {
    const auto column = order[static_cast<size_t>(n - 1 - j)];
    for (Eigen::Index i = 0; i < n; ++i)
      reversed(i, j) = (i == j ? 1 : trust.products) * moment(order[static_cast<size_t>(n - 1 - i)], column);
  }
  const double mean = reversed.diagonal().mean();
  reversed.diagonal().array() += mean > 0 ? trust.damping * mean : 1.0;
  const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> decomposed(reversed);  // in place
  Eigen::MatrixXd inverse = Eigen::MatrixXd::Identity(n, n);
  decomposed.matrixL().solveInPlace(inverse);
  return inverse.reverse().cast<float>();
}

// Columns with the strongest activations first: their errors have the most columns left to be spread over. Vectors that
// span columns stay together, so then the order is kept.
std::vector<int64_t> column_order(const Eigen::MatrixXd& moment, bool keep) {
  std::vector<int64_t> order(static_cast<size_t>(moment.rows()));
  std::iota(order.begin(), order.end(), 0);
  if (!keep) {
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return moment(a, a) > moment(b, b); });
  }
  return order;
}

// The assignment trades distance for bits at a price that depends on the column: an error in a column that later ones
// can compensate costs less. Prices are rounded to quarter octaves, so that few assigners are needed.
template <typename Assigner>
class PricedAssigners {
 public:
  PricedAssigners(const Codebook& codebook, float beta) : codebook_(codebook), beta_(beta) {}

  const Assigner& at(double factor) {
    const int level = static_cast<int>(std::lround(4 * std::log2(std::clamp(factor, 1.0 / 64, 64.0))));
    const auto found = assigners_.find(level);
    if (found != assigners_.end()) return found->second;
    return assigners_.emplace(level, Assigner(codebook_, beta_ * std::exp2(static_cast<float>(level) / 4)))
        .first->second;
  }

 private:
  const Codebook& codebook_;
  float beta_;
  std::map<int, Assigner> assigners_;
};

}  // namespace

// The assignment of `rows` rows of one block from `first` on: the matrix lies transposed, a column of the weight in a
// contiguous row-vector.
class ErrorFeedback::Assignment {
 public:
  Assignment(const MatrixView& view, const Block& block, const Codebook& codebook, int64_t first, int64_t rows)
      : view_(view),
        block_(block),
        codebook_(codebook),
        first_row_(block.first_row + first),
        rows_(rows),
        across_columns_(view.column_stride == 1 && codebook.dimension > 1) {}

  void run(PricedAssigners<HardAssigner>& assigners, std::span<const float> values, std::span<uint32_t> indices);
  // states: of each column of the view, where the rows before ended.
  void run(PricedAssigners<TrellisAssigner>& assigners, std::span<uint32_t> states, std::span<const float> values,
           std::span<uint32_t> indices);

 private:
  int64_t element(int64_t row, size_t position) const {
    return (first_row_ + row) * view_.row_stride + (block_.first_column + block_.order[position]) * view_.column_stride;
  }
  void load(std::span<const float> values);
  void choose(size_t position, const HardAssigner& assigner, std::span<uint32_t> indices);
  void choose(size_t position, const TrellisAssigner& assigner, uint32_t& state, std::span<uint32_t> indices);
  void spread(size_t position);

  const MatrixView& view_;
  const Block& block_;
  const Codebook& codebook_;
  int64_t first_row_, rows_;
  bool across_columns_;        // a vector holds d columns of one row; otherwise one column of d rows
  Eigen::MatrixXf columns_;    // rows x columns, in the block's order
  Eigen::MatrixXf quantized_;  // the columns of the current step
  TrellisAssigner::Workspace workspace_;
};

void ErrorFeedback::Assignment::load(std::span<const float> values) {
  columns_.resize(rows_, static_cast<Eigen::Index>(block_.order.size()));
  for (size_t p = 0; p < block_.order.size(); ++p) {
    for (int64_t r = 0; r < rows_; ++r)
      columns_(r, static_cast<Eigen::Index>(p)) = values[static_cast<size_t>(element(r, p))];
  }
}

void ErrorFeedback::Assignment::choose(size_t position, const HardAssigner& assigner, std::span<uint32_t> indices) {
  const int64_t d = codebook_.dimension;
  const int64_t rows_per_vector = across_columns_ ? 1 : d;
  const int64_t columns_per_vector = across_columns_ ? d : 1;
  float vector[8];
  for (int64_t r = 0; r < rows_; r += rows_per_vector) {
    for (int64_t k = 0; k < d; ++k) {
      vector[k] =
          columns_(r + (across_columns_ ? 0 : k), static_cast<Eigen::Index>(position) + (across_columns_ ? k : 0));
    }
    const uint32_t index = assigner.assign(vector);
    indices[static_cast<size_t>(element(r, position) / d)] = index;
    const std::span<const float> center = codebook_.center(index);
    for (int64_t i = 0; i < rows_per_vector; ++i) {
      for (int64_t j = 0; j < columns_per_vector; ++j) quantized_(r + i, j) = center[static_cast<size_t>(i + j)];
    }
  }
}

void ErrorFeedback::Assignment::choose(size_t position, const TrellisAssigner& assigner, uint32_t& state,
                                       std::span<uint32_t> indices) {
  std::array<uint32_t, kTrellisRowsAtOnce> chosen;
  const auto rows = static_cast<size_t>(rows_);
  const std::span<const float> values(columns_.col(static_cast<Eigen::Index>(position)).data(), rows);
  assigner.assign(values, state, std::span(chosen).first(rows), workspace_);
  for (int64_t r = 0; r < rows_; ++r) {
    const uint32_t index = chosen[static_cast<size_t>(r)];
    indices[static_cast<size_t>(element(r, position))] = index;
    quantized_(r, 0) = assigner.center(index);
  }
}

void ErrorFeedback::Assignment::spread(size_t position) {
  const auto first = static_cast<Eigen::Index>(position);
  for (Eigen::Index j = 0; j < quantized_.cols(); ++j) {
    const Eigen::Index p = first + j;
    const Eigen::VectorXf error = (columns_.col(p) - quantized_.col(j)) / block_.spread(p, p);
    for (Eigen::Index later = p + 1; later < columns_.cols(); ++later)
      columns_.col(later) -= block_.spread(p, later) * error;
  }
}

void ErrorFeedback::Assignment::run(PricedAssigners<HardAssigner>& assigners, std::span<const float> values,
                                    std::span<uint32_t> indices) {
  load(values);
  const size_t step = across_columns_ ? static_cast<size_t>(codebook_.dimension) : 1;
  quantized_.resize(rows_, static_cast<Eigen::Index>(step));
  for (size_t p = 0; p < block_.order.size(); p += step) {
    choose(p, assigners.at(block_.weights[p]), indices);
    spread(p);
  }
}

void ErrorFeedback::Assignment::run(PricedAssigners<TrellisAssigner>& assigners, std::span<uint32_t> states,
                                    std::span<const float> values, std::span<uint32_t> indices) {
  load(values);
  quantized_.resize(rows_, 1);
  for (size_t p = 0; p < block_.order.size(); ++p) {
    choose(p, assigners.at(block_.weights[p]), states[static_cast<size_t>(block_.first_column + block_.order[p])],
           indices);
    spread(p);
  }
}

ErrorFeedback::ErrorFeedback(const MatrixView& view, const Moments& moments, MomentTrust trust,
                             bool vectors_span_columns)
    : view_(view) {
  const bool keep_order = vectors_span_columns && view.column_stride == 1;
  for (int64_t g = 0; g < view.groups; ++g) {
    for (int64_t b = 0; b < moments.blocks_per_group(); ++b) {
      const Eigen::MatrixXd moment = moments.second_moment(g, b);
      Block block{g * (view.rows / view.groups), moments.block_begin(b), column_order(moment, keep_order), {}, {}};
      block.spread = spread_matrix(moment, block.order, trust);
      const Eigen::ArrayXd weights = block.spread.diagonal().cast<double>().array().square();
      const double middle = std::exp(weights.log().mean());
      block.weights.resize(block.order.size());
      Eigen::Map<Eigen::ArrayXd>(block.weights.data(), weights.size()) = weights / middle;
      blocks_.push_back(std::move(block));
    }
  }
}

bool ErrorFeedback::assign(const Codebook& codebook, float beta, std::span<const float> values,
                           std::span<uint32_t> indices) const {
  const int64_t d = codebook.dimension;
  if ((view_.column_stride == 1 ? view_.columns : view_.rows / view_.groups) % d != 0) return false;
  PricedAssigners<HardAssigner> assigners(codebook, beta);
  const int64_t rows = view_.rows / view_.groups;
  for (const Block& block : blocks_) {
    for (int64_t first = 0; first < rows; first += kRowsAtOnce) {
      Assignment(view_, block, codebook, first, std::min(kRowsAtOnce, rows - first)).run(assigners, values, indices);
    }
  }
  return true;
}

void ErrorFeedback::assign_trellis(const Codebook& symbols, float beta, uint64_t run, std::span<const float> values,
                                   std::span<uint32_t> indices) const {
  PricedAssigners<TrellisAssigner> assigners(symbols, beta);
  std::vector<uint32_t> states(static_cast<size_t>(view_.columns));
  const int64_t rows = view_.rows / view_.groups, restart = static_cast<int64_t>(run);
  for (const Block& block : blocks_) {
    for (int64_t first = 0; first < rows;) {
      const int64_t behind = (block.first_row + first) % restart;  // rows since the trellis began
      if (behind == 0)
        std::ranges::for_each(block.order, [&](int64_t c) { states[static_cast<size_t>(block.first_column + c)] = 0; });
      const int64_t count = std::min({kTrellisRowsAtOnce, rows - first, restart - behind});
      Assignment(view_, block, symbols, first, count).run(assigners, states, values, indices);
      first += count;
    }
  }
}

}  // namespace quench::quantizer
