#!/usr/bin/env bash
# libFuzzer with our library: a leak is found, told, written as leak-..., and ends the run with 77; where nothing leaks,
# nothing is told. With the given clang: linked shared and static by one flag, and by arenascan_add_fuzzer.
#
#   libfuzzer.sh BUILD_DIRECTORY CLANG_VERSION
set -uo pipefail
build=$(realpath "${1:?usage: libfuzzer.sh BUILD_DIRECTORY CLANG_VERSION}")
version=${2:?usage: libfuzzer.sh BUILD_DIRECTORY CLANG_VERSION}
here=$(cd "$(dirname "$0")" && pwd)
clang=clang++-$version
command -v "$clang" >/dev/null || { echo "$clang is missing: apt-get install clang-$version libclang-rt-$version-dev" >&2; exit 1; }
unset ARENASCAN_OPTIONS LSAN_OPTIONS LD_PRELOAD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/fuzzer_target.cpp" "$work/"
cd "$work" || exit 1
failures=0
check() {  # WORDS CONDITION...
  local words=$1
  shift
  "$@" || { echo "not so: $words"; failures=$((failures + 1)); }
}

shared=(-L"$build" -larenascan_lsan -Wl,-rpath,"$build")
static=(-L"$build" -l:libarenascan_lsan.a -lgcc_s -lmimalloc -lunwind)
flags=(-std=c++20 -O1 -g -fsanitize=fuzzer fuzzer_target.cpp)
printf 'Lx' >losing

# A leak: found by fuzzing, within so many inputs.
finds() {  # PROGRAM WORDS
  rm -rf found && mkdir found
  timeout 120 "$1" -runs=3000000 -seed=1 -artifact_prefix=found/ >log 2>&1
  check "$2: a leak ends the run with 77" [ $? -eq 77 ]
  check "$2: the input is kept" compgen -G 'found/leak-*' >/dev/null
  check "$2: the report is there" grep -q 'LeakSanitizer: detected memory leaks' log
  check "$2: of this leak" grep -q 'Direct leak of 10 byte(s) in 1 object(s)' log
  check "$2: libFuzzer has not given up" bash -c '! grep -q "disabled leak detection" log'
}
# None: so many inputs, and nothing is told.
is_quiet() {  # PROGRAM WORDS RUNS
  timeout 120 "$1" -runs="$3" -seed=1 >log 2>&1
  check "$2: no leak, no report" [ $? -eq 0 ]
  check "$2: silence" bash -c '! grep -q "leaked" log'
}

"$clang" "${flags[@]}" "${shared[@]}" -o shared || exit 1
"$clang" "${flags[@]}" "${static[@]}" -o static || exit 1
"$clang" "${flags[@]}" -DNEVER_LOSES "${shared[@]}" -o shared_quiet || exit 1
finds ./shared "shared library"
finds ./static "static library"
is_quiet ./shared_quiet "shared library" 1000
./shared losing >log 2>&1
check "one input" [ $? -eq 77 ]
check "the function that lost it is named" grep -Eq ' in lose\(unsigned long\) .*fuzzer_target.cpp:[0-9]+' log

cmake --install "$build" --prefix "$work/installed" >log || { cat log; exit 1; }
cat >CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(user CXX)
find_package(arenascan REQUIRED)
arenascan_add_fuzzer(added fuzzer_target.cpp)
arenascan_add_fuzzer(added_lost_before fuzzer_target.cpp)
target_compile_definitions(added_lost_before PRIVATE LOST_BEFORE NEVER_LOSES)
CMAKE
CXX=$clang cmake -G Ninja -S . -B out -DCMAKE_PREFIX_PATH="$work/installed" >log 2>&1 && cmake --build out >>log 2>&1 || { cat log; exit 1; }
export LD_LIBRARY_PATH=$work/installed/lib
finds out/added "arenascan_add_fuzzer"
LSAN_OPTIONS=leak_check_at_exit=0 is_quiet out/added_lost_before "what was lost before any input is not told of one" 1000
exit $((failures != 0))
