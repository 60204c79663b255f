#!/usr/bin/env bash
# run_replay.sh BUILD_DIR [quick|smoke]: what sqlite3, python3 and redis-server ask of their allocator, played again under four.
#
# Each program is recorded once, a million records at least, and its trace played in turns, so that a change of the machine's
# mood meets all allocators; figures are medians of the rounds. A record is one call, with the trace's own part of the work: to
# read it and to touch what it made. All must have the same objects at the end and at the peak; arenascan's last scan must
# find these and no others. quick: fewer rounds. smoke: short programs, one round, to see that the script works. A program or an
# allocator that is not installed is left out. Writes BUILD_DIR/bench/replay/: traces, and all answers.
set -euo pipefail
build=$(cd "$1" && pwd)
rounds=5 least=1000000 part=1
case ${2:-full} in
  full) ;;
  quick) rounds=3 ;;
  smoke) rounds=1 least=1000 part=100 ;;
  *) echo "usage: run_replay.sh BUILD_DIR [quick|smoke]" >&2; exit 2 ;;
esac
cli=$build/arenascan
output=$build/bench/replay
[ "${2:-full}" = smoke ] && output=$build/bench/replay_smoke
mkdir -p "$output"
cd "$output"
rm -f -- *
unset ARENASCAN_OPTIONS
programs=(sqlite3 python3 redis-server)
allocators=(glibc mimalloc jemalloc arenascan)

library() { ldconfig -p | awk -v name="$1" 'index($1, name) == 1 { print $NF; exit }'; }
declare -A played_by=(
  [glibc]=system [mimalloc]=$(library libmimalloc.so) [jemalloc]=$(library libjemalloc.so) [arenascan]=$build/libarenascan.so
)

fail() { echo "run_replay.sh: $*" >&2; exit 1; }

# Each runs its program behind the words it is given.
run_sqlite3() {
  "$@" sqlite3 :memory: >/dev/null <<SQL
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $((200000 / part)))
INSERT INTO item SELECT i, 'item ' || (i * 7919 % 50000), i * 0.25 FROM n;
CREATE INDEX by_name ON item(name);
SELECT sum(length(upper(name) || hex(name) || printf('%08.2f', price))) FROM item;
SELECT name, count(*), group_concat(id) FROM item GROUP BY name ORDER BY 2 DESC, 1;
UPDATE item SET name = replace(name, '1', 'one');
DELETE FROM item WHERE id % 3 = 0;
SQL
}
run_python3() {
  PYTHONMALLOC=malloc PYTHONHASHSEED=0 "$@" /usr/bin/python3 -c '
import json, sys
items = [{"id": i, "name": "item %d" % (i * 7919 % 50000), "tags": ["a%d" % i, "b"]} for i in range(int(sys.argv[1]))]
again = json.loads(json.dumps(items))
by_name = {}
for item in again: by_name.setdefault(item["name"], []).append(item["id"])
print(sum(len(name) * len(ids) for name, ids in by_name.items()))' $((60000 / part)) >/dev/null
}
run_redis-server() {
  local socket=$output/redis.socket server
  "$@" redis-server --port 0 --unixsocket "$socket" --save '' --appendonly no --dir "$output" >redis.log &
  server=$!
  for ((i = 0; i < 200; ++i)); do [ -S "$socket" ] && break || sleep 0.05; done
  redis-benchmark -s "$socket" -n $((60000 / part)) -c 20 -q -t set,get,lpush,lpop,sadd,hset,zadd -d 64 -r 10000 >/dev/null
  redis-cli -s "$socket" shutdown nosave
  wait "$server"
}

record() { # PROGRAM: its trace; false when it is not installed
  command -v "$1" >/dev/null || return
  [ "$1" != redis-server ] || command -v redis-benchmark >/dev/null || return
  "run_$1" "$cli" record -o "$1.trace" -- || fail "$1 could not be recorded"
}

replay() { # PROGRAM ALLOCATOR: nanoseconds a record
  "$cli" replay --allocator "${played_by[$2]}" "$1.trace" >"$1.$2.said" || fail "$1 under $2: $(cat "$1.$2.said")"
  [ "$2" != arenascan ] || grep -q '^at the end: .*, as in the trace$' "$1.$2.said" || fail "$1: not what was recorded: $(cat "$1.$2.said")"
  ! grep -q 'left out' "$1.$2.said" || fail "$1 under $2: $(cat "$1.$2.said")"
  grep '^live' "$1.$2.said" | cmp -s - "$1.live" || fail "$1 under $2 has other objects: $(cat "$1.$2.said")"
  sed -n 's/.* s, \([0-9.]*\) ns each$/\1/p' "$1.$2.said"
}

median() { sort -n | awk '{ value[NR] = $1 } END { printf "%.1f", (value[int((NR + 1) / 2)] + value[int((NR + 2) / 2)]) / 2 }'; }

began=$(cut -d' ' -f1-3 /proc/loadavg)
printf '%-14s %9s' 'ns a record' records
printf ' %10s' "${allocators[@]}"
echo '   live at the end; at the peak'
for program in "${programs[@]}"; do
  record "$program" || continue
  "$cli" replay --allocator system "$program.trace" >said || fail "$program: $(cat said)"
  grep '^live' said >"$program.live"
  records=$(sed -n 's/^[^ ]*: \([0-9]*\) records in .*/\1/p' said)
  [ "$records" -ge "$least" ] || fail "$program: only $records records"
  for ((round = 0; round < rounds; ++round)); do
    for allocator in "${allocators[@]}"; do
      [ -z "${played_by[$allocator]}" ] || replay "$program" "$allocator" >>"$program.$allocator.ns"
    done
  done
  printf '%-14s %9s' "$program" "$records"
  for allocator in "${allocators[@]}"; do
    if [ -s "$program.$allocator.ns" ]; then printf ' %10s' "$(median <"$program.$allocator.ns")"; else printf ' %10s' -; fi
  done
  sed 's/^live at the end: \(.*; \)at the peak \(.*\)/   \1\2/' "$program.live"
done
printf '\nThe same objects under all of them. Medians of %s rounds. Load before: %s, after: %s, processors: %s.\n' \
  "$rounds" "$began" "$(cut -d' ' -f1-3 /proc/loadavg)" "$(nproc)"
