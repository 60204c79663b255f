#!/usr/bin/env bash
# `arenascan record` and `arenascan replay`: what a program allocates, in which order, and the same live set when played.
set -uo pipefail
cli=$(realpath "${ARENASCAN_CLI:?is not set}")
unset ARENASCAN_OPTIONS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
complain() { echo "$*"; failures=$((failures + 1)); }

# 1: each function, in the order of the calls.
cat >kinds.cpp <<'CPP'
#include <malloc.h>
#include <cstdlib>
#include <new>
struct alignas(64) Line { char bytes[64]; };
template <typename T> void keep(T*& p) { asm volatile("" : "+r"(p)); }
int main() {
  void* p = malloc(1000001); keep(p);
  p = realloc(p, 1000002); keep(p);
  p = reallocarray(p, 3, 333335); keep(p);
  free(p);
  p = calloc(7, 142861); keep(p); free(p);
  p = memalign(128, 1000003); keep(p); free(p);
  p = aligned_alloc(256, 1000192); keep(p); free(p);
  p = nullptr; if (posix_memalign(&p, 512, 1000004) != 0) return 1; keep(p); free(p);
  char* c = new char; keep(c); delete c;
  c = new char[1000005]; keep(c); delete[] c;
  Line* l = new Line; keep(l); delete l;
  l = new Line[2]; keep(l); delete[] l;
  c = new (std::nothrow) char[1000006]; keep(c); delete[] c;
  try {
    volatile std::size_t too_much = std::size_t{1} << 62;
    c = new char[too_much]; keep(c);
  } catch (const std::bad_alloc&) {
    c = new char[1000007]; keep(c);
  }
  return 0;
}
CPP
g++ -O1 -std=c++20 kinds.cpp -o kinds || exit 1
"$cli" record -o kinds.trace -- ./kinds || complain "record ./kinds: status $?"
"$cli" trace2text kinds.trace | sed -n '/ 1000001$/,$p' | sed -E 's/^1 ([a-z_]+) [0-9]+/\1/; s/^realloc [0-9]+/realloc/' >said
cat >wanted <<'TEXT'
malloc 1000001
realloc 1000002
realloc 1000005
free
calloc 7 142861
free
memalign 128 1000003
free
memalign 256 1000192
free
memalign 512 1000004
free
new 1 1
delete
new_array 1000005 1
delete_array
new 64 64
delete
new_array 128 64
delete_array
new_array 1000006 1
delete_array
new_array 1000007 1
TEXT
diff wanted said || complain "not what kinds.cpp does"
"$cli" replay kinds.trace >said || complain "replay kinds.trace: status $?: $(cat said)"
grep -q ', as in the trace$' said || complain "no live set: $(cat said)"
"$cli" replay --allocator system kinds.trace | grep -q '^system: ' || complain "replay under the system's allocator"

# 2: threads, forked children and exec, whose status is kept.
cat >threads.cpp <<'CPP'
#include <sys/wait.h>
#include <unistd.h>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
int main() {
  std::mutex mutex;
  std::list<std::string> shared;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&, t] {
    for (int i = 0; i < 20000; ++i) {
      const std::scoped_lock guard(mutex);
      shared.push_back(std::string(static_cast<std::size_t>(20 + i % 300), 'x'));
      if (shared.size() > 500) shared.pop_front();
      if (i % 100 == t) shared.front().append(1000, 'y');
    }
  });
  for (std::thread& thread : threads) thread.join();
  new std::string(100, 'z');
  const int child = fork();
  if (child == 0) {
    new std::string(5000, 'c');
    execl("/bin/true", "true", nullptr);
  }
  waitpid(child, nullptr, 0);
  return 7;
}
CPP
g++ -O1 -std=c++20 -pthread threads.cpp -o threads || exit 1
"$cli" record -o threads.trace -- ./threads
[ $? -eq 7 ] || complain "record keeps the program's status"
[ "$(ls threads.trace.* | wc -l)" -eq 2 ] || complain "a trace for the child, and one for what it became: $(ls)"
"$cli" trace2text threads.trace.*.0 | grep -q ' 5001 1$' || complain "the child's trace has its string"
[ "$("$cli" trace2text threads.trace | awk '$1 > 1 && $2 == "end"' | wc -l)" -eq 4 ] || complain "four threads end"
[ "$("$cli" trace2text threads.trace | awk '$2 == "fork"' | wc -l)" -eq 1 ] || complain "one fork"
"$cli" replay threads.trace >said || complain "replay threads.trace: status $?"
grep -q '^at the end: .*, as in the trace$' said || complain "no live set: $(cat said)"
grep -q 'left out' said && complain "records that make no sense: $(cat said)"

# 3: a trace with pointers: what the scans of a replay find.
cat >list.txt <<'TEXT'
# arenascan trace 1
1 malloc 1 48
1 malloc 2 48
2 new 3 48 1
2 new 4 64 64
1 store 1 8 2 0
1 store 2 40 3 47
1 root 3 1 5
1 scan
2 not_leak 4
1 scan
1 root 3 0 0
2 scan
1 free 1
1 scan
TEXT
"$cli" replay list.txt >said || complain "replay list.txt: status $?"
[ "$(sed -n 's/^scan: .*; \([0-9]*\) leaked in \([0-9]*\) bytes, as in the trace$/\1 \2/p' said | tr '\n' ,)" = '1 64,0 0,3 144,2 96,' ] ||
  complain "the scans of list.txt: $(cat said)"

# 4: one line for what cannot be done, and the program goes on.
expect() {  # STATUS REGEX COMMAND...
  local wanted=$1 pattern=$2 status=0
  shift 2
  "$@" >out 2>err || status=$?
  [ "$status" -eq "$wanted" ] && grep -Eq "$pattern" err && [ "$(wc -l <err)" -eq 1 ] ||
    complain "$*: status $status, said: $(cat err)"
}
expect 127 '^arenascan: no-such-program: no such program$' "$cli" record -- no-such-program
expect 125 '^arenascan: /no/lib.so: no such library$' "$cli" record --library /no/lib.so -- true
expect 125 'cannot write /no/trace' "$cli" record -o /no/trace -- ./kinds
expect 125 'cannot read /no/trace' "$cli" replay /no/trace
printf '# arenascan trace 1\n1 mallok 1 2\n' >list.bad
expect 125 'list.bad:2: unknown operation "mallok"' "$cli" replay list.bad
expect 0 'recording to /no/directory.* ends: it cannot be opened: No such file' \
  env "LD_PRELOAD=$(dirname "$cli")/libarenascan_record.so" ARENASCAN_RECORD=/no/directory/x ./kinds
exit "$failures"
