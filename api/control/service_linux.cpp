#include "api/control/service.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <new>

#include "alloc/options.h"
#include "alloc/os.h"
#include "api/arenascan/arena.h"
#include "api/control/control.h"
#include "api/control/conversation.h"
#include "api/control/listener.h"
#include "scan/tasks.h"

namespace arenascan::api::control {
namespace {

constexpr std::size_t kStackBytes = std::size_t{512} << 10;
constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kForkedDelayNs = 100 * kNsPerMs;
// As often, at least, it looks whether its socket is still there (directories of temporary files are tidied up), and
// whether it is to go on, where it cannot be woken.
constexpr std::uint64_t kLookNs = 2'000 * kNsPerMs;

// Whether the thread is to go on. Writers: who begins it, who ends it. Reader: the thread; relaxed, for it guards
// nothing.
constinit std::atomic<bool> g_goes_on{false};
// The kernel's number of the thread; kBeginning from when it is made until it runs. Writers: who makes it, and the
// thread, at its beginning and, release, as the last that it does, with 0. Readers: who waits for that (acquire), who
// forks.
constexpr int kBeginning = -1;
constinit std::atomic<int> g_thread{0};
// The process whose thread it is: a vfork's child is none of it. Written with the thread.
constinit std::atomic<int> g_process{0};

// The thread's, and its successors'.
constinit Listener g_listener;
alignas(Control) std::byte g_control[sizeof(Control)];
// Writer: the thread. Reader: the child of a fork; relaxed, for a fork orders them.
constinit std::atomic<int> g_connection{-1};
// In whose directory it listens; kNowhere: in none. Writer: the thread. Readers: who wakes it, who exits; relaxed, for
// all that they need is this number.
constexpr std::int64_t kNowhere = -1;
constinit std::atomic<std::int64_t> g_listens_as{kNowhere};

constinit std::mutex g_pauses;  // one at a time

Control& control() noexcept { return *std::launder(reinterpret_cast<Control*>(g_control)); }

void complain_once(const alloc::FixedText& problem) noexcept {
  static constinit bool has_complained = false;
  if (!has_complained) alloc::write_line(problem.view());
  has_complained = true;
}

void keep_listening() noexcept {
  if (g_listener.is_intact()) return;
  alloc::FixedText problem;
  g_listens_as.store(kNowhere, std::memory_order_relaxed);
  if (!g_listener.open(problem)) {
    complain_once(problem);
    return;
  }
  g_listens_as.store(g_listener.user(), std::memory_order_relaxed);
}

// Where a call fails that will fail again at once.
void rest_a_while() noexcept {
  constexpr std::uint64_t kRestNs = 20 * kNsPerMs;
  rest_until(alloc::os_monotonic_ns() + kRestNs, g_goes_on);
}

void serve_one() noexcept {
  if (!g_listener.is_intact()) return;
  const int connection = g_listener.accept();
  if (connection < 0) return rest_a_while();
  g_connection.store(connection, std::memory_order_relaxed);
  converse(connection, &Control::answer, &control());
  g_connection.store(-1, std::memory_order_relaxed);
  close(connection);
}

void wait_for_work() noexcept {
  const std::uint64_t now = alloc::os_monotonic_ns();
  const std::uint64_t wake = std::min(control().next_ns(), now + kLookNs);
  if (g_listener.file() < 0) {  // nobody could wake it
    rest_until(wake, g_goes_on);
    return;
  }
  pollfd asked{g_listener.file(), POLLIN, 0};
  const auto wait_ms = static_cast<int>(wake > now ? (wake - now + kNsPerMs - 1) / kNsPerMs : 0);
  const int found = poll(&asked, 1, wait_ms);
  if (found < 0) rest_a_while();
  if (found != 0) serve_one();
}

void* serve(void* delay) {
  g_thread.store(alloc::os_thread_id(), std::memory_order_relaxed);
  pthread_setname_np(pthread_self(), "arenascan");
  if (delay != nullptr) rest_until(alloc::os_monotonic_ns() + kForkedDelayNs, g_goes_on);
  while (!Control::is_off() && g_goes_on.load(std::memory_order_relaxed)) {
    arena_scrub_stack();
    keep_listening();
    wait_for_work();
    control().run_due(alloc::os_monotonic_ns());
  }
  g_listens_as.store(kNowhere, std::memory_order_relaxed);
  g_listener.close();
  g_thread.store(0, std::memory_order_release);
  return nullptr;
}

// Returns 0 or an errno value. `delay`: not null for a forked child's.
int make_thread(std::size_t stack_bytes, void* delay) noexcept {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (stack_bytes != 0) pthread_attr_setstacksize(&attributes, stack_bytes);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, serve, delay);
  pthread_attr_destroy(&attributes);
  return error;
}

// With all signals blocked but the one of World::stop, which the wrapped pthread_sigmask lets through.
void start(void* delay) noexcept {
  const alloc::ErrnoKeeper keeper;
  g_goes_on.store(true, std::memory_order_relaxed);
  g_process.store(alloc::os_process_id(), std::memory_order_relaxed);
  g_thread.store(kBeginning, std::memory_order_relaxed);
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int error = make_thread(kStackBytes, delay);
  if (error == EINVAL) error = make_thread(0, delay);  // the program's thread-local data needs a larger stack
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (error == 0) return;
  g_thread.store(0, std::memory_order_relaxed);
  alloc::FixedText problem;
  problem.text("arenascan: control: no thread could be made; nobody can ask this process");
  complain_once(problem);
}

void begin(void* delay) noexcept {
  new (g_control) Control(g_goes_on, alloc::os_monotonic_ns());
  start(delay);
}

void wake_thread() noexcept {
  const std::int64_t user = g_listens_as.load(std::memory_order_relaxed);
  if (user != kNowhere) wake_listener(static_cast<unsigned>(user));
}

// At most so long. A thread that has ended is the kernel's for a moment longer, which cannot be waited for where /proc
// cannot be read.
void wait_for_end(int thread, std::uint64_t wait_ns) noexcept {
  constexpr std::uint64_t kStepNs = kNsPerMs;
  constexpr std::uint64_t kKernelNs = 100 * kNsPerMs;
  std::uint64_t until = alloc::os_monotonic_ns() + wait_ns;
  for (int now = thread; now != 0; now = g_thread.load(std::memory_order_acquire)) {
    if (alloc::os_monotonic_ns() >= until) return;
    if (now > 0) thread = now;
    wake_thread();
    alloc::os_sleep_ns(kStepNs);
  }
  until = alloc::os_monotonic_ns() + kKernelNs;
  while (thread > 0 && !scan::has_ended(thread) && alloc::os_monotonic_ns() < until) alloc::os_sleep_ns(kStepNs);
}

}  // namespace

void begin_service() noexcept {
  if (alloc::options().control) begin(nullptr);
}

void fork_service() noexcept {
  const alloc::ErrnoKeeper keeper;
  new (&g_pauses) std::mutex;
  if (g_thread.exchange(0, std::memory_order_relaxed) == 0) return;
  abandon_conversation();
  const int connection = g_connection.exchange(-1, std::memory_order_relaxed);
  if (connection >= 0) close(connection);
  g_listens_as.store(kNowhere, std::memory_order_relaxed);
  g_listener.close();
  if (!Control::is_off()) begin(&g_listener);
}

std::size_t service_threads() noexcept {
  constexpr int kMostWaits = 100;
  constexpr std::uint64_t kWaitNs = 100'000;
  for (int i = 0; i < kMostWaits && g_thread.load(std::memory_order_relaxed) == kBeginning; ++i) {
    alloc::os_sleep_ns(kWaitNs);
  }
  return g_thread.load(std::memory_order_relaxed) > 0 ? 1 : 0;
}

void end_service() noexcept {
  if (!g_goes_on.exchange(false, std::memory_order_relaxed)) return;
  const std::int64_t user = g_listens_as.load(std::memory_order_relaxed);
  if (user != kNowhere) remove_socket(static_cast<unsigned>(user));
}

ServicePause::ServicePause() noexcept {
  const int thread = g_thread.load(std::memory_order_relaxed);
  const bool is_own = g_process.load(std::memory_order_relaxed) == alloc::os_process_id();
  if (thread == 0 || !is_own || thread == alloc::os_thread_id()) return;
  const alloc::ErrnoKeeper keeper;
  g_pauses.lock();
  was_there_ = true;
  g_goes_on.store(false, std::memory_order_relaxed);
  wait_for_end(thread, kPauseMs * kNsPerMs);
}

ServicePause::~ServicePause() {
  if (!was_there_) return;
  const alloc::ErrnoKeeper keeper;
  if (g_thread.load(std::memory_order_acquire) == 0) {
    if (!Control::is_off()) start(nullptr);
  } else {
    g_goes_on.store(true, std::memory_order_relaxed);
  }
  g_pauses.unlock();
}

}  // namespace arenascan::api::control
