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
    Result<AtomicFile> file = AtomicFile::create(path_, AtomicFile::Temporary::kNamed);
    ASSERT_TRUE(file->write(std::string(1 << 20, 'x')).ok());
    EXPECT_EQ(entries(), 2u);
    const AtomicFile moved = std::move(*file);
  }
  EXPECT_EQ(content(path_), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(AtomicFileTest, NewAndOldTargetsAreReplacedWithAndWithoutNames) {
  for (const auto temporary : {AtomicFile::Temporary::kNamed, AtomicFile::Temporary::kNameless}) {
    fs::remove(path_);
    for (const char* text : {"first", "second"}) {
      Result<AtomicFile> file = AtomicFile::create(path_, temporary);
      ASSERT_TRUE(file->write(text).ok());
      const Status status = file->commit();
      ASSERT_TRUE(status.ok()) << status.detail();
      EXPECT_EQ(content(path_), text);
      EXPECT_EQ(entries(), 1u);
    }
  }
}

// A name may have 255 bytes, and the temporary file's must not be longer.
TEST_F(AtomicFileTest, ANameAsLongAsNamesCanBeIsWritten) {
  const fs::path longest = folder_ / std::string(255, 'x');
  for (const auto temporary : {AtomicFile::Temporary::kNamed, AtomicFile::Temporary::kNameless}) {
    Result<AtomicFile> file = AtomicFile::create(longest, temporary);
    ASSERT_TRUE(file.ok()) << file.status().detail();
    EXPECT_TRUE(file->commit().ok());
  }
  EXPECT_EQ(AtomicFile::create(folder_ / std::string(256, 'x')).status().code(), StatusCode::kIo);
}

// Two writers at a time: neither takes the other's file for one that was left behind.
TEST_F(AtomicFileTest, AFileThatIsBeingWrittenIsNotSweptAway) {
  Result<AtomicFile> first = AtomicFile::create(path_, AtomicFile::Temporary::kNamed);
  Result<AtomicFile> second = AtomicFile::create(folder_ / "other", AtomicFile::Temporary::kNamed);
  EXPECT_EQ(entries(), 2u);
  ASSERT_TRUE(first->write("first").ok());
  EXPECT_TRUE(second->commit().ok());
  EXPECT_TRUE(first->commit().ok());
  EXPECT_EQ(content(path_), "first");
}

TEST_F(AtomicFileTest, ASignalsHandlerCanRemoveWhatHasAName) {
  Result<AtomicFile> file = AtomicFile::create(path_, AtomicFile::Temporary::kNamed);
  EXPECT_EQ(entries(), 1u);
  remove_temporary_files();
  EXPECT_EQ(entries(), 0u);
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

TEST_F(AtomicFileTest, ALinkThatLeadsNowhereIsAnErrorAndStays) {
  fs::create_symlink(folder_ / "nothing", folder_ / "link");
  const Result<AtomicFile> file = AtomicFile::create(folder_ / "link");
  EXPECT_NE(std::string(file.status().detail()).find("link to a file that does not exist"), std::string::npos);
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
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

// What is left of a process that dies after writing half a file.
size_t entries_after_death(const fs::path& path, AtomicFile::Temporary temporary) {
  const pid_t child = ::fork();
  if (child == 0) {
    Result<AtomicFile> file = AtomicFile::create(path, temporary);
    if (file.ok()) static_cast<void>(file->write(std::string(1 << 20, 'x')));
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  return static_cast<size_t>(std::distance(fs::directory_iterator(path.parent_path()), fs::directory_iterator()));
}

TEST_F(AtomicFileTest, AKilledWriterLeavesTheOldFileAndWhatItLeftIsSwept) {
  put(path_, "old");
  EXPECT_EQ(entries_after_death(path_, AtomicFile::Temporary::kNamed), 2u);
  EXPECT_EQ(content(path_), "old");
  // The next file in that folder, whatever its name.
  Result<AtomicFile> next = AtomicFile::create(folder_ / "other");
  ASSERT_TRUE(next->commit().ok());
  EXPECT_EQ(entries(), 2u);
  EXPECT_EQ(content(path_), "old");
}

TEST_F(AtomicFileTest, AKilledWriterOfANamelessFileLeavesNothing) {
  const int nameless = ::open(folder_.c_str(), O_TMPFILE | O_RDWR, 0600);
  if (nameless < 0) GTEST_SKIP() << "this file system has no nameless files";
  ::close(nameless);
  put(path_, "old");
  EXPECT_EQ(entries_after_death(path_, AtomicFile::Temporary::kNameless), 1u);
  EXPECT_EQ(content(path_), "old");
}

}  // namespace
}  // namespace quench::container
