#!/usr/bin/env bash
# Runs a command as two machines would train together: in two network namespaces, each with an interface, an address and
# a loopback of its own, joined by a virtual cable, without DNS. Needs root and iproute2; leaves nothing behind.
#
#     sudo examples/two_machines.sh build/release/compressor/cli/quench train resnet20 --data synthetic:shapes -o resnet20.onnx
#
# Each of the two gets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as on machines of one's own; what one prints is
# marked with its rank. Exits with the first status that is not 0.
set -euo pipefail

if [ $# = 0 ]; then
  echo "usage: $0 COMMAND [ARGUMENT]..." >&2
  exit 2
fi

namespaces=("quench-$$-0" "quench-$$-1")
addresses=(192.0.2.1 192.0.2.2) # set aside for documentation, so in use nowhere

remove() {
  trap '' INT TERM
  local name
  for name in "${namespaces[@]}"; do
    ip netns pids "$name" 2>/dev/null | xargs -r kill 2>/dev/null || true
    ip netns delete "$name" 2>/dev/null || true
  done
}
trap remove EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for name in "${namespaces[@]}"; do
  ip netns add "$name"
  ip -n "$name" link set lo up
done
ip -n "${namespaces[0]}" link add cable type veth peer name cable netns "${namespaces[1]}"
for rank in 0 1; do
  ip -n "${namespaces[rank]}" address add "${addresses[rank]}/24" dev cable
  ip -n "${namespaces[rank]}" link set cable up
done

run() {
  local rank=$1
  shift
  RANK=$rank WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=${addresses[0]} MASTER_PORT=29500 \
    ip netns exec "${namespaces[rank]}" "$@" 2>&1 | sed -u "s/^/[$rank] /"
}
run 0 "$@" &
first=$!
run 1 "$@" &
second=$!
status=0
wait "$first" || status=$?
wait "$second" || [ "$status" != 0 ] || status=$?
exit "$status"
