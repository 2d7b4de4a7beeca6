#!/bin/bash
# Memory of a training step by depth, in MiB above what is in use before the first step: with activations stored and with
# activations computed again. Gradients and momenta are in it: 8 bytes for each parameter. A table for `quench plot`;
# milliseconds of a step go to the standard error.
#
#     tests/bench/training_memory.sh [OPTION...]      options of training_bench, e.g. --batch 64
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bench=${BENCH:-$here/../../build/dev/tests/bench/training_bench}
export MALLOC_MMAP_THRESHOLD_=65536  # or what is free in between tensors counts as well
echo "depth,euler stored,euler recomputed,reversible stored,reversible recomputed"
for depth in 38 74 110; do
  row=$depth
  for integrator in euler reversible; do
    for recompute in '' --recompute; do
      read -r ms _ _ mib < <("$bench" plain --integrator $integrator --depth $depth --steps 3 --threads 1 $recompute "$@")
      row+=,$mib
      echo "$integrator $depth $recompute: $ms ms" >&2
    done
  done
  echo "$row"
done
