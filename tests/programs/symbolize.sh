#!/usr/bin/env bash
# `arenascan symbolize`: functions, inlined functions, files and lines, of what g++ and clang++ make.
set -uo pipefail
cli=$(realpath "${ARENASCAN_CLI:?is not set}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
fail() { echo "$*"; failures=$((failures + 1)); }

cat >sample.cpp <<'CPP'
#include <cstdio>
namespace shapes {
template <typename T>
[[gnu::noinline]] T* outer(T value);
static inline __attribute__((always_inline)) void* inner(int* p) {
  *p = 3;
  return __builtin_return_address(0);
}
template <typename T>
T* outer(T value) {
  static T kept;
  kept = value;
  std::printf("%p\n", (void*)((char*)&&here - 0));
here:
  inner(&kept);
  asm volatile("nop");
  return &kept;
}
}
int main() { return *shapes::outer<int>(0) - 3; }
CPP

# The addresses of all instructions of a function, as the file numbers them.
addresses() { objdump -d -C --no-show-raw-insn "$1" | sed -n "/<$2>:/,/^\$/s/^ *\([0-9a-f]*\):.*/0x\1/p"; }
ask() { sed "s|^|$1 |" | "$cli" symbolize; }

for compiler in g++ clang++-14; do
  command -v "$compiler" >/dev/null || { echo "$compiler is not installed"; exit 1; }
  for kind in "-pie -fPIE" "-no-pie"; do
    # shellcheck disable=SC2086
    "$compiler" -O1 -g -w $kind sample.cpp -o sample || exit 1
    answers=$(addresses sample 'int\* shapes::outer<int>(int)' | ask ./sample)
    grep -q '^int\* shapes::outer<int>(int)$' <<<"$answers" || fail "$compiler $kind: no function name in: $answers"
    grep -Eq '/sample\.cpp:12:[0-9]+$' <<<"$answers" || fail "$compiler $kind: line 12 is missing in: $answers"
    # The inlined function stands in front of the one it is inlined in, which is named with the line of the call.
    grep -A3 -E 'inner\(int\*\)$|^inner$' <<<"$answers" | tr '\n' '~' |
      grep -Eq 'sample\.cpp:6:[0-9]+~int\* shapes::outer<int>\(int\)~[^~]*sample\.cpp:15:' || fail "$compiler $kind: no inlined frame in: $answers"
    strip sample
    answers=$(echo 0x1 | ask ./sample)
    [ "$answers" = "$(printf '??\n??:0:0\n')" ] || fail "$compiler $kind: of a stripped program: $answers"
  done
done
[ "$(echo 0x10 | ask /no/such/file)" = "$(printf '??\n??:0:0\n')" ] || fail "of a file that is not there"
[ "$(echo 'nonsense' | "$cli" symbolize)" = "$(printf '??\n??:0:0\n')" ] || fail "of a question without an address"
libc=$(ldd "$cli" | awk '/libc\.so/ { print $3 }')
malloc=0x$(nm -D "$libc" | awk '/ malloc@/ { print $1; exit }')
"$cli" symbolize <<<"$libc $malloc" | grep -Eq '^(malloc|__libc_malloc|__GI___libc_malloc)' || fail "of a library's exported symbol"
# C's names are not mangled, whatever they look like; a variable is as good as a function.
echo 'int g[10]; __attribute__((noinline)) int* f(void) { return g; } int main(void) { return *f(); }' >plain.c
gcc -g plain.c -o plain || exit 1
for name in f g; do
  address=0x$(nm plain | awk -v name="$name" '$3 == name { print $1 }')
  echo "$address" | ask ./plain | head -1 | grep -qx "$name" || fail "of $name: $(echo "$address" | ask ./plain)"
done
exit "$failures"
