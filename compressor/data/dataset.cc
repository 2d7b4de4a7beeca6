#include "compressor/data/dataset.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>

#include "compressor/data/files.h"
#include "compressor/data/idx.h"
#include "compressor/data/image.h"
#include "compressor/data/npy.h"
#include "compressor/data/points.h"
#include "compressor/data/shapes.h"
#include "formats/error.h"

namespace quench::data {
namespace {

namespace fs = std::filesystem;

// Images from anywhere, converted one at a time.
class ImageDataset : public Dataset {
 public:
  const std::vector<int64_t>& sample_shape() const override { return target_.shape(); }

  void fill(std::span<const uint64_t> indices, std::span<float> values, std::span<int64_t> labels) const override {
    const uint64_t elements = sample_elements();
    Image image;
    for (size_t i = 0; i < indices.size(); ++i) {
      const int64_t label = load(indices[i], image);
      target_.convert(image, values.subspan(i * elements, elements));
      if (!labels.empty()) labels[i] = label;
    }
  }

 protected:
  explicit ImageDataset(ImageTarget target) : target_(std::move(target)) {}
  // Replaces `image`, returns the label.
  virtual int64_t load(uint64_t index, Image& image) const = 0;

 private:
  ImageTarget target_;
};

// Some samples of another set.
class Subset final : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> all, std::vector<uint64_t> indices)
      : all_(std::move(all)), indices_(std::move(indices)) {}

  uint64_t size() const override { return indices_.size(); }
  int64_t class_count() const override { return all_->class_count(); }
  const std::vector<int64_t>& sample_shape() const override { return all_->sample_shape(); }
  std::string file_of(uint64_t index) const override { return all_->file_of(indices_[index]); }
  bool may_mirror() const override { return all_->may_mirror(); }

  void fill(std::span<const uint64_t> indices, std::span<float> values, std::span<int64_t> labels) const override {
    std::vector<uint64_t> places;
    for (const uint64_t index : indices) places.push_back(indices_[index]);
    all_->fill(places, values, labels);
  }

 private:
  std::shared_ptr<const Dataset> all_;
  std::vector<uint64_t> indices_;
};

// The binary version of CIFAR-10 (Krizhevsky 2009): records of a label and 32 x 32 pixels, red plane, green, blue.
class Cifar10 : public ImageDataset {
 public:
  Cifar10(const fs::path& folder, bool training, const DatasetOptions& options)
      : ImageDataset(ImageTarget(options, kSide, kSide)) {
    if (!fs::is_directory(folder)) throw Error::make("{}: there is no such folder", folder.string());
    for (const fs::path& file : files(folder, training)) append(file);
  }

  static std::vector<fs::path> files(const fs::path& folder, bool training) {
    if (!training) return {folder / "test_batch.bin"};
    std::vector<fs::path> files;
    for (int batch = 1; batch <= 5; ++batch) files.push_back(folder / fmt::format("data_batch_{}.bin", batch));
    return files;
  }

  uint64_t size() const override { return records_.size() / kRecord; }
  int64_t class_count() const override { return kClasses; }

 private:
  static constexpr int kSide = 32;
  static constexpr size_t kPlane = kSide * kSide;
  static constexpr size_t kRecord = 1 + 3 * kPlane;
  static constexpr int kClasses = 10;

  void append(const fs::path& path) {
    const std::vector<std::byte> file = read_file(path);
    if (file.empty() || file.size() % kRecord != 0) {
      throw Error::make("{}: {} bytes are no whole number of CIFAR-10 records of {} bytes", path.string(), file.size(),
                        kRecord);
    }
    for (size_t at = 0; at < file.size(); at += kRecord) {
      const auto label = std::to_integer<int>(file[at]);
      if (label >= kClasses)
        throw Error::make("{}: record {} has label {}, above 9", path.string(), at / kRecord, label);
    }
    records_.insert(records_.end(), file.begin(), file.end());
  }

  int64_t load(uint64_t index, Image& image) const override {
    const std::byte* record = records_.data() + index * kRecord;
    image.width = image.height = kSide;
    image.pixels.resize(3 * kPlane);
    for (size_t i = 0; i < kPlane; ++i) {
      for (size_t c = 0; c < 3; ++c) image.pixels[3 * i + c] = std::to_integer<uint8_t>(record[1 + c * kPlane + i]);
    }
    return std::to_integer<int64_t>(record[0]);
  }

  std::vector<std::byte> records_;
};

// MNIST and what has its four files: gray images and their labels.
class Mnist : public ImageDataset {
 public:
  Mnist(const fs::path& folder, bool training, const DatasetOptions& options)
      : Mnist(files(folder, training), read_images(folder, training), options) {}

  // Images, then labels.
  static std::vector<fs::path> files(const fs::path& folder, bool training) {
    const std::string prefix = training ? "train" : "t10k";
    return {folder / (prefix + "-images-idx3-ubyte.gz"), folder / (prefix + "-labels-idx1-ubyte.gz")};
  }

  uint64_t size() const override { return labels_.bytes.size(); }
  int64_t class_count() const override { return kClasses; }
  bool may_mirror() const override { return false; }

 private:
  static constexpr int kClasses = 10;

  Mnist(const std::vector<fs::path>& files, IdxArray images, const DatasetOptions& options)
      : ImageDataset(ImageTarget(options, static_cast<int>(images.dims[2]), static_cast<int>(images.dims[1]))),
        images_(std::move(images)),
        labels_(read_idx(files[1], 1)) {
    if (images_.dims[0] != labels_.dims[0]) {
      throw Error::make("{}: there are {} images but {} labels", files[0].parent_path().string(), images_.dims[0],
                        labels_.dims[0]);
    }
    for (size_t i = 0; i < labels_.bytes.size(); ++i) {
      const auto label = std::to_integer<int>(labels_.bytes[i]);
      if (label >= kClasses) throw Error::make("{}: sample {} has label {}, above 9", files[1].string(), i, label);
    }
  }

  static IdxArray read_images(const fs::path& folder, bool training) {
    if (!fs::is_directory(folder)) throw Error::make("{}: there is no such folder", folder.string());
    const fs::path file = files(folder, training)[0];
    IdxArray images = read_idx(file, 3);
    if (images.bytes.empty()) throw Error::make("{}: there are no images in it", file.string());
    return images;
  }

  int64_t load(uint64_t index, Image& image) const override {
    image.width = static_cast<int>(images_.dims[2]);
    image.height = static_cast<int>(images_.dims[1]);
    const size_t pixels = static_cast<size_t>(image.width) * static_cast<size_t>(image.height);
    image.pixels.resize(3 * pixels);
    for (size_t i = 0; i < 3 * pixels; ++i) {
      image.pixels[i] = std::to_integer<uint8_t>(images_.bytes[index * pixels + i / 3]);
    }
    return std::to_integer<int64_t>(labels_.bytes[index]);
  }

  IdxArray images_, labels_;
};

class Shapes : public ImageDataset {
 public:
  Shapes(uint64_t count, const ShapesOptions& shapes, const DatasetOptions& options)
      : ImageDataset(ImageTarget(options, kShapesSide, kShapesSide)), count_(count), shapes_(shapes) {}

  uint64_t size() const override { return count_; }
  int64_t class_count() const override { return kShapesClasses; }

 private:
  int64_t load(uint64_t index, Image& image) const override {
    image.width = image.height = kShapesSide;
    image.pixels.resize(kShapesPixels);
    return draw_shape_image(shapes_, index, std::span<uint8_t, kShapesPixels>(image.pixels.data(), kShapesPixels));
  }

  uint64_t count_;
  ShapesOptions shapes_;
};

struct LabelledFile {
  fs::path path;
  int64_t label;
};

struct Folder {
  std::vector<LabelledFile> files;
  int64_t classes = 0;
};

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with('.')) entries.push_back(entry.path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

// Without files where there are no images.
Folder find_images(const fs::path& root) {
  Folder folder;
  const std::vector<fs::path> entries = sorted_entries(root);
  for (const fs::path& entry : entries) {
    if (!fs::is_directory(entry)) continue;
    for (const fs::path& file : sorted_entries(entry)) {
      if (is_image_name(file)) folder.files.push_back({file, folder.classes});
    }
    ++folder.classes;
  }
  if (folder.files.empty()) {
    folder.classes = 0;
    for (const fs::path& entry : entries) {
      if (is_image_name(entry)) folder.files.push_back({entry, 0});
    }
  }
  return folder;
}

Folder scan_folder(const fs::path& root) {
  Folder folder = find_images(root);
  if (folder.files.empty()) {
    throw Error::make("{}: there are no .png or .jpg files in this folder or the folders in it", root.string());
  }
  return folder;
}

class ImageFolder : public ImageDataset {
 public:
  ImageFolder(Folder folder, const DatasetOptions& options) : ImageFolder(std::move(folder), options, Image()) {}

  uint64_t size() const override { return folder_.files.size(); }
  int64_t class_count() const override { return folder_.classes; }
  std::string file_of(uint64_t index) const override { return folder_.files[index].path.string(); }

 private:
  // The first image says what open dimensions of the model become.
  ImageFolder(Folder folder, const DatasetOptions& options, Image first)
      : ImageDataset((first = read_image(folder.files.front().path), ImageTarget(options, first.width, first.height))),
        folder_(std::move(folder)) {}

  int64_t load(uint64_t index, Image& image) const override {
    const LabelledFile& file = folder_.files[index];
    image = read_image(file.path);
    return file.label;
  }

  Folder folder_;
};

constexpr uint64_t kMaxPoints = uint64_t{1} << 26;  // 512 MiB
constexpr int64_t kLargestLabel = (int64_t{1} << 31) - 1;

class ArrayDataset : public Dataset {
 public:
  ArrayDataset(std::string name, Array samples, std::vector<int64_t> labels, const DatasetOptions& options)
      : name_(std::move(name)), samples_(std::move(samples)), labels_(std::move(labels)) {
    check_shape(options.model_input);
    shape_.assign(samples_.dims.begin() + 1, samples_.dims.end());
    check_labels();
    if (options.images_only) {
      factor_ = {1};
      offset_ = {0};
    } else {
      read_preprocessing(options);
    }
  }

  uint64_t size() const override { return static_cast<uint64_t>(samples_.dims[0]); }
  int64_t class_count() const override { return classes_; }
  const std::vector<int64_t>& sample_shape() const override { return shape_; }
  const Array* exact() const override {
    const auto is = [](float wanted) { return [wanted](float value) { return value == wanted; }; };
    return std::ranges::all_of(factor_, is(1)) && std::ranges::all_of(offset_, is(0)) ? &samples_ : nullptr;
  }

  void fill(std::span<const uint64_t> indices, std::span<float> values, std::span<int64_t> labels) const override {
    const uint64_t elements = sample_elements();
    const uint64_t sample_bytes = elements * element_bits(samples_.type) / 8;
    for (size_t i = 0; i < indices.size(); ++i) {
      const std::byte* begin = samples_.bytes.data() + indices[i] * sample_bytes;
      const std::vector<float> sample = Array{samples_.type, shape_, {begin, begin + sample_bytes}}.to_float();
      for (uint64_t e = 0; e < elements; ++e) {
        const size_t channel = (e / inner_) % factor_.size();
        values[i * elements + e] = sample[e] * factor_[channel] + offset_[channel];
      }
      if (!labels.empty()) labels[i] = labels_[indices[i]];
    }
  }

 private:
  void check_shape(const std::vector<int64_t>& model) const {
    if (samples_.dims.empty() || samples_.elements() == 0) throw Error::make("{}: there are no samples in it", name_);
    if (model.empty()) return;
    bool fits = samples_.dims.size() == model.size();
    for (size_t d = 1; fits && d < model.size(); ++d) fits = model[d] < 0 || model[d] == samples_.dims[d];
    if (!fits) {
      throw Error::make("{}: an array of {} does not fit the model's input {}", name_, dims_text(samples_.dims),
                        dims_text(model));
    }
  }

  void check_labels() {
    if (labels_.empty()) return;
    if (labels_.size() != size())
      throw Error::make("{}: there are {} samples but {} labels", name_, size(), labels_.size());
    const auto [low, high] = std::minmax_element(labels_.begin(), labels_.end());
    if (*low < 0) throw Error::make("{}: label {} is below 0", name_, *low);
    if (*high > kLargestLabel) throw Error::make("{}: label {} is above {}", name_, *high, kLargestLabel);
    classes_ = *high + 1;
  }

  void read_preprocessing(const DatasetOptions& options) {
    const size_t count = std::max({options.mean.size(), options.std.size(), size_t{1}});
    const float scale = options.scale.value_or(1.0f);
    if (count > 1) {
      const bool last = options.layout == Layout::kNhwc;
      const int64_t channels = shape_.empty() ? 0 : (last ? shape_.back() : shape_.front());
      if (channels != static_cast<int64_t>(count)) {
        throw Error::make("{}: {} values of mean or std are given, the samples have {} channels", name_, count,
                          channels);
      }
      inner_ = last ? 1 : sample_elements() / count;
    }
    const auto value = [](const std::vector<float>& values, size_t c, float fallback) {
      return values.empty() ? fallback : values[values.size() == 1 ? 0 : c];
    };
    if ((options.mean.size() > 1 && options.mean.size() != count) ||
        (options.std.size() > 1 && options.std.size() != count)) {
      throw Error::make("{} mean values and {} std values do not fit together", options.mean.size(),
                        options.std.size());
    }
    for (size_t c = 0; c < count; ++c) {
      const float deviation = value(options.std, c, 1.0f);
      if (!(deviation > 0)) throw Error("std must be above 0");
      factor_.push_back(scale / deviation);
      offset_.push_back(-value(options.mean, c, 0.0f) / deviation);
    }
  }

  std::string name_;
  Array samples_;
  std::vector<int64_t> labels_;
  std::vector<int64_t> shape_;
  int64_t classes_ = 0;
  uint64_t inner_ = 1;  // values between one channel and the next
  std::vector<float> factor_, offset_;
};

std::unique_ptr<Dataset> open_npz(const std::string& path, const DatasetOptions& options) {
  // Other arrays may be of types that cannot be read.
  std::map<std::string, Array> arrays = read_npz(
      path, [](const std::string& name, const auto& names) { return name == "x" || name == "y" || names.size() == 1; });
  const bool labelled = arrays.contains("y");
  auto samples = arrays.find("x");
  if (samples == arrays.end() && arrays.size() == 1 && !labelled) samples = arrays.begin();
  if (samples == arrays.end()) throw Error::make("{}: there is no array 'x' of samples", path);
  std::vector<int64_t> labels;
  if (labelled) {
    if (is_float(arrays["y"].type)) throw Error::make("{}: array 'y' must hold integer labels", path);
    labels = arrays["y"].to_int64();
  }
  return std::make_unique<ArrayDataset>(path, std::move(samples->second), std::move(labels), options);
}

uint64_t parse_number(std::string_view spec, std::string_view text) {
  uint64_t value = 0;
  const bool digits =
      !text.empty() && text.size() < 19 && text.find_first_not_of("0123456789") == std::string_view::npos;
  if (!digits) throw Error::make("{}: '{}' is not a whole number", spec, text);
  for (char digit : text) value = 10 * value + static_cast<uint64_t>(digit - '0');
  return value;
}

constexpr std::string_view kSynthetic = "synthetic:";

// Behind synthetic:NAME.
struct SyntheticArguments {
  uint64_t count = 10000, seed = 0;
  bool training = false;
};

SyntheticArguments parse_synthetic(std::string_view spec, std::string_view arguments) {
  SyntheticArguments parsed;
  while (!arguments.empty()) {
    const std::string_view argument = arguments.substr(0, arguments.find(','));
    arguments.remove_prefix(std::min(argument.size() + 1, arguments.size()));
    const size_t equals = std::min(argument.find('='), argument.size());
    const std::string_view key = argument.substr(0, equals);
    const std::string_view value = argument.substr(std::min(equals + 1, argument.size()));
    if (key == "count") {
      parsed.count = parse_number(spec, value);
    } else if (key == "seed") {
      parsed.seed = parse_number(spec, value);
    } else if (key == "split" && (value == "train" || value == "test")) {
      parsed.training = value == "train";
    } else {
      throw Error::make("{}: '{}' is none of count=N, seed=S, split=train, split=test", spec, argument);
    }
  }
  if (parsed.count == 0) throw Error::make("{}: count must be above 0", spec);
  return parsed;
}

// All of them are drawn at once.
std::unique_ptr<Dataset> open_points(std::string_view spec, const PointsOptions& points, uint64_t count,
                                     const DatasetOptions& options) {
  if (count > kMaxPoints) throw Error::make("{}: count is at most {}", spec, kMaxPoints);
  std::vector<float> values(2 * count);
  for (uint64_t i = 0; i < count; ++i) draw_point(points, i, std::span<float, 2>(values.data() + 2 * i, 2));
  return std::make_unique<ArrayDataset>(std::string(spec), Array::float32({static_cast<int64_t>(count), 2}, values),
                                        std::vector<int64_t>(), options);
}

std::unique_ptr<Dataset> open_synthetic(std::string_view spec, const DatasetOptions& options) {
  const size_t comma = std::min(spec.find(','), spec.size());
  const std::string name(spec.substr(kSynthetic.size(), comma - kSynthetic.size()));
  if (name != "shapes" && !is_point_set(name)) {
    throw Error::make("{}: there is no such set: choose one of synthetic:shapes, {}", spec,
                      fmt::join(point_set_names(), ", "));
  }
  const auto [count, seed, training] = parse_synthetic(spec, spec.substr(std::min(comma + 1, spec.size())));
  if (name != "shapes") return open_points(spec, {name, seed, training}, count, options);
  const ShapesSplit split = training ? ShapesSplit::kTrain : ShapesSplit::kTest;
  return std::make_unique<Shapes>(count, ShapesOptions{seed, split}, options);
}

struct SplitSpec {
  fs::path folder;
  bool training;
};

// NAME:DIR or NAME-train:DIR.
std::optional<SplitSpec> split_of(std::string_view name, std::string_view spec) {
  for (const bool training : {false, true}) {
    const std::string prefix = fmt::format("{}{}:", name, training ? "-train" : "");
    if (spec.starts_with(prefix)) return SplitSpec{spec.substr(prefix.size()), training};
  }
  return std::nullopt;
}

std::optional<SplitSpec> cifar_of(std::string_view spec) { return split_of("cifar10", spec); }
std::optional<SplitSpec> mnist_of(std::string_view spec) { return split_of("mnist", spec); }

// Of a folder without images, in the order of their names.
std::vector<fs::path> files_in(std::string_view folder, std::string_view extension) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder) || !find_images(folder).files.empty()) return files;
  for (fs::path& entry : sorted_entries(folder)) {
    if (entry.extension() == extension) files.push_back(std::move(entry));
  }
  return files;
}

// Of the file's name in FILE.npz:ARRAY.
size_t file_end(std::string_view spec) {
  const size_t at = spec.find(".npz:");
  return at == std::string_view::npos ? spec.size() : at + 4;
}

}  // namespace

uint64_t Dataset::sample_elements() const {
  uint64_t count = 1;
  for (int64_t dim : sample_shape()) count *= static_cast<uint64_t>(dim);
  return count;
}

std::unique_ptr<Dataset> open_dataset(std::string_view spec, const DatasetOptions& options) {
  if (const auto cifar = cifar_of(spec)) return std::make_unique<Cifar10>(cifar->folder, cifar->training, options);
  if (const auto mnist = mnist_of(spec)) return std::make_unique<Mnist>(mnist->folder, mnist->training, options);
  if (spec.starts_with(kSynthetic)) return open_synthetic(spec, options);
  const std::string path(spec);
  if (fs::is_directory(path)) return std::make_unique<ImageFolder>(scan_folder(path), options);
  if (spec.ends_with(".npz")) return open_npz(path, options);
  if (spec.ends_with(".npy"))
    return std::make_unique<ArrayDataset>(path, read_npy(path), std::vector<int64_t>(), options);
  throw Error::make(
      "{}: this is no data: give cifar10:DIR, mnist:DIR, synthetic:shapes, a folder of images, a .npy or a .npz file",
      spec);
}

std::vector<fs::path> files_of(std::string_view spec) {
  if (const auto cifar = cifar_of(spec)) return Cifar10::files(cifar->folder, cifar->training);
  if (const auto mnist = mnist_of(spec)) return Mnist::files(mnist->folder, mnist->training);
  if (spec.starts_with(kSynthetic)) return {};
  if (!fs::is_directory(spec)) return {fs::path(spec.substr(0, file_end(spec)))};
  std::vector<fs::path> files = array_files_of(spec);
  if (!files.empty()) return files;
  for (LabelledFile& file : scan_folder(spec).files) files.push_back(std::move(file.path));
  return files;
}

std::vector<fs::path> npz_files_of(std::string_view spec) {
  if (spec.ends_with(".npz") && !fs::is_directory(spec)) return {fs::path(spec)};
  return files_in(spec, ".npz");
}

std::vector<fs::path> array_files_of(std::string_view spec) {
  std::vector<fs::path> files = npz_files_of(spec);
  return files.empty() ? files_in(spec, ".npy") : files;
}

Split split(std::unique_ptr<Dataset> dataset, uint64_t count) {
  const uint64_t size = dataset->size();
  if (count == 0 || count >= size) {
    throw Error::make("{} samples cannot be set apart from {}: some must be on either side", count, size);
  }
  std::vector<bool> is_taken(size, false);
  for (uint64_t k = 0; k < count; ++k) is_taken[spread_index(k, size)] = true;
  std::vector<uint64_t> rest, taken;
  for (uint64_t i = 0; i < size; ++i) (is_taken[i] ? taken : rest).push_back(i);
  const std::shared_ptr<const Dataset> all = std::move(dataset);
  return {std::make_unique<Subset>(all, std::move(rest)), std::make_unique<Subset>(all, std::move(taken))};
}

uint64_t spread_index(uint64_t k, uint64_t size) {
  if (size < 3) return k;
  // A step near the golden section of the size, and coprime to it.
  auto step = static_cast<uint64_t>(0.6180339887498949 * static_cast<double>(size));
  while (std::gcd(step, size) != 1) ++step;
  return static_cast<uint64_t>(static_cast<unsigned __int128>(k) * step % size);
}

}  // namespace quench::data
