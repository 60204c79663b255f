// What a thread is to work with, between its creation and its start: with one processor for both, the new thread has
// not run when its creator scans, unless somebody else has taken the processor in between. ARENA_TEST_ROUNDS: how often
// (200).
// args: on
#include <sched.h>

#include <atomic>
#include <thread>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

std::atomic<bool> g_may_end{false};

struct Work {
  void* block;
  void operator()() const { g_may_end.wait(false); }
};

// The pointer goes into the thread's state, which nothing of ours points to.
[[gnu::noinline]] std::thread begin(Hidden hidden) { return std::thread(Work{reveal(hidden)}); }

}  // namespace

int main() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  if (sched_setaffinity(0, sizeof(one), &one) != 0) {
    std::perror("sched_setaffinity");
    return 1;
  }
  const char* const wanted_rounds = std::getenv("ARENA_TEST_ROUNDS");
  const long rounds = wanted_rounds != nullptr ? std::strtol(wanted_rounds, nullptr, 10) : 200;
  int failures = 0;
  for (long round = 0; round < rounds && failures == 0; ++round) {
    const std::uint32_t mark = arena_mark();
    g_may_end = false;
    std::thread thread = begin(allocate_hidden());
    failures += expect("before the thread has started", leaked_since(mark), 0);
    g_may_end = true;
    g_may_end.notify_all();
    thread.join();
    scrub_stack();
    failures += expect("when it has ended", leaked_since(mark), 1);
  }
  return failures;
}
