#!/usr/bin/env bash
# One program that uses all of <sanitizer/lsan_interface.h>, under LeakSanitizer and with our library: each case must
# give the same exit status and the same text, once addresses are masked; or differ in the way that is said here.
#
#   compare.sh BUILD_DIRECTORY [verbose]
set -uo pipefail
build=$(realpath "${1:?usage: compare.sh BUILD_DIRECTORY}")
verbose=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
cxx=${CXX:-g++}
case $(basename "$cxx") in clang*) cxx="g++" ;; esac # the peer is GCC's LeakSanitizer, which resolves symbols by itself
unset ARENASCAN_OPTIONS LSAN_OPTIONS LD_PRELOAD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/interface.cpp" "$work/"
cd "$work" || exit 1

flags=(-std=c++20 -O0 -g -fno-omit-frame-pointer interface.cpp)
for variant in "" TURNED_OFF DEFAULTS; do
  "$cxx" "${flags[@]}" ${variant:+-D$variant} -fsanitize=leak -o "theirs$variant" || exit 1
  "$cxx" "${flags[@]}" ${variant:+-D$variant} -L"$build" -larenascan_lsan -Wl,-rpath,"$build" -o "ours$variant" || exit 1
done
printf '# one\n\n  leak:make_node\nleak:^no such$\n' >known
printf 'leak:make_*\n' >wide
printf 'leak:interface.cpp$\n' >file
printf 'leak:/ours$\nleak:/theirs$\n' >module
printf 'leek:make_node\n' >bad
printf 'exitcode=41\nmax_leaks=1' >more

# Addresses, process ids and the program's name masked. Of stacks, only frames of the program's own file, by function and line: the
# allocator's own frame and those below main are named differently by different unwinders.
masked() {  # FILE
  sed -E -e '/^    #[0-9]+ /{/interface\.cpp/!d}' -e 's/^    #[0-9]+ 0x[0-9a-f]+ in (.*) [^ ]*interface\.cpp:([0-9]+).*/    \1 line \2/' \
    -e 's/0x[0-9a-f]+/ADDRESS/g' -e 's/==[0-9]+==/==PID==/g' -e 's/(ours|theirs)[A-Z_]*/PROGRAM/g' "$1"
}

failures=0
count=0
run() {  # WHO OPTIONS VARIANT ARGUMENT
  rm -f log.*
  LSAN_OPTIONS=$2 timeout 60 "./$1$3" ${4:+"$4"} >"$1.out" 2>"$1.err"
  echo "exit status $?" >"$1.text"
  cat "$1.out" >>"$1.text"
  masked "$1.err" >>"$1.text"
  if compgen -G 'log.*' >/dev/null; then
    for log in log.*; do echo "file ${log//[0-9]/N}" | sed -E "s/(ours|theirs)/PROGRAM/"; masked "$log"; done >>"$1.text"
  fi
}
same() {  # WORDS OPTIONS [VARIANT [ARGUMENT]]
  count=$((count + 1))
  run theirs "$2" "${3:-}" "${4:-}"
  run ours "$2" "${3:-}" "${4:-}"
  [ -n "$verbose" ] && { echo "--- $1"; cat ours.text; }
  cmp -s theirs.text ours.text && return
  echo "not the same: $1"
  diff theirs.text ours.text
  failures=$((failures + 1))
}
differs() {  # WORDS WHY OPTIONS VARIANT ARGUMENT OURS...: what our text has to hold, line by line
  count=$((count + 1))
  local words=$1 why=$2
  run theirs "$3" "$4" "$5"
  run ours "$3" "$4" "$5"
  [ -n "$verbose" ] && { echo "--- $words (differs: $why)"; cat ours.text; }
  shift 5
  local line
  for line in "$@"; do
    grep -qxF -- "$line" ours.text && continue
    echo "$words: ours lacks: $line"
    cat ours.text
    failures=$((failures + 1))
  done
  cmp -s theirs.text ours.text || return
  echo "$words: is the same by now, though this said: $why"
  failures=$((failures + 1))
}

same "leaks at exit" ""
same "no leaks" "" "" clean
same "recoverable checks repeat themselves, and the check at exit comes, too" "" "" recoverable
same "the check that comes early" "" "" check
same "... and goes on with exitcode=0" "exitcode=0" "" check
same "ignored objects hold others" "" "" ignore
same "disabled, nested and by scope" "" "" disable
same "a registered region" "" "" region
same "a region that is registered no more" "" "" region_gone
same "enable without disable" "" "" unmatched
same "unregistering what is not registered" "" "" unregister
same "... leaves with the exit code" "exitcode=9" "" unregister
same "turned off by the program" "" TURNED_OFF
same "turned off by the program, recoverable" "" TURNED_OFF recoverable
same "options and suppressions of the program" "" DEFAULTS
same "the environment wins over the program" "exitcode=5" DEFAULTS
same "detect_leaks=0" "detect_leaks=0"
same "detect_leaks=0, recoverable" "detect_leaks=0" "" recoverable
same "leak_check_at_exit=0" "leak_check_at_exit=0"
same "exitcode=0" "exitcode=0"
same "exitcode=77" "exitcode=77"
same "separators" "exitcode=78 print_summary=0,max_leaks=1:report_objects=0"
same "quoted values" "suppressions='known':exitcode=\"4\""
same "max_leaks=1" "max_leaks=1"
same "max_leaks=2" "max_leaks=2"
same "max_leaks=100" "max_leaks=100"
same "report_objects=1" "report_objects=1:max_leaks=1"
same "resolution=1" "resolution=1"
same "print_summary=0" "print_summary=0"
same "suppressions" "suppressions=known"
same "suppressions of all" "suppressions=wide"
same "suppressions by file" "suppressions=file"
same "suppressions by module" "suppressions=module"
same "print_suppressions=0" "suppressions=known:print_suppressions=0"
same "use_globals=0" "use_globals=0" "" clean
same "use_root_regions=0" "use_root_regions=0" "" region
same "use_unaligned=0" "" "" unaligned
same "use_unaligned=1" "use_unaligned=1" "" unaligned
same "log_path" "log_path=log"
same "log_path and log_exe_name" "log_path=log:log_exe_name=1"
same "include" "include=more"
same "include_if_exists of nothing" "include_if_exists=nowhere:exitcode=6"
same "what comes later wins over an include" "include=more:exitcode=42"
same "malloc_context_size=2" "malloc_context_size=2"
same "flags of all sanitizers" "handle_segv=0:abort_on_error=0:allow_addr2line=1:color=never"
same "debugging flags" "use_ld_allocations=1:use_poisoned=0:tries=1"
same "max_allocation_size_mb, null allowed" "max_allocation_size_mb=4:allocator_may_return_null=1" "" huge
differs "hooks and threads" "told of what the program allocates, and not of what the checker frees for a new thread" "" "" hooks \
  "exit status 3" "hooks: 0 and 0 for a thread, then 1 and 1"
differs "suppressions that cannot be parsed" "the line is named, and what would be right" "suppressions=bad" "" "" \
  "exit status 23" 'arenascan: suppressions of bad, line 1: "leek:make_node" is none; right would be leak:PATTERN, or a comment that begins with #'
differs "a file with suppressions that is missing" "said the same way as all complaints" "suppressions=none" "" "" \
  "exit status 23" 'arenascan: the file with suppressions, "none", cannot be read'
differs "an included file that is missing" "named, and the program goes on" "include=none:exitcode=6" "" "" \
  "exit status 6" 'arenascan: LSAN_OPTIONS: the included file "none" cannot be read'
differs "a flag that does not exist" "named, with the one that was meant" "exitcod=0" "" "" \
  "exit status 23"
differs "a value that is none" "named, and the default stays" "exitcode=many" "" "" \
  "exit status 23" 'arenascan: LSAN_OPTIONS: option exitcode is "many"; it takes a number from 0 to 255'
differs "an allocation above the limit" "malloc gives null, as it does without a checker" "max_allocation_size_mb=1" "" huge \
  "exit status 23" "malloc of 3 MiB: null"
differs "... is fatal when asked for" "one line says how to go on" "max_allocation_size_mb=1:allocator_may_return_null=0" "" huge \
  "exit status 23" "==PID==ERROR: LeakSanitizer: an allocation of ADDRESS bytes failed; allocator_may_return_null=1 lets it return null"
echo "$count cases, $failures failures"
exit $((failures != 0))
