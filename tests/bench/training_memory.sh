#!/bin/bash
# Memory of a training step by depth, in MiB above what is in use before the first step: with activations stored and with
# activations computed again. Gradients and momenta are in it: 8 bytes for each parameter.
#
#     tests/bench/training_memory.sh [OPTION...]      options of training_bench, e.g. --batch 64
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bench=${BENCH:-$here/../../build/dev/tests/bench/training_bench}
export MALLOC_MMAP_THRESHOLD_=65536  # or what is free in between tensors counts as well
printf '%-14s %6s %12s %12s %14s %14s\n' integrator depth stored recomputed 'stored, ms' 'recomputed, ms'
for integrator in euler reversible; do
  for depth in 38 74 110; do
    read -r stored_ms _ _ stored < <("$bench" plain --integrator $integrator --depth $depth --steps 3 --threads 1 "$@")
    read -r again_ms _ _ again < <("$bench" plain --integrator $integrator --depth $depth --steps 3 --threads 1 \
                                     --recompute "$@")
    printf '%-14s %6s %12s %12s %14s %14s\n' $integrator $depth "$stored" "$again" "$stored_ms" "$again_ms"
  done
done
