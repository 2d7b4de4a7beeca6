# 32-bit ARM by Debian's cross compiler (g++-arm-linux-gnueabihf), its programs run by qemu-user: see tests/run.sh arm.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-linux-gnueabihf-gcc)
set(CMAKE_CXX_COMPILER arm-linux-gnueabihf-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-arm -L /usr/arm-linux-gnueabihf)
# Highway is nothing but headers, and alone in a folder where the machine's own headers are not.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/headers)
file(CREATE_LINK /usr/include/hwy ${CMAKE_BINARY_DIR}/headers/hwy SYMBOLIC)
set(CMAKE_CXX_FLAGS_INIT "-isystem ${CMAKE_BINARY_DIR}/headers")
