#!/usr/bin/env bash
# A training step of ResNet-32 in turn: in Python, by this project plainly, and with its weights quantized to 75 centers.
#
#     tests/bench/training_bench.sh [OPTION...]      options of training_bench, e.g. --bfloat16
#
# Needs python3-torch. BENCH names the program (default: that of the dev preset), PYTHON the interpreter. Prints medians of five rounds.
set -euo pipefail
here=$(dirname "$0")
bench=${BENCH:-$here/../../build/dev/tests/bench/training_bench}
python=${PYTHON:-/usr/bin/python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GOMP_SPINCOUNT=10000  # as quench has it
for _ in 1 2 3 4 5; do
  "$python" "$here/training_step.py" "$@" >>"$work/python"
  "$bench" plain "$@" >>"$work/plain"
  "$bench" tune "$@" >>"$work/tune"
done
median() { sort -n -k "$2" "$work/$1" | awk -v column="$2" 'NR == 3 { print $column }'; }
base=$(median python 1) plain=$(median plain 1)
memory=$(median plain 2)
echo "| step | ms | against Python | against plain | peak MiB | against plain |"
echo "|---|---|---|---|---|---|"
for name in python plain tune; do
  awk -v name="$name" -v ms="$(median "$name" 1)" -v base="$base" -v plain="$plain" -v mib="$(median "$name" 2)" -v memory="$memory" \
    'BEGIN { printf "| %s | %.0f | %.2f | %.2f | %d | %.2f |\n", name, ms, ms / base, ms / plain, mib, mib / memory }'
done
