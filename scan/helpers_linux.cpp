#include "scan/helpers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "alloc/meta_alloc.h"
#include "alloc/os.h"
#include "scan/bare_thread.h"

namespace arenascan::scan {

Helpers::~Helpers() {
  dismiss();
  for (Helper& helper : helpers_) alloc::meta_free(helper.stack);
}

int Helpers::serve(void* opaque) noexcept {
  const Helper& self = *static_cast<Helper*>(opaque);
  Helpers& all = *self.all;
  for (std::uint32_t round = self.round;;) {
    wait_while(all.round_, round);
    round = all.round_.load(std::memory_order_acquire);
    if (all.work_ == nullptr) return 0;
    all.work_(all.argument_, self.number);
    if (all.working_.fetch_sub(1, std::memory_order_release) == 1) wake(all.working_, 1);
  }
}

std::size_t Helpers::start(std::size_t wanted) noexcept {
  for (; count_ < std::min(wanted, kMostHelpers); ++count_) {
    Helper& helper = helpers_[count_];
    helper.all = this;
    helper.number = count_ + 1;
    helper.round = round_.load(std::memory_order_relaxed);
    if (!begin_thread(helper)) break;
  }
  return count_;
}

void Helpers::run(Work work, void* argument) noexcept {
  work_ = work;
  argument_ = argument;
  working_.store(static_cast<std::uint32_t>(count_), std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  if (count_ != 0) wake(round_, INT_MAX);
}

void Helpers::wait() noexcept {
  for (;;) {
    const std::uint32_t working = working_.load(std::memory_order_acquire);
    if (working == 0) return;
    wait_while(working_, working);
  }
}

void Helpers::dismiss() noexcept {
  if (count_ == 0) return;
  run(nullptr, nullptr);
  for (std::size_t i = 0; i < count_; ++i) join_thread(helpers_[i]);
  count_ = 0;
}

#if defined(ARENASCAN_CORE_ONLY)  // under sanitizers, which have to know of every thread

bool Helpers::begin_thread(Helper& helper) noexcept {
  static_assert(sizeof(pthread_t) == sizeof(helper.thread));
  const auto run_it = [](void* opaque) -> void* {
    serve(opaque);
    return nullptr;
  };
  return pthread_create(reinterpret_cast<pthread_t*>(&helper.thread), nullptr, run_it, &helper) == 0;
}

void Helpers::join_thread(Helper& helper) noexcept { pthread_join(static_cast<pthread_t>(helper.thread), nullptr); }

#else

// With the thread pointer of the caller: the helper reads no thread-local storage but the stack protector's word, which
// is the same for all.
bool Helpers::begin_thread(Helper& helper) noexcept {
  constexpr std::size_t kStackBytes = std::size_t{64} << 10;
  if (helper.stack == nullptr) helper.stack = alloc::meta_allocate(kStackBytes);
  if (helper.stack == nullptr) return false;
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  const int made = begin_bare_thread(serve, &helper, helper.stack, kStackBytes, flags, &helper.id);
  helper.thread = static_cast<std::uintptr_t>(made);
  return made > 0;
}

// The id is cleared when the thread has left its stack. The kernel counts it until it has left its processor as well: a
// few microseconds; on a machine shared with others 5 to 13 ms one time in a thousand. It is not waited for without
// end: its number may be another thread's by then.
void Helpers::join_thread(Helper& helper) noexcept {
  constexpr std::uint64_t kLongestNs = 200'000'000;
  constexpr std::uint64_t kYieldNs = 100'000;
  constexpr std::uint64_t kRestNs = 100'000;
  const alloc::ErrnoKeeper keep_errno;
  while (const std::uint32_t id = helper.id.load(std::memory_order_acquire)) wait_while(helper.id, id);
  const std::uint64_t began = alloc::os_monotonic_ns();
  while (syscall(SYS_tgkill, alloc::os_process_id(), helper.thread, 0) == 0) {
    const std::uint64_t waited = alloc::os_monotonic_ns() - began;
    if (waited > kLongestNs) return;
    if (waited < kYieldNs) {
      sched_yield();
    } else {
      alloc::os_sleep_ns(kRestNs);
    }
  }
}

#endif

std::size_t idle_processors() noexcept {
  // "0.41 0.32 0.10 3/412 9876": threads that run or want to, this one among them, of how many.
  char text[128];
  const std::ptrdiff_t length = alloc::os_read_file("/proc/loadavg", text, sizeof(text) - 1);
  if (length <= 0) return 0;
  text[length] = 0;
  const char* const slash = std::strchr(text, '/');
  if (slash == nullptr) return 0;
  const char* number = slash;
  while (number > text && number[-1] != ' ') --number;
  const auto others = static_cast<std::size_t>(std::max(std::strtol(number, nullptr, 10) - 1, 0L));
  const alloc::ErrnoKeeper keep_errno;
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  const std::size_t beside = online > 1 ? static_cast<std::size_t>(online) - 1 : 0;
  return std::min(beside - std::min(beside, others), alloc::os_processor_count() - 1);
}

}  // namespace arenascan::scan
