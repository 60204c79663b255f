// A local variable of the function of a timer (SIGEV_THREAD), which runs in a thread that the C library makes; another
// one of its threads, which blocks all signals, waits for the timer.
#include <signal.h>
#include <time.h>

#include <semaphore>

#include "tests/roots/deaf.h"

using namespace arenascan::test;

namespace {

void* volatile* volatile g_place = nullptr;
std::binary_semaphore g_ready(0);
std::binary_semaphore g_end(0);
std::binary_semaphore g_ended(0);

void hold(sigval) {
  void* volatile place = nullptr;
  g_place = &place;
  g_ready.release();
  g_end.acquire();
  g_ended.release();
}

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

}  // namespace

int main(int, char** argv) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = hold;
  timer_t timer{};
  itimerspec soon{};
  soon.it_value.tv_nsec = 1;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &soon, nullptr) != 0) {
    std::perror("timer");
    return 1;
  }
  g_ready.acquire();
  const int failures = can_trace() ? root_test(argv, "use_stacks", store, clear) : expect_incomplete();
  g_end.release();
  g_ended.acquire();
  return failures;
}
