#!/usr/bin/env bash
# The installed package: find_package, both targets, pkg-config, a C11 program.
set -euo pipefail
build=$(dirname "$(realpath "${ARENASCAN_LIB:?is not set}")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cmake --install "$build" --prefix "$work/installed" >install.log || { cat install.log; exit 1; }
mkdir user && cd user
cat >user.c <<'C'
#include <arenascan/arena.h>
#include <stdlib.h>
__attribute__((noinline)) static void lose(void) { volatile char* p = malloc(10); p[0] = 1; }
__attribute__((noinline)) static void scrub(void) {
  volatile char dead[8192];
  for (int i = 0; i < 8192; ++i) dead[i] = 0;
  (void)dead[0];
}
int main(void) {
  lose();
  scrub();
  return arena_scan() == 1 ? 0 : 1;
}
C
cat >CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(user C CXX)
find_package(arenascan REQUIRED)
add_executable(with_shared user.c)
target_link_libraries(with_shared PRIVATE arenascan::arenascan)
add_executable(with_static user.c)
target_link_libraries(with_static PRIVATE arenascan::static)
set_target_properties(with_static PROPERTIES LINKER_LANGUAGE CXX)
CMAKE
cmake -G Ninja -S . -B build -DCMAKE_PREFIX_PATH="$work/installed" >log 2>&1 && cmake --build build >>log 2>&1 || { cat log; exit 1; }
export ARENASCAN_OPTIONS=at_exit=0
build/with_shared
build/with_static
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$work/installed" -name arenascan.pc)")
# shellcheck disable=SC2046
cc -std=c11 -Wall -Wextra -Wpedantic -Werror user.c -o with_pkg_config $(pkg-config --cflags --libs arenascan) 2>&1
LD_LIBRARY_PATH=$(pkg-config --variable=libdir arenascan) ./with_pkg_config
"$work/installed/bin/arenascan" run -o at_exit=0 -- true
