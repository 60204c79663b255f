// A local variable of a thread that was made by clone: no library knows it, and it has no thread-local data of its own.
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

void* volatile* volatile g_place = nullptr;
std::atomic<std::uint32_t> g_end{0};

// Nothing that could touch errno or a lock: those would be the first thread's.
int hold(void*) {
  void* volatile place = nullptr;
  g_place = &place;
  while (g_end.load() == 0) {
    long result = SYS_futex;
    register long timeout asm("r10") = 0;
    asm volatile("syscall"
                 : "+a"(result)
                 : "D"(&g_end), "S"(FUTEX_WAIT_PRIVATE), "d"(0), "r"(timeout)
                 : "rcx", "r11", "memory");
  }
  return 0;
}

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

}  // namespace

int main(int, char** argv) {
  constexpr std::size_t kStackBytes = std::size_t{1} << 18;
  void* const stack = map_apart(kStackBytes);
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  if (clone(hold, static_cast<char*>(stack) + kStackBytes, flags, nullptr) < 0) {
    std::perror("clone");
    return 1;
  }
  while (g_place == nullptr) usleep(100);
  const int failures = root_test(argv, "use_stacks", store, clear);
  g_end = 1;
  syscall(SYS_futex, &g_end, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  return failures;
}
