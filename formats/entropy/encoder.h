// Fits entropy models and encodes index streams.
//
// One model serves all streams of a file (or of a group of tensors), because tables per tensor would cost percents:
//
//     ModelFitter fitter(Coder::kArithmetic);
//     for (each tensor) fitter.add(layout, indices);       // gathers statistics only; the indices may go away
//     std::vector<uint8_t> model = fitter.finish();        // stored once, a few hundred bytes
//     Result<Encoder> encoder = Encoder::create(model);
//     Result<std::vector<uint8_t>> stream = encoder->encode(layout, indices);
//
// A model codes any stream, also one that it was not fitted to (with a poorer result). The bytes depend on the
// arguments only. encode() is const and may be called by several threads at once.
//
// Errors: kInvalidArgument when the indices don't match the layout (count, alphabet), otherwise those of
// check_layout().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "formats/entropy/coder.h"

namespace quench::entropy {

class ModelFitter {
 public:
  explicit ModelFitter(Coder coder);
  ~ModelFitter();
  ModelFitter(ModelFitter&&) noexcept;
  ModelFitter& operator=(ModelFitter&&) noexcept;

  Status add(const StreamLayout& layout, std::span<const uint8_t> indices);
  Status add(const StreamLayout& layout, std::span<const uint16_t> indices);
  // The serialized model, at most kMaxModelBytes. Works without any stream, too.
  std::vector<uint8_t> finish() const;

 private:
  struct Statistics;
  std::unique_ptr<Statistics> statistics_;
};

class Encoder {
 public:
  Encoder() = default;
  static Result<Encoder> create(std::span<const uint8_t> model);

  Coder coder() const;

  Result<std::vector<uint8_t>> encode(const StreamLayout& layout, std::span<const uint8_t> indices) const;
  Result<std::vector<uint8_t>> encode(const StreamLayout& layout, std::span<const uint16_t> indices) const;

 private:
  struct Tables;
  std::shared_ptr<const Tables> tables_;
};

}  // namespace quench::entropy
