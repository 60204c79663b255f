// Threads that no signal reaches: a scan traces them. Where somebody else traces the whole program already (a debugger,
// strace), or its calls are filtered, it cannot, and says so instead of guessing.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "tests/roots/register_test.h"

namespace arenascan::test {

// As the C library does it for threads of its own: its functions would leave a few out.
inline void block_all_signals() {
  const std::uint64_t all = ~std::uint64_t{0};
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
}

inline bool can_trace() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const bool forbids = line.starts_with("TracerPid:") || line.starts_with("Seccomp:");
    if (forbids && line.find_first_of("123456789") != std::string::npos) return false;
  }
  return true;
}

inline int expect_incomplete() {
  arena_scan_result result{};
  result.size = sizeof(result);
  arena_scan_ex(nullptr, &result);
  if (result.incomplete == ARENA_INCOMPLETE_THREAD_NOT_STOPPED && result.leaked.objects == 0) return 0;
  std::fprintf(stderr, "untraceable: incomplete is %d (%s)\n", result.incomplete, result.incomplete_why);
  return 1;
}

// register_test() for a function that blocks all signals.
inline int deaf_register_test(char** argv, void (*spin)()) {
  if (can_trace()) return register_test(argv, spin);
  std::thread deaf(spin);
  while (g_register_rounds == 0) std::this_thread::yield();
  const int failures = expect_incomplete();
  g_register_value = 1;
  deaf.join();
  return failures;
}

}  // namespace arenascan::test
