// arena_scan, arena_scan_ex and arena_report: repeated calls, figures, bad arguments, changed orphans.
#include "tests/check.h"
#include "tests/roots/root_test.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include <arenascan/arena.hpp>

using namespace arenascan::test;

// Long enough for the writer to get its turn on a busy machine.
extern "C" const char* arena_default_options() { return "second_look_ms=100"; }

namespace {

std::atomic<Hidden> g_written{0};
std::atomic<bool> g_done{false};

[[gnu::noinline]] void write_to(Hidden hidden) {
  volatile std::uint64_t& counter = static_cast<std::uint64_t*>(reveal(hidden))[6];  // wide: it must not come round
  counter = counter + 1;
}

void keep_writing() {
  while (!g_done) {
    if (const Hidden hidden = g_written) write_to(hidden);
    scrub_stack();
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

// An orphan that a thread goes on writing to, and what it holds, are not leaks; once at rest they are.
void test_changed_orphan() {
  const arena::leak_scope since;
  std::thread writer(keep_writing);
  const Hidden holder = allocate_hidden();
  *static_cast<void**>(reveal(holder)) = reveal(allocate_hidden());
  g_written = holder;
  scrub_stack();
  int seen_changed = 0;
  for (int i = 0; i < 20; ++i) {
    const arena::report found = since.scan();
    CHECK(found.complete() && found.leaked.objects == 0);
    CHECK(found.changed.objects == 0 || found.changed.objects == 2);
    if (found.changed.objects == 2) ++seen_changed;
  }
  // A scan that meets the writer right after its write finds the pointer in a register, rightly: one in ten, more on a
  // busy machine.
  CHECK(seen_changed >= 5);
  g_done = true;
  writer.join();
  scrub_stack();
  CHECK(since.leaks() == 2);
}

void test_arguments() {
  arena_scan_options options{};
  arena_scan_result result{};
  errno = 0;
  CHECK(arena_scan_ex(&options, nullptr) == -1 && errno == EINVAL);
  errno = 0;
  CHECK(arena_scan_ex(nullptr, &result) == -1 && errno == EINVAL);
  CHECK(arena_scan_ex(nullptr, nullptr) == 0);
  errno = 0;
  CHECK(arena_report(1, "origami") == -1 && errno == EINVAL);
  errno = 0;
  CHECK(arena_report(1, nullptr) == -1 && errno == EINVAL);
  errno = 0;
  CHECK(arena_report(987, "text") == -1 && errno == EBADF);
  const int full = open("/dev/full", O_WRONLY);
  errno = 0;
  CHECK(arena_report(full, "text") == -1 && errno == ENOSPC);
  close(full);
}

}  // namespace

int main() {
  errno = 0;
  CHECK(arena_report(1, "text") == -1 && errno == ENOENT);
  errno = 4711;
  const std::size_t before = arena_scan();
  CHECK(errno == 4711);
  for (int i = 0; i < 7; ++i) allocate_hidden();
  scrub_stack();
  for (int i = 0; i < 5; ++i) CHECK(arena_scan() == before + 7);  // all current leaks, each time

  const arena::report found = arena::scan();
  CHECK(found.complete() && found.has_leaks());
  CHECK(found.leaked.objects == before + 7 && found.fresh.objects == 0);
  CHECK(found.direct.objects + found.indirect.objects == found.leaked.objects);
  CHECK(found.reached.objects + found.orphans.objects == found.seen.objects);
  CHECK(found.total_ns > found.mark_ns && found.longest_pause_ns > 0 && found.root_bytes > 0);

  const arena::leak_scope scope;
  CHECK(scope.leaks() == 0);
  allocate_hidden();
  scrub_stack();
  CHECK(scope.leaks() == 1);
  {
    const arena::disable_scope disabled;
    allocate_hidden();
  }
  scrub_stack();
  CHECK(scope.leaks() == 1);

  test_changed_orphan();
  test_arguments();
  return finish();
}
