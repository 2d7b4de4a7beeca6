#!/usr/bin/env bash
# Trains the image codec of examples/models on photographs, and compresses its networks.
#
#     examples/image_codec.sh PHOTOGRAPHS VALIDATION OUT
#
# Two folders of PNG or JPEG files, whose sides are 192 pixels and more. OUT gets photo.encoder.quench, photo.decoder.quench,
# the .onnx files that they are made of, and photo.html, the course of the training. Takes forty minutes of one core and
# memory of 0.9 GB; a training that was stopped goes on where it was.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: examples/image_codec.sh PHOTOGRAPHS VALIDATION OUT" >&2; exit 2; }
photographs=$1 validation=$2 out=$3
quench=${QUENCH:-$(dirname "$0")/../build/release/compressor/cli/quench}
mkdir -p "$out"
resume=()
[ ! -e "$out/photo.encoder.onnx.checkpoint" ] || resume=(--resume)
"$quench" codec train --data "$photographs" --test-data "$validation" -o "$out/photo" --samples 2000 --epochs 9 \
  --page "$out/photo.html" "${resume[@]}"
"$quench" codec compress "$out/photo" -o "$out/photo" --data "$photographs" --max-loss 0.0004
