#include "compressor/training/loop/batches.h"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "compressor/training/loop/counter_random.h"
#include "formats/error.h"

namespace quench::training {
namespace {

struct Image {
  int64_t channels, height, width;
  int64_t channel_stride, row_stride, column_stride;
};

// Channels first, or last where only the last dimension can be channels.
std::optional<Image> image_of(const std::vector<int64_t>& shape) {
  if (shape.size() != 3) return std::nullopt;
  if (shape[0] <= 4) return Image{shape[0], shape[1], shape[2], shape[1] * shape[2], shape[2], 1};
  if (shape[2] <= 4) return Image{shape[2], shape[0], shape[1], 1, shape[1] * shape[2], shape[2]};
  return std::nullopt;
}

}  // namespace

Batches::Batches(const data::Dataset& dataset, const BatchOptions& options) : dataset_(dataset), options_(options) {
  uint64_t samples = dataset.size();
  if (options.samples != 0) samples = std::min(samples, options.samples);
  count_ = static_cast<int64_t>(samples) / options.batch;
  if (count_ == 0) {
    throw Error::make("the data has {} samples, fewer than a batch of {}: give a smaller --batch", samples,
                      options.batch);
  }
  if (options.batch % options.ranks != 0) {
    throw Error::make("a batch of {} cannot be shared out to {} processes: give a multiple as --batch", options.batch,
                      options.ranks);
  }
}

Batches::~Batches() {
  if (pending_.valid()) pending_.wait();
}

void Batches::start(int epoch, int64_t first) {
  if (pending_.valid()) pending_.wait();
  epoch_ = epoch;
  position_ = first;
  order_.resize(dataset_.size());
  std::iota(order_.begin(), order_.end(), uint64_t{0});
  const uint64_t key = mix(options_.seed, static_cast<uint64_t>(epoch));
  for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[mix(key, i) % i]);
  if (position_ < count_) pending_ = std::async(std::launch::async, [this] { return make(position_); });
}

Batch Batches::next() {
  Batch batch = pending_.get();
  ++position_;
  if (position_ < count_) pending_ = std::async(std::launch::async, [this, at = position_] { return make(at); });
  return batch;
}

Batch Batches::make(int64_t index) const {
  const int64_t own = options_.batch / options_.ranks;
  const int64_t first = index * options_.batch + options_.rank * own;
  const std::span<const uint64_t> indices(order_.data() + first, static_cast<size_t>(own));
  std::vector<int64_t> dims = {own};
  dims.insert(dims.end(), dataset_.sample_shape().begin(), dataset_.sample_shape().end());
  Batch batch{torch::empty(dims, torch::kFloat32), {}, {}};
  if (dataset_.class_count() > 0) batch.labels = torch::empty({own}, torch::kInt64);
  const uint64_t elements = dataset_.sample_elements();
  float* values = batch.inputs.data_ptr<float>();
  dataset_.fill(indices, {values, static_cast<size_t>(own) * elements},
                batch.labels.defined() ? std::span(batch.labels.data_ptr<int64_t>(), static_cast<size_t>(own))
                                       : std::span<int64_t>());
  const auto key_of = [&](int64_t i) {
    return mix(mix(options_.seed, ~static_cast<uint64_t>(epoch_)), static_cast<uint64_t>(first + i));
  };
  if (options_.noise) {
    batch.noise = torch::empty(dims, torch::kFloat32);
    float* noise = batch.noise.data_ptr<float>();
    for (int64_t i = 0; i < own; ++i) {
      for (uint64_t e = 0; e < elements; ++e) *noise++ = mix(key_of(i), e) >> 63 ? 1.0f : -1.0f;
    }
  }
  for (int64_t i = 0; options_.augment && i < own; ++i)
    augment(values + static_cast<uint64_t>(i) * elements, key_of(i));
  return batch;
}

// Shifted by up to an eighth each way, zeros moving in, and mirrored half of the time where that keeps the class.
void Batches::augment(float* sample, uint64_t key) const {
  const std::optional<Image> image = image_of(dataset_.sample_shape());
  if (!image) return;
  const auto shift = [&](int64_t size, uint64_t draw) {
    const int64_t reach = size / 8;
    return static_cast<int64_t>(draw % static_cast<uint64_t>(2 * reach + 1)) - reach;
  };
  const int64_t down = shift(image->height, key & 0xFFFF), right = shift(image->width, (key >> 16) & 0xFFFF);
  const bool mirror = dataset_.may_mirror() && (key >> 32 & 1) != 0;
  const std::vector<float> old(sample, sample + dataset_.sample_elements());
  for (int64_t y = 0; y < image->height; ++y) {
    for (int64_t x = 0; x < image->width; ++x) {
      const int64_t from_y = y + down, from_x = (mirror ? image->width - 1 - x : x) + right;
      const bool inside = from_y >= 0 && from_y < image->height && from_x >= 0 && from_x < image->width;
      for (int64_t c = 0; c < image->channels; ++c) {
        const int64_t base = c * image->channel_stride;
        sample[base + y * image->row_stride + x * image->column_stride] =
            inside ? old[static_cast<size_t>(base + from_y * image->row_stride + from_x * image->column_stride)] : 0;
      }
    }
  }
}

}  // namespace quench::training
