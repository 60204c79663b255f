#!/usr/bin/env bash
# Every root kind under strace, which stops each thread at each system call and signal, under gdb, and where the system
# allows neither userfaultfd nor ptrace.
set -uo pipefail
tests=$(dirname "$(realpath "${ARENASCAN_CLI:?is not set}")")/tests
for tool in strace gdb; do
  command -v "$tool" >/dev/null || { echo "NOT TESTED: $tool is not installed"; exit 1; }
done
export ARENA_TEST_ROUNDS=20
source_dir=$(cd "$(dirname "$0")/../roots" && pwd)
failures=0
runs=0
for source in "$source_dir"/*.cpp; do
  name=$(basename "$source" .cpp)
  arguments=$(sed -n 's|^// args: ||p' "$source" | head -1)
  for argument in ${arguments:-on off}; do
    [ "$argument" = - ] && argument=
    # shellcheck disable=SC2086
    command=("$tests/roots_$name" $argument)
    runs=$((runs + 3))
    # Threads that can be neither signalled nor traced make a scan incomplete, as soon as it has waited long enough.
    case $name$argument in *deaf*) patience=300 ;; *) patience=2000 ;; esac
    export ARENASCAN_OPTIONS=at_exit=0:stop_timeout_ms=$patience
    timeout 60 "$tests/deny_calls" "${command[@]}" || { echo "without userfaultfd and ptrace: $name $argument"; failures=$((failures + 1)); }
    timeout 60 strace -f -o /dev/null "${command[@]}" || { echo "under strace: $name $argument"; failures=$((failures + 1)); }
    # gdb stops at signals of the program unless it is told to pass them on.
    # Without debug information and the symbols of libraries, which take it most of its time.
    timeout 60 gdb -batch -nx -readnever -iex 'set auto-solib-add off' -ex 'set debuginfod enabled off' -ex 'handle all nostop noprint pass' -ex run \
      -ex 'quit $_exitcode' --args "${command[@]}" >/dev/null 2>&1 ||
      { echo "under gdb: $name $argument"; failures=$((failures + 1)); }
  done
done
echo "$((runs - failures)) of $runs"
[ "$failures" = 0 ]
