#!/bin/sh
# layering.sh ROOT: the rules of the house that no compiler checks. One line for each violation; exit 1 when there is one.
#   1  includes point one way: api -> scan -> alloc; scan sees the heap through heap_view.h
#   2  inside alloc/ and scan/ a file includes only what stands above it in the order table of the folder's README.md
#   3  Linux headers only in *_linux.cpp
#   4  at most 400 lines a file
#   5  nothing new at the top level
#   6  nothing left to be done later
cd "$1" || exit 1
violations=$(mktemp)
trap 'rm -f "$violations"' EXIT
say() { printf '%s\n' "$*" >>"$violations"; }

sources() { find "$@" -type f \( -name '*.h' -o -name '*.hpp' -o -name '*.cpp' -o -name '*.c' -o -name '*.def' \) 2>/dev/null; }
# file:included path, for quoted includes
includes() { sources "$@" | while read -r f; do sed -n 's|^#include "\([^"]*\)".*|'"$f"' \1|p' "$f"; done; }

# 1
scan_may='^alloc/(heap_view|check|options|os|layout|meta_alloc|meta_vector|stack_table)\.h$'
includes alloc | while read -r f i; do
  case $i in alloc/*) ;; *) say "$f includes $i: alloc/ knows nothing above itself" ;; esac
done
includes scan | while read -r f i; do
  case $i in
    scan/*) ;;
    alloc/*) printf '%s' "$i" | grep -Eq "$scan_may" || say "$f includes $i: scan/ sees the heap only through alloc/heap_view.h" ;;
    *) say "$f includes $i: scan/ knows nothing above itself" ;;
  esac
done

# 2
noun() { basename "$1" | sed -E 's/\.[a-z]+$//; s/_linux$//'; }
for folder in alloc scan; do
  order=$(sed -n '/<!-- order -->/,/<!-- \/order -->/s/^| `\([a-z_]*\)` .*/\1/p' "$folder/README.md" 2>/dev/null)
  [ -n "$order" ] || { say "$folder/README.md has no order table"; continue; }
  rank() { printf '%s\n' "$order" | grep -nx "$1" | cut -d: -f1; }
  for f in $(sources "$folder"); do
    [ -n "$(rank "$(noun "$f")")" ] || say "$f is not in the order table of $folder/README.md"
  done
  includes "$folder" | while read -r f i; do
    case $i in "$folder"/*) ;; *) continue ;; esac
    mine=$(rank "$(noun "$f")")
    theirs=$(rank "$(noun "$i")")
    [ -n "$mine" ] && [ -n "$theirs" ] || continue
    [ "$theirs" -le "$mine" ] || say "$f includes $i, which stands below it in $folder/README.md"
  done
done

# 3
linux_headers='^#include <(sys/|linux/|unistd\.h|pthread\.h|signal\.h|csignal|link\.h|dlfcn\.h|fcntl\.h|sched\.h|elf\.h|ucontext\.h|poll\.h)'
sources alloc scan api | grep -Ev '_linux\.cpp$|^api/cli/|^api/demo/' | while read -r f; do
  grep -En "$linux_headers" "$f" | while read -r line; do say "$f:$line: only *_linux.cpp may know Linux"; done
done

# 4
sources alloc scan api tests fuzz bench | while read -r f; do
  lines=$(wc -l <"$f")
  [ "$lines" -le 400 ] || say "$f has $lines lines; 400 is the limit"
done

# 5
for entry in *; do
  case $entry in
    CMakeLists.txt | CMakePresets.json | README.md | CONTRIBUTING.md | LICENSE | dev) ;;
    alloc | scan | api | tests | fuzz | bench | build) ;;
    *) say "$entry does not belong at the top level" ;;
  esac
done

# 6
sources alloc scan api tests fuzz bench | while read -r f; do
  grep -En '\b(TODO|FIXME|XXX)\b' "$f" | while read -r line; do say "$f:$line: finish it or write an issue"; done
done

[ -s "$violations" ] || exit 0
sort "$violations"
exit 1
