#!/usr/bin/env bash
# What ships on devices knows nothing of what compresses: no header of ONNX, protobuf, Eigen, fmt, torch and the like in the
# runtime, the coders and the container; and libtorch nowhere but in training.
set -euo pipefail
cd "$(dirname "$0")/../.."
status=0
refuse() {  # refuse PATTERN WHERE...
  local pattern=$1
  shift
  if grep -rnE "#include *[<\"]($pattern)" "$@" --include=*.h --include=*.hpp --include=*.cc; then status=1; fi
}
refuse 'onnx|google/protobuf|Eigen|fmt|torch|ATen|c10|iostream|nlohmann|CLI|compressor' runtime formats/entropy formats/container
refuse 'runtime' formats
refuse 'formats/entropy/[a-z_]*encoder|formats/container/(writer|atomic_file)' runtime
refuse '(formats/entropy/[a-z_]*encoder)' $(ls formats/entropy/*decoder* formats/container/reader* formats/container/decode.cc)
refuse '(formats/entropy/[a-z_]*decoder)' $(ls formats/entropy/*encoder* formats/container/writer* formats/container/encode.cc)
others=$(ls -d formats compressor/* runtime | grep -vE "^compressor/training$")
refuse 'torch|ATen|c10' $others
exit $status
