// A local variable of a thread that runs on another stack than its own at the moment.
#include <sys/mman.h>
#include <ucontext.h>

#include <semaphore>
#include <thread>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

void* volatile* volatile g_place = nullptr;
std::binary_semaphore g_ready(0);
std::binary_semaphore g_end(0);

void hold_on_other_stack() {
  g_ready.release();
  g_end.acquire();
}

void hold() {
  constexpr std::size_t kStackBytes = std::size_t{1} << 20;
  static ucontext_t home;
  static ucontext_t away;
  void* volatile place = nullptr;
  g_place = &place;
  getcontext(&away);
  away.uc_stack.ss_sp =
      mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  away.uc_stack.ss_size = kStackBytes;
  away.uc_link = &home;
  makecontext(&away, hold_on_other_stack, 0);
  swapcontext(&home, &away);
}

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

}  // namespace

int main(int, char** argv) {
  std::thread holder(hold);
  g_ready.acquire();
  const int failures = root_test(argv, "use_stacks", store, clear);
  g_end.release();
  holder.join();
  return failures;
}
