// arena_scrub_stack clears what earlier calls left below the caller's frame, in the main thread and in others, as deep
// as it goes; and touches nothing on a fiber, whose stack has neighbours.
#include <arenascan/arena.h>
#include <pthread.h>
#include <sys/resource.h>
#include <ucontext.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/check.h"

namespace {

constexpr std::uintptr_t kPattern = 0xABCDABCDABCDABCD;
constexpr std::size_t kDeepBytes = std::size_t{400} << 10;

[[gnu::noinline]] void leave_behind() {
  volatile std::uintptr_t words[kDeepBytes / sizeof(std::uintptr_t)];
  for (volatile std::uintptr_t& word : words) word = kPattern;
}

// What an old frame has left is read as the kernel would read it: no compiler may think about it.
[[gnu::noinline]] std::size_t count_left() {
  std::size_t found = 0;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  for (std::uintptr_t at = here - 2048; at > here - kDeepBytes + 65536; at -= sizeof(std::uintptr_t)) {
    std::uintptr_t word = 0;
    asm volatile("mov (%1), %0" : "=r"(word) : "r"(at));
    found += word == kPattern ? 1 : 0;
  }
  return found;
}

void test_here() {
  leave_behind();
  CHECK(count_left() > kDeepBytes / sizeof(std::uintptr_t) / 2);
  volatile std::uintptr_t alive = kPattern;
  errno = 4711;
  arena_scrub_stack();
  CHECK(errno == 4711);
  CHECK(count_left() == 0);
  CHECK(alive == kPattern);
}

ucontext_t g_home;

void on_fiber() { arena_scrub_stack(); }

void test_fiber() {
  constexpr std::size_t kStackBytes = 65536;
  std::vector<char> memory(3 * kStackBytes, 0x5A);
  ucontext_t fiber;
  getcontext(&fiber);
  fiber.uc_stack.ss_sp = memory.data() + kStackBytes;
  fiber.uc_stack.ss_size = kStackBytes;
  fiber.uc_link = &g_home;
  makecontext(&fiber, on_fiber, 0);
  swapcontext(&g_home, &fiber);
  for (std::size_t i = 0; i < kStackBytes; ++i) CHECK(memory[i] == 0x5A);
}

}  // namespace

int main() {
  test_here();
  std::thread(test_here).join();
  test_fiber();
  std::thread(test_fiber).join();
  rlimit limit{};
  CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;  // mostly none
  CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
  test_here();
  return arenascan::test::finish();
}
