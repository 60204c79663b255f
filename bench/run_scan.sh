#!/usr/bin/env bash
# run_scan.sh BUILD_DIR [quick|smoke]: whole leak checks by arenascan, LeakSanitizer, bdwgc and Valgrind: a table; then what is asked of this library alone.
#
# The same sources, compiled for each collector (collector.h); collectors take turns within a round, figures are medians of
# the rounds, each of which is a program's median of seven checks. arenascan marks with one thread, shared as by default.
# quick: fewer rounds and shapes. smoke: one tiny round, to see that the script works. A collector that is not installed has a
# dash. Writes BUILD_DIR/bench/scan.tsv (every answer) and scan.svg; smoke writes scan_smoke.*.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
output=$build/bench/scan
collectors=(arenascan shared lsan bdwgc valgrind)
rounds=5 pause_scans=200 pause_objects=2600000 loops_arguments=
shapes=('hash 1000' 'hash 100000' 'hash 2600000' 'hash 20000000' 'tree 2600000' 'tiny 2600000' 'vectors 2600000' 'lists 2600000'
  'buffers 2600000' 'large 2600000')
sizes=(100000 2600000 20000000)
case ${2:-full} in
  full) ;;
  quick) rounds=3 pause_scans=20 sizes=(100000 2600000) shapes=('hash 1000' 'hash 100000' 'hash 2600000' 'tree 2600000' 'lists 2600000') ;;
  smoke) rounds=1 pause_scans=3 pause_objects=40000 loops_arguments=--smoke sizes=(1000) shapes=('hash 1000') output=$build/bench/scan_smoke collectors=(arenascan shared lsan) ;;
  *) echo "usage: run_scan.sh BUILD_DIR [quick|smoke]" >&2; exit 2 ;;
esac
mkdir -p "$build/bench/collectors"
: >"$output.tsv"
: >"$output.failed"
export ARENASCAN_OPTIONS=at_exit=0 LSAN_OPTIONS=detect_leaks=1:report_objects=0

# Compiled when the sources have changed. Without its compiler or library a collector is left out.
program_of() { # COLLECTOR NAME
  local program=$build/bench/collectors/$1_$2 flags=(-std=c++20 -O2 -g -DNDEBUG -pthread)
  [ "$1" = arenascan ] || [ "$1" = shared ] && { echo "$build/bench/bench_$2"; return; }
  if [ ! "$program" -nt "$here/$2.cpp" ] || [ ! "$program" -nt "$here/heap_shapes.h" ] || [ ! "$program" -nt "$here/collector.h" ] || [ ! "$program" -nt "$here/clock.h" ]; then
    case $1 in
      lsan) command -v clang++-14 >/dev/null && clang++-14 "${flags[@]}" -DBENCH_COLLECTOR_LSAN -fsanitize=leak "$here/$2.cpp" -o "$program" ;;
      bdwgc) [ -e /usr/include/gc/gc.h ] && g++ "${flags[@]}" -DBENCH_COLLECTOR_BDWGC "$here/$2.cpp" -o "$program" -lgc ;;
      valgrind) command -v valgrind >/dev/null && [ -e /usr/include/valgrind/memcheck.h ] &&
        g++ "${flags[@]}" -DBENCH_COLLECTOR_VALGRIND "$here/$2.cpp" -o "$program" ;;
    esac || return 0
  fi
  echo "$program"
}

check() { # COLLECTOR SHAPE OBJECTS: milliseconds
  local program with=()
  program=$(program_of "$1" scan_heap)
  [ -n "$program" ] || return 0
  if [ "$1" = valgrind ]; then
    [ "$3" -le 100000 ] || return 0 # minutes for each round
    with=(valgrind --quiet --leak-check=summary --log-file=/dev/null)
  fi
  [ "$1" != arenascan ] || with=(env ARENASCAN_OPTIONS="$ARENASCAN_OPTIONS:markers=1")
  "${with[@]}" "$program" "$2" "$3" 2>/dev/null || echo "run_scan.sh: $2 $3 failed under $1" >>"$output.failed"
}

began=$(cut -d' ' -f1-3 /proc/loadavg)
for shape in "${shapes[@]}"; do
  for ((round = 0; round < rounds; ++round)); do
    for collector in "${collectors[@]}"; do
      # shellcheck disable=SC2086
      printf '%s\t%s\t%s\n' "$shape" "$collector" "$(check "$collector" $shape)" >>"$output.tsv"
    done
  done
done
medians() { # ms, shape, collector, median; shapes in their order
  sort -t"$(printf '\t')" -k1,1 -k2,2 -k3,3g "$output.tsv" | awk -F'\t' -v OFS='\t' -v order="$(printf '%s;' "${shapes[@]}")" -v names="${collectors[*]}" '
    $3 != "" { key = $1 FS $2; value[key, ++count[key]] = $3 }
    END {
      n = split(names, name, " ")
      rows = split(order, row, ";") - 1
      for (r = 1; r <= rows; ++r)
        for (c = 1; c <= n; ++c) {
          key = row[r] FS name[c]
          if (count[key]) print "ms", row[r], name[c], value[key, int((count[key] + 1) / 2)]
        }
    }'
}
medians | awk -F'\t' -v names="${collectors[*]}" '
  BEGIN {
    n = split(names, name, " ")
    printf "%-18s", "milliseconds; times"
    for (c = 1; c <= n; ++c) printf " %18s", name[c]
    printf "\n"
  }
  { if (!($2 in seen)) row[++rows] = $2; seen[$2] = 1; value[$2, $3] = $4 }
  END {
    for (r = 1; r <= rows; ++r) {
      printf "%-18s", row[r]
      for (c = 1; c <= n; ++c) {
        if ((row[r], name[c]) in value) printf " %10.2f %6.2fx", value[row[r], name[c]], value[row[r], name[c]] / value[row[r], "arenascan"]
        else printf " %18s", "-"
      }
      printf "\n"
    }
  }'
medians | awk -v peers="${collectors[*]}" -v base=arenascan -v measure=ms \
  -v title='Whole leak checks, time against ours with one marker (1x), by shape and objects' -f "$here/plot.awk" >"$output.svg"

echo
# shellcheck disable=SC2086
"$build/bench/bench_loops" $loops_arguments || echo "run_scan.sh: loops failed" >>"$output.failed"

echo
echo "nanoseconds an object: a check with one marker; as much memory read and written without a heap"
for size in "${sizes[@]}"; do
  checks=() alone=()
  for ((round = 0; round < rounds; ++round)); do
    checks+=("$(check arenascan hash "$size")")
    alone+=("$("$build/bench/bench_memory" "$size")") || echo "run_scan.sh: memory $size failed" >>"$output.failed"
  done
  middle() { printf '%s\n' "$@" | sort -g | sed -n "$((rounds / 2 + 1))p"; }
  awk -v size="$size" -v check="$(middle "${checks[@]}")" -v alone="$(middle "${alone[@]}")" \
    'BEGIN { printf "hash %-14s %10.1f   %s\n", size, check * 1e6 / size, alone }'
done

echo
echo "hash $pause_objects by number of sleeping threads, and by memory outside of the heap; milliseconds, with phases"
for more in --threads=0 --threads=15 --threads=63 --roots=16 --roots=256; do
  printf '%-14s ' "$more"
  "$build/bench/bench_scan_heap" hash "$pause_objects" "$more" --phases || echo "run_scan.sh: $more failed" >>"$output.failed"
done

echo
for mode in '' '--window --apart' '--window' --stopped; do
  echo "arenascan, a program that replaces objects at full speed ${mode:-all over the heap}"
  # shellcheck disable=SC2086
  "$build/bench/bench_pause" "$pause_scans" "$pause_objects" $mode || echo "run_scan.sh: pause $mode failed" >>"$output.failed"
done
for sleepers in 16 64; do
  echo "arenascan, the same in a window, with $sleepers more threads that mostly sleep"
  "$build/bench/bench_pause" "$((pause_scans / 4 + 1))" "$pause_objects" "$sleepers" --window ||
    echo "run_scan.sh: pause with $sleepers threads failed" >>"$output.failed"
done
pause=$(program_of lsan pause)
if [ -n "$pause" ]; then
  echo "LeakSanitizer, all over the heap"
  "$pause" $((pause_scans / 10 + 1)) "$pause_objects" 2>/dev/null || true
fi
printf '\nMedians of %s rounds. Load before: %s, after: %s, processors: %s.\n' "$rounds" "$began" "$(cut -d' ' -f1-3 /proc/loadavg)" "$(nproc)"
[ ! -s "$output.failed" ] || { cat "$output.failed" >&2; exit 1; }
