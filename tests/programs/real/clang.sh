# One of our sources compiled by clang, which does it in the driver's own process.
# packages: clang-14 g++
# quick
program() {
  need clang++-14 clang-14
  "$@" clang++-14 -std=c++20 -O2 -I "$root" -c "$root/scan/leaks.cpp" -o leaks.o || return
  cksum <leaks.o
}
