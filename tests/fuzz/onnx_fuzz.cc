// Fuzzes what compress does to a model before it quantizes it, and what unpack reads: loads the bytes as a .onnx file,
// checks and rewrites the graph, looks at the weights, takes them out and parses the rest. Anything but quench::Error
// ends the fuzzer.
#include <cstddef>
#include <cstdint>
#include <span>

#include "compressor/graph/learned.h"
#include "compressor/graph/simplify.h"
#include "formats/error.h"
#include "formats/onnx/model_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quench;
  try {
    OnnxModel model = load_bytes(std::as_bytes(std::span(data, size)), "fuzz.onnx", {.max_graph_bytes = 1 << 20});
    static_cast<void>(check(model));
    graph::simplify(model);
    static_cast<void>(graph::learned_weights(model));
    const GraphBytes graph = to_graph_bytes(model, {.drop_names = true});
    static_cast<void>(parse_graph_bytes(std::as_bytes(std::span(graph.bytes)), graph.terse, "fuzz.quench"));
    const GraphBytes named = to_graph_bytes(model);
    static_cast<void>(parse_graph_bytes(std::as_bytes(std::span(named.bytes)), true, "fuzz.quench"));
  } catch (const Error&) {
  }
  return 0;
}
