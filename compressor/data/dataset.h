// Inputs for a model, and their labels where there are any: one interface over files, folders and the built-in set.
//
//     std::unique_ptr<Dataset> data = open_dataset("cifar10:cifar-10-batches-bin", {.model_input = {-1, 3, 32, 32}});
//     std::vector<float> values(batch * data->sample_elements());
//     std::vector<int64_t> labels(batch);
//     data->fill(indices, values, labels);
//
// A spec is one of
//     cifar10:DIR            the test set (test_batch.bin) of CIFAR-10's binary version
//     cifar10-train:DIR      its training set
//     mnist:DIR              the test set of MNIST, or of a set in the same form: t10k-images-idx3-ubyte.gz and
//                            t10k-labels-idx1-ubyte.gz, as they are offered
//     mnist-train:DIR        its training set
//     synthetic:shapes       the built-in set; with ,count=N (default 10000) ,seed=S (0) ,split=train|test (test)
//     synthetic:moons        points in the plane, without labels (points.h); likewise checkerboard, pinwheel, spirals,
//                            8gaussians and rings; with the same arguments
//     DIR                    a folder with a folder of PNG and JPEG files for each class (the label is the folder's
//                            place in the sorted list), or a folder of such files without labels
//     FILE.npy               an array of samples x anything
//     FILE.npz               array `x` (or the only one) of samples, and `y` of integer labels, if it is there; others
//                            are not looked at
//
// Images are scaled (bilinear, averaging when they shrink) and cropped in the middle to the model's input, and have one
// channel (luma) or three (RGB) as it asks. Their samples are taken as they lie in the file: gamma, colour profiles and
// EXIF's orientation are not applied, 16 bits are rounded to 8, CMYK becomes RGB by the light that its inks leave. Each
// value becomes (pixel * scale - mean) / std of its channel. Arrays must have the model's shape. Errors are thrown as
// quench::Error with the file's name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compressor/data/array.h"

namespace quench::data {

enum class Layout : uint8_t { kNchw, kNhwc };

struct DatasetOptions {
  std::vector<float> mean, std;  // one for each channel, or one for all; empty: 0 and 1
  std::optional<float> scale;    // default 1/255 for images, 1 for arrays
  std::optional<Layout> layout;  // default: NHWC where only the input's last dimension can be channels (1 or 3)
  bool bgr = false;              // of images: blue first; mean and std are those of the channels in this order
  bool images_only = false;      // arrays are left as they are: what a model's file says of its images
  // The model's declared shape with its batch dimension, -1 where a dimension is open; empty: as the data is.
  std::vector<int64_t> model_input;
};

class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual uint64_t size() const = 0;
  // Labels are 0 to class_count - 1; 0: there are none.
  virtual int64_t class_count() const = 0;
  // Of one sample, without a batch dimension, in the model's layout.
  virtual const std::vector<int64_t>& sample_shape() const = 0;

  // Samples `indices` (each below size()) one after the other into `values`; their labels into `labels`, which is empty
  // if they are not wanted or there are none.
  virtual void fill(std::span<const uint64_t> indices, std::span<float> values, std::span<int64_t> labels) const = 0;

  // Whether a mirrored sample is one of the same class: not of digits.
  virtual bool may_mirror() const { return true; }

  // All samples along the first axis, of the type that they have in the file, where fill() changes nothing but that;
  // nullptr: it does.
  virtual const Array* exact() const { return nullptr; }

  // The file that has this sample alone; empty: none has.
  virtual std::string file_of(uint64_t /*index*/) const { return {}; }

  uint64_t sample_elements() const;
};

std::unique_ptr<Dataset> open_dataset(std::string_view spec, const DatasetOptions& options = {});

// `taken`: `count` samples that are spread over all of the set; `rest`: the others. Both in the set's order.
struct Split {
  std::unique_ptr<Dataset> rest, taken;
};
// Throws quench::Error where one of them would be empty.
Split split(std::unique_ptr<Dataset> dataset, uint64_t count);

// The files that a data set is read from, or FILE.npz:ARRAY; none for what is no data.
std::vector<std::filesystem::path> files_of(std::string_view spec);

// FILE.npz itself; the .npz files of a folder without images, in the order of their names; none for what is neither.
std::vector<std::filesystem::path> npz_files_of(std::string_view spec);
// The same, or, where there are none, the .npy files of a folder without images.
std::vector<std::filesystem::path> array_files_of(std::string_view spec);

// The k-th sample of an order in which every prefix is spread over the whole set, so that a part of a folder that is
// sorted by class has samples of all classes. A permutation of 0 to size - 1.
uint64_t spread_index(uint64_t k, uint64_t size);

}  // namespace quench::data
