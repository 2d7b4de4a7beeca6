#!/usr/bin/env bash
# Trains a flow on each built-in set of points with two seeds, compresses sampler and density, and prints a table.
#
#     examples/flows.sh OUT [SET...]
#
# OUT keeps the files and a page with pictures of each flow: what is there is not made again, a training that was broken
# off goes on from its checkpoint, and the table is printed anew each time. SET: only these; default: all six. A training
# takes two to three minutes of one core with a fast libblas.so.3 (libopenblas0). Columns: mean log density of 10,000
# held-out points in nats; the density's sum over a grid; the largest difference between these points and the sampler's way
# back from where the density's file takes them; nats that are lost by the .quench of the density (on the same points), and
# by that of the sampler (mean log density, by the .onnx, of its samples against those of the .onnx); bytes of the .quench
# files. Needs NumPy. QUENCH names the program to use (default: that of the release preset).
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: examples/flows.sh OUT [SET...]" >&2; exit 2; }
out=$1
shift
[ $# -gt 0 ] || set -- moons checkerboard pinwheel spirals 8gaussians rings
quench=${QUENCH:-$(dirname "$0")/../build/release/compressor/cli/quench}
python=${PYTHON:-python3}
mkdir -p "$out"

[ -f "$out/grid.npy" ] || "$python" - "$out" <<'PYTHON'
import sys
import numpy as np
axis = (np.arange(240) + 0.5) / 20 - 6
grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
random = np.random.default_rng(0)
for name, count in ("normal", 10000), ("calibration", 1000):
    np.save(f"{sys.argv[1]}/{name}.npy", random.standard_normal((count, 2)).astype(np.float32))
np.save(sys.argv[1] + "/grid.npy", grid.astype(np.float32))
PYTHON

# MODEL INPUT.npy OUTPUT FILE.npy [OUTPUT FILE.npy]
run() {
  local model=$1 input=$2 outputs=()
  shift 2
  while [ $# -gt 0 ]; do
    outputs+=(--output "$1=$2")
    shift 2
  done
  "$quench" run "$model" --input "$input" "${outputs[@]}" >/dev/null
}

flow() {
  local set=$1 seed=$2 name="$out/$1-$2" points="$out/$1.npy" resume=()
  [ ! -f "$name.density.onnx.checkpoint" ] || resume=(--resume)
  [ -f "$name.json" ] || "$quench" train flow -o "$name.onnx" --data "synthetic:$set,count=61440" \
    --test-data "synthetic:$set,count=2000" --epochs 8 --seed "$seed" --threads 1 --metrics "$name.jsonl" \
    --page "$name.html" --json "$name.json" "${resume[@]}" >&2
  [ -f "$points" ] || "$quench" data "synthetic:$set,count=10000" -o "$points"
  [ -f "$name.density.quench" ] || "$quench" compress "$name.density.onnx" -o "$name.density.quench" \
    --data "synthetic:$set,count=1000,split=train" --min-snr 45 >&2
  [ -f "$name.sampler.quench" ] || "$quench" compress "$name.sampler.onnx" -o "$name.sampler.quench" \
    --data "$out/calibration.npy" --min-snr 45 >&2
  run "$name.density.onnx" "$out/grid.npy" log_density "$name.grid.npy"
  run "$name.density.onnx" "$points" log_density "$name.log.npy" z "$name.z.npy"
  run "$name.sampler.onnx" "$name.z.npy" x "$name.back.npy"
  run "$name.density.quench" "$points" log_density "$name.quench.npy"
  for file in onnx quench; do
    run "$name.sampler.$file" "$out/normal.npy" x "$name.samples.npy"
    run "$name.density.onnx" "$name.samples.npy" log_density "$name.samples.$file.npy"
  done
  "$python" - "$name" "$points" <<'PYTHON'
import os
import sys
import numpy as np
name, points = sys.argv[1:]
load = lambda part: np.load(f"{name}.{part}.npy").astype(np.float64)
nats = load("log").mean()
print("| %s | %.4f | %.5f | %.1e | %.4f | %.4f | %d | %d |" % (
    os.path.basename(name).replace("-", " | "), nats, np.exp(load("grid")).sum() / 400,
    np.abs(load("back") - np.load(points)).max(), nats - load("quench").mean(),
    load("samples.onnx").mean() - load("samples.quench").mean(),
    os.path.getsize(name + ".density.quench"), os.path.getsize(name + ".sampler.quench")))
PYTHON
  rm -f "$name".{grid,log,z,back,quench,samples,samples.onnx,samples.quench}.npy
}

echo "| set | seed | nats | integral | way back | lost, density | lost, sampler | bytes, density | bytes, sampler |"
echo "|---|---|---|---|---|---|---|---|---|"
for seed in 1 2; do
  for set in "$@"; do flow "$set" "$seed"; done
done
