#!/usr/bin/env bash
# run.sh BUILD_DIRECTORY: three things on real programs. Exit 0 when each shows what it should.
set -euo pipefail
build=$(cd "$1" && pwd)
title() { printf '\n\033[1m%s\033[0m\n\n' "$*"; }

title "1. A program with threads, containers, four leaks and one changed orphan"
"$build/demo/demo_example"

title "2. A test file that fails on a leak, through arena_scan()"
status=0
ARENASCAN_OPTIONS=at_exit=0 "$build/demo/demo_test" --no-version || status=$?
[ "$status" -eq 1 ] || { echo "UNEXPECTED: the leaking test should have failed (exit status $status)"; exit 1; }
echo "(the second case is meant to fail: longest_word() leaks)"

title "3. An unmodified program, python3, under \`arenascan run\`"
PYTHONMALLOC=malloc "$build/arenascan" run -o exitcode=0 -- /usr/bin/python3 -c '
import json, threading, collections
words = json.loads(json.dumps([f"word{i % 1000}" for i in range(200000)]))
counts = [collections.Counter() for _ in range(4)]
threads = [threading.Thread(target=c.update, args=(words[i::4],)) for i, c in enumerate(counts)]
for t in threads: t.start()
for t in threads: t.join()
print("python3 counted", sum(sum(c.values()) for c in counts), "words in", len(threads), "threads")
'
echo "python3 ran as always; what it leaked, if anything, is above."
