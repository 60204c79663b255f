#!/usr/bin/env bash
# `arenascan run`: statuses, signals, streams, and one clear line for what cannot be done.
set -uo pipefail
cli=$(realpath "${ARENASCAN_CLI:?is not set}")
unset ARENASCAN_OPTIONS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
expect() {  # STATUS REGEX COMMAND...: the status, and what one line of standard error must say
  local wanted=$1 pattern=$2 status=0
  shift 2
  "$@" >out 2>err || status=$?
  [ "$status" -eq "$wanted" ] || { echo "$*: status $status instead of $wanted; said: $(cat err)"; failures=$((failures + 1)); }
  if [ -n "$pattern" ]; then
    grep -Eq "$pattern" err && [ "$(wc -l <err)" -eq 1 ] || { echo "$*: said: $(cat err)"; failures=$((failures + 1)); }
  fi
}

expect 127 '^arenascan: no-such-program: no such program$' "$cli" run -- no-such-program
expect 127 '^arenascan: \./nothing: no such program$' "$cli" run -- ./nothing
echo text >plain
expect 126 '^arenascan: \./plain: not an executable file$' "$cli" run -- ./plain
expect 126 'not an executable file' "$cli" run -- /tmp
expect 125 '^arenascan: /no/lib.so: no such library$' "$cli" run --library /no/lib.so -- true
echo 'int main() { return 0; }' | cc -static -x c - -o static || exit 1
expect 125 'statically linked, so nothing can be preloaded' "$cli" run -- ./static
expect 0 '' "$cli" --version
expect 0 '' "$cli" run -- true
[ -s err ] && { echo "a program without leaks is not reported: $(cat err)"; failures=$((failures + 1)); }
expect 7 '' "$cli" run -- sh -c 'exit 7'
expect 143 '' "$cli" run -o at_exit=0 -- sh -c 'kill -TERM $$'
expect 0 'unknown option "no_such_option"' "$cli" run -o no_such_option=1 -o at_exit=0 -- true

head -c 300000 /dev/urandom >data
"$cli" run -o exitcode=0 --log log -- cat <data >copy 2>err
cmp data copy || failures=$((failures + 1))
[ -s err ] && { echo "standard error is the program's own: $(cat err)"; failures=$((failures + 1)); }

cat >leak.c <<'C'
#include <stdlib.h>
#include <stdio.h>
__attribute__((noinline)) void lose(void) { volatile char* p = malloc(123); p[0] = 1; }
int main(void) { lose(); fclose(stderr); return 0; }
C
cc -g leak.c -o leak || exit 1
"$cli" run -- ./leak 2>err
[ $? -eq 23 ] || { echo "a leak leaves with 23"; failures=$((failures + 1)); }
grep -q '^Direct leak of 123 byte(s) in 1 object(s) allocated from:$' err || { echo "no report: $(cat err)"; failures=$((failures + 1)); }
grep -Eq ' in lose .*/leak.c:3' err || { echo "no symbols: $(cat err)"; failures=$((failures + 1)); }
"$cli" run --log report -- ./leak 2>err
grep -q '^SUMMARY' report && [ ! -s err ] || { echo "--log takes the report"; failures=$((failures + 1)); }
"$cli" run -o exitcode=0 -- sh -c './leak; ./leak' 2>err
[ "$(grep -c '^SUMMARY' err)" -eq 2 ] || { echo "children are reported too: $(cat err)"; failures=$((failures + 1)); }

# A program of root that goes on as another user reports, too; so does one whose malloc is reached through its own stub.
# That user may not see where the library was built: it gets a copy.
if [ "$(id -u)" -eq 0 ]; then
  cc -g -no-pie leak.c -o changed && cp "${ARENASCAN_LIB:?is not set}" libarenascan.so && chmod 755 . changed libarenascan.so
  "$cli" run --library libarenascan.so -- setpriv --reuid=65534 --regid=65534 --clear-groups ./changed 2>err
  grep -q '^Direct leak of 123 byte(s)' err && ! grep -q 'cannot write the report' err || { echo "as another user: $(cat err)"; failures=$((failures + 1)); }
  # Nor may he look into each directory of PATH.
  mkdir -m 700 closed && cp "$cli" arenascan && chmod 755 arenascan
  other=(env "PATH=$work/closed:$PATH" setpriv --reuid=65534 --regid=65534 --clear-groups ./arenascan run)
  expect 0 '' "${other[@]}" -- true
  expect 126 '^arenascan: closed/program: not an executable file$' "${other[@]}" -- closed/program
else
  echo "not run as root: the report of a program that changes its user, and directories closed to it, are not tested"
fi
cat >address.c <<'C'
#include <stdlib.h>
void* (*volatile allocate)(size_t) = malloc;
__attribute__((noinline)) void lose(void) { volatile char* p = allocate(77); p[0] = 1; }
int main(void) { lose(); return 0; }
C
cc -g -no-pie -fno-pie address.c -o address || exit 1
"$cli" run -- ./address 2>err
grep -Eq '^    #0 0x[0-9a-f]+ in malloc' err || { echo "frame 0 is not malloc: $(cat err)"; failures=$((failures + 1)); }
exit "$failures"
