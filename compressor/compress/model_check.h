// What is in a model, and what compress and the runtime will make of it, without doing either: `quench check`, and the
// first lines of `quench compress`.
//
//     ModelCheck found = check_model("model.onnx");
//     if (!found.refusal.empty()) ...        // the runtime does not run it, and this is why
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compressor/compress/storage_policy.h"
#include "compressor/measure/input_shapes.h"

namespace quench::quantizer {

struct CheckedOperator {
  std::string name;    // with its domain, where that is not ONNX's own
  uint64_t nodes = 0;  // in subgraphs and functions, too
  std::string first;   // the first of them: its name, or that of its first output
  bool runs = true;    // the runtime has it in the model's operator set
};

struct CheckedWeight {
  std::string name;
  std::string type;  // as NumPy spells it
  std::vector<int64_t> dims;
  uint64_t elements = 0;
  uint64_t bytes = 0;
  bool is_float = false;
  bool is_tiny = false;       // stays in the graph
  bool is_quantized = false;  // or will be
  std::string reason;         // how it is stored, and why
};

// An input or output.
struct CheckedValue {
  std::string name;
  std::string type;
  std::vector<int64_t> dims;           // -1: open
  std::vector<std::string> dim_names;  // of each dimension; empty: none
  bool has_dims = true;                // false: not even the rank is declared
  bool has_default = false;
};

struct ModelCheck {
  std::string file;
  bool is_quench = false;
  uint64_t bytes = 0;  // with external data
  std::string producer;
  int64_t ir_version = 0;
  std::vector<std::pair<std::string, int64_t>> opsets;  // domain ("ai.onnx" for ONNX's own), version
  uint64_t nodes = 0;
  uint64_t functions = 0;
  std::vector<CheckedOperator> operators;  // by name
  std::vector<CheckedWeight> weights;      // those that compress sees: after folding
  std::vector<CheckedValue> inputs, outputs;
  std::vector<std::string> warnings;
  std::string refusal;  // why the runtime does not run it on made-up inputs; empty: it does, or that was not tried
  std::string cut_at;   // then, the first node behind the part that it may run (graph/runnable_part.h); empty: none

  // One run on made-up inputs, and what compress is expected to take: a guess.
  std::optional<double> run_ms;
  std::optional<uint64_t> run_bytes;
  std::optional<double> compress_seconds;  // of processor time
  std::optional<uint64_t> compress_bytes;

  uint64_t float_elements() const;           // of all float weights
  uint64_t real_elements() const;            // of these and of integers that are to be quantized
  std::vector<std::string> missing() const;  // operators that the runtime lacks
};

// What can be said of a model without running it. `simplified`: the same model as compress sees it.
ModelCheck describe(const OnnxModel& original, const OnnxModel& simplified, const std::vector<bool>& is_learned,
                    const StoragePolicy& policy);

// Of a .onnx or .quench file, which is run once or twice on one thread. `max_memory`: as of measure::QuenchFile. Throws
// quench::Error where it cannot be compressed either.
ModelCheck check_model(const std::filesystem::path& path, const measure::InputShapes& shapes = {},
                       uint64_t max_memory = 0);

}  // namespace quench::quantizer
