# The Debian packages that Quench needs, and how to install those that are missing. To be sourced.
#
#     install_packages build          what the libraries and the quench program are built with
#     install_packages build training and what quench tune and quench train need
#     install_packages build training test     and what the tests need; style: clang-format and clang-tidy;
#                                    arm: to build and test for 32-bit Arm;
#                                    images: the codecs that quench codec eval compares with

packages_build="g++ cmake ninja-build pkg-config libonnx-dev libprotobuf-dev protobuf-compiler libeigen3-dev libfmt-dev
  libcli11-dev nlohmann-json3-dev libhwy-dev libpng-dev libjpeg62-turbo-dev zlib1g-dev"
packages_training="libtorch-dev libgloo-dev"  # c10d's header for Gloo includes Gloo's own
packages_test="clang libclang-rt-14-dev libgtest-dev libgmock-dev libbenchmark-dev libonnx-testdata python3"
packages_arm="g++-arm-linux-gnueabihf qemu-user googletest"
packages_style="git clang-format clang-tidy"
packages_images="libjpeg-turbo-progs libopenjp2-tools webp libavif-bin libheif-examples libjxl-tools"

install_packages() {
  local group name missing=""
  for group in "$@"; do
    local names="packages_$group"
    for name in ${!names}; do
      [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing="$missing $name"
    done
  done
  [ -n "$missing" ] || return 0
  local as_root=""
  [ "$(id -u)" = 0 ] || as_root=sudo
  echo "installing:$missing"
  $as_root apt-get update -qq
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
