#!/usr/bin/env bash
# The scan at exit: status, buffered output, where the report goes, what a program that closes its streams sees.
set -uo pipefail
lib=$(realpath "${ARENASCAN_LIB:?is not set}")
root=$(cd "$(dirname "$0")/../.." && pwd)
cxx=${CXX:-g++}
unset ARENASCAN_OPTIONS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
check() {  # WORDS CONDITION...
  local words=$1
  shift
  "$@" || { echo "not so: $words"; failures=$((failures + 1)); }
}

cat >leaky.cpp <<'CPP'
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <unistd.h>
[[gnu::noinline]] void leak() { for (int i = 0; i < 3; ++i) { volatile char* p = static_cast<char*>(std::malloc(7)); p[0] = 1; } }
struct Last { ~Last() { std::printf("destructor\n"); } } last;
void farewell() { std::printf("atexit\n"); }
int main(int argc, char** argv) {
  const char* const how = argc > 1 ? argv[1] : "";
  std::atexit(farewell);
  if (std::strcmp(how, "clean") != 0) leak();
  std::printf("buffered");
  if (std::strcmp(how, "close") == 0) std::fclose(stderr);
  if (std::strcmp(how, "_exit") == 0) _exit(5);
  if (std::strcmp(how, "reader") == 0) {
    std::thread([] { std::getchar(); }).detach();
    usleep(100000);
  }
  return 3;
}
CPP
"$cxx" -O1 -g leaky.cpp -o leaky -pthread || exit 1
preloaded() { LD_PRELOAD=$lib "$@"; }

preloaded ./leaky >out 2>err; status=$?
check "a leaking program leaves with 23" [ "$status" -eq 23 ]
check "no output is lost" [ "$(cat out)" = "$(printf 'bufferedatexit\ndestructor\n')" ]
check "the report names the leak" grep -q "^Direct leak of .* allocated from:" err
check "the report names the function" grep -Eq "^    #1 0x[0-9a-f]+ in leak\(\) .*leaky.cpp:[0-9]+:" err
check "the summary counts all" grep -q "^SUMMARY: LeakSanitizer: 21 byte(s) leaked in 3 allocation(s).$" err

preloaded ./leaky clean >out 2>err; status=$?
check "a clean program keeps its status" [ "$status" -eq 3 ]
check "a clean program gets no report" [ ! -s err ]

ARENASCAN_OPTIONS=exitcode=0 preloaded ./leaky >out 2>err; status=$?
check "exitcode=0 keeps the status" [ "$status" -eq 3 ]
check "exitcode=0 still reports" grep -q SUMMARY err
ARENASCAN_OPTIONS=exitcode=99 preloaded ./leaky >out 2>err; status=$?
check "exitcode=99" [ "$status" -eq 99 ]
ARENASCAN_OPTIONS=at_exit=0 preloaded ./leaky >out 2>err; status=$?
check "at_exit=0 does not scan" [ "$status" -eq 3 -a ! -s err ]
preloaded ./leaky _exit >out 2>err; status=$?
check "_exit does not scan" [ "$status" -eq 5 -a ! -s err ]

mkfifo input
preloaded timeout 20 ./leaky reader >out 2>err <>input; status=$?
check "a thread that waits for input does not keep the process" [ "$status" -eq 23 ]
check "and no output is lost" [ "$(cat out)" = "$(printf 'bufferedatexit\ndestructor\n')" ]

ARENASCAN_OPTIONS="log_path=$work/report" preloaded ./leaky close >out 2>err; status=$?
check "log_path takes the report of a program without standard error" [ "$status" -eq 23 ]
check "log_path has the process id behind it" grep -q SUMMARY report.*
ARENASCAN_OPTIONS="log_path=/no/such/directory/report" preloaded ./leaky >out 2>err; status=$?
check "a log_path that cannot be written is named" grep -q "cannot write the report to /no/such/directory/report" err
check "and the report goes to standard error" grep -q SUMMARY err

printf '# known\nleak:^leak*)$\nleak:nowhere\n' >known
ARENASCAN_OPTIONS="suppressions=$work/known:print_unused_suppressions=1" preloaded ./leaky >out 2>err; status=$?
check "a suppressed leak is none" [ "$status" -eq 3 ]
check "the suppression is told, with what it covers" grep -q '^      3         21 ^leak\*)\$$' err
check "and the one that has matched nothing" grep -q '^  nowhere$' err
ARENASCAN_OPTIONS="suppressions=$work/known:print_unused_suppressions=1" preloaded ./leaky clean >out 2>err; status=$?
check "of a program without leaks, too, all that have matched nothing" [ "$status" -eq 3 -a "$(grep -c '^  ' err)" -eq 2 ]
ARENASCAN_OPTIONS="suppressions=$work/known:print_suppressions=0" preloaded ./leaky >out 2>err; status=$?
check "print_suppressions=0: nothing is said" [ "$status" -eq 3 -a ! -s err ]
printf 'leak:no such\nbad line\nleak:leaky.cpp\n' >half
ARENASCAN_OPTIONS="suppressions=$work/half" preloaded ./leaky >out 2>err; status=$?
check "a bad line is named, and the others count" [ "$status" -eq 3 ]
check "a bad line is named, and what would be right" grep -q 'line 2: "bad line" is none; right would be leak:PATTERN' err
ARENASCAN_OPTIONS="suppressions=$work/known:symbolize=0" preloaded ./leaky >out 2>err; status=$?
check "without symbols functions cannot be matched, which is said" grep -q 'held against modules only' err
check "and the leak is told" [ "$status" -eq 23 ]
ARENASCAN_OPTIONS="suppressions=/no/such/file" preloaded ./leaky >out 2>err; status=$?
check "suppressions that cannot be read are named" grep -q 'suppressions, "/no/such/file", cannot be read' err
ARENASCAN_OPTIONS="report_objects=1:log_exe_name=1" preloaded ./leaky >out 2>err
check "report_objects lists them" [ "$(grep -Ec '^0x[0-9a-f]+ \(7 bytes\)$' err)" -eq 3 ]
check "log_exe_name names the program" grep -Eq '^==leaky==[0-9]+==ERROR' err
ARENASCAN_OPTIONS="strip_path_prefix=$work/" preloaded ./leaky >out 2>err
check "strip_path_prefix shortens paths" grep -Eq ' in leak\(\) leaky.cpp:' err

ARENASCAN_OPTIONS="at_exi=1:exitcode=300:stacks=maybe:print_summary=2:symbolize=0" preloaded ./leaky >out 2>err; status=$?
check "an unknown option is named with the nearest" grep -q 'unknown option "at_exi"; did you mean "at_exit"?' err
check "a number out of range is named" grep -q 'option exitcode is "300"; it takes a number from 0 to 255' err
check "a bad flag is named" grep -q 'option print_summary is "2"; it takes 0, 1, true' err
check "a bad word is named" grep -q 'option stacks is "maybe"; it takes off, full, fp' err
check "symbolize=0 prints module and offset" grep -Eq "^    #1 0x[0-9a-f]+ \(.*/leaky\+0x[0-9a-f]+\)" err
check "and the program goes on" [ "$status" -eq 23 ]

"$cxx" -O1 -g -fno-omit-frame-pointer -fno-optimize-sibling-calls leaky.cpp -o with_frame_pointers || exit 1
for mode in full fp stack_sample; do
  options=stacks=$mode
  [ "$mode" = stack_sample ] && options=stack_sample_bytes=1
  ARENASCAN_OPTIONS=$options preloaded ./with_frame_pointers >out 2>err
  check "$options: function and caller" [ "$(grep -Ec '^    #[12] 0x[0-9a-f]+ in (leak\(\)|main) .*leaky.cpp:' err)" -ge 2 ]
done
for options in stacks=off stack_sample_bytes=1000000000; do
  ARENASCAN_OPTIONS=$options preloaded ./leaky >out 2>err; status=$?
  check "$options: the leak is found all the same" [ "$status" -eq 23 ]
  check "$options: no stack" grep -q '^    (no stack)$' err
done
cat >sampled.cpp <<'CPP'
#include <cstdlib>
[[gnu::noinline]] void lose() { volatile char* p = static_cast<char*>(std::malloc(8000)); p[0] = 1; }
int main() { for (int i = 0; i < 20000; ++i) lose(); }
CPP
"$cxx" -O1 -g -fno-optimize-sibling-calls sampled.cpp -o sampled || exit 1
ARENASCAN_OPTIONS=stack_sample_bytes=65536 preloaded ./sampled >out 2>err
sampled=$(awk '/^Direct leak of/ { objects = $7 } / in lose\(\) / { sum += objects } END { print sum + 0 }' err)
# A sample is due after 65536 bytes and half an object on average, 2301 in all; their deviation is 28.
check "one in 65536 bytes is sampled, not $sampled of 20000 objects" [ "$sampled" -ge 2160 -a "$sampled" -le 2440 ]
ARENASCAN_OPTIONS=stack_recheck=1:at_exit=0 preloaded ./leaky >out 2>err
check "stack_recheck counts" grep -Eq '^arenascan: stacks: [0-9]+ known, [0-9]+ walked; of [1-9][0-9]* walked again 0 were wrong$' err

echo 'extern "C" const char* arena_default_options() { return "exitcode=77"; }' >defaults.cpp
"$cxx" -O1 -g leaky.cpp defaults.cpp -o with_defaults "$lib" -Wl,-rpath,"${lib%/*}" || exit 1
./with_defaults >out 2>err; status=$?
check "arena_default_options of the program" [ "$status" -eq 77 ]
ARENASCAN_OPTIONS=exitcode=78 ./with_defaults >out 2>err; status=$?
check "the environment overrides it" [ "$status" -eq 78 ]

"$cxx" -O1 -g leaky.cpp -o static_leaky -I "$root/api" "${lib%/*}/libarenascan.a" -lgcc_s -lmimalloc -lunwind -pthread || exit 1
ARENASCAN_OPTIONS= ./static_leaky >out 2>err; status=$?
check "the static library works the same" [ "$status" -eq 23 ]
check "and loses no output" [ "$(cat out)" = "$(printf 'bufferedatexit\ndestructor\n')" ]
exit "$failures"
