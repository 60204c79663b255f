#!/usr/bin/env bash
# A process that listens (control=1): commands, scans on its own, forks, whoever else might talk to it, and its end.
set -uo pipefail
cli=$(realpath "${ARENASCAN_CLI:?is not set}")
library=$(realpath "${ARENASCAN_LIB:?is not set}")
unset ARENASCAN_OPTIONS
work=$(mktemp -d)
started=()
tidy_up() {
  for process in "${started[@]}"; do kill "$process" 2>/dev/null; done
  rm -rf "$work"
}
trap tidy_up EXIT
cd "$work" || exit 1
failures=0
say() { echo "$*"; failures=$((failures + 1)); }
expect() {  # STATUS REGEX COMMAND...: the status, and what one line of both streams says
  local wanted=$1 pattern=$2 status=0
  shift 2
  timeout 30 "$@" >out 2>&1 </dev/null || status=$?
  [ "$status" -eq "$wanted" ] || say "$*: status $status instead of $wanted; said: $(cat out)"
  [ -z "$pattern" ] || grep -Eq "$pattern" out || say "$*: no line '$pattern' in: $(cat out)"
}

cat >host.c <<'C'
// host WHAT: loses ten objects, says the address of one that it keeps, and lives until it is told to stop.
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
static void* kept;
static volatile sig_atomic_t stops;
static void stop(int signal) { (void)signal; stops = 1; }
__attribute__((noinline)) void lose(int count) {
  for (int i = 0; i < count; ++i) *(volatile char*)malloc(123) = 1;
}
__attribute__((noinline)) void forget(void) {  // what lies below on the stack
  volatile char room[100000];
  memset((char*)room, 0, sizeof(room));
}
static void say(void) {
  forget();
  dprintf(1, "%d %p\n", (int)getpid(), kept);
  while (!stops) pause();
}
int main(int argc, char** argv) {
  const char* const what = argc > 1 ? argv[1] : "";
  struct sigaction action = {0};
  action.sa_handler = stop;
  sigaction(SIGTERM, &action, NULL);
  kept = malloc(1000);
  lose(10);
  if (!strcmp(what, "daemon")) {  // as daemon(3), and closes all it has not opened, and opens others
    if (fork() != 0) _exit(0);
    setsid();
    if (fork() != 0) _exit(0);
    for (int file = 3; file < 1100; ++file) close(file);
    int ends[2];
    struct rlimit files = {1100, 1100};
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 0; i < 500; ++i) if (pipe(ends) != 0) break;  // one of them gets the number of what was the socket
    usleep(300000);
    for (int file = 3; file < 1100; ++file) close(file);
    for (int i = 0; i < 490; ++i) if (pipe(ends) != 0) break;
    lose(5);
  }
  if (!strcmp(what, "quits")) return 0;
  if (!strcmp(what, "changes")) {
    if (setgroups(0, NULL) != 0 || setresgid(65534, 65534, 65534) != 0 || prctl(PR_SET_KEEPCAPS, 1) != 0 ||
        setresuid(65534, 65534, 65534) != 0)
      return 1;
    prctl(PR_SET_DUMPABLE, 1);
    usleep(300000);
  }
  say();
  return 0;
}
C
cc -g host.c -o host || exit 1
cat >rude.c <<'C'
// rude PATH WHAT: says nothing, says too much, or asks and reads nothing, for as long as the other side bears it.
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char** argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const int file = socket(AF_UNIX, SOCK_STREAM, 0);
  char text[5000];
  if (argc != 3) return 2;
  strncpy(address.sun_path, argv[1], sizeof(address.sun_path) - 1);
  if (connect(file, (struct sockaddr*)&address, sizeof(address)) != 0) return 3;
  memset(text, 'x', sizeof(text));
  if (!strcmp(argv[2], "much") && send(file, text, sizeof(text), MSG_NOSIGNAL) < 0) return 4;
  if (!strcmp(argv[2], "deaf")) return send(file, "stats\n", 6, MSG_NOSIGNAL) == 6 ? 0 : 4;
  const ssize_t count = read(file, text, sizeof(text));
  if (count > 0) return fwrite(text, 1, (size_t)count, stdout) == (size_t)count ? 0 : 5;
  return 0;
}
C
cc rude.c -o rude || exit 1

start() {  # OPTIONS ARGUMENT...: sets `process` and `address` to what the host says
  local options=$1
  shift
  : >host.out
  ARENASCAN_OPTIONS="control=1:at_exit=0:min_age_s=0:$options" LD_PRELOAD=$library ./host "$@" >host.out 2>host.err &
  started+=($!)
  for _ in $(seq 200); do
    [ -s host.out ] && [ -S "/tmp/arenascan-$(id -u)/$(cut -d' ' -f1 host.out)" ] && break
    sleep 0.05
  done
  read -r process address <host.out || say "host $*: it did not begin: $(cat host.err)"
  started+=("$process")
}
stop() {
  kill "$process"
  for _ in $(seq 200); do
    kill -0 "$process" 2>/dev/null || return
    sleep 0.05
  done
  say "$process did not end"
}

# Commands.
start ""
socket=/tmp/arenascan-$(id -u)/$process
expect 0 "^$process host\$" "$cli" list
expect 1 'there was no scan yet; ask for `scan` first' "$cli" ctl "$process" report
expect 0 '^last scan: none$' "$cli" ctl "$process" stats
expect 0 '^leaked: 10 objects, 1230 bytes$' "$cli" ctl "$process" scan
expect 0 '^new: 0 objects, 0 bytes$' "$cli" ctl "$process" scan
expect 0 '^Direct leak of 1230 byte\(s\) in 10 object\(s\) allocated from:$' "$cli" ctl "$process" report
expect 0 ' in lose .*host.c:' "$cli" ctl "$process" report=text
expect 0 '^Object 0x[0-9a-f]+ of 1000 byte\(s\)' "$cli" ctl "$process" "dump=$address"
expect 1 '^arenascan: there is no object at 0x11$' "$cli" ctl "$process" dump=17
expect 0 '' "$cli" ctl "$process" clear
expect 0 '^leaked: 0 objects, 0 bytes$' "$cli" ctl "$process" scan
expect 0 '' "$cli" ctl "$process" scan=77
expect 0 '^scanning: every 77 s, next in 7[0-9] s$' "$cli" ctl "$process" stats
expect 0 '' "$cli" ctl "$process" scan=off
expect 0 '^scanning: when asked$' "$cli" ctl "$process" stats
expect 0 '' "$cli" ctl "$process" scan=on
expect 0 '^scanning: every 600 s' "$cli" ctl "$process" stats
expect 0 '' "$cli" ctl "$process" stack=off
expect 0 '^stacks: off$' "$cli" ctl "$process" stats
expect 0 '^scans: 3, incomplete: 0$' "$cli" ctl "$process" stats
expect 1 '^arenascan: unknown command "scam"; scan, scan=on, .*, stats$' "$cli" ctl "$process" scam
expect 1 'bad value of scan: "often"; on, off, or seconds' "$cli" ctl "$process" scan=often
expect 1 'bad value of report: "pdf"; the formats are: text$' "$cli" ctl "$process" report=pdf
expect 1 '^arenascan: a command is one line$' "$cli" ctl "$process" $'scan\nscan'

# Whoever else talks to it does not keep it from the next.
expect 0 '^error a request has at most 120 bytes and a newline$' ./rude "$socket" much
./rude "$socket" silent >/dev/null &
silent=$!
./rude "$socket" deaf >/dev/null
expect 0 "^process: $process " "$cli" ctl "$process" stats
wait "$silent" || say "the silent one was not let go"
if [ "$(id -u)" -eq 0 ]; then
  # Another user cannot get in, and may not ask where he can.
  chmod 755 . && cp "$cli" arenascan && chmod 755 arenascan
  expect 1 "^arenascan: process $process (does not listen|belongs to another user)" setpriv --reuid=65534 --regid=65534 --clear-groups \
    ./arenascan ctl "$process" stats
  chmod 711 "/tmp/arenascan-0" && chmod 777 "$socket"
  expect 1 "^arenascan: process $process gave no whole answer" setpriv --reuid=65534 --regid=65534 --clear-groups ./arenascan ctl "$process" stats
  chmod 700 "/tmp/arenascan-0"
else
  echo "NOT TESTED: other users, which only root can be"
fi

# Once removed, the socket comes again when somebody has taken note; the end takes it away.
stop
[ -e "$socket" ] && say "the socket is still there"
expect 1 "^arenascan: process $process does not exist" "$cli" ctl "$process" stats
expect 1 "^arenascan: process $$ does not listen; start it with ARENASCAN_OPTIONS=control=1\$" "$cli" ctl $$ stats

# One that was killed leaves its socket behind; list tidies up.
start ""
socket=/tmp/arenascan-$(id -u)/$process
{ kill -KILL "$process" && wait "$process"; } 2>/dev/null
[ -e "$socket" ] || say "a process that is killed cannot tidy up"
expect 0 '' "$cli" list
[ -e "$socket" ] && say "list leaves what nobody listens at"

# Scans of its own, in the log; young objects are not told.
start "first_scan_s=1:scan_every_s=1:log_path=$work/log"
for _ in $(seq 100); do
  [ -s "log.$process" ] && break
  sleep 0.1
done
grep -qx "arenascan: $process: 10 new leaked objects, 1230 bytes; \`arenascan ctl $process report\` tells more" "log.$process" ||
  say "no scan without being asked: $(cat "log.$process" 2>&1)"
sleep 2.5
[ "$(wc -l <"log.$process")" -eq 1 ] || say "what is known is told again: $(cat "log.$process")"
expect 0 '^scans: [3-9], incomplete: 0$' "$cli" ctl "$process" stats
stop
start "min_age_s=2"
begin=$(date +%s%N)
expect 0 '^leaked: 10 objects, 1230 bytes$' "$cli" ctl "$process" scan
[ $((($(date +%s%N) - begin) / 1000000)) -ge 2000 ] || say "objects are younger than min_age_s"
stop
start "min_unref_scans=2"
expect 0 '^leaked: 0 objects, 0 bytes$' "$cli" ctl "$process" scan
expect 0 '^leaked: 10 objects, 1230 bytes$' "$cli" ctl "$process" scan
stop

# Off is for good, at exit too.
for command in stats off; do
  start "at_exit=1"
  expect 0 '' "$cli" ctl "$process" "$command"
  [ "$command" = off ] && expect 1 'does not listen' "$cli" ctl "$process" stats
  stop
  grep -q '^SUMMARY' host.err && found=stats || found=off
  [ "$found" = "$command" ] || say "$command: the scan at exit: $(cat host.err)"
done

# A daemon: forked twice, its files closed and others opened; what was lost before the forks is found in it.
start "" daemon
[ -n "$process" ] && expect 0 '^leaked: 15 objects, 1845 bytes$' "$cli" ctl "$process" scan
expect 0 "^$process host\$" "$cli" list
stop

# Nothing is the matter with a program that ends at once, with one that runs others, and where nobody can listen.
for _ in $(seq 20); do
  ARENASCAN_OPTIONS=control=1:exitcode=0:log_path=$work/log LD_PRELOAD=$library ./host quits || say "a short life: status $?"
done
expect 0 '^one$' env ARENASCAN_OPTIONS=control=1:at_exit=0 LD_PRELOAD="$library" sh -c 'echo one; (exit 0); ls / >/dev/null'
if [ "$(id -u)" -eq 0 ]; then
  # Who gives up root is asked where its new user is; it can keep capabilities, and get namespaces, as without a thread.
  cp "$library" libarenascan.so && chmod 755 libarenascan.so host
  preload="env ARENASCAN_OPTIONS=control=1:at_exit=0 LD_PRELOAD=$work/libarenascan.so"
  away="setpriv --reuid=65534 --regid=65534 --clear-groups"
  expect 0 '^65534$' $preload $away id -u
  expect 0 '^65534$' $preload $away --inh-caps=+net_raw --ambient-caps=+net_raw id -u
  expect 0 '^0$' $preload unshare --user --map-root-user --mount --pid --fork id -u
  : >host.out
  ARENASCAN_OPTIONS=control=1:at_exit=0:min_age_s=0 LD_PRELOAD=$work/libarenascan.so setsid ./host changes >host.out 2>host.err &
  started+=($!)
  for _ in $(seq 100); do [ -s host.out ] && break; sleep 0.05; done
  read -r process address <host.out
  started+=("$process")
  expect 0 '^leaked: 10 objects, 1230 bytes$' "$cli" ctl "$process" scan
  [ -S "/tmp/arenascan-65534/$process" ] || say "its socket is its new user's"
  expect 0 "^$process host\$" "$cli" list
  expect 0 "^process: $process " $away ./arenascan ctl "$process" stats
  stop
  rmdir /tmp/arenascan-65534 && mkdir -m 700 /tmp/arenascan-65534
  for _ in $(seq 5); do $away $preload sleep 0.2 2>err || say "where nobody can listen: status $?"; done
  grep -q '^arenascan: control: /tmp/arenascan-65534: is no directory that its user alone can enter (mode 700), as it has to be; nobody can ask this process$' err ||
    say "what is wrong is said: $(cat err)"
  rmdir /tmp/arenascan-65534
fi

[ "$failures" -eq 0 ] && echo "all as it should be"
exit "$((failures != 0))"
