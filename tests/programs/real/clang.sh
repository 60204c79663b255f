# One of our sources compiled by clang, with the compiler in the driver's process and in one of its own.
# packages: clang-14 g++
# quick
program() {
  need clang++-14 clang-14
  local mode
  for mode in -fintegrated-cc1 -fno-integrated-cc1; do
    "$@" clang++-14 -std=c++20 -O2 "$mode" -I "$root" -c "$root/scan/leaks.cpp" -o leaks.o || return
    cksum <leaks.o
  done
}
