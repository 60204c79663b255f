// A thread that could answer the stop of a scan, but gets no processor for a while, delays the scan, and neither makes
// it incomplete nor holds the others: stops are called off and tried again.
#include <arenascan/arena.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "tests/check.h"
#include "tests/holder.h"

using namespace arenascan;

int main() {
  std::atomic<pid_t> id{0};
  std::atomic<bool> done{false};
  std::thread late([&] {
    id = static_cast<pid_t>(syscall(SYS_gettid));
    while (!done) continue;
  });
  while (id == 0) std::this_thread::yield();
  arena_scan_result result{};
  result.size = sizeof(result);
  bool can_hold = true;
  // Where this thread gets no processor either, the other one is let go before the scan: then once more, for longer.
  for (unsigned round = 1; round <= 20 && can_hold && result.pauses <= 1; ++round) {
    const test::Holder holder(id, 20 * round);
    can_hold = holder.holds();
    CHECK(arena_scan_ex(nullptr, &result) == 0);
    CHECK(result.incomplete == ARENA_COMPLETE);
    CHECK(result.leaked.objects == 0);
  }
  if (!can_hold) std::fprintf(stderr, "NOT TESTED: takes a process that may trace its parent\n");
  CHECK(result.pauses > 1 || !can_hold);  // those that were called off are counted
  done = true;
  late.join();
  return test::finish();
}
