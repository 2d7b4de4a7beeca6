#!/usr/bin/env bash
# Tunes ResNet-32 on CIFAR-10 as in the papers and beyond, and prints the table in RESULTS.md.
#
#     examples/paper_table.sh MODELS CIFAR10 OUT [ROW...]
#
# MODELS: the folder with resnet20-cifar10.onnx, resnet32-cifar10.onnx and resnet56-cifar10.onnx. CIFAR10: the folder with
# the binary version's data_batch_1.bin to test_batch.bin. OUT keeps the files: a row whose .json file is there is not tuned
# again, one that was broken off goes on from its checkpoint. ROW: only these (paper, 22x, 30x, 40x, resnet20, resnet56).
# Each row takes between forty minutes and two hours on one core. Accuracies are those of the .quench file on all 10,000
# test images, run by the runtime. QUENCH names the program to use (default: that of the release preset).
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: examples/paper_table.sh MODELS CIFAR10 OUT [ROW...]" >&2; exit 2; }
models=$1 cifar=$2 out=$3
shift 3
wanted=" $* "
quench=${QUENCH:-$(dirname "$0")/../build/release/compressor/cli/quench}
mkdir -p "$out"
data=(--data "cifar10:$cifar" --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225)

# The first value of a key in JSON on standard input.
value() { sed -n "s/.*\"$1\": *\([^,}]*\).*/\1/p" | head -n 1; }

# row NAME MODEL DESCRIPTION OPTIONS...
row() {
  local name=$1 model=$2 description=$3
  shift 3
  [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
  local file="$out/$name.quench" resume=()
  [ ! -f "$file.checkpoint" ] || resume=(--resume)
  [ -f "$out/$name.json" ] || "$quench" tune "$models/$model.onnx" -o "$file" "${data[@]}" "$@" --metrics "$out/$name.jsonl" --page "$out/$name.html" \
    --json "$out/$name.json" "${resume[@]}" >&2
  "$quench" eval "$file" "${data[@]}" --json "$out/$name.eval.json" >/dev/null
  printf '| %s | %s | %s | %.2f | %.2f | %.2f |\n' "$model" "$description" \
    "$(value top1 <"$out/$name.eval.json" | awk '{ printf "%.2f", 100 * $1 }')" "$(value ratio <"$out/$name.json")" \
    "$(value huffman <"$out/$name.json")" "$(value arithmetic <"$out/$name.json")"
}

teacher=(--teacher "$models/resnet56-cifar10.onnx")
echo "| model | method | accuracy, % | ratio of the files | paper's ratio, Huffman | paper's ratio, arithmetic |"
echo "|---|---|---|---|---|---|"
row paper resnet32-cifar10 "one codebook, d = 1, L = 75, exponential schedule" --annealing exponential --soft-share 0.3 --equal-steps --step 1.4 --ratio 23.8 --epochs 10 --learning-rate 0.03 "${teacher[@]}"
row 22x resnet32-cifar10 "hard values, soft gradients; 22x" --ratio 22.2 --step 1.5 --epochs 10 --learning-rate 0.03 "${teacher[@]}"
row 30x resnet32-cifar10 "the same with equal steps; 30x" --ratio 30.2 --step 1.6 --equal-steps --epochs 20 --learning-rate 0.03 "${teacher[@]}"
row 40x resnet32-cifar10 "hard values, soft gradients; 40x" --ratio 40 --epochs 16 --learning-rate 0.03 "${teacher[@]}"
row resnet20 resnet20-cifar10 "hard values, soft gradients; --max-drop 0.5" --max-drop 0.5 --ratio 27 --epochs 14 --learning-rate 0.03 "${teacher[@]}"
row resnet56 resnet56-cifar10 "hard values, soft gradients; --max-drop 0.5" --max-drop 0.5 --ratio 29 --epochs 6 --learning-rate 0.03 "${teacher[@]}"
