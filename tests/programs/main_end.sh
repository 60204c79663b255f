#!/usr/bin/env bash
# What main and its callees have left on the stack keeps nothing alive when main has returned; what who calls exit has on
# its stack does.
set -uo pipefail
lib=$(realpath "${ARENASCAN_LIB:?is not set}")
cxx=${CXX:-g++}
unset ARENASCAN_OPTIONS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

cat >ends.cpp <<'CPP'
#include <cstdlib>
#include <string_view>
#include <thread>
static void* volatile g_place;
// An object for each word: whatever frames come here later, some of these words are in holes of theirs.
#define HOLD_EVERYWHERE(p) \
  void* volatile words[400]; \
  for (void* volatile& word : words) word = (p)
[[gnu::noinline]] static void* make() { void* p = std::malloc(100); asm volatile("" : "+r"(p)); return p; }
[[gnu::noinline]] static void hold_and_return() { HOLD_EVERYWHERE(make()); }
[[gnu::noinline]] static void hold_and_exit() { HOLD_EVERYWHERE(make()); std::exit(0); }
static void handler() { HOLD_EVERYWHERE(g_place); g_place = nullptr; std::exit(0); }
int main(int, char** argv) {
  const std::string_view how(argv[1]);
  if (how == "callee") hold_and_return();
  if (how == "exit") hold_and_exit();
  if (how == "thread") std::thread(hold_and_exit).join();
  if (how == "handler") { g_place = make(); std::atexit(handler); return 0; }
  HOLD_EVERYWHERE(make());
  return 0;
}
CPP
"$cxx" -O1 -g ends.cpp -o preloaded -pthread || exit 1
"$cxx" -O0 -g ends.cpp -o linked "$lib" -Wl,-rpath,"${lib%/*}" -pthread || exit 1
"$cxx" -O1 -g ends.cpp -o static "${lib%/*}/libarenascan.a" -lgcc_s -lmimalloc -lunwind -pthread || exit 1

expect() {  # HOW STATUS OBJECTS
  for kind in preloaded linked static; do
    preload=
    [ "$kind" = preloaded ] && preload=$lib
    LD_PRELOAD=$preload ./"$kind" "$1" >out 2>err
    status=$?
    objects=$(sed -n 's/^SUMMARY: .* leaked in \([0-9]*\) allocation.*/\1/p' err)
    [ "$status" = "$2" ] && [ "${objects:-0}" = "$3" ] && continue
    echo "$kind, $1: status $status, ${objects:-0} objects, instead of $2 and $3"
    failures=$((failures + 1))
  done
}
expect main 23 400
expect callee 23 800
expect exit 0 0
expect thread 0 0
expect handler 0 0
exit "$failures"
