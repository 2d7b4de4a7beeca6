#!/usr/bin/env bash
# From a fresh Debian 12 to a compressed model in a C program: installs the packages that are missing (as root or with
# sudo), builds, compresses the bundled ResNet-20, runs the result through the C API, measures the accuracy before and
# after, lets a ResNet-32 that was tuned to a thirtieth of its size name a few pictures, and takes one of these through
# the bundled image codec.
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/packages.sh
install_packages build

bold='' plain=''
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { say "\$ $*"; "$@"; }

say "Building"
cmake --preset release >/dev/null
cmake --build --preset release --target quench quench_runtime --parallel "$(nproc)"

export PATH="$PWD/build/release/compressor/cli:$PATH"
model=examples/models/resnet20-shapes.onnx
out=build/quickstart
mkdir -p "$out"

show quench compress "$model" -o "$out/resnet20.quench"
show quench data synthetic:shapes,count=8 -o "$out/images.npy"
show "${CC:-cc}" -std=c99 -O2 -Iruntime/include examples/embed/main.c build/release/runtime/libquench_runtime.a -lpthread -lm -o "$out/classify"
show "$out/classify" "$out/resnet20.quench" "$out/images.npy" circle square triangle pentagon star cross ring crescent heart arrow
show quench eval "$out/resnet20.quench" --against "$model" --data synthetic:shapes

ls -l examples/models/resnet32-cifar10.*
show quench data examples/pictures --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 -o "$out/pictures.npy"
(cd examples/pictures && ls)
show "$out/classify" examples/models/resnet32-cifar10.quench "$out/pictures.npy" airplane automobile bird cat deer dog frog horse ship truck

ls -l examples/models/photo.*
show quench codec encode examples/pictures/frog.png -o "$out/frog.qim" --codec examples/models/photo --quality 6
show quench codec decode "$out/frog.qim" -o "$out/frog.png" --codec examples/models/photo
