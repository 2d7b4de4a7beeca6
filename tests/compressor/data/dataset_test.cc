#include "compressor/data/dataset.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "compressor/data/npy.h"
#include "compressor/data/points.h"
#include "compressor/data/shapes.h"
#include "tests/compressor/data/temporary_folder.h"

namespace quench::data {
namespace {

constexpr size_t kRecord = 3073;

std::string open_error(const std::string& spec, const DatasetOptions& options = {}) {
  return error_of([&] { open_dataset(spec, options); });
}

DatasetOptions for_input(std::vector<int64_t> dims) {
  DatasetOptions options;
  options.model_input = std::move(dims);
  return options;
}

struct Samples {
  std::vector<float> values;
  std::vector<int64_t> labels;
};

Samples read_all(const Dataset& dataset) {
  std::vector<uint64_t> indices(dataset.size());
  std::iota(indices.begin(), indices.end(), 0);
  Samples samples{std::vector<float>(dataset.size() * dataset.sample_elements()),
                  std::vector<int64_t>(dataset.class_count() > 0 ? dataset.size() : 0)};
  dataset.fill(indices, samples.values, samples.labels);
  return samples;
}

// Record i: label i % 10, red plane i, green plane i + 1, blue plane i + 2.
std::string cifar_records(int count) {
  std::string file;
  for (int i = 0; i < count; ++i) {
    file += static_cast<char>(i % 10);
    for (int c = 0; c < 3; ++c) file += std::string(1024, static_cast<char>(i + c));
  }
  return file;
}

TEST(Cifar10, PlanesAndLabels) {
  const TemporaryFolder folder;
  folder.write("test_batch.bin", cifar_records(12));
  const auto dataset = open_dataset("cifar10:" + folder.path().string(), for_input({-1, 3, 32, 32}));
  EXPECT_EQ(dataset->size(), 12u);
  EXPECT_EQ(dataset->class_count(), 10);
  EXPECT_EQ(dataset->sample_shape(), (std::vector<int64_t>{3, 32, 32}));
  const Samples samples = read_all(*dataset);
  EXPECT_EQ(samples.labels[11], 1);
  EXPECT_FLOAT_EQ(samples.values[11 * 3072], 11.0f / 255);
  EXPECT_FLOAT_EQ(samples.values[11 * 3072 + 1024], 12.0f / 255);
  EXPECT_FLOAT_EQ(samples.values[11 * 3072 + 3071], 13.0f / 255);
}

TEST(Cifar10, TrainingSetIsFiveFiles) {
  const TemporaryFolder folder;
  for (int i = 1; i <= 5; ++i) folder.write("data_batch_" + std::to_string(i) + ".bin", cifar_records(i));
  EXPECT_EQ(open_dataset("cifar10-train:" + folder.path().string())->size(), 15u);
}

TEST(Cifar10, Refusals) {
  const TemporaryFolder folder;
  const std::string spec = "cifar10:" + folder.path().string();
  EXPECT_EQ(open_error("cifar10:/nowhere/at/all"), "/nowhere/at/all: there is no such folder");
  EXPECT_NE(open_error(spec).find("test_batch.bin: No such file"), std::string::npos);
  const std::string path = folder.write("test_batch.bin", cifar_records(2).substr(1));
  EXPECT_EQ(open_error(spec), path + ": 6145 bytes are no whole number of CIFAR-10 records of 3073 bytes");
  std::string labelled_wrong = cifar_records(3);
  labelled_wrong[kRecord] = 10;
  folder.write("test_batch.bin", labelled_wrong);
  EXPECT_EQ(open_error(spec), path + ": record 1 has label 10, above 9");
  folder.write("test_batch.bin", "");
  EXPECT_NE(open_error(spec), "");
}

std::string gzipped(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(text.size() + 100, 0);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string idx(const std::vector<uint8_t>& dims, std::string_view bytes) {
  std::string file = {0, 0, 8, static_cast<char>(dims.size())};
  for (const uint8_t dim : dims) file += {0, 0, 0, static_cast<char>(dim)};
  return file + std::string(bytes);
}

constexpr const char* kImages = "t10k-images-idx3-ubyte.gz";
constexpr const char* kLabels = "t10k-labels-idx1-ubyte.gz";

TEST(Mnist, PixelsAndLabels) {
  const TemporaryFolder folder;
  folder.write(kImages, gzipped(idx({2, 2, 3}, "abcdefABCDEF")));
  folder.write(kLabels, gzipped(idx({2}, std::string_view("\x03\x09"))));
  const std::string spec = "mnist:" + folder.path().string();
  const auto dataset = open_dataset(spec, for_input({-1, 1, 2, 3}));
  EXPECT_EQ(dataset->size(), 2u);
  EXPECT_EQ(dataset->class_count(), 10);
  EXPECT_FALSE(dataset->may_mirror());
  EXPECT_EQ(dataset->sample_shape(), (std::vector<int64_t>{1, 2, 3}));
  const Samples samples = read_all(*dataset);
  EXPECT_EQ(samples.labels, (std::vector<int64_t>{3, 9}));
  EXPECT_FLOAT_EQ(samples.values[1], static_cast<float>('b') / 255);
  EXPECT_FLOAT_EQ(samples.values[11], static_cast<float>('F') / 255);
  EXPECT_EQ(open_dataset(spec)->sample_shape(), (std::vector<int64_t>{3, 2, 3}));
  EXPECT_EQ(files_of(spec), (std::vector<std::filesystem::path>{folder.path() / kImages, folder.path() / kLabels}));
}

TEST(Mnist, SplitsAreFilesOfTheirOwn) {
  const TemporaryFolder folder;
  // Two gzip members, one behind the other, are one file.
  const std::string images = idx({3, 1, 1}, "abc");
  folder.write("train-images-idx3-ubyte.gz", gzipped(images.substr(0, 9)) + gzipped(images.substr(9)));
  folder.write("train-labels-idx1-ubyte.gz", gzipped(idx({3}, std::string_view("\0\1\2", 3))));
  const auto dataset = open_dataset("mnist-train:" + folder.path().string());
  EXPECT_EQ(read_all(*dataset).labels, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_NE(open_error("mnist:" + folder.path().string()).find("t10k-images-idx3-ubyte.gz"), std::string::npos);
}

TEST(Mnist, Refusals) {
  const TemporaryFolder folder;
  const std::string spec = "mnist:" + folder.path().string();
  EXPECT_EQ(open_error("mnist:/nowhere/at/all"), "/nowhere/at/all: there is no such folder");
  const std::string images = idx({2, 1, 2}, "abcd");
  const std::string path = folder.write(kImages, images);
  const std::string prefix = path + ": this is no gzipped IDX file of bytes: ";
  EXPECT_EQ(open_error(spec), prefix + "it, or its end, is not compressed by gzip");
  const std::pair<std::string, std::string> bad[] = {
      {"", "it ends too early"},
      {gzipped(images).substr(0, 20), "it ends too early"},
      {gzipped(""), "it ends too early"},
      {gzipped(idx({2}, "ab") + std::string(20, 'x')), "it begins with 00000801, not with 00000803"},
      {gzipped(images.substr(0, images.size() - 1)), "it has 3 bytes of 4"},
      {gzipped(images + "e"), "there is more in it than its header says"},
      {gzipped(images) + "rest", "it, or its end, is not compressed by gzip"},
      {gzipped(std::string("\0\0\x08\x03", 4) + std::string(12, '\xff')), "it claims more than 1 GiB"}};
  for (const auto& [file, message] : bad) {
    folder.write(kImages, file);
    EXPECT_EQ(open_error(spec), prefix + message);
  }
  folder.write(kImages, gzipped(idx({0, 1, 2}, "")));
  EXPECT_EQ(open_error(spec), path + ": there are no images in it");
  folder.write(kImages, gzipped(images));
  EXPECT_NE(open_error(spec).find(kLabels), std::string::npos);
  folder.write(kLabels, gzipped(idx({1}, "\1")));
  EXPECT_EQ(open_error(spec), folder.path().string() + ": there are 2 images but 1 labels");
  const std::string labels = folder.write(kLabels, gzipped(idx({2}, "\1\x0a")));
  EXPECT_EQ(open_error(spec), labels + ": sample 1 has label 10, above 9");
}

TEST(SyntheticShapes, SpecSaysWhatIsDrawn) {
  const auto dataset = open_dataset("synthetic:shapes,count=7,seed=3,split=train");
  EXPECT_EQ(dataset->size(), 7u);
  EXPECT_EQ(dataset->class_count(), kShapesClasses);
  const Samples samples = read_all(*dataset);
  std::array<uint8_t, kShapesPixels> pixels{};
  const int label = draw_shape_image({.seed = 3, .split = ShapesSplit::kTrain}, 4, pixels);
  EXPECT_EQ(samples.labels[4], label);
  EXPECT_FLOAT_EQ(samples.values[4 * kShapesPixels + 1],
                  static_cast<float>(pixels[3]) / 255);  // red of the second pixel
  EXPECT_EQ(open_dataset("synthetic:shapes")->size(), 10000u);
}

TEST(SyntheticShapes, Refusals) {
  EXPECT_EQ(open_error("synthetic:shapes,count=x"), "synthetic:shapes,count=x: 'x' is not a whole number");
  EXPECT_NE(open_error("synthetic:shapes,count=0"), "");
  EXPECT_NE(open_error("synthetic:shapes,count=99999999999999999999"), "");
  EXPECT_NE(open_error("synthetic:shapes,split=other").find("'split=other' is none of"), std::string::npos);
  EXPECT_NE(open_error("synthetic:shapes,,count=3").find("'' is none of"), std::string::npos);
  EXPECT_NE(open_error("synthetic:circles").find("there is no such set: choose one of synthetic:shapes, moons"),
            std::string::npos);
}

TEST(SyntheticPoints, SpecSaysWhatIsDrawn) {
  const auto dataset = open_dataset("synthetic:rings,count=7,seed=3,split=train");
  EXPECT_EQ(dataset->size(), 7u);
  EXPECT_EQ(dataset->class_count(), 0);
  EXPECT_EQ(dataset->sample_shape(), std::vector<int64_t>{2});
  const Samples samples = read_all(*dataset);
  std::array<float, 2> point{};
  draw_point({"rings", 3, true}, 4, point);
  EXPECT_EQ(samples.values[8], point[0]);
  EXPECT_EQ(samples.values[9], point[1]);
  EXPECT_EQ(open_dataset("synthetic:8gaussians")->size(), 10000u);
}

TEST(SyntheticPoints, Refusals) {
  EXPECT_EQ(open_error("synthetic:moons,size=3"),
            "synthetic:moons,size=3: 'size=3' is none of count=N, seed=S, split=train, split=test");
  EXPECT_EQ(open_error("synthetic:moons,count=67108865"), "synthetic:moons,count=67108865: count is at most 67108864");
  EXPECT_NE(open_error("synthetic:").find("there is no such set"), std::string::npos);
}

std::string saved(const TemporaryFolder& folder, const std::string& name, const std::vector<int64_t>& dims,
                  const std::vector<int64_t>* labels = nullptr) {
  Array samples{ElementType::kFloat32, dims, {}};
  std::vector<float> values(samples.elements());
  std::iota(values.begin(), values.end(), 0.0f);
  samples = Array::float32(dims, values);
  const std::string path = folder / name;
  if (name.ends_with(".npy")) {
    write_npy(path, samples);
  } else {
    std::vector<std::pair<std::string, Array>> arrays = {{"x", samples}};
    if (labels) arrays.emplace_back("y", Array::int64({static_cast<int64_t>(labels->size())}, *labels));
    write_npz(path, arrays);
  }
  return path;
}

TEST(ArrayData, ValuesAreTakenAsTheyAre) {
  const TemporaryFolder folder;
  const auto dataset = open_dataset(saved(folder, "x.npy", {4, 2, 3}), for_input({-1, 2, 3}));
  EXPECT_EQ(dataset->size(), 4u);
  EXPECT_EQ(dataset->class_count(), 0);
  EXPECT_EQ(dataset->sample_shape(), (std::vector<int64_t>{2, 3}));
  std::vector<float> values(12);
  const std::vector<uint64_t> indices = {3, 0};
  dataset->fill(indices, values, {});
  EXPECT_EQ(values, (std::vector<float>{18, 19, 20, 21, 22, 23, 0, 1, 2, 3, 4, 5}));
}

TEST(ArrayData, PreprocessingFollowsTheLayout) {
  const TemporaryFolder folder;
  DatasetOptions options;
  options.mean = {1, 3};
  options.std = {1, 2};
  const std::string path = saved(folder, "x.npy", {1, 2, 2});
  EXPECT_EQ(read_all(*open_dataset(path, options)).values, (std::vector<float>{-1, 0, -0.5f, 0}));
  options.layout = Layout::kNhwc;
  EXPECT_EQ(read_all(*open_dataset(path, options)).values, (std::vector<float>{-1, -1, 1, 0}));
  options.scale = 10.0f;
  EXPECT_EQ(read_all(*open_dataset(path, options)).values, (std::vector<float>{-1, 3.5f, 19, 13.5f}));
}

TEST(ArrayData, LabelsComeFromY) {
  const TemporaryFolder folder;
  const std::vector<int64_t> labels = {2, 0, 5};
  const auto dataset = open_dataset(saved(folder, "x.npz", {3, 4}, &labels));
  EXPECT_EQ(dataset->class_count(), 6);
  EXPECT_EQ(read_all(*dataset).labels, labels);
}

TEST(ArrayData, RefusalsNameBothShapes) {
  const TemporaryFolder folder;
  const std::string path = saved(folder, "x.npy", {5, 3, 28, 28});
  EXPECT_EQ(open_error(path, for_input({-1, 3, 32, 32})),
            path + ": an array of 5x3x28x28 does not fit the model's input Nx3x32x32");
  EXPECT_NE(open_error(path, for_input({-1, 2352})), "");
  EXPECT_EQ(open_error(path, for_input({1, -1, 28, 28})), "");
  const std::vector<int64_t> few = {1, 2}, negative = {0, -1, 2};
  EXPECT_NE(open_error(saved(folder, "few.npz", {3, 4}, &few)).find("3 samples but 2 labels"), std::string::npos);
  EXPECT_NE(open_error(saved(folder, "negative.npz", {3, 4}, &negative)).find("label -1 is below 0"),
            std::string::npos);
  EXPECT_NE(open_error(folder / "missing.npy").find("No such file"), std::string::npos);
  EXPECT_NE(open_error(folder.write("garbage.npz", "PK not really")).find("not a ZIP archive"), std::string::npos);
}

TEST(ImageFolder, EmptyAndBrokenFoldersAreRefused) {
  const TemporaryFolder folder;
  EXPECT_NE(open_error(folder.path().string()).find("no .png or .jpg files"), std::string::npos);
  const std::string path = folder.write("class/a.png", "not an image");
  EXPECT_EQ(open_error(folder.path().string()), path + ": this is neither a PNG nor a JPEG image");
}

// A PNG file of one white pixel.
const std::string kWhitePixel(
    "\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00"
    "\x00\x3a\x7e\x9b\x55\x00\x00\x00\x0a\x49\x44\x41\x54\x78\x9c\x63\xf8\x0f\x00\x01\x01\x01\x00\xb1\x38\xf6\x14\x00"
    "\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82",
    67);

TEST(ImageFolder, LabelsAreTheSortedFolders) {
  const TemporaryFolder folder;
  folder.write("zebra/1.png", kWhitePixel);
  folder.write("ape/2.png", kWhitePixel);
  folder.write("ape/1.PNG", kWhitePixel);
  folder.write("ape/readme.txt", "not an image");
  folder.write(".hidden/1.png", kWhitePixel);
  const auto dataset = open_dataset(folder.path().string(), for_input({-1, 3, 4, 4}));
  EXPECT_EQ(dataset->size(), 3u);
  EXPECT_EQ(dataset->class_count(), 2);
  const Samples samples = read_all(*dataset);
  EXPECT_EQ(samples.labels, (std::vector<int64_t>{0, 0, 1}));
  EXPECT_EQ(samples.values, std::vector<float>(3 * 48, 1.0f));
}

TEST(ImageFolder, WithoutClassFoldersThereAreNoLabels) {
  const TemporaryFolder folder;
  folder.write("a.png", kWhitePixel);
  folder.write("b.png", kWhitePixel);
  const auto dataset = open_dataset(folder.path().string());
  EXPECT_EQ(dataset->size(), 2u);
  EXPECT_EQ(dataset->class_count(), 0);
  EXPECT_EQ(dataset->sample_shape(), (std::vector<int64_t>{3, 1, 1}));
}

TEST(Split, PartsAreTheWholeOnce) {
  const auto all = open_dataset("synthetic:shapes,count=200");
  Split parts = split(open_dataset("synthetic:shapes,count=200"), 30);
  EXPECT_EQ(parts.taken->size(), 30u);
  EXPECT_EQ(parts.rest->size(), 170u);
  EXPECT_EQ(parts.taken->class_count(), all->class_count());
  EXPECT_EQ(parts.rest->sample_shape(), all->sample_shape());
  const auto samples_of = [](const Dataset& data) {
    std::vector<std::vector<float>> samples;
    for (uint64_t i = 0; i < data.size(); ++i) {
      std::vector<float> values(data.sample_elements() + 1);
      int64_t label = 0;
      data.fill({{i}}, std::span(values).first(values.size() - 1), {&label, 1});
      values.back() = static_cast<float>(label);
      samples.push_back(std::move(values));
    }
    return samples;
  };
  std::vector<std::vector<float>> together = samples_of(*parts.taken);
  for (auto& sample : samples_of(*parts.rest)) together.push_back(std::move(sample));
  std::vector<std::vector<float>> expected = samples_of(*all);
  std::sort(together.begin(), together.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(together, expected);
}

TEST(Split, DigitsStayWhatMayNotBeMirrored) {
  const TemporaryFolder folder;
  folder.write(kImages, gzipped(idx({2, 1, 2}, "abcd")));
  folder.write(kLabels, gzipped(idx({2}, std::string_view("\x03\x09"))));
  const Split digits = split(open_dataset("mnist:" + folder.path().string()), 1);
  EXPECT_FALSE(digits.rest->may_mirror());
  EXPECT_FALSE(digits.taken->may_mirror());
  EXPECT_TRUE(split(open_dataset("synthetic:shapes,count=9"), 1).rest->may_mirror());
}

TEST(Split, AnEmptyPartIsRefused) {
  for (const uint64_t count : {0, 20, 21}) {
    EXPECT_THROW(split(open_dataset("synthetic:shapes,count=20"), count), Error) << count;
  }
}

TEST(SpreadIndex, IsAPermutationWhosePrefixesSpread) {
  for (const uint64_t size : {1ull, 2ull, 3ull, 4ull, 10ull, 100ull, 10000ull}) {
    std::set<uint64_t> seen;
    for (uint64_t k = 0; k < size; ++k) seen.insert(spread_index(k, size));
    EXPECT_EQ(seen.size(), size);
    EXPECT_EQ(*seen.rbegin(), size - 1);
  }
  std::array<int, 10> tenths{};
  for (uint64_t k = 0; k < 100; ++k) ++tenths[spread_index(k, 10000) / 1000];
  for (const int count : tenths) EXPECT_NEAR(count, 10, 2);
}

}  // namespace
}  // namespace quench::data
