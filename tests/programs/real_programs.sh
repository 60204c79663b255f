#!/usr/bin/env bash
# Unmodified programs with and without the library: same standard output, same exit status.
#   real_programs.sh            all
#   real_programs.sh quick      the short ones, for CI
#   real_programs.sh NAME...    the named ones
# Needs ARENASCAN_CLI. A program that is not installed is a failure that names its Debian package. With REPORTS=DIRECTORY the
# leak reports of all their processes are kept there. With SOAK=SECONDS each program is run over and over for so long, and
# all its processes scan themselves each second (ARENA_SCAN_MS) while they work; what the scans said is in REPORTS/scans.
#
# A program is a file real/NAME.sh. It says what it runs, which packages that takes (`# packages: ...`, also read by dev),
# whether it is among the short ones (`# quick`) and what the scanner has to know of it (`# options: ...`), and defines
# program(). Commands that are to be watched go through "$@", which is empty or `arenascan run ...`; program prints what
# must not change and returns the program's status. It runs in a fresh directory, may use need, serve and stop, and finds
# our sources in $root and a port of its own in $port.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
unset ARENASCAN_OPTIONS
export LC_ALL=C
reports=${REPORTS:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Programs that leave root must still reach the library and write their reports.
chmod 711 "$work"
cp "${ARENASCAN_CLI:?is not set}" "$(dirname "$ARENASCAN_CLI")/libarenascan.so" "$work"
cli=$work/arenascan
[ -n "$reports" ] || reports=$work/reports
mkdir -p "$reports" && reports=$(realpath "$reports") && chmod 1777 "$reports"

need() {  # COMMAND PACKAGE
  command -v "$1" >/dev/null || { echo "$1 is not installed: apt-get install $2"; exit 1; }
}

serve() {  # PID: the server, started in the background with its output in server.log; waits until it listens on $port
  server=$1
  trap stop_now EXIT
  for _ in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo "the server does not listen on port $port:"
  cat server.log
  return 1
}

stop() {  # SIGNAL: the server must end within 30 s; its status
  kill "-$1" "$server"
  for _ in $(seq 300); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
  kill -0 "$server" 2>/dev/null && { echo "the server does not stop"; stop_now; }
  wait "$server"
  local status=$?
  server=
  [ "$status" -eq 0 ] || cat server.log
  return $status
}

stop_now() {
  [ -n "$server" ] && kill -KILL $(cat "/proc/$server/task/$server/children" 2>/dev/null) "$server" 2>/dev/null
}

run_one() {  # NAME DIRECTORY [COMMAND...]
  local name=$1 directory=$2 port=$((20000 + RANDOM % 12000))
  shift 2
  mkdir "$directory" && cd "$directory" || exit 1
  # shellcheck source=/dev/null
  source "$here/real/$name.sh"
  program "$@" 2>&1
  echo "exit status $?"
}

watch=("$cli" run -o exitcode=0)
started=()
if [ -n "${SOAK:-}" ]; then
  cp "$(dirname "$ARENASCAN_CLI")/tests/lib/libscan_often.so" "$work" || exit 1
  export ARENA_SCAN_LOG=$reports/scans
  touch "$ARENA_SCAN_LOG" && chmod 666 "$ARENA_SCAN_LOG"
  # In front, so that it ends before the library's scan at exit.
  started=(env "LD_PRELOAD=$work/libscan_often.so:$work/libarenascan.so")
fi

# Runs a program watched, once or for SOAK seconds; stops at the first difference.
run_watched() {  # NAME
  local name=$1 until=$((SECONDS + ${SOAK:-0})) options
  options=$(sed -n 's/^# options: /:/p' "$here/real/$1.sh")
  times=0
  while [ "$times" -eq 0 ] || [ "$SECONDS" -lt "$until" ]; do
    times=$((times + 1))
    (run_one "$name" "$work/$name-watched" "${watch[@]}" -o "log_path=$reports/$name$options" -- "${started[@]}") >"$work/$name.watched"
    diff "$work/$name.plain" "$work/$name.watched" >"$work/$name.diff" || return 1
    rm -rf "$work/$name-watched"
  done
}

known=$(cd "$here/real" && ls | sed 's/\.sh$//')
case "${1:-all}" in
  all) mapfile -t names <<<"$known" ;;
  quick) mapfile -t names < <(cd "$here/real" && grep -lx '# quick' ./*.sh | sed 's/^..//; s/\.sh$//') ;;
  *) names=("$@") ;;
esac
same=0 server=
for name in "${names[@]}"; do
  [ -e "$here/real/$name.sh" ] || { echo "$name is none of:" $known; exit 2; }
  began=$SECONDS
  (run_one "$name" "$work/$name-plain") >"$work/$name.plain"
  plain=$((SECONDS - began))
  if run_watched "$name" && [ "$(tail -1 "$work/$name.plain")" = "exit status 0" ]; then
    same=$((same + 1))
    echo "ok      $name ($plain s, watched $times time(s) in $((SECONDS - began - plain)) s)"
  else
    echo "DIFFERS $name"
    head -40 "$work/$name.diff" "$work/$name.plain"
  fi
done
echo "$same of ${#names[@]} programs behave the same"
if [ -n "${SOAK:-}" ]; then
  awk '{ for (i = 1; i < NF; ++i) value[$i] = $(i + 1)
         scans += value["scans"]; incomplete += value["incomplete"]; recovered += value["recovered"] }
       END { print NR " processes, " scans + 0 " scans, " incomplete + 0 " incomplete, " recovered + 0 " leaks told that were none" }' \
    "$ARENA_SCAN_LOG"
fi
[ "$same" -eq "${#names[@]}" ]
