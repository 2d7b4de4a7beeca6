// Which files a command reads, and which it writes: nothing that it reads may be overwritten, by whatever path it is
// named, and no two outputs may be one file. Every command says all of its files here before it begins to work.
//
//     FileUse files;
//     files.reads_model(arguments.model);
//     files.reads_data(arguments.data);
//     files.writes(arguments.output);       // throws
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace quench::cli {

class FileUse {
 public:
  // Empty ones are not there. All of them come before the first output.
  void reads(const std::filesystem::path& file);
  void reads_model(const std::filesystem::path& file);     // .onnx with its external data, or .quench
  void reads_data(const std::string& spec);                // as of --data: every file of the data set
  void reads_data(const std::vector<std::string>& specs);  // [NAME=]SPEC each

  void reads_outputs(const std::filesystem::path& folder);  // as of --reference: all of its files

  enum class Place { kAny, kFile };  // any: /dev/stdout and other devices too, which are written from front to back

  // Throws quench::Error where the output cannot be written: it is nothing, a folder, a link that leads nowhere, has too
  // long a name, its folder does not exist or is read-only, it is no file where that is needed; or where it is one of
  // the files that are read or an output that was named before. An empty path is an error: leave out what is not wanted.
  void writes(const std::filesystem::path& output, Place place = Place::kAny);
  // What is written in some cases only: throws where it is one of the files that are read.
  void may_write(const std::filesystem::path& output);

 private:
  bool is_read(const std::filesystem::path& output);

  std::vector<std::filesystem::path> inputs_, outputs_;
  std::vector<std::function<std::vector<std::filesystem::path>()>> more_inputs_;  // found where it matters
};

}  // namespace quench::cli
