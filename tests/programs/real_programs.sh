#!/usr/bin/env bash
# Unmodified programs with and without the library: same standard output, same exit status.
#   real_programs.sh            all
#   real_programs.sh quick      the short half, for CI
#   real_programs.sh NAME...    the named ones
# Needs ARENASCAN_CLI. A program that is not installed is a failure that names its Debian package.
set -uo pipefail

cli=$(realpath "${ARENASCAN_CLI:?is not set}")
root=$(cd "$(dirname "$0")/../.." && pwd)
unset ARENASCAN_OPTIONS
export LC_ALL=C
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rows=20000

need() {  # COMMAND PACKAGE
  command -v "$1" >/dev/null || { echo "$1 is not installed: apt-get install $2"; exit 1; }
}

# Every program is a function. Its commands go through "$@", which is empty or `arenascan run ...`; it prints what must not
# change and exits with the program's status. It runs in a fresh directory.

sqlite3_program() {
  need sqlite3 sqlite3
  "$@" sqlite3 test.db <<SQL
PRAGMA journal_mode=MEMORY;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $rows)
INSERT INTO item SELECT i, 'item ' || (i * 7919 % $rows), i * 0.25 FROM n;
CREATE INDEX by_name ON item(name);
SELECT count(*), sum(price) FROM item;
SELECT * FROM item WHERE name = 'item 4711';
SELECT substr(name, 1, 6) AS k, count(*) FROM item GROUP BY k ORDER BY 2 DESC, 1 LIMIT 10;
DELETE FROM item WHERE id % 3 = 0;
VACUUM;
PRAGMA integrity_check;
SQL
}

lua_program() {
  need lua5.4 lua5.4
  "$@" lua5.4 -e '
    local words, count = {}, 0
    for i = 1, 200000 do words[i % 5000 + 1] = ("word %d"):format(i) end
    local function squares(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i * i) end end) end
    for s in squares(20000) do count = count + s end
    table.sort(words)
    collectgarbage()
    print(#words, words[1], words[#words], count, (table.concat(words, ","):gsub("word", "")):len())'
}

perl_program() {
  need perl perl
  "$@" perl -e '
    my %h; $h{"key " . ($_ * 7919 % 65537)} .= "$_," for 1 .. 100000;
    my @k = sort { $h{$a} cmp $h{$b} } keys %h;
    my $n = grep { /9{2}.*7$/ } @k;
    my $pid = fork; if (!$pid) { my @x = map { [$_] } 1 .. 1000; exit 7 } waitpid $pid, 0;
    print scalar(@k), " $n $k[0] $k[-1] ", $? >> 8, "\n";'
}

git_program() {
  need git git
  export GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z' HOME=$PWD
  git config --global user.name n && git config --global user.email n@example.org && git config --global gc.autoDetach false
  git config --global init.defaultBranch main
  "$@" git init -q one || return
  (cd one && for i in $(seq 30); do seq "$i" 500 >"file$((i % 7))" && "$@" git add . && "$@" git commit -qm "change $i"; done) || return
  "$@" git clone -q one two 2>&1 || return
  (cd two && "$@" git gc -q && "$@" git log --stat --format='%H %s' && "$@" git fsck 2>&1) || return
}

gcc_program() {
  need g++ g++
  "$@" g++ -std=c++20 -O2 -I "$root" -c "$root/scan/leaks.cpp" -o leaks.o || return
  cksum <leaks.o
}

xz_program() {
  need xz xz-utils
  seq 200000 | "$@" xz -6 -T2 >numbers.xz || return
  cksum <numbers.xz
  "$@" xz -dc numbers.xz | cksum
}

tar_program() {
  need tar tar
  "$@" tar --sort=name --mtime='2001-01-01' --owner=0 --group=0 -cf sources.tar -C "$root" alloc scan api || return
  cksum <sources.tar
  "$@" tar -tf sources.tar | cksum
  mkdir out && "$@" tar -xf sources.tar -C out && (cd out && find . -type f | sort | xargs cksum | cksum)
}

python3_program() {
  [ -e /usr/lib/python3.11/test/test_list.py ] || { echo "python3's tests are not installed: apt-get install libpython3.11-testsuite"; exit 1; }
  # Durations, load and the order of finishing differ from run to run.
  PYTHONMALLOC=malloc "$@" /usr/bin/python3 -m test test_list test_dict test_json test_threading >log 2>&1
  local status=$?
  grep -E '^(All [0-9]+ tests OK|[0-9]+ tests? (OK|failed)|Tests result)' log
  [ "$status" -eq 0 ] || cat log
  return $status
}

redis_program() {
  need redis-server redis-server
  need redis-benchmark redis-tools
  local port=$((20000 + RANDOM % 20000))
  "$@" redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --loglevel warning --dir . >server.log 2>&1 &
  local server=$!
  for _ in $(seq 100); do redis-cli -p "$port" ping >/dev/null 2>&1 && break; sleep 0.1; done
  redis-benchmark -p "$port" -n 100000 -c 20 -q -t set,get,lpush,lpop,sadd,hset,zadd -d 64 -r 10000 2>&1 |
    tr '\r' '\n' | grep -o '^[A-Z]*: [0-9.]* requests per second' | sed 's/:.*//' | sort -u
  redis-cli -p "$port" incr visits
  redis-cli -p "$port" eval "return redis.call('incrby', 'visits', 41)" 0
  redis-cli -p "$port" shutdown nosave
  wait "$server"
  local status=$?
  [ "$status" -eq 0 ] || cat server.log
  return $status
}

run_one() {  # NAME DIRECTORY [COMMAND...]
  local name=$1 directory=$2
  shift 2
  mkdir "$directory" && cd "$directory" || exit 1
  "${name}_program" "$@" 2>&1
  echo "exit status $?"
}

names=("$@")
case "${1:-all}" in
  all) names=(sqlite3 lua perl git gcc xz tar python3 redis) rows=100000 ;;
  quick) names=(sqlite3 lua perl git gcc xz tar) ;;
esac
same=0
for name in "${names[@]}"; do
  [ "$(type -t "${name}_program")" = function ] || { echo "$name is none of: sqlite3 lua perl git gcc xz tar python3 redis"; exit 2; }
  began=$SECONDS
  (run_one "$name" "$work/$name-plain") >"$work/$name.plain"
  (run_one "$name" "$work/$name-watched" "$cli" run -o exitcode=0 --log "$work/$name.report" --) >"$work/$name.watched"
  if diff "$work/$name.plain" "$work/$name.watched" >"$work/$name.diff" && [ "$(tail -1 "$work/$name.plain")" = "exit status 0" ]; then
    same=$((same + 1))
    echo "ok      $name ($((SECONDS - began)) s)"
  else
    echo "DIFFERS $name"
    head -40 "$work/$name.diff" "$work/$name.plain"
  fi
done
echo "$same of ${#names[@]} programs behave the same"
[ "$same" -eq "${#names[@]}" ]
