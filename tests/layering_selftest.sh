#!/bin/sh
# Shows that each rule of layering.sh fires on a tree that breaks it and that a good tree passes.
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

tree() {  # a good tree
  rm -rf "$work/t"
  mkdir -p "$work/t/alloc" "$work/t/scan" "$work/t/api"
  for folder in alloc scan; do
    printf '<!-- order -->\n| `first` | x |\n| `heap_view` | x |\n| `second` | x |\n<!-- /order -->\n' >"$work/t/$folder/README.md"
  done
  printf '#include "alloc/first.h"\n' >"$work/t/alloc/second.cpp"
  : >"$work/t/alloc/first.h"
  printf '#include <unistd.h>\n' >"$work/t/alloc/first_linux.cpp"
  printf '#include "alloc/heap_view.h"\n#include "scan/first.h"\n' >"$work/t/scan/second.cpp"
}
expect() {  # WORDS: the tree must fail and say them
  said=$("$here/layering.sh" "$work/t")
  if [ $? -ne 1 ] || ! printf '%s' "$said" | grep -q "$1"; then
    echo "rule did not fire: $1; it said: $said"
    failures=$((failures + 1))
  fi
}

tree
"$here/layering.sh" "$work/t" || { echo "a good tree fails"; failures=1; }
tree && printf '#include "scan/first.h"\n' >>"$work/t/alloc/second.cpp" && expect "knows nothing above itself"
tree && printf '#include "alloc/heap.h"\n' >>"$work/t/scan/second.cpp" && expect "only through alloc/heap_view.h"
tree && printf '#include "api/x.h"\n' >>"$work/t/scan/second.cpp" && expect "scan/ knows nothing above itself"
tree && printf '#include "alloc/second.h"\n' >>"$work/t/alloc/first.h" && expect "stands below it"
tree && : >"$work/t/alloc/third.h" && expect "not in the order table"
tree && printf '#include <sys/mman.h>\n' >>"$work/t/alloc/second.cpp" && expect "only \*_linux.cpp may know Linux"
tree && yes '//' | head -401 >"$work/t/alloc/second.cpp" && expect "400 is the limit"
tree && : >"$work/t/notes.txt" && expect "does not belong at the top level"
tree && printf '// TO''DO later\n' >>"$work/t/alloc/second.cpp" && expect "finish it"
exit "$failures"
