#!/usr/bin/env bash
# Compares image codecs on photographs: bits per pixel, PSNR and MS-SSIM of JPEG, JPEG 2000, WebP, AVIF, HEIC and
# JPEG XL, and of learned codecs.
#
#     examples/image_table.sh PICTURES OUT [PREFIX...]
#
# PICTURES: a folder of PNG files, e.g. Kodak's 24. OUT gets images.json, images.txt (the table), images.svg (curves) and
# crops.svg, to look at: the middles of the first four pictures at the lowest rate, as all codecs have them. PREFIX: of
# PREFIX.encoder.quench and PREFIX.decoder.quench; none: the others alone. Debian's packages of these are installed where
# they are missing. Kodak's pictures take half an hour of one core without a PREFIX. RATES names other rates than
# 0.2,0.3,0.4,0.6 bits per pixel, QUENCH the program to use (default: that of the release preset).
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: examples/image_table.sh PICTURES OUT [PREFIX...]" >&2; exit 2; }
pictures=$1 out=$2
shift 2
quench=${QUENCH:-$(dirname "$0")/../build/release/compressor/cli/quench}
. "$(dirname "$0")/packages.sh"
install_packages images
mkdir -p "$out"
codecs=()
for prefix in "$@"; do codecs+=(--codec "$prefix"); done

"$quench" codec eval "$pictures" "${codecs[@]}" --bpp "${RATES:-0.2,0.3,0.4,0.6}" --json "$out/images.json" \
  --plot "$out/images.svg" --crops "$out/crops.svg" | tee "$out/images.txt"
