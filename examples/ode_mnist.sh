#!/usr/bin/env bash
# Trains the neural ODE of Chen et al. (2018) and its residual twin on MNIST, compresses and tunes both, and prints the
# table in RESULTS.md.
#
#     examples/ode_mnist.sh MNIST OUT [NETWORK...]
#
# MNIST: the folder with the four gzipped files. OUT keeps the files: what is there is not made again, what was broken
# off goes on from its checkpoint. NETWORK: odenet, odenet-twin (default: both). 15 epochs of odenet take about 40 min
# on one core with bfloat16. Errors are those on all 10,000 test images, run by the runtime. QUENCH names the program to
# use (default: that of the release preset).
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: examples/ode_mnist.sh MNIST OUT [NETWORK...]" >&2; exit 2; }
mnist=$1 out=$2
shift 2
[ $# -gt 0 ] || set -- odenet odenet-twin
quench=${QUENCH:-$(dirname "$0")/../build/release/compressor/cli/quench}
mkdir -p "$out"

# make FILE COMMAND...: writes FILE with -o on the training images, or goes on with it.
make() {
  local file=$1 resume=()
  shift
  [ ! -f "$file.checkpoint" ] || resume=(--resume)
  [ -f "$file" ] || "$quench" "$@" -o "$file" "${resume[@]}" >&2
}

# "error in % | bytes" of FILE.
row() {
  "$quench" eval "$1" --data "mnist:$mnist" --json 2>/dev/null | sed -n 's/.*"top1": *\([^,}]*\).*/\1/p' | head -n 1 |
    awk -v bytes="$(stat -c %s "$1")" '{ printf " %.2f | %d |", 100 - 100 * $1, bytes }'
}

echo "| network | error, % | bytes | compressed: error, % | bytes | tuned: error, % | bytes |"
echo "|---|---|---|---|---|---|---|"
for network in "$@"; do
  file=$out/$network
  solver=(--solver rk4 --steps 1)
  [ "$network" != odenet-twin ] || solver=()
  make "$file.onnx" train "$network" --data "mnist:$mnist" "${solver[@]}" --epochs 15 --learning-rate 0.1 --threads 1 \
    --metrics "$file.jsonl" --page "$file.html"
  make "$file.quench" compress "$file.onnx" --data "mnist-train:$mnist"
  make "$file.tuned.quench" tune "$file.onnx" --data "mnist:$mnist" --ratio 25 --epochs 3 --threads 1
  echo "| \`$network\` |$(row "$file.onnx")$(row "$file.quench")$(row "$file.tuned.quench")"
done
