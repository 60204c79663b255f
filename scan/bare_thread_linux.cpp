#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "alloc/os.h"
#include "scan/bare_thread.h"

namespace arenascan::scan {

using alloc::os_monotonic_ns;

namespace {
constexpr std::uint64_t kSpinNs = 50'000;
}

int begin_bare_thread(int (*serve)(void*), void* argument, void* stack, std::size_t stack_bytes, int flags,
                      std::atomic<std::uint32_t>* id) noexcept {
  const alloc::ErrnoKeeper keeper;
  std::uint64_t all_signals = ~std::uint64_t{0};
  std::uint64_t before = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, &before, sizeof(before));
  auto* const place = reinterpret_cast<pid_t*>(id);
  const int made = clone(serve, static_cast<char*>(stack) + stack_bytes, flags, argument, place, nullptr, place);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof(before));
  return made;
}

bool wait_while(const std::atomic<std::uint32_t>& word, std::uint32_t value, std::uint64_t until_ns) noexcept {
  constexpr std::uint64_t kSecondNs = 1'000'000'000;
  const std::uint64_t spin_until = os_monotonic_ns() + kSpinNs;
  while (word.load(std::memory_order_acquire) == value) {
    __builtin_ia32_pause();
    const std::uint64_t now = os_monotonic_ns();
    if (now >= until_ns) return false;
    if (now < spin_until) continue;
    const std::uint64_t left = until_ns - now;
    const timespec timeout{static_cast<time_t>(left / kSecondNs), static_cast<long>(left % kSecondNs)};
    bare_call(SYS_futex, bare_argument(&word), FUTEX_WAIT, value, until_ns == UINT64_MAX ? 0 : bare_argument(&timeout));
  }
  return true;
}

void wake(const std::atomic<std::uint32_t>& word, int count) noexcept {
  bare_call(SYS_futex, bare_argument(&word), FUTEX_WAKE, count);
}

}  // namespace arenascan::scan
