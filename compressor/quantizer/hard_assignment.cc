#include "compressor/quantizer/hard_assignment.h"

#include <algorithm>
#include <cmath>

#include "compressor/quantizer/envelope.h"
#include "formats/base/parallel.h"
#include "formats/error.h"

namespace quench::quantizer {
namespace {

constexpr size_t kBlock = size_t{1} << 14;  // vectors per part of assign_all
constexpr size_t kCellsPerThreshold = 4;
constexpr size_t kMaxCells = 4096;

void check_codebook(const Codebook& codebook, float beta) {
  const size_t width = static_cast<size_t>(codebook.dimension);
  if (codebook.size() == 0 || codebook.centers.size() != codebook.size() * width) {
    throw Error::make("a codebook with {} centers of dimension {} holds {} values", codebook.size(), width,
                      codebook.centers.size());
  }
  check_vectors(codebook.centers, codebook.dimension);
  if (codebook.dimension == 1 && !std::is_sorted(codebook.centers.begin(), codebook.centers.end())) {
    throw Error("the centers of a scalar codebook do not ascend");
  }
  const auto finite = [](float bits) { return std::isfinite(bits); };
  if (!(beta >= 0) || !std::isfinite(beta) || !std::all_of(codebook.bits.begin(), codebook.bits.end(), finite)) {
    throw Error("beta and the code lengths of a codebook must be finite, and beta not negative");
  }
}

}  // namespace

HardAssigner::HardAssigner(const Codebook& codebook, float beta) : dimension_(codebook.dimension) {
  check_codebook(codebook, beta);
  if (dimension_ == 1) {
    Envelope envelope = lower_envelope(codebook.centers, codebook.bits, beta);
    thresholds_ = std::move(envelope.thresholds);
    winners_ = std::move(envelope.winners);
    build_table();
  } else {
    std::vector<float> coordinates, penalties;
    for (size_t k = 0; k < static_cast<size_t>(dimension_); ++k) {
      for (size_t j = 0; j < codebook.size(); ++j) coordinates.push_back(codebook.center(j)[k]);
    }
    for (const float bits : codebook.bits) penalties.push_back(beta * bits);
    nearest_ = NearestCenter(coordinates, penalties);
  }
}

// Uniform cells over the range of most thresholds. A slot is skipped in a cell only when its threshold lies in an
// earlier cell: cell_of is monotonic, so every value of the cell is then above that threshold, whatever the rounding.
void HardAssigner::build_table() {
  const size_t finite = thresholds_.size() - 1;
  const size_t cells = std::min(kMaxCells, kCellsPerThreshold * finite + 1);
  table_.assign(cells, 0);
  if (finite == 0) return;
  // The middle 90 %, widened: an outlying threshold would leave the others in one cell.
  const float low = thresholds_[finite / 20];
  const float high = thresholds_[finite - 1 - finite / 20];
  const float margin = 0.1f * (high - low) + 1e-3f;
  table_origin_ = low - margin;
  table_scale_ = static_cast<float>(cells) / (high - low + 2 * margin);
  size_t slot = 0;
  for (size_t cell = 0; cell < cells; ++cell) {
    while (slot < finite && cell_of(thresholds_[slot]) < cell) ++slot;
    table_[cell] = static_cast<uint32_t>(slot);
  }
}

uint32_t HardAssigner::search(const float* vector) const {
  uint32_t index;
  nearest_.search(vector, 1, &index, nullptr);
  return index;
}

void HardAssigner::assign_all(std::span<const float> values, std::span<uint32_t> indices, int threads) const {
  const size_t width = static_cast<size_t>(dimension_);
  if (values.size() != indices.size() * width) {
    throw Error::make("{} values do not give {} indices of dimension {}", values.size(), indices.size(), width);
  }
  parallel_blocks(indices.size(), kBlock, threads, [&](size_t, size_t begin, size_t end) {
    if (dimension_ == 1) {
      for (size_t i = begin; i < end; ++i) indices[i] = assign(values[i]);
    } else {
      nearest_.search(values.data() + begin * width, end - begin, indices.data() + begin, nullptr);
    }
  });
}

}  // namespace quench::quantizer
