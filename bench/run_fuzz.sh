#!/usr/bin/env bash
# Inputs a second of a libFuzzer target of 1,000 objects with a leak check after each, under our library and under
# LeakSanitizer, in turns; medians of the rounds, and the ratio.
#
#   run_fuzz.sh BUILD_DIRECTORY [quick]
set -euo pipefail
build=$(realpath "${1:?usage: run_fuzz.sh BUILD_DIRECTORY [quick]}")
rounds=5 seconds=10
[ "${2:-}" = quick ] && rounds=1 seconds=3
clang=${CLANG:-clang++-14}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset ARENASCAN_OPTIONS LSAN_OPTIONS
flags=(-std=c++20 -O1 -g "$here/fuzz_target.cpp")
"$clang" "${flags[@]}" -fsanitize=fuzzer -L"$build" -larenascan_lsan -Wl,-rpath,"$build" -o "$work/arenascan"
"$clang" "${flags[@]}" -fsanitize=fuzzer,leak -o "$work/LeakSanitizer"

per_second() {  # PROGRAM
  (cd "$work" && "./$1" -max_total_time="$seconds" -seed=1 -print_final_stats=1 2>&1) |
    sed -n 's/^stat::average_exec_per_sec: *//p'
}
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

for ((round = 0; round < rounds; ++round)); do
  for who in arenascan LeakSanitizer; do per_second "$who" >>"$work/figures.$who"; done
done
ours=$(median <"$work/figures.arenascan")
theirs=$(median <"$work/figures.LeakSanitizer")
printf '%-40s %10s %14s %6s\n' "inputs a second, a leak check each" arenascan LeakSanitizer ratio
printf '%-40s %10d %14d %6.1f\n' "1,000 objects" "$ours" "$theirs" "$(awk "BEGIN {print $ours / $theirs}")"
