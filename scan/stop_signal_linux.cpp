#include <cpuid.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "alloc/os.h"
#include "scan/errand.h"
#include "scan/interrupted_call.h"
#include "scan/stop_signal.h"

namespace arenascan::scan {
namespace {

using Slot = StopSignal::Slot;

// What a signal carries: which slot, of which stop. One that comes late belongs to an earlier stop.
std::uintptr_t ticket(std::uint32_t stop, std::size_t slot) noexcept { return std::uintptr_t{stop} << 32 | slot; }
constexpr std::uint32_t answer_of(std::uint32_t stop) noexcept { return 2 * stop + 1; }

// A short pause ends before a thread that went to sleep would run again: on a virtual machine that took 0.2 ms of a
// gap of 0.7.
constexpr std::uint64_t kSpinWhileStoppedNs = 1'000'000;
constexpr unsigned kSpinsAClock = 32;
constexpr int kSignalsBelowTop = 3;
static_assert(StopSignal::kMostThreads * sizeof(Slot) % alloc::kOsPageBytes == 0);
constexpr std::size_t kReservedBytes = StopSignal::kMostThreads * (sizeof(Slot) + sizeof(StoppedThread));

// Reserved by the first stop and never given back, so that a late signal finds its slot.
Slot* g_slots = nullptr;
std::size_t g_slots_committed = 0;  // writer: scanner, before it queues a signal; readers: handlers that got one

constinit StopLease g_lease;
std::uint32_t g_stop = 0;  // the last one; the scanner's
// How many had answered before: who answers next looks after the lease, when it sleeps. Writer: the scanner, before the
// stop begins; readers: its handlers. Relaxed: should a late one of an earlier stop come between, nobody does.
constinit std::atomic<std::uint32_t> g_answered_before{0};

// Raised by every handler that has answered; the scanner waits on it until it has come to g_awaited, which it writes
// before. Sequentially consistent: either the handler that makes it complete sees what is awaited, and wakes the
// scanner, or the scanner sees the answer before it sleeps.
constinit std::atomic<std::uint32_t> g_answers{0};
constinit std::atomic<std::uint32_t> g_awaited{0};

// Raised by every handler that has answered, when its thread goes on. Reader: the scanner. Relaxed: nothing depends on
// it but how long the scanner lets the threads run.
constinit std::atomic<std::uint32_t> g_left{0};

// Whether each stopped thread, and the scanner, can have a processor for itself, so that they may wait without
// sleeping, and which is the scanner's. Writer: scanner, before the signals; readers: handlers. Relaxed: a guess that
// is wrong costs time.
constinit std::atomic<bool> g_has_processors{false};
constinit std::atomic<std::uint32_t> g_scanners_processor{0};

// Written when the process begins.
std::size_t g_processors = 1;  // that it may use
bool g_tells_processor = false;

// Writer: the first stop. Readers: later stops, and any thread that asks for the intended signal; relaxed, since a
// thread that sees it late still blocks the one that was tried first.
constinit std::atomic<int> g_signal{0};

// Which processor this thread runs on, from a register that Linux sets up for it; no call, no memory, for a handler on
// any thread. 0: the processor does not tell.
std::uint32_t own_processor() noexcept {
  std::uint32_t number = 0;
  if (g_tells_processor) __builtin_ia32_rdtscp(&number);
  return number + (g_tells_processor ? 1 : 0);
}

bool is_beside_scanner() noexcept {
  const std::uint32_t number = own_processor();
  return number == 0 || number != g_scanners_processor.load(std::memory_order_relaxed);
}

long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* timeout) noexcept {
  return syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr, 0);
}

void wait_until_over(std::uint32_t stop, bool looks_after) noexcept {
  if (g_has_processors.load(std::memory_order_relaxed) && is_beside_scanner()) {
    std::uint64_t now = alloc::os_monotonic_ns();
    for (const std::uint64_t until = now + kSpinWhileStoppedNs; g_lease.lasts(stop) && now < until;
         now = alloc::os_monotonic_ns()) {
      g_lease.call_off_late(stop, now);
      for (unsigned i = 0; i < kSpinsAClock && g_lease.lasts(stop); ++i) __builtin_ia32_pause();
      do_offered_errand();
    }
  }
  while (g_lease.lasts(stop)) {
    if (looks_after) g_lease.call_off_late(stop, alloc::os_monotonic_ns());
    g_lease.sleep(stop, looks_after);
  }
}

void wait_while_stopped(const siginfo_t* info, void* opaque) noexcept {
  const auto carried = reinterpret_cast<std::uintptr_t>(info->si_value.sival_ptr);
  const auto stop = static_cast<std::uint32_t>(carried >> 32);
  const auto index = static_cast<std::uint32_t>(carried);
  if (info->si_code != SI_QUEUE || !g_lease.lasts(stop) || index >= g_slots_committed) return;
  Slot& slot = g_slots[index];
  const auto& context = *static_cast<const ucontext_t*>(opaque);
  slot.thread = {slot.thread_id,
                 static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]),
                 own_thread_pointer(),
                 reinterpret_cast<std::uintptr_t>(std::begin(context.uc_mcontext.gregs)),
                 reinterpret_cast<std::uintptr_t>(std::end(context.uc_mcontext.gregs)),
                 reinterpret_cast<std::uintptr_t>(context.uc_mcontext.fpregs)};
  slot.answer.store(answer_of(stop), std::memory_order_release);
  const std::uint32_t answers = g_answers.fetch_add(1, std::memory_order_seq_cst) + 1;
  if (static_cast<std::int32_t>(answers - g_awaited.load(std::memory_order_seq_cst)) >= 0) {
    futex(g_answers, FUTEX_WAKE, 1, nullptr);
  }
  wait_until_over(stop, answers == g_answered_before.load(std::memory_order_relaxed) + 1);
  g_left.fetch_add(1, std::memory_order_relaxed);
}

// One that comes late, or from somebody else, is no more to be seen by the program.
void on_stop_signal(int signal, siginfo_t* info, void* context) {
  const alloc::ErrnoKeeper keeper;
  wait_while_stopped(info, context);
  note_stop(signal, context);
}

}  // namespace

bool StopSignal::make_room(std::size_t threads) noexcept {
  if (g_slots == nullptr) {
    g_slots = static_cast<Slot*>(alloc::os_reserve(kReservedBytes, alloc::kOsPageBytes));
    if (g_slots == nullptr) return false;
  }
  if (threads <= g_slots_committed) return true;
  if (threads > kMostThreads) return false;
  const std::size_t target = threads < 512 ? 512 : kMostThreads;
  constexpr std::size_t kMask = alloc::kOsPageBytes - 1;
  if (!alloc::os_commit(g_slots, target * sizeof(Slot)) ||
      !alloc::os_commit(stopped(), (target * sizeof(StoppedThread) + kMask) & ~kMask)) {
    return false;
  }
  g_slots_committed = target;
  return true;
}

// A signal that the program already uses is left to it: the next lower one that nobody uses is taken.
Incomplete StopSignal::prepare(int wanted) noexcept {
  struct sigaction current {};
  if (const int taken = number(); taken != 0) {
    sigaction(taken, nullptr, &current);
    return current.sa_sigaction == on_stop_signal ? Incomplete::kNo : Incomplete::kSignalTaken;
  }
  for (int signal = intended_number(wanted); signal >= SIGRTMIN; --signal) {
    if (sigaction(signal, nullptr, &current) != 0 || (current.sa_flags & SA_SIGINFO) != 0 ||
        current.sa_handler != SIG_DFL) {
      if (wanted != 0) return Incomplete::kSignalTaken;
      continue;
    }
    struct sigaction ours {};
    ours.sa_sigaction = on_stop_signal;
    ours.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&ours.sa_mask);
    if (sigaction(signal, &ours, nullptr) != 0) return Incomplete::kSignalTaken;
    g_signal.store(signal, std::memory_order_relaxed);
    return Incomplete::kNo;
  }
  return Incomplete::kSignalTaken;
}

int StopSignal::number() noexcept { return g_signal.load(std::memory_order_relaxed); }

int StopSignal::intended_number(int wanted) noexcept {
  if (const int taken = number(); taken != 0) return taken;
  return wanted != 0 ? wanted : SIGRTMAX - kSignalsBelowTop;
}

std::uint32_t StopSignal::begin(bool may_spin) noexcept {
  g_scanners_processor.store(own_processor(), std::memory_order_relaxed);
  g_has_processors.store(may_spin, std::memory_order_relaxed);
  g_answered_before.store(answers(), std::memory_order_relaxed);
  g_stop = g_lease.begin();
  return answer_of(g_stop);
}

StopLease& StopSignal::lease() noexcept { return g_lease; }

bool StopSignal::send(int thread_id, std::size_t slot) noexcept {
  siginfo_t info{};
  info.si_signo = number();
  info.si_code = SI_QUEUE;
  info.si_pid = alloc::os_process_id();
  info.si_value.sival_ptr = reinterpret_cast<void*>(ticket(g_stop, slot));
  return syscall(SYS_rt_tgsigqueueinfo, alloc::os_process_id(), thread_id, info.si_signo, &info) == 0;
}

StopSignal::Slot& StopSignal::slot(std::size_t number) noexcept { return g_slots[number]; }

std::uint32_t StopSignal::answers() noexcept { return g_answers.load(std::memory_order_seq_cst); }

void StopSignal::await(std::uint32_t answers) noexcept { g_awaited.store(answers, std::memory_order_seq_cst); }

bool StopSignal::sleep_for_answers(std::uint32_t seen, std::uint64_t ns) noexcept {
  const timespec slice{0, static_cast<long>(ns)};
  return futex(g_answers, FUTEX_WAIT, seen, &slice) == 0 || errno != ETIMEDOUT;
}

bool StopSignal::all_have_left() noexcept {
  return g_left.load(std::memory_order_relaxed) == g_answers.load(std::memory_order_relaxed);
}

AddressRange StopSignal::memory() noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(g_slots);
  return {begin, g_slots == nullptr ? begin : begin + kReservedBytes};
}

StoppedThread* StopSignal::stopped() noexcept { return reinterpret_cast<StoppedThread*>(g_slots + kMostThreads); }

void StopSignal::learn_processors() noexcept {
  constexpr unsigned kExtended = 0x80000001;
  constexpr unsigned kRdtscp = 1U << 27;
  unsigned a = 0, b = 0, c = 0, d = 0;
  g_tells_processor = __get_cpuid(kExtended, &a, &b, &c, &d) != 0 && (d & kRdtscp) != 0;
  g_processors = alloc::os_processor_count();
}

std::size_t StopSignal::processors() noexcept { return std::max(g_processors, alloc::os_processor_count()); }

}  // namespace arenascan::scan
