#!/usr/bin/env bash
# compare.sh BUILD: the programs of this folder, with all root kinds switched on, under arenascan and, built again, under
# clang's LeakSanitizer: one table. Exit 1 when one does not pass under arenascan.
set -uo pipefail
build=$(realpath "${1:?usage: compare.sh BUILD}")
folder=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$folder/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compiler=${LSAN_CXX:-clang++-14}
command -v "$compiler" >/dev/null || { echo "compare.sh: $compiler is not installed" >&2; exit 1; }

build_one() {  # NAME
  "$compiler" -std=c++20 -O2 -fsanitize=leak -I"$folder/lsan" -I"$root" -DARENA_TEST_LIB_DIR="\"$build/tests/lib\"" \
    "$folder/$1.cpp" -o "$work/$1" -pthread -ldl >"$work/$1.log" 2>&1
}
export -f build_one
export compiler folder root build work
find "$folder" -maxdepth 1 -name '*.cpp' -printf '%f\n' | sed 's/\.cpp$//' | sort >"$work/names"
xargs -P "$(nproc)" -I{} bash -c 'build_one {}' <"$work/names"

# What became of it, in a word; by what root_test.h says.
verdict() {  # STATUS OUTPUT
  if [ "$1" = 0 ]; then echo passes
  elif grep -q 'leaked instead of 0$' "$2"; then echo "**false report**"
  elif grep -q '0 leaked instead of' "$2"; then echo "**missed**"
  elif [ "$1" = 124 ]; then echo "**hangs**"
  else echo "**fails** ($1)"
  fi
}

passed=0
lsan_passed=0
total=0
echo "| root | arenascan | LeakSanitizer |"
echo "|---|---|---|"
while read -r name; do
  arguments=$(sed -n 's|^// args: ||p' "$folder/$name.cpp" | head -1)
  for argument in ${arguments:-on}; do
    case $argument in *off) continue ;; -) argument= ;; esac
    # shellcheck disable=SC2086
    ARENASCAN_OPTIONS=at_exit=0 timeout 60 "$build/tests/roots_$name" $argument >"$work/out" 2>&1
    ours=$(verdict $? "$work/out")
    if [ -x "$work/$name" ]; then
      # shellcheck disable=SC2086
      LSAN_OPTIONS=exitcode=0:log_path="$work/report" timeout 60 "$work/$name" $argument >"$work/out" 2>&1
      theirs=$(verdict $? "$work/out")
    else
      theirs="does not build"
    fi
    total=$((total + 1))
    [ "$ours" = passes ] && passed=$((passed + 1))
    [ "$theirs" = passes ] && lsan_passed=$((lsan_passed + 1))
    echo "| ${name//_/ }${argument:+, $argument} | $ours | $theirs |"
  done
done <"$work/names"
echo "| passed | $passed of $total | $lsan_passed of $total |"
[ "$passed" = "$total" ]
