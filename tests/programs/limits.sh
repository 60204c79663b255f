#!/usr/bin/env bash
# Little address space: allocations fail as the standard says, scans are right or incomplete, nothing crashes.
set -uo pipefail
lib=$(realpath "${ARENASCAN_LIB:?is not set}")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
cat >fill.cpp <<'CPP'
#include <arenascan/arena.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>
int main() {
  for (int round = 0; round < 3; ++round) {
    void** list = nullptr;
    unsigned long count = 0;
    for (std::size_t bytes : {100'000'000, 1'000'000, 30'000, 500, 40, 8}) {
      errno = 0;
      while (void* p = std::malloc(bytes)) {
        *static_cast<void**>(p) = list;
        list = static_cast<void**>(p);
        ++count;
      }
      if (errno != ENOMEM) return std::printf("errno is %d\n", errno), 1;
    }
    bool thrown = false;
    try {
      void* volatile p = ::operator new(50'000'000);
      (void)p;
    } catch (const std::bad_alloc&) {
      thrown = true;
    }
    if (!thrown) return std::puts("operator new did not throw"), 1;
    arena_scan_result result{};
    result.size = sizeof(result);
    arena_scan_ex(nullptr, &result);
    if (result.incomplete == ARENA_COMPLETE && (result.leaked.objects != 0 || result.reached.objects < count)) {
      return std::printf("%lu reached of %lu, %lu leaked\n", result.reached.objects, count, result.leaked.objects), 1;
    }
    if (result.incomplete != ARENA_COMPLETE && result.leaked.objects != 0) return std::puts("incomplete, yet leaks"), 1;
    std::fprintf(stderr, "round %d: %lu blocks, scan %s\n", round, count, result.incomplete ? result.incomplete_why : "complete");
    while (list != nullptr) {
      void** const next = static_cast<void**>(*list);
      std::free(list);
      list = next;
    }
  }
}
CPP
"${CXX:-g++}" -std=c++20 -O1 -g -I "$root/api" fill.cpp -o fill "$lib" -Wl,-rpath,"${lib%/*}" || exit 1
failures=0
for kib in 100000 200000 600000 1500000; do
  (ulimit -v "$kib"; ARENASCAN_OPTIONS=at_exit=0 ./fill) || { echo "with ulimit -v $kib: status $?"; failures=$((failures + 1)); }
done

# The tool's own memory runs out, or may not grow any more: the scan is whole or says that it is not.
cat >lose.cpp <<'CPP'
#include <arenascan/arena.h>
#include <sys/resource.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
int main(int, char** argv) {
  constexpr unsigned long kLost = 3'000'000;
  arena_scan();
  for (unsigned long i = 0; i < kLost; ++i) {
    void* volatile p = std::malloc(40);
    (void)p;
  }
  const rlimit none{0, 0};
  if (std::strcmp(argv[1], "none") == 0) setrlimit(RLIMIT_DATA, &none);
  arena_scan_result result{};
  result.size = sizeof(result);
  arena_scan_ex(nullptr, &result);
  const unsigned long leaked = result.leaked.objects;
  std::fprintf(stderr, "%s: %lu leaked, scan %s\n", argv[1], leaked, result.incomplete ? result.incomplete_why : "complete");
  const bool is_right = result.incomplete != ARENA_COMPLETE ? leaked == 0 : leaked > kLost - 10 && leaked <= kLost;
  std::_Exit(is_right ? 0 : 1);
}
CPP
"${CXX:-g++}" -std=c++20 -O1 -g -I "$root/api" lose.cpp -o lose "$lib" -Wl,-rpath,"${lib%/*}" || exit 1
ARENASCAN_OPTIONS=at_exit=0 ./lose none || { echo "with RLIMIT_DATA set to 0: status $?"; failures=$((failures + 1)); }
(ulimit -d 700000; ARENASCAN_OPTIONS=at_exit=0 ./lose limited 2>said) || { echo "with ulimit -d: status $?"; failures=$((failures + 1)); }
grep -q "scan the scanner's own memory ran out" said || { echo "the tool's memory should have run out: $(cat said)"; failures=$((failures + 1)); }
exit "$failures"
