# One of our sources compiled, with the driver, the compiler and the assembler all watched.
# packages: g++
# quick
program() {
  need g++ g++
  "$@" g++ -std=c++20 -O2 -I "$root" -c "$root/scan/leaks.cpp" -o leaks.o || return
  cksum <leaks.o
}
