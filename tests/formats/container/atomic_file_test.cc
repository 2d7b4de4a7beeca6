#include "formats/base/atomic_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/formats/container/sample_file.h"

namespace quench::container {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quench-atomic-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = folder_ / "model.quench";
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string content(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  }
  static void put(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
  fs::path path_;
};

TEST_F(AtomicFileTest, AppearsOnlyWithCommit) {
  put(path_, "old");
  Result<AtomicFile> file = AtomicFile::create(path_);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->write("new content").ok());
  ASSERT_TRUE(file->write_at(0, bytes_of("NEW")).ok());
  EXPECT_FALSE(file->write_at(10, bytes_of("xx")).ok());
  EXPECT_EQ(file->size(), 11u);
  EXPECT_EQ(content(path_), "old");
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(content(path_), "NEW content");
  EXPECT_EQ(entries(), 1u);
  EXPECT_FALSE(file->write("more").ok());
  EXPECT_FALSE(file->commit().ok());
}

TEST_F(AtomicFileTest, DroppedLeavesNothingBehind) {
  put(path_, "old");
  {
    Result<AtomicFile> file = AtomicFile::create(path_);
    ASSERT_TRUE(file->write(std::string(1 << 20, 'x')).ok());
    EXPECT_EQ(entries(), 2u);
    const AtomicFile moved = std::move(*file);
  }
  EXPECT_EQ(content(path_), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(AtomicFileTest, KeepsPermissionsOfTheOldFileAndTheUmaskForANewOne) {
  put(path_, "old");
  ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
  const auto write = [](const fs::path& path) {
    Result<AtomicFile> file = AtomicFile::create(path);
    EXPECT_TRUE(file->write("new").ok());
    EXPECT_TRUE(file->commit().ok());
    return static_cast<unsigned>(fs::status(path).permissions());
  };
  EXPECT_EQ(write(path_), 0640u);
  const mode_t old = ::umask(027);
  EXPECT_EQ(write(folder_ / "other"), 0640u);
  ::umask(old);
}

TEST_F(AtomicFileTest, FollowsASymbolicLink) {
  put(path_, "old");
  fs::create_symlink(path_, folder_ / "link");
  Result<AtomicFile> file = AtomicFile::create(folder_ / "link");
  ASSERT_TRUE(file->write("new").ok());
  ASSERT_TRUE(file->commit().ok());
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(content(path_), "new");
}

TEST_F(AtomicFileTest, FullDeviceIsAnError) {
  Result<AtomicFile> file = AtomicFile::create("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status().detail();
  Status status = file->write(std::string(1 << 20, 'x'));
  if (status.ok()) status = file->commit();
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_NE(std::string(status.detail()).find("No space left"), std::string::npos) << status.detail();
  EXPECT_TRUE(fs::exists("/dev/full"));
}

TEST_F(AtomicFileTest, WriterReportsAFullDevice) {
  Result<Writer> writer = Writer::create("/dev/full");
  ASSERT_TRUE(writer.ok());
  const FileBytes bytes(1 << 20, std::byte{1});
  for (int i = 0; i < 3; ++i) static_cast<void>(writer->add_lossless(ElementType::kUint8, bytes, bytes.size()));
  EXPECT_EQ(writer->finish().code(), StatusCode::kIo);
}

TEST_F(AtomicFileTest, PlacesThatCannotBeWrittenAreErrorsWithThePath) {
  const auto refused = [](const fs::path& path) {
    const Result<AtomicFile> file = AtomicFile::create(path);
    return file.status().code() == StatusCode::kIo &&
           std::string(file.status().detail()).find(path.filename().string()) != std::string::npos;
  };
  put(path_, "old");
  EXPECT_TRUE(refused(folder_ / "missing" / "x"));
  EXPECT_TRUE(refused(path_ / "x"));  // a file is no folder
  EXPECT_TRUE(refused(folder_));
  EXPECT_TRUE(refused("/proc/x"));
  if (::geteuid() != 0) {  // root may write anywhere
    fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
    EXPECT_TRUE(refused(path_));
    fs::permissions(folder_, fs::perms::owner_all);
  }
  EXPECT_EQ(content(path_), "old");
}

TEST_F(AtomicFileTest, WritesToAPipeInPlace) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reading = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reading, 0);
  Result<AtomicFile> file = AtomicFile::create(pipe);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->write("report").ok());
  EXPECT_EQ(file->write_at(0, bytes_of("R")).code(), StatusCode::kUnsupportedFeature);
  ASSERT_TRUE(file->commit().ok());
  char text[7] = {};
  EXPECT_EQ(::read(reading, text, 6), 6);
  EXPECT_STREQ(text, "report");
  ::close(reading);
  EXPECT_TRUE(fs::is_fifo(pipe));
}

// A process that dies half way: the old file stays whole, and the next run can write.
TEST_F(AtomicFileTest, KilledWriterLeavesTheOldFile) {
  const FileBytes old = sample_file();
  put(path_, std::string(reinterpret_cast<const char*>(old.data()), old.size()));
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Result<Writer> writer = Writer::create(path_);
    const FileBytes bytes(300000, std::byte{5});
    bool ok = writer.ok();
    for (int i = 0; ok && i < 10; ++i) ok = writer->add_lossless(ElementType::kUint8, bytes, bytes.size()).ok();
    std::vector<std::byte> noise(500000);
    std::mt19937 random(1);
    for (std::byte& byte : noise) byte = static_cast<std::byte>(random());
    ok = ok && writer->add_lossless(ElementType::kUint8, noise, noise.size()).ok();
    const char answer = ok ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ::close(ready[0]);
  ::close(ready[1]);
  EXPECT_EQ(entries(), 2u);  // what it had written lies beside
  const std::string kept = content(path_);
  EXPECT_TRUE(decode_everything(bytes_of(kept)).ok());
  Result<Writer> next = Writer::create(path_);
  ASSERT_TRUE(next.ok());
  ASSERT_TRUE(next->finish().ok());
  EXPECT_EQ(content(path_).size(), kHeaderSize);
}

}  // namespace
}  // namespace quench::container
