// write_int8_model MODEL.onnx OUT.onnx: the model with the weights that compress would give a codebook rounded to 8 bits,
// one scale for each output channel, as floating-point numbers; for tests/fidelity.py. Prints the bytes that such a file
// has when these weights are stored in 8 bits, and a float32 for each channel.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "compressor/compress/int8_rounding.h"
#include "compressor/compress/storage_policy.h"
#include "compressor/compress/weight_use.h"
#include "compressor/graph/learned.h"
#include "compressor/graph/simplify.h"

int main(int argc, char** argv) {
  using namespace quench;
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL.onnx OUT.onnx\n", argv[0]);
    return 2;
  }
  try {
    OnnxModel model = load(argv[1]);
    graph::simplify(model);
    const auto methods = quantizer::choose_methods(model, graph::learned_weights(model), {});
    const auto channels = quantizer::channels_of_weights(model);
    uint64_t before = 0, after = 0;
    for (size_t w = 0; w < model.weights.size(); ++w) {
      if (methods[w] != quantizer::TensorMethod::kCodebook) continue;
      Weight& weight = model.weights[w];
      std::vector<float> values = read_float(weight);
      quantizer::round_to_int8(values, channels[w]);
      before += weight.bytes();
      after += quantizer::int8_bytes(values.size(), channels[w]);
      weight.source = owned_source(from_float(weight.dtype, values));
    }
    save(argv[2], model);
    std::printf("%llu\n", static_cast<unsigned long long>(std::filesystem::file_size(argv[2]) - before + after));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
