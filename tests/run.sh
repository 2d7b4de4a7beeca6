#!/usr/bin/env bash
# Installs what is missing, builds the dev preset, and runs every test. Works on a fresh Debian 12, as root or with sudo.
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/packages.sh
install_packages build training test
cmake --preset dev
cmake --build --preset dev --parallel "$(nproc)"
ctest --preset dev --parallel "$(nproc)"
