#!/usr/bin/env bash
# run_alloc.sh BUILD_DIR [quick|smoke] [cpu]: the allocator benches under every allocator; one table, and a plot of it.
#
# Peers take turns within a round, so that a change of the machine's mood meets all of them; figures are medians of the
# rounds. quick: fewer rounds and shapes. smoke: one tiny round, to see that the script works. cpu: the processor's time
# instead of the clock's. An allocator that is not installed has a dash. Writes BUILD_DIR/bench/alloc.tsv (every single answer) and alloc.svg; smoke writes smoke.*.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
mode=full clock=clock
for word in "${@:2}"; do
  case $word in
    cpu) clock=processor ;;
    *) mode=$word ;;
  esac
done
output=$build/bench/alloc
peers=(glibc mimalloc jemalloc tcmalloc lsan heaptrack off fp full)
heaptrack_part=16 # heaptrack is slow: it does a 16th of the work

shapes=('churn 1 1000' 'churn 1 100000' 'churn 2 1000' 'churn 2 100000' 'larson 2' 'xmalloc 1' 'mstress 2' 'threads 8')
rounds=5 rss_rounds=3 micro_time=0.03 micro_filter=. extra=()
case $mode in
  full) ;;
  quick) rounds=3 rss_rounds=1 micro_time='' shapes=("${shapes[@]:0:6}") ;;
  smoke)
    rounds=1 rss_rounds=1 micro_time=0.001 micro_filter=/64$ extra=(--smoke) output=$build/bench/smoke
    shapes=('churn 2 1000' 'threads 8')
    ;;
  *) echo "usage: run_alloc.sh BUILD_DIR [quick|smoke] [cpu]" >&2; exit 2 ;;
esac
answers=$output.tsv

library() { ldconfig -p | awk -v name="$1" 'index($1, name) == 1 { print $NF; exit }'; }
first_file() { for file in "$@"; do [ -e "$file" ] && echo "$file" && return; done; true; }

declare -A preload=(
  [glibc]='' [lsan]=''
  [mimalloc]=$(library libmimalloc.so) [jemalloc]=$(library libjemalloc.so) [tcmalloc]=$(library libtcmalloc_minimal.so)
  [heaptrack]=$(first_file /usr/lib/heaptrack/libheaptrack_preload.so /usr/lib/*/heaptrack/libheaptrack_preload.so)
  [off]=$build/libarenascan.so [fp]=$build/libarenascan.so [full]=$build/libarenascan.so
)

# LeakSanitizer is linked, not preloaded: the same sources, the same optimisation, by clang. Compiled when they changed.
build_lsan() {
  [ "$mode" != smoke ] && command -v clang++-14 >/dev/null || return 0
  mkdir -p "$build/bench/lsan"
  local name program libraries
  for name in churn larson xmalloc mstress threads live micro; do
    program=$build/bench/lsan/bench_$name libraries=()
    [ "$name" = micro ] && libraries=(-lbenchmark)
    [ "$program" -nt "$here/$name.cpp" ] && [ "$program" -nt "$here/program.h" ] && continue
    clang++-14 -std=c++20 -O2 -g -DNDEBUG -fsanitize=leak -pthread "$here/$name.cpp" -o "$program" "${libraries[@]}"
  done
}

program_of() { # PEER NAME: the path, empty when the peer is missing
  case $1 in
    lsan) [ "$mode" = smoke ] || first_file "$build/bench/lsan/bench_$2" ;;
    glibc) first_file "$build/bench/bench_$2" ;;
    *) [ -z "${preload[$1]}" ] || first_file "$build/bench/bench_$2" ;;
  esac
}

run() { # PEER NAME ARGUMENT...: the program's output; nothing when the peer is missing or the program failed
  local peer=$1 name=$2 program
  shift 2
  program=$(program_of "$peer" "$name")
  [ -n "$program" ] || return 0
  # heaptrack's records go nowhere: writing and packing them would come on top.
  env LD_PRELOAD="${preload[$peer]}" ARENASCAN_OPTIONS="at_exit=0:stacks=$peer" LSAN_OPTIONS=detect_leaks=0 \
    DUMP_HEAPTRACK_OUTPUT=/dev/null "$program" "$@" || echo "run_alloc.sh: $name $* failed under $peer" >>"$output.failed"
}

record() { # KIND SHAPE PEER VALUE
  [ -z "$4" ] || printf '%s\t%s\t%s\t%s\n' "$@" >>"$answers"
}

measure_shapes() {
  local shape round peer part words
  for shape in "${shapes[@]}"; do
    read -ra words <<<"$shape"
    for ((round = 0; round < rounds; ++round)); do
      for peer in "${peers[@]}"; do
        part=()
        [ "$clock" = processor ] && part+=(--cpu)
        [ "$peer" = heaptrack ] && part+=("--part=$heaptrack_part")
        record shape "$shape" "$peer" "$(run "$peer" "${words[@]}" "${part[@]}" "${extra[@]}")"
      done
    done
  done
}

measure_rss() {
  local round peer
  for ((round = 0; round < rss_rounds; ++round)); do
    for peer in "${peers[@]}"; do record rss 'live (peak RSS)' "$peer" "$(run "$peer" live "${extra[@]}")"; done
  done
}

measure_micro() {
  [ -n "$micro_time" ] && [ -x "$build/bench/bench_micro" ] || return 0
  local round peer name ns
  for ((round = 0; round < rounds; ++round)); do
    for peer in "${peers[@]}"; do
      while read -r name ns; do record micro "$name" "$peer" "$ns"; done < <(
        run "$peer" micro --benchmark_format=csv --benchmark_min_time=$micro_time --benchmark_filter="$micro_filter" 2>/dev/null |
          awk -F, '/^"/ { gsub(/"/, "", $1); print $1, $4 }') # the processor's time
    done
  done
}

# Answers to medians: the same columns, one line each, in order of appearance.
medians() {
  awk -F'\t' '
    { key = $1 FS $2 FS $3; if (!(key in count)) order[++keys] = key; value[key, ++count[key]] = $4 + 0 }
    END {
      for (k = 1; k <= keys; ++k) {
        key = order[k]
        n = count[key]
        for (i = 2; i <= n; ++i)
          for (j = i; j > 1 && value[key, j] < value[key, j - 1]; --j) {
            swap = value[key, j]; value[key, j] = value[key, j - 1]; value[key, j - 1] = swap
          }
        printf "%s\t%.1f\n", key, (value[key, int((n + 1) / 2)] + value[key, int((n + 2) / 2)]) / 2
      }
    }' "$answers"
}

table() {
  awk -F'\t' -v peers="${peers[*]}" '
    function heading(text,   p) {
      printf "\n%-22s", text
      for (p = 1; p <= n; ++p) printf " %9s", (peer[p] ~ /^(off|fp|full)$/ ? "ours:" : "") peer[p]
      printf "\n"
    }
    function row(key, shape, unit,   p, base) {
      printf "%-22s", shape
      for (p = 1; p <= n; ++p) printf " %9s", ((key, p) in value) ? sprintf("%.1f", value[key, p] / unit) : "-"
      printf "\n%-22s", ""
      base = value[key, mimalloc]
      for (p = 1; p <= n; ++p) printf " %9s", ((key, p) in value && base > 0) ? sprintf("%.2fx", value[key, p] / base) : "-"
      printf "\n"
    }
    BEGIN { n = split(peers, peer, " "); for (p = 1; p <= n; ++p) { column[peer[p]] = p; if (peer[p] == "mimalloc") mimalloc = p } }
    { key = $1 FS $2; if (!(key in seen)) { seen[key] = 1; order[++keys] = key }; value[key, column[$3]] = $4 }
    END {
      heading("ns a pair; ratio")
      for (k = 1; k <= keys; ++k) { split(order[k], part, FS); if (part[1] == "shape") row(order[k], part[2], 1) }
      printf "%-22s", "churn, geometric mean"
      for (p = 1; p <= n; ++p) {
        sum = shapes = 0
        for (k = 1; k <= keys; ++k)
          if (order[k] ~ /^shape\tchurn / && value[order[k], p] > 0) { sum += log(value[order[k], p] / value[order[k], mimalloc]); ++shapes }
        printf " %9s", shapes ? sprintf("%.2fx", exp(sum / shapes)) : "-"
      }
      printf "\n"
      heading("MiB; ratio")
      for (k = 1; k <= keys; ++k) { split(order[k], part, FS); if (part[1] == "rss") row(order[k], part[2], 1024) }
      for (k = 1; k <= keys; ++k) {
        split(order[k], part, FS)
        if (part[1] != "micro") continue
        if (!headed++) heading("ns of one call; ratio")
        row(order[k], part[2], 1)
      }
    }'
}

mkdir -p "$build/bench"
: >"$answers"
: >"$output.failed"
build_lsan
began=$(cut -d' ' -f1-3 /proc/loadavg)
measure_shapes
measure_rss
measure_micro
medians | table
medians | awk -v peers="${peers[*]}" -v base=mimalloc -v measure=ns \
  -v title='Allocation and free, time against mimalloc (1x); last group: peak RSS' -f "$here/plot.awk" >"$output.svg"
printf '\nMedians of %s rounds (live: %s); heaptrack does a %sth of the work. Time: the %s'"'"'s. Load before: %s, after: %s, processors: %s.\n' \
  "$rounds" "$rss_rounds" "$heaptrack_part" "$clock" "$began" "$(cut -d' ' -f1-3 /proc/loadavg)" "$(nproc)"
echo "Plot: $output.svg"
[ ! -s "$output.failed" ] || { cat "$output.failed" >&2; exit 1; }
