// External data: read where it may be, refused where it may not.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/formats/onnx/test_models.h"

namespace quench {
namespace {

using namespace testing;
using onnx::TensorProto;

void set_entry(TensorProto& tensor, const std::string& key, const std::string& value) {
  onnx::StringStringEntryProto* entry = tensor.add_external_data();
  entry->set_key(key);
  entry->set_value(value);
}

// Two floats at `location`; an empty offset or length leaves it out.
onnx::ModelProto model_at(const std::string& location, const std::string& offset = "", const std::string& length = "") {
  TensorProto tensor;
  tensor.set_name("w");
  tensor.set_data_type(TensorProto::FLOAT);
  tensor.add_dims(2);
  tensor.set_data_location(TensorProto::EXTERNAL);
  set_entry(tensor, "location", location);
  if (!offset.empty()) set_entry(tensor, "offset", offset);
  if (!length.empty()) set_entry(tensor, "length", length);
  return model_with(tensor);
}

class OnnxExternalData : public ::testing::Test {
 protected:
  OnnxExternalData() {
    std::filesystem::create_directories(folder_ / "models/deep");
    write_file(folder_ / "models/data", raw_of<float>({1, 2, 3, 4}));
    write_file(folder_ / "models/deep/data", raw_of<float>({5, 6}));
    write_file(folder_ / "secret", raw_of<float>({7, 8}));
  }

  std::string load_error(const std::string& location, const std::string& offset = "", const std::string& length = "") {
    return error_of([&] { load_values(location, offset, length); });
  }

  std::vector<float> load_values(const std::string& location, const std::string& offset = "",
                                 const std::string& length = "") {
    write_file(folder_ / "models/m.onnx", model_at(location, offset, length).SerializeAsString());
    return read_float(load(folder_ / "models/m.onnx").weights.at(0));
  }

  TemporaryFolder folder_;
};

TEST_F(OnnxExternalData, IsReadFromItsOffset) {
  EXPECT_EQ(load_values("data"), (std::vector<float>{1, 2}));
  EXPECT_EQ(load_values("data", "8", "8"), (std::vector<float>{3, 4}));
  EXPECT_EQ(load_values("deep/data"), (std::vector<float>{5, 6}));
  EXPECT_EQ(load_values("./deep/./data"), (std::vector<float>{5, 6}));
}

TEST_F(OnnxExternalData, LinksInsideTheFolderAreFollowed) {
  std::filesystem::create_symlink("deep/data", folder_ / "models/link");
  EXPECT_EQ(load_values("link"), (std::vector<float>{5, 6}));
}

TEST_F(OnnxExternalData, AModelWithoutFolderReadsTheWorkingFolder) {
  write_file(folder_ / "models/m.onnx", model_at("data").SerializeAsString());
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_ / "models");
  const std::string error = error_of([] { EXPECT_EQ(read_float(load("m.onnx").weights.at(0)).at(1), 2); });
  std::filesystem::current_path(before);
  EXPECT_EQ(error, "no error");
}

TEST_F(OnnxExternalData, PathsThatLeaveTheFolderAreRefused) {
  EXPECT_TRUE(contains(load_error((folder_ / "secret").string()), "absolute path"));
  EXPECT_TRUE(contains(load_error("/etc/passwd"), "absolute path"));
  EXPECT_TRUE(contains(load_error("../secret"), "outside the model's folder"));
  EXPECT_TRUE(contains(load_error("deep/../data"), "outside the model's folder"));
  std::filesystem::create_symlink("../secret", folder_ / "models/file_link");
  EXPECT_TRUE(contains(load_error("file_link"), "a link that leads out of the model's folder"));
  std::filesystem::create_symlink("..", folder_ / "models/folder_link");
  EXPECT_TRUE(contains(load_error("folder_link/secret"), "a link that leads out of the model's folder"));
  std::filesystem::create_symlink("../models-too", folder_ / "models/prefix_link");
  write_file(folder_ / "models-too", raw_of<float>({1, 2}));
  EXPECT_TRUE(contains(load_error("prefix_link"), "a link that leads out of the model's folder"));
}

// The cache of Hugging Face's hub: snapshots of links into a folder of files with checksums for names.
TEST_F(OnnxExternalData, ALinkedModelMayHaveItsDataWhereItsLinkLeads) {
  std::filesystem::create_directories(folder_ / "snapshots/revision");
  std::filesystem::create_directories(folder_ / "blobs");
  write_file(folder_ / "blobs/111", model_at("weights.data").SerializeAsString());
  write_file(folder_ / "blobs/222", raw_of<float>({9, 10}));
  std::filesystem::create_symlink("../../blobs/111", folder_ / "snapshots/revision/m.onnx");
  std::filesystem::create_symlink("../../blobs/222", folder_ / "snapshots/revision/weights.data");
  const auto read = [&] { return read_float(load(folder_ / "snapshots/revision/m.onnx").weights.at(0)); };
  EXPECT_EQ(read(), (std::vector<float>{9, 10}));
  std::filesystem::remove(folder_ / "snapshots/revision/weights.data");
  write_file(folder_ / "blobs/weights.data", raw_of<float>({11, 12}));  // beside what the model's link leads to
  EXPECT_EQ(read(), (std::vector<float>{11, 12}));
  std::filesystem::create_symlink(folder_ / "secret", folder_ / "snapshots/revision/weights.data");
  EXPECT_TRUE(contains(error_of(read), "a link that leads out of the model's folder"));
}

// PyTorch writes a file for each tensor of a model above 2 GB.
TEST_F(OnnxExternalData, MoreFilesThanAProcessMayHaveOpen) {
  struct rlimit old {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const struct rlimit few { 64, old.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  onnx::ModelProto proto = model_at("data");
  for (int i = 0; i < 200; ++i) {
    const std::string name = "file" + std::to_string(i);
    write_file(folder_ / ("models/" + name), raw_of<float>({static_cast<float>(i), 0}));
    *proto.mutable_graph()->add_initializer() = model_at(name).graph().initializer(0);
    proto.mutable_graph()->mutable_initializer(i + 1)->set_name(name);
  }
  write_file(folder_ / "models/m.onnx", proto.SerializeAsString());
  EXPECT_EQ(error_of([&] {
              const OnnxModel model = load(folder_ / "models/m.onnx");
              for (size_t i = 0; i < 200; ++i) EXPECT_EQ(read_float(model.weights[i + 1])[0], static_cast<float>(i));
            }),
            "no error");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
}

TEST_F(OnnxExternalData, AFileThatIsReplacedLaterIsAnError) {
  load_values("data");
  const OnnxModel model = load(folder_ / "models/m.onnx");
  write_file(folder_ / "models/new", raw_of<float>({5, 6, 7, 8}));
  std::filesystem::rename(folder_ / "models/new", folder_ / "models/data");
  EXPECT_TRUE(contains(error_of([&] { read(model.weights[0]); }), "was replaced while it was read"));
}

TEST_F(OnnxExternalData, WhatIsNoFileIsRefused) {
  EXPECT_TRUE(contains(load_error(""), "without a file name"));
  EXPECT_TRUE(contains(load_error(std::string("data\0x", 6)), "without a file name"));
  EXPECT_TRUE(contains(load_error("nowhere"), "No such file"));
  EXPECT_TRUE(contains(load_error("deep"), "not a regular file"));
  ASSERT_EQ(::mkfifo((folder_ / "models/pipe").c_str(), 0600), 0);
  EXPECT_TRUE(contains(load_error("pipe"), "not a regular file"));
}

TEST_F(OnnxExternalData, RangesAreCheckedAgainstTheFile) {
  EXPECT_TRUE(contains(load_error("data", "9"), "ends at byte 16"));
  EXPECT_TRUE(contains(load_error("data", "17"), "ends at byte 16"));
  EXPECT_TRUE(contains(load_error("data", "18446744073709551612"), "ends at byte 16"));
  EXPECT_TRUE(contains(load_error("data", "-4"), "'-4', which is no number"));
  EXPECT_TRUE(contains(load_error("data", "99999999999999999999"), "which is no number"));
  EXPECT_TRUE(contains(load_error("data", "0x8"), "which is no number"));
  EXPECT_TRUE(contains(load_error("data", "0", "4"), "external data of 4 bytes where the shape needs 8"));
  std::filesystem::resize_file(folder_ / "models/data", 0);
  EXPECT_TRUE(contains(load_error("data"), "ends at byte 0"));
}

TEST_F(OnnxExternalData, MessagesNameFileAndTensor) {
  EXPECT_EQ(load_error("data", "9").rfind((folder_ / "models/m.onnx").string() + ": tensor 'w': ", 0), 0u);
}

TEST_F(OnnxExternalData, IsRefusedForAModelInMemory) {
  EXPECT_TRUE(contains(error_of([] { load_proto(model_at("data")); }), "external data is not accepted here"));
}

TEST_F(OnnxExternalData, AFileThatShrinksLaterIsAnError) {
  write_file(folder_ / "models/m.onnx", model_at("data", "8").SerializeAsString());
  const OnnxModel model = load(folder_ / "models/m.onnx", {.inline_bytes = 0});
  std::filesystem::resize_file(folder_ / "models/data", 8);
  EXPECT_TRUE(contains(error_of([&] { read(model.weights[0]); }), "became shorter"));
}

TEST_F(OnnxExternalData, OffsetsBeyondFourGigabytes) {
  constexpr uint64_t kOffset = uint64_t{5} << 30;
  const int file = ::open((folder_ / "models/large").c_str(), O_WRONLY | O_CREAT, 0600);
  const std::string values = raw_of<float>({9, 10});
  ASSERT_EQ(::pwrite(file, values.data(), values.size(), kOffset), 8);  // sparse: takes no space
  ::close(file);
  EXPECT_EQ(load_values("large", std::to_string(kOffset)), (std::vector<float>{9, 10}));
}

// A .onnx file of more than 2 GB, which no protobuf library parses: a tensor of 3 GB of zeros and one behind it.
TEST_F(OnnxExternalData, AModelFileOfThreeGigabytes) {
  constexpr uint64_t kBytes = uint64_t{3} << 30;
  const auto varint = [](uint64_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
    return bytes + static_cast<char>(value);
  };
  TensorProto small;
  small.set_name("small");
  small.set_data_type(TensorProto::FLOAT);
  small.add_dims(2);
  small.set_raw_data(raw_of<float>({1, 2}));
  const std::string tail = "\x2A" + varint(small.ByteSizeLong()) + small.SerializeAsString();
  const std::string large_head = "\x08" + varint(kBytes) + "\x10\x02\x42\x05large\x4A" + varint(kBytes);
  const std::string tensor_head = "\x2A" + varint(large_head.size() + kBytes) + large_head;
  const std::string head = "\x3A" + varint(tensor_head.size() + kBytes + tail.size()) + tensor_head;
  const std::filesystem::path path = folder_ / "models/large.onnx";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_EQ(::pwrite(file, head.data(), head.size(), 0), static_cast<ssize_t>(head.size()));
  ASSERT_EQ(::pwrite(file, tail.data(), tail.size(), static_cast<off_t>(head.size() + kBytes)),
            static_cast<ssize_t>(tail.size()));
  ::close(file);
  const OnnxModel model = load(path);
  ASSERT_EQ(model.weights.size(), 2u);
  EXPECT_EQ(model.weights[0].bytes(), kBytes);
  EXPECT_EQ(read_float(model.weights[1]), (std::vector<float>{1, 2}));
}

}  // namespace
}  // namespace quench
