// .onnx files: load, check, save, without ever holding all weights in memory.
//
//     OnnxModel model = load("model.onnx");
//     for (const std::string& warning : check(model)) print(warning);
//     ... change model.proto and model.weights (see compressor/graph) ...
//     save("out.onnx", model);
//
// load() scans the protobuf wire bytes as a stream: payloads of tensors become ranges of the file, all else is parsed
// into `proto`, functions are replaced by their bodies (inline_functions.h, and contrib.h), and nodes are put
// in order. Files over 2 GB work. External data (ONNX's data_location EXTERNAL) becomes a range of the other file, which
// must be a regular file inside the model's folder or, where the model is a link, the folder of what it leads to;
// absolute paths, "..", and links that lead out of these are refused. Every error is a quench::Error of one line that
// begins with the file's name.
#pragma once

#include <onnx/onnx_pb.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/onnx/tensors.h"
#include "formats/onnx/weight.h"

namespace quench {

// A model and its weights. Tensors of up to LoadOptions::inline_bytes also keep their values in the proto, as raw_data,
// so that shape inference and passes see them; larger ones have no data there. Each tensor that has a weight says which
// one by a mark that weight_index() reads; moving or copying a TensorProto within the model keeps it, and it never gets
// into a file. `weights` is in the order of for_each_tensor after load() and after reindex().
struct OnnxModel {
  OnnxModel() = default;
  OnnxModel(OnnxModel&&) = default;
  OnnxModel& operator=(OnnxModel&&) = default;
  OnnxModel clone() const;  // copies the proto, shares the values

  // After tensors were added to, removed from or moved in the proto: drops weights that no tensor refers to, puts the
  // rest in order, renews Weight::name and Weight::tensor. A weight that several tensors refer to is listed once for
  // each.
  void reindex();

  std::string name;         // the file's, for messages
  uint64_t file_bytes = 0;  // of the file that it was loaded from and the external data that this refers to
  std::vector<std::filesystem::path> external_files;  // with that data
  onnx::ModelProto proto;
  std::vector<Weight> weights;
  // Set when ONNX's shape inference has crashed or hung over this model or a copy of it, so that it is not tried again.
  std::shared_ptr<std::atomic<bool>> breaks_inference = std::make_shared<std::atomic<bool>>(false);
};

// The weight that a tensor of the model refers to, as an index into OnnxModel::weights; -1 when it has none (no
// elements, strings).
int64_t weight_index(const onnx::TensorProto& tensor);

// Gives `tensor`, a tensor of the model's proto, new values of `dtype` and `dims` from `source`; up to
// LoadOptions::inline_bytes they are also put into the proto.
void set_weight(OnnxModel& model, onnx::TensorProto& tensor, int32_t dtype, std::span<const int64_t> dims,
                std::shared_ptr<const WeightSource> source);

struct LoadOptions {
  uint64_t inline_bytes = 1024;                  // tensors up to this size also keep their values in the proto
  uint64_t max_graph_bytes = uint64_t{1} << 28;  // limit on what is left of the file without its weights
};

OnnxModel load(const std::filesystem::path& path, const LoadOptions& options = {});

// The same for a .onnx file in memory, which is copied; external data is refused.
OnnxModel load_bytes(std::span<const std::byte> bytes, std::string name, const LoadOptions& options = {});

// Throws where a value is used that nothing before it defines, or defined twice. Returns warnings, one line each: an
// opset or IR version newer than the ONNX library knows, operators that ONNX does not have, shapes that contradict,
// weights that hold NaN or infinities.
std::vector<std::string> check(const OnnxModel& model);

// Adds the value_info that ONNX's shape inference (not strict) can find; leaves the model alone where it cannot. A
// dimension of an input that is declared as 0 is open, as it is for the runtime.
void infer_shapes(OnnxModel& model);

// Raw little-endian bytes of the index-th stripped tensor, which is `tensor`.
using WeightProvider = std::function<std::vector<std::byte>(size_t index, const onnx::TensorProto& tensor)>;

struct SaveOptions {
  enum class ExternalData { kWhenNeeded, kAlways };  // needed: the file would exceed 2 GB
  ExternalData external_data = ExternalData::kWhenNeeded;
};

// Writes a .onnx file with the stripped tensors' values from `provider`, asked for in order and one at a time; with
// external data also `<path>.data`. Each file is written beside its place, synced and renamed into it.
void save(const std::filesystem::path& path, const onnx::ModelProto& proto, const WeightProvider& provider,
          const SaveOptions& options = {});
void save(const std::filesystem::path& path, const OnnxModel& model, const SaveOptions& options = {});

struct GraphOptions {
  // Short names for inner values and initializers, terse ones where they can be (terse_names.h), none for nodes; no doc
  // strings, no value_info. Inputs and outputs keep theirs.
  bool drop_names = false;
  // Weights whose values stay in the graph's bytes. Null: none.
  std::function<bool(const Weight& weight)> keep_inline = nullptr;
};

// A ModelProto with its weights taken out, as bytes, the same ones for the same model.
struct GraphBytes {
  std::string bytes;
  std::vector<size_t> stripped;  // k-th stripped tensor -> index into OnnxModel::weights
  bool terse = false;            // names are terse_names.h's, and no valid ONNX
};
GraphBytes to_graph_bytes(const OnnxModel& model, const GraphOptions& options = {});

// The other way: for save() with a provider. `name` is the file's, for messages. Throws quench::Error also where the
// parsed graph might take more than `max_memory` bytes: two bytes of a hostile graph become 200.
onnx::ModelProto parse_graph_bytes(std::span<const std::byte> bytes, bool terse, std::string_view name,
                                   uint64_t max_memory = std::numeric_limits<uint64_t>::max());

}  // namespace quench
