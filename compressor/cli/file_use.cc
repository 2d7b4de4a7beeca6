#include "compressor/cli/file_use.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "compressor/data/dataset.h"
#include "compressor/measure/quench_file.h"
#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;

// By its canonical path where there is no such file yet.
bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  return fs::weakly_canonical(a, error) == fs::weakly_canonical(b, error);
}

// /dev/stdout may be a file.
bool is_standard_stream(const fs::path& output) {
  struct stat own {
  }, stream{};
  if (::stat(output.c_str(), &own) != 0) return false;
  for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO}) {
    const bool is_same_file = ::fstat(descriptor, &stream) == 0 && S_ISREG(stream.st_mode) &&
                              stream.st_dev == own.st_dev && stream.st_ino == own.st_ino;
    if (is_same_file) return true;
  }
  return false;
}

[[noreturn]] void fail_in_use(const fs::path& output) {
  throw Error::make("{}: this file has another use in the command, and would be overwritten",
                    printable(output.string()));
}

void check_place(const fs::path& output, FileUse::Place place) {
  const std::string name = printable(output.string());
  if (output.empty()) throw Error("an output has an empty name");
  std::error_code error;
  const fs::file_status link = fs::symlink_status(output, error);
  if (link.type() == fs::file_type::none) throw Error::make("{}: cannot be written: {}", name, error.message());
  const fs::file_status status = fs::status(output, error);
  if (fs::is_directory(status)) throw Error::make("{}: this is a folder; name a file", name);
  const bool exists = fs::exists(status);
  if (!exists && fs::is_symlink(link)) throw Error::make("{}: this is a link to a file that does not exist", name);
  if (place == FileUse::Place::kFile && exists && is_standard_stream(output)) {
    throw Error::make("{}: this is where the program's messages go; name another file", name);
  }
  if (exists && !fs::is_regular_file(status)) {
    if (place == FileUse::Place::kFile) throw Error::make("{}: this is no file; a file must be named here", name);
    return;
  }
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, error)) throw Error::make("{}: there is no folder '{}'", name, folder.string());
  if (output.filename().empty()) throw Error::make("{}: this is a folder; name a file", name);
  if (::access(folder.c_str(), W_OK) != 0) {
    throw Error::make("{}: the folder '{}' is not writable: {}", name, folder.string(), std::strerror(errno));
  }
}

}  // namespace

void FileUse::reads(const fs::path& file) {
  if (!file.empty()) inputs_.push_back(file);
}

void FileUse::reads_model(const fs::path& file) {
  if (file.empty()) return;
  reads(file);
  more_inputs_.emplace_back([file] { return measure::external_files(file); });
}

void FileUse::reads_data(const std::string& spec) {
  if (!spec.empty()) more_inputs_.emplace_back([spec] { return data::files_of(spec); });
}

// Which '=' ends a name is not known before the model is read: what is behind any of them may be the data.
void FileUse::reads_data(const std::vector<std::string>& specs) {
  for (const std::string& spec : specs) {
    for (std::string rest = spec;; rest = rest.substr(rest.find('=') + 1)) {
      reads_data(rest);
      if (rest.find('=') == std::string::npos || rest.starts_with("synthetic:")) break;
    }
  }
}

void FileUse::reads_outputs(const fs::path& folder) {
  more_inputs_.emplace_back([folder] {
    std::vector<fs::path> files;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) files.push_back(entry.path());
    return files;
  });
}

// What does not exist yet cannot be lost, so that a data set of a million files is not listed for nothing.
bool FileUse::is_read(const fs::path& output) {
  const auto is_output = [&](const fs::path& input) { return is_same(input, output); };
  if (std::any_of(inputs_.begin(), inputs_.end(), is_output)) return true;
  std::error_code error;
  if (!fs::exists(output, error)) return false;
  for (const auto& list : std::exchange(more_inputs_, {})) {
    for (fs::path& file : list()) inputs_.push_back(std::move(file));
  }
  return std::any_of(inputs_.begin(), inputs_.end(),
                     [&](const fs::path& input) { return fs::equivalent(input, output, error); });
}

void FileUse::may_write(const fs::path& output) {
  if (is_read(output)) fail_in_use(output);
}

void FileUse::writes(const fs::path& output, Place place) {
  check_place(output, place);
  std::error_code error;
  const bool is_special = fs::exists(output, error) && !fs::is_regular_file(output, error);
  if (is_special) return;
  const bool is_taken =
      std::any_of(outputs_.begin(), outputs_.end(), [&](const fs::path& other) { return is_same(other, output); });
  if (is_taken || is_read(output)) fail_in_use(output);
  outputs_.push_back(output);
}

}  // namespace quench::cli
