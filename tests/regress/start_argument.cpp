// The C library keeps a thread's argument as long as the thread lives. It was memory of the library's own, given back
// as soon as the thread ran: what the program got there next was never lost, for that old word led to it.
#include <cstdlib>
#include <semaphore>
#include <thread>
#include <vector>

#include "tests/check.h"
#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

constexpr int kThreads = 192;  // three times as many as a word of free bits has, so that some are taken again
constexpr long kLost = 5'000;  // several pages full
constexpr long kOldWords = 3;  // on the stacks, that may keep one; the descriptors kept ten and more
constexpr std::size_t kBytes = 40;

std::counting_semaphore<> g_started(0);
std::counting_semaphore<> g_end(0);

[[gnu::noinline]] void lose() {
  void* const p = std::malloc(kBytes);
  asm volatile("" : : "r"(p) : "memory");
}

}  // namespace

int main() {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([] {
      g_started.release();
      g_end.acquire();
    });
  }
  for (int i = 0; i < kThreads; ++i) g_started.acquire();
  const std::uint32_t mark = arena_mark();
  for (long i = 0; i < kLost; ++i) lose();
  scrub_stack();
  CHECK(leaked_since(mark) >= kLost - kOldWords);
  g_end.release(kThreads);
  for (std::thread& thread : threads) thread.join();
  return finish();
}
