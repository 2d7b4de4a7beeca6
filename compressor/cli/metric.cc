#include "compressor/cli/metric.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "compressor/cli/options.h"
#include "compressor/data/files.h"
#include "compressor/data/npy.h"
#include "formats/base/printable.h"
#include "formats/error.h"

namespace quench::cli {
namespace {

namespace fs = std::filesystem;
using graph::HostTensor;

constexpr std::string_view kOriginal = "{original}", kCompressed = "{compressed}";
constexpr size_t kLongestLine = 1 << 20;

std::string quoted(const std::string& path) {
  std::string text = "'";
  for (const char c : path) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string replaced(std::string text, std::string_view name, const std::string& value) {
  for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size()))
    text.replace(at, name.size(), value);
  return text;
}

// Of a row of the output, or the whole of one that has no rows.
data::Array sample_of(const HostTensor& output, uint64_t row, uint64_t rows) {
  const bool has_rows = !output.dims.empty() && output.dims[0] == static_cast<int64_t>(rows);
  data::Array array{static_cast<ElementType>(output.dtype), output.dims, {}};
  if (has_rows) array.dims[0] = 1;
  const size_t bytes = has_rows ? output.bytes.size() / rows : output.bytes.size();
  const auto begin = output.bytes.begin() + static_cast<std::ptrdiff_t>(has_rows ? row * bytes : 0);
  array.bytes.assign(begin, begin + static_cast<std::ptrdiff_t>(bytes));
  return array;
}

// Not as files that must outlive a crash are written: there may be very many.
void write_temporary(const fs::path& path, const data::Array& array) {
  const std::vector<std::byte> bytes = data::npy_bytes(array);
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) throw Error::make("{}: cannot be written: {}", path.string(), std::strerror(errno));
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return fmt::format("was ended by signal {}", WTERMSIG(status));
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

// The last line that is not empty; what is before is not kept.
std::string last_line(std::FILE* stream) {
  std::string last, line;
  for (int c = std::fgetc(stream); c != EOF; c = std::fgetc(stream)) {
    if (c != '\n') {
      if (line.size() < kLongestLine) line += static_cast<char>(c);
      continue;
    }
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
    line.clear();
  }
  if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  const size_t begin = last.find_first_not_of(" \t\r");
  return begin == std::string::npos ? "" : last.substr(begin, last.find_last_not_of(" \t\r") + 1 - begin);
}

}  // namespace

void check_metric(const std::string& command) {
  for (const std::string_view name : {kOriginal, kCompressed}) {
    if (command.find(name) == std::string::npos)
      throw UsageError(fmt::format("--metric: the command must have {} and {} in it", kOriginal, kCompressed));
  }
}

void Metric::write(const char* which, std::span<const uint64_t> indices, uint64_t rows,
                   std::span<const HostTensor> outputs) const {
  std::vector<std::string> names;
  for (const HostTensor& output : outputs) names.push_back(output.name);
  const std::vector<std::string> folders = data::file_names_of(names, "");
  for (size_t i = 0; i < outputs.size(); ++i) {
    const fs::path folder = folder_.path() / which / folders[i];
    fs::create_directories(folder);
    for (size_t row = 0; row < indices.size(); ++row)
      write_temporary(folder / fmt::format("{:06}.npy", indices[row]), sample_of(outputs[i], row, rows));
  }
}

void Metric::add(std::span<const uint64_t> indices, uint64_t rows, std::span<const HostTensor> original,
                 std::span<const HostTensor> compressed) {
  write("original", indices, rows, original);
  write("compressed", indices, rows, compressed);
}

std::string Metric::run() const {
  std::string command = replaced(command_, kOriginal, quoted((folder_.path() / "original").string()));
  command = replaced(command, kCompressed, quoted((folder_.path() / "compressed").string()));
  std::fflush(stdout);
  std::FILE* stream = ::popen(command.c_str(), "re");
  if (!stream) throw Error::make("--metric: the command could not be started: {}", std::strerror(errno));
  std::string figure = last_line(stream);
  const int status = ::pclose(stream);
  if (status != 0) throw Error::make("--metric: the command {}: {}", how_it_ended(status), printable(command_, 1000));
  if (figure.empty()) throw Error::make("--metric: the command printed nothing: {}", printable(command_, 1000));
  return figure;
}

}  // namespace quench::cli
