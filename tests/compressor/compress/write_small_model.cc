// write_small_model FILE CHANNELS: the network of the tests as an .onnx file, for tests/results.py.
#include <cstdio>
#include <cstdlib>

#include "tests/compressor/compress/small_model.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s FILE CHANNELS\n", argv[0]);
    return 2;
  }
  quench::quantizer::write_model(argv[1], quench::quantizer::make_small_model({.channels = std::atoi(argv[2])}));
}
