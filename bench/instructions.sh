#!/usr/bin/env bash
# instructions.sh BUILD_DIR: instructions of a warm malloc(64) and free, counted by callgrind, which leaves malloc alone.
#
# Two runs of bench_pair of different length; what the longer one has more, divided by the pairs it has more. A count is
# the same whatever else the machine does. Ten instructions of it are the loop's own, two jumps through the PLT included.
set -euo pipefail
build=$(cd "$1" && pwd)
few=20000 many=120000
out=$(mktemp)
trap 'rm -f "$out"' EXIT

library() { ldconfig -p | awk -v name="$1" 'index($1, name) == 1 { print $NF; exit }'; }

# Callgrind's total for one run. The allocator meant must be among the objects that ran, or the figure is another's.
count() { # PRELOAD OPTIONS PAIRS FRAMES
  env LD_PRELOAD="$1" ARENASCAN_OPTIONS="$2" valgrind --tool=callgrind --callgrind-out-file="$out" \
    "$build/bench/bench_pair" "$3" "$4" 2>/dev/null
  local real
  real=$(readlink -f "${1:-$(library libc.so.6)}")
  grep -q "ob=.*$(basename "$real")" "$out" || { echo "instructions.sh: $real did not run" >&2; return 1; }
  awk '/^(summary|totals):/ { print $2; exit }' "$out"
}

ours=$build/libarenascan.so
printf '%-22s %12s %12s\n' 'instructions a pair' '1 frame' '16 frames'
while IFS='|' read -r name preload options; do
  [ "$name" = glibc ] || [ -n "$preload" ] || continue
  printf '%-22s' "$name"
  for frames in 0 15; do
    short=$(count "$preload" "$options" $few $frames)
    long=$(count "$preload" "$options" $many $frames)
    awk -v s="$short" -v l="$long" -v n=$((many - few)) 'BEGIN { printf " %12.1f", (l - s) / n }'
  done
  echo
done <<EOT
glibc||
mimalloc|$(library libmimalloc.so)|
jemalloc|$(library libjemalloc.so)|
tcmalloc|$(library libtcmalloc_minimal.so)|
ours, stacks=off|$ours|at_exit=0:stacks=off
ours, stacks=fp|$ours|at_exit=0:stacks=fp
ours, stacks=full|$ours|at_exit=0:stacks=full
EOT
