#!/usr/bin/env bash
# Trains the networks of compressor/networks on CIFAR-10, all with the same options, compresses each as far as it goes at
# half a point of accuracy, and prints a table of them.
#
#     examples/ode_table.sh CIFAR10 OUT [DEPTH [INTEGRATOR...]]
#
# CIFAR10: the folder with the binary version's data_batch_1.bin to test_batch.bin. OUT keeps the files: a network that is
# there is not trained again, one that was broken off goes on from its checkpoint, and the table is printed anew each time.
# DEPTH: of the names, default 20. INTEGRATOR: only these; default: all that take at most four evaluations of f in a step.
# Ten epochs on one core take 18 minutes with euler at depth 20, and in proportion to the multiply-accumulates otherwise.
# Accuracies are on all 10,000 test images, by the runtime; the files are chosen by training images that calibration has
# not seen (--max-drop 0.5). QUENCH names the program to use (default: that of the release preset), SEED that of the
# trainings (default 1): another one wants another OUT.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: examples/ode_table.sh CIFAR10 OUT [DEPTH [INTEGRATOR...]]" >&2; exit 2; }
cifar=$1 out=$2 depth=${3:-20}
shift $(($# < 3 ? $# : 3))
[ $# -gt 0 ] || set -- euler linear-multistep poly-2 mpoly-2 2-way midpoint rk4 reversible fractal-2
quench=${QUENCH:-$(dirname "$0")/../build/release/compressor/cli/quench}
mkdir -p "$out"
preprocessing=(--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225)

# The first value of a key in JSON on standard input.
value() { sed -n "s/.*\"$1\": *\([^,}]*\).*/\1/p" | head -n 1; }
percent() { awk -v share="$1" 'BEGIN { printf "%.2f", 100 * share }'; }

# Millions for an image of 32 x 32. A 3x3 convolution costs as much in every stage, one that halves the image half of it.
multiply_accumulates() {
  awk -v name="$1" -v n=$(((depth - 2) / 6)) 'BEGIN {
    calls["poly-2"] = calls["mpoly-2"] = calls["2-way"] = calls["midpoint"] = 2
    calls["poly-3"] = calls["mpoly-3"] = calls["3-way"] = 3
    calls["rk4"] = 4
    pair = name == "reversible" ? 2 : 1
    if (name ~ /^fractal-/) {
      columns = substr(name, 9)
      layers = (2 ^ columns - 1) * 3 * n - columns
    } else {
      layers = 2 * (name in calls ? calls[name] : 1) * (3 * n - 2) + 2 * 1.5
    }
    printf "%.1f", (layers * 9 * 16 * 16 * 1024 + pair * (27 * 16 * 1024 + 640)) / 1e6
  }'
}

network() {
  local name=$1 file="$out/resnet$depth-$1" resume=()
  [ ! -f "$file.onnx.checkpoint" ] || resume=(--resume)
  [ -f "$file.json" ] || "$quench" train "resnet$depth" --integrator "$name" -o "$file.onnx" --data "cifar10:$cifar" \
    "${preprocessing[@]}" --epochs 10 --learning-rate 0.2 --threads 1 --seed "${SEED:-1}" --metrics "$file.jsonl" \
    --json "$file.json" "${resume[@]}" >&2
  [ -f "$file.quench" ] || "$quench" compress "$file.onnx" -o "$file.quench" --data "cifar10-train:$cifar" \
    "${preprocessing[@]}" --max-drop 0.5 >&2
  [ -f "$file.eval.json" ] || "$quench" eval "$file.quench" --data "cifar10:$cifar" "${preprocessing[@]}" \
    --json "$file.eval.json" >/dev/null
  local onnx_bytes quench_bytes
  onnx_bytes=$(stat -c %s "$file.onnx") quench_bytes=$(stat -c %s "$file.quench")
  printf '| %s | %d | %s | %s | %s | %d | %s |\n' "$name" "$(value parameters <"$file.json")" \
    "$(multiply_accumulates "$name")" "$(percent "$(value top1 <"$file.json")")" \
    "$(percent "$(value top1 <"$file.eval.json")")" "$quench_bytes" \
    "$(awk -v a="$onnx_bytes" -v b="$quench_bytes" 'BEGIN { printf "%.2f", a / b }')"
}

echo "| integrator | parameters | multiply-accumulates, 10^6 | top-1, % | of the .quench, % | its bytes | ratio |"
echo "|---|---|---|---|---|---|---|"
for integrator in "$@"; do network "$integrator"; done
