#!/usr/bin/env bash
# Every check of the tree, each with a name. Works on a fresh Debian 12, as root or with sudo; installs what is missing.
#
#     tests/run.sh            the same as tests/run.sh test
#     tests/run.sh VERB...    these, in this order; the first that fails ends it
#
#     test      builds the dev preset and runs every test
#     format    clang-format would change nothing
#     tidy      clang-tidy (.clang-tidy) has nothing to say of what needs no LibTorch
#     asan      formats, the runtime, data and rewrites, and the fuzzers' corpora, under AddressSanitizer and
#               UndefinedBehaviorSanitizer
#     tsan      threads, sessions, decoding, data and the whole of compress under ThreadSanitizer
#     size      the example program that links the runtime stays below the limit of tests/size.txt
#     variants  the runtime by itself, also without threads and without files, each with a program that runs a model
#     arm       the runtime and what it reads for 32-bit Arm, by Debian's cross compiler, tested under qemu-user
#     results   compress makes what tests/results.csv says; RESULTS=update writes it anew
#     fuzz      each fuzzer for FUZZ_SECONDS (1200 unless given) under AddressSanitizer and UndefinedBehaviorSanitizer, from
#               its corpus; a table of runs, runs a second and covered edges
#     kill      compress, unpack, run, data and tune, ended by signals at KILL_MOMENTS (200 unless given) moments each
#     release   the commands of README.md, one after the other, in a fresh clone of what is committed
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/packages.sh
jobs=$(nproc)

say() { printf '\n== %s\n' "$*"; }

# build PRESET [TARGET...]
build() {
  local preset=$1
  shift
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" --parallel "$jobs" ${1:+--target "$@"}
}

sources() { git ls-files '*.h' '*.hpp' '*.cc' '*.c'; }

run_test() {
  install_packages build training test
  build dev
  ctest --preset dev --parallel "$jobs"
}

run_format() {
  install_packages style
  sources | xargs clang-format --dry-run -Werror
}

# Sources with LibTorch's headers take clang-tidy longer than all others together; GCC's precompiled ones would stop it.
# The analyzer takes three times as long as all other checks, and is for what must stand hostile bytes: it cannot see
# that a kernel runs only what its infer has let through.
run_tidy() {
  install_packages build training test style
  cmake --preset dev -B build/tidy -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
  local tidy=(xargs -P "$jobs" -n 4 clang-tidy -p build/tidy --quiet)
  sources | grep -E '^(formats|runtime)/.*\.cc$' | grep -v '^runtime/kernels/' |
    "${tidy[@]}" 2> >(grep -v 'warnings generated' >&2)
  sources | grep -E '^(compressor|runtime/kernels)/.*\.cc$' | grep -v -E '^compressor/(training/|solver/integrate)' |
    "${tidy[@]}" --checks='-clang-analyzer-*' 2> >(grep -v 'warnings generated' >&2)
}

run_asan() {
  install_packages build test
  local tests='base_test|operator_rows_test|entropy_test|container_test|image_format_test|onnx_test|data_test'
  tests+='|quantizer_test|graph_test|runtime_core_test|runtime_kernels_test|runtime_fast_test|runtime_image_test'
  build asan ${tests//|/ } fuzz_corpora
  ctest --preset asan --parallel "$jobs" --no-tests=error -L "^($tests|fuzz)\$"
}

run_tsan() {
  install_packages build test
  local tests='base_test|entropy_test|container_test|data_test|compress_test|runtime_core_test|runtime_fast_test'
  build tsan ${tests//|/ }
  ctest --preset tsan --parallel "$jobs" --no-tests=error -L "^($tests)\$"
}

# linked OUT PRESET SOURCE: a C program with the runtime of a preset and nothing else.
linked() {
  "${CC:-cc}" -std=c99 -Os -Iruntime/include "$3" "build/$2/runtime/libquench_runtime.a" -lpthread -lm \
    -Wl,--gc-sections -o "$1"
}

run_size() {
  install_packages build
  build runtime-only quench_runtime
  linked build/runtime-only/classify runtime-only examples/embed/main.c
  local text limit date
  text=$(size build/runtime-only/classify | awk 'NR == 2 { print $1 }')
  read -r limit date < <(grep -v '^#' tests/size.txt)
  echo "text of the example program: $text bytes; limit: $limit, since $date"
  if [ "$text" -gt "$limit" ] || [ "$((text * 10))" -lt "$((limit * 9))" ]; then
    echo "tests/size.txt: either is too large, or the limit can come down" >&2
    return 1
  fi
}

run_variants() {
  install_packages build
  local preset library
  for preset in runtime-only device; do
    build "$preset" quench_runtime
    linked "build/$preset/smoke" "$preset" tests/runtime/session/smoke.c
    "build/$preset/smoke" examples/models/resnet32-cifar10.quench >"build/$preset/scores"
  done
  cmp build/runtime-only/scores build/device/scores
  library=build/device/runtime/libquench_runtime.a
  if nm -u "$library" | grep -wE 'pthread_[a-z_]+|open|fopen|mmap'; then
    echo "$library: has neither threads nor files, but needs these" >&2
    return 1
  fi
}

run_arm() {
  install_packages build arm
  local tests='base_test|operator_rows_test|container_test|image_format_test|runtime_core_test|runtime_kernels_test'
  tests+='|runtime_fast_test|runtime_image_test'
  build arm ${tests//|/ }
  # Not the writers' files, whose processes qemu's /proc does not show as they are.
  GTEST_FILTER='-*AtomicFile*' ctest --preset arm --parallel "$jobs" --no-tests=error -L "^($tests)\$"
}

run_results() {
  install_packages build test
  build dev quench write_small_model
  tests/results.py build/dev/compressor/cli/quench build/dev/tests/compressor/compress/write_small_model \
    ${RESULTS:+--"$RESULTS"}
}

# What a fuzzer finds stays in build/fuzz/NAME beside its log.
run_fuzz() {
  install_packages build test
  local names name out
  names=$(sed -n 's/^quench_fuzz(\([a-z_]*\).*/\1/p; s/^foreach(coder \(.*\))/\1/p' tests/fuzz/CMakeLists.txt |
    tr ' ' '\n' | sed '/_fuzz$/!s/$/_fuzz/' | sort -u)
  [ -z "${FUZZERS:-}" ] || names=$FUZZERS
  # shellcheck disable=SC2086
  build asan $names
  for name in $names; do
    out=build/fuzz/$name
    mkdir -p "$out/found"
    if ! "build/asan/tests/fuzz/$name" -max_total_time="${FUZZ_SECONDS:-1200}" -print_final_stats=1 -rss_limit_mb=4096 \
      -timeout=10 -artifact_prefix="$out/" "$out/found" "tests/fuzz/corpus/$name" >"$out/log" 2>&1; then
      tail -30 "$out/log" >&2
      return 1
    fi
    awk -v name="$name" '/ cov: / { for (i = 1; i < NF; ++i) if ($i == "cov:") edges = $(i + 1) }
      /number_of_executed_units/ { runs = $2 } /average_exec_per_sec/ { rate = $2 }
      END { printf "%-18s %10d runs, %6d a second, %6d edges, nothing found\n", name, runs, rate, edges }' "$out/log"
  done
}

run_kill() {
  install_packages build training test
  build dev cli_test training_cli_test
  for test in cli_test training_cli_test; do
    QUENCH_KILL_MOMENTS=${KILL_MOMENTS:-200} "build/dev/tests/compressor/cli/$test" --gtest_filter='*Killed*'
  done
}

run_release() {
  install_packages build training test
  local clone=build/release-clone
  rm -rf "$clone"
  git clone --quiet . "$clone"
  (cd "$clone" && tests/readme.py README.md | bash)
  rm -rf "$clone"
}

# Runs one verb; `took` has the seconds of each.
took=""
run_verb() {
  local started=$SECONDS
  say "$1"
  "run_$1"
  took+="$1 $((SECONDS - started)) s, "
}

[ $# -gt 0 ] || set -- test
for verb in "$@"; do
  [ "$(type -t "run_$verb")" = function ] || { sed -n '2,/^set/p' "$0" | grep '^#' >&2; exit 2; }
done
for verb in "$@"; do run_verb "$verb"; done
say "passed: ${took}together $SECONDS s"
