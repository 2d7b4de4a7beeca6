#!/usr/bin/env bash
# Regenerates the table in RESULTS.md of CIFAR-10 models compressed without data.
#
#     examples/tables.sh MODELS [CIFAR10]
#
# MODELS: a folder of .onnx files; each is compressed at the default quality, without data. CIFAR10: the folder with
# test_batch.bin; models named *-cifar10.onnx are then evaluated on its 10,000 images by the runtime, before and after.
# QUENCH names the program to use (default: that of the release preset).
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: examples/tables.sh MODELS [CIFAR10]" >&2; exit 2; }
models=$1
cifar=${2:-}
quench=${QUENCH:-$(dirname "$0")/../build/release/compressor/cli/quench}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
preprocessing=(--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225)

# The first value of a key in JSON on standard input.
value() { sed -n "s/.*\"$1\": *\([^,}]*\).*/\1/p" | head -n 1; }
percent() { awk -v share="$1" 'BEGIN { printf "%.2f", 100 * share }'; }

echo "| model | bytes | compressed | ratio | output SNR, dB |"
echo "|---|---|---|---|---|"
for model in "$models"/*.onnx; do
  name=$(basename "$model" .onnx)
  "$quench" compress "$model" -o "$work/$name.quench" --json >"$work/$name.json" 2>"$work/log" ||
    { echo "| $name | $(tail -n 1 "$work/log") |"; continue; }
  snr=$("$quench" eval "$work/$name.quench" --against "$model" --json 2>/dev/null | value snr_db | awk "{ printf \"%.1f\", \$1 }") || snr="-"
  printf '| %s | %d | %d | %.2f | %s |\n' "$name" "$(value input_bytes <"$work/$name.json")" \
    "$(value output_bytes <"$work/$name.json")" "$(value ratio <"$work/$name.json")" "${snr:--}"
done

[ -n "$cifar" ] || exit 0
echo
echo "| CIFAR-10 model | before, % | after, % | ratio | paper's ratio | bits per weight |"
echo "|---|---|---|---|---|---|"
for model in "$models"/*-cifar10.onnx; do
  name=$(basename "$model" .onnx)
  before=$("$quench" eval "$model" --data "cifar10:$cifar" "${preprocessing[@]}" --json 2>/dev/null | value top1)
  after=$("$quench" eval "$work/$name.quench" --data "cifar10:$cifar" "${preprocessing[@]}" --json 2>/dev/null | value top1)
  printf '| %s | %s | %s | %.2f | %.2f | %.2f |\n' "$name" "$(percent "$before")" "$(percent "$after")" \
    "$(value ratio <"$work/$name.json")" "$(value paper_ratio <"$work/$name.json")" \
    "$(value bits_per_weight <"$work/$name.json")"
done
