#include <cpuid.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iterator>

#include "alloc/check.h"
#include "alloc/os.h"
#include "scan/errand.h"
#include "scan/interrupted_call.h"
#include "scan/tasks.h"
#include "scan/tracer.h"
#include "scan/world.h"

namespace arenascan::scan {
namespace {
// One for each thread of a stop. `thread` is written by the handler before, and read by the scanner after, an exchange
// through `answer`.
struct alignas(64) Slot {
  std::atomic<std::uint32_t> answer;  // writer: handler, release, when `thread` is filled in; reader: scanner, acquire
  int thread_id;                      // the scanner's
  StoppedThread thread;
};

// What a signal carries: which slot, of which stop. One that comes late belongs to an earlier stop.
std::uintptr_t ticket(std::uint32_t generation, std::size_t slot) noexcept {
  return std::uintptr_t{generation} << 32 | slot;
}

constexpr std::size_t kMaxThreads = std::size_t{1} << 16;
constexpr std::uint64_t kWaitSliceNs = 5'000'000;
// A running thread answers within this; to go to sleep and be woken takes the scanner as long.
constexpr std::uint64_t kSpinNs = 100'000;
// A short pause ends before a thread that went to sleep would run again: on a virtual machine that took 0.2 ms of a
// gap of 0.7.
constexpr std::uint64_t kSpinWhileStoppedNs = 1'000'000;
constexpr unsigned kSpinsAClock = 32;
constexpr int kSignalsBelowTop = 3;
static_assert(kMaxThreads * sizeof(Slot) % alloc::kOsPageBytes == 0);
constexpr std::size_t kReservedBytes = kMaxThreads * (sizeof(Slot) + sizeof(StoppedThread));

// Reserved by the first stop and never given back, so that a late signal finds its slot.
Slot* g_slots = nullptr;
std::size_t g_slots_committed = 0;   // writer: scanner, before it queues a signal; readers: handlers that got one
StoppedThread* g_stopped = nullptr;  // dense copy for World::threads()

constinit Tracer g_tracer;  // the scanner's

// Generation of the stop under way; odd: stopped, even: running. Writer: scanner. Readers: handlers, which wait on it.
// Release/acquire, so that nothing a resumed thread does comes before the scanner's last read.
constinit std::atomic<std::uint32_t> g_generation{0};

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

// Writer: the first stop. Readers: later stops, and any thread that asks for the intended signal; relaxed, since a
// thread that sees it late still blocks the one that was tried first.
constinit std::atomic<int> g_signal{0};

long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* timeout) noexcept {
  return syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr, 0);
}

void wait_for_other_than(std::uint32_t generation) noexcept {
  const auto is_over = [generation] { return g_generation.load(std::memory_order_acquire) != generation; };
  if (g_has_processors.load(std::memory_order_relaxed) && is_beside_scanner()) {
    const std::uint64_t until = alloc::os_monotonic_ns() + kSpinWhileStoppedNs;
    while (!is_over() && alloc::os_monotonic_ns() < until) {
      for (unsigned i = 0; i < kSpinsAClock && !is_over(); ++i) __builtin_ia32_pause();
      do_offered_errand();
    }
  }
  while (!is_over()) futex(g_generation, FUTEX_WAIT, generation, nullptr);
}

void wait_while_stopped(const siginfo_t* info, void* opaque) noexcept {
  const auto carried = reinterpret_cast<std::uintptr_t>(info->si_value.sival_ptr);
  const auto generation = static_cast<std::uint32_t>(carried >> 32);
  const auto index = static_cast<std::uint32_t>(carried);
  if (info->si_code != SI_QUEUE || generation != g_generation.load(std::memory_order_acquire) || generation % 2 == 0 ||
      index >= g_slots_committed) {
    return;
  }
  Slot& slot = g_slots[index];
  const auto& context = *static_cast<const ucontext_t*>(opaque);
  slot.thread = {slot.thread_id,
                 static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]),
                 own_thread_pointer(),
                 reinterpret_cast<std::uintptr_t>(std::begin(context.uc_mcontext.gregs)),
                 reinterpret_cast<std::uintptr_t>(std::end(context.uc_mcontext.gregs)),
                 reinterpret_cast<std::uintptr_t>(context.uc_mcontext.fpregs)};
  slot.answer.store(generation, std::memory_order_release);
  const std::uint32_t answers = g_answers.fetch_add(1, std::memory_order_seq_cst) + 1;
  if (static_cast<std::int32_t>(answers - g_awaited.load(std::memory_order_seq_cst)) >= 0) {
    futex(g_answers, FUTEX_WAKE, 1, nullptr);
  }
  wait_for_other_than(generation);
  g_left.fetch_add(1, std::memory_order_relaxed);
}

// One that comes late, or from somebody else, is no more to be seen by the program.
void on_stop_signal(int signal, siginfo_t* info, void* context) {
  const alloc::ErrnoKeeper keeper;
  wait_while_stopped(info, context);
  note_stop(signal, context);
}

bool prepare_slots(std::size_t count) noexcept {
  if (g_slots == nullptr) {
    g_slots = static_cast<Slot*>(alloc::os_reserve(kReservedBytes, alloc::kOsPageBytes));
    if (g_slots == nullptr) return false;
    g_stopped = reinterpret_cast<StoppedThread*>(g_slots + kMaxThreads);
  }
  if (count <= g_slots_committed) return true;
  if (count > kMaxThreads) return false;
  const std::size_t target = count < 512 ? 512 : kMaxThreads;
  if (!alloc::os_commit(g_slots, target * sizeof(Slot))) return false;
  if (!alloc::os_commit(g_stopped,
                        (target * sizeof(StoppedThread) + alloc::kOsPageBytes - 1) & ~(alloc::kOsPageBytes - 1))) {
    return false;
  }
  g_slots_committed = target;
  return true;
}

// Installs the handler the first time; later checks that it is still in place. A signal that the program already uses
// is left to it: the next lower one that nobody uses is taken.
Incomplete prepare_signal(int wanted) noexcept {
  struct sigaction current {};
  if (const int taken = g_signal.load(std::memory_order_relaxed); taken != 0) {
    sigaction(taken, nullptr, &current);
    return current.sa_sigaction == on_stop_signal ? Incomplete::kNo : Incomplete::kSignalTaken;
  }
  for (int signal = World::intended_signal(wanted); signal >= SIGRTMIN; --signal) {
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

bool queue_signal(int thread_id, std::uintptr_t carried) noexcept {
  siginfo_t info{};
  info.si_signo = g_signal.load(std::memory_order_relaxed);
  info.si_code = SI_QUEUE;
  info.si_pid = alloc::os_process_id();
  info.si_value.sival_ptr = reinterpret_cast<void*>(carried);
  return syscall(SYS_rt_tgsigqueueinfo, alloc::os_process_id(), thread_id, info.si_signo, &info) == 0;
}

class Stopper {
 public:
  explicit Stopper(const StopSettings& settings) noexcept : settings_(settings) {}

  World::Outcome run(World::Meanwhile meanwhile, std::size_t& stopped, std::uint64_t& stopped_at_ns) noexcept {
    // The scanner may be kept to one of them, and the others to the rest.
    processors_ = std::max(g_processors, alloc::os_processor_count());
    g_scanners_processor.store(own_processor(), std::memory_order_relaxed);
    g_has_processors.store(meanwhile == World::Meanwhile::kSpin && alloc::os_thread_count() <= processors_,
                           std::memory_order_relaxed);
    answers_before_ = g_answers.load(std::memory_order_relaxed);  // those who answered an earlier stop have done so
    generation_ = g_generation.fetch_add(1, std::memory_order_acq_rel) + 1;
    for (std::size_t before = SIZE_MAX; before != count_;) {
      before = count_;
      World::Outcome outcome = signal_new_threads();
      stopped_at_ns = stopped_at_ns_;
      if (outcome.problem == Incomplete::kNo) outcome = wait_for_answers();
      if (outcome.problem != Incomplete::kNo) return outcome;
    }
    stopped = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      if (g_slots[i].answer.load(std::memory_order_relaxed) == kEnded) continue;
      // A handler of an earlier stop that gave up was in the way just now.
      if (!has_answered(g_slots[i])) return {Incomplete::kThreadNotStopped, g_slots[i].thread_id};
      g_stopped[stopped++] = g_slots[i].thread;
    }
    return {};
  }

 private:
  World::Outcome signal_new_threads() noexcept {
    World::Outcome outcome;
    g_awaited.store(answers_before_ + kMaxThreads, std::memory_order_seq_cst);  // nobody waits yet
    const bool read = for_each_task([&](int thread_id) {
      if (thread_id == self_ || is_known(thread_id)) return true;
      if (!prepare_slots(count_ + 1)) {
        outcome = {Incomplete::kNoMemory, thread_id};
        return false;
      }
      Slot& slot = g_slots[count_];
      slot.thread_id = thread_id;
      slot.answer.store(0, std::memory_order_relaxed);
      if (stopped_at_ns_ == 0) stopped_at_ns_ = alloc::os_monotonic_ns();
      if (g_tracer.knows(thread_id)) {
        if (blocks_signal(thread_id, signal_)) {
          ++count_;
          if (!trace(slot, false)) queue_signal(thread_id, ticket(generation_, count_ - 1));
          return true;
        }
        g_tracer.forget(thread_id);
      }
      if (queue_signal(thread_id, ticket(generation_, count_))) {
        ++count_;
      } else if (errno != ESRCH) {
        outcome = {Incomplete::kThreadNotStopped, thread_id};
        return false;
      }
      return true;
    });
    return read ? outcome : World::Outcome{Incomplete::kMapsUnreadable, 0};
  }

  World::Outcome wait_for_answers() noexcept {
    g_awaited.store(answers_before_ + static_cast<std::uint32_t>(count_ - not_awaited_), std::memory_order_seq_cst);
    const std::uint64_t spin_until = processors_ > 1 ? alloc::os_monotonic_ns() + kSpinNs : 0;
    for (;;) {
      const std::uint32_t seen = g_answers.load(std::memory_order_seq_cst);
      const Slot* const missing = first_missing();
      if (missing == nullptr) return {};
      const std::uint64_t now = alloc::os_monotonic_ns();
      if (now >= deadline_ns_) return {Incomplete::kThreadNotStopped, missing->thread_id};
      if (now < spin_until) {
        __builtin_ia32_pause();
        continue;
      }
      const timespec slice{0, static_cast<long>(kWaitSliceNs)};
      if (futex(g_answers, FUTEX_WAIT, seen, &slice) == 0 || errno != ETIMEDOUT) continue;
      look_after_missing();
      if (settings_.let_pass != nullptr && first_missing() != nullptr && !settings_.let_pass(settings_.argument)) {
        return {Incomplete::kThreadNotStopped, missing->thread_id};
      }
    }
  }

  [[nodiscard]] const Slot* first_missing() noexcept {
    while (answered_ < count_ && has_answered(g_slots[answered_])) ++answered_;
    return answered_ == count_ ? nullptr : &g_slots[answered_];
  }

  [[nodiscard]] bool has_answered(const Slot& slot) const noexcept {
    const std::uint32_t answer = slot.answer.load(std::memory_order_acquire);
    return answer == generation_ || answer == kEnded || answer == kTraced;
  }

  void look_after_missing() noexcept {
    for (std::size_t i = answered_; i < count_; ++i) {
      Slot& slot = g_slots[i];
      if (has_answered(slot)) continue;
      if (has_ended(slot.thread_id)) {
        settle(slot, kEnded);
      } else if (g_tracer.awaits(slot.thread_id) ||
                 (blocks_signal(slot.thread_id, signal_) && has_pending(slot.thread_id, signal_))) {
        trace(slot, true);
      }
    }
    g_awaited.store(answers_before_ + static_cast<std::uint32_t>(count_ - not_awaited_), std::memory_order_seq_cst);
  }

  // Where that fails it is tried again: a thread in vfork, with all signals blocked, may first have to be let pass.
  bool trace(Slot& slot, bool was_signalled) noexcept {
    const std::uint64_t deadline = std::min(deadline_ns_, alloc::os_monotonic_ns() + kWaitSliceNs);
    const Tracer::Answer answer = g_tracer.stop(slot.thread_id, deadline, slot.thread);
    if (answer == Tracer::Answer::kFailed) return false;
    if (answer == Tracer::Answer::kStopped && was_signalled && !has_pending(slot.thread_id, signal_)) {
      g_tracer.let_go(slot.thread_id);  // it has let the signal in meanwhile, and its handler is about to answer
    } else {
      settle(slot, answer == Tracer::Answer::kEnded ? kEnded : kTraced);
    }
    return true;
  }

  void settle(Slot& slot, std::uint32_t answer) noexcept {
    if (slot.answer.exchange(answer, std::memory_order_relaxed) == 0) ++not_awaited_;
  }

  // The second listing has the threads in the order of the first.
  [[nodiscard]] bool is_known(int thread_id) noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      const std::size_t at = (looked_at_ + i) % count_;
      if (g_slots[at].thread_id != thread_id) continue;
      looked_at_ = at + 1;
      return true;
    }
    return false;
  }

  // No generations: those are odd.
  static constexpr std::uint32_t kEnded = 0xFFFFFFFE;
  static constexpr std::uint32_t kTraced = 0xFFFFFFFC;

  const StopSettings& settings_;
  std::uint64_t deadline_ns_ = alloc::os_monotonic_ns() + settings_.timeout_ns;
  int self_ = alloc::os_thread_id();
  int signal_ = g_signal.load(std::memory_order_relaxed);
  std::uint32_t generation_ = 0;
  std::size_t processors_ = 1;
  std::size_t count_ = 0;
  std::size_t answered_ = 0;
  std::size_t not_awaited_ = 0;  // those who have ended or were traced
  std::size_t looked_at_ = 0;
  std::uint32_t answers_before_ = 0;
  std::uint64_t stopped_at_ns_ = 0;
};

}  // namespace

AddressRange World::memory() noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(g_slots);
  return {begin, g_slots == nullptr ? begin : begin + kReservedBytes};
}

void World::learn_processors() noexcept {
  constexpr unsigned kExtended = 0x80000001;
  constexpr unsigned kRdtscp = 1U << 27;
  unsigned a = 0, b = 0, c = 0, d = 0;
  g_tells_processor = __get_cpuid(kExtended, &a, &b, &c, &d) != 0 && (d & kRdtscp) != 0;
  g_processors = alloc::os_processor_count();
}

int World::intended_signal(int wanted) noexcept {
  if (const int taken = g_signal.load(std::memory_order_relaxed); taken != 0) return taken;
  return wanted != 0 ? wanted : SIGRTMAX - kSignalsBelowTop;
}

World::Outcome World::stop(const StopSettings& settings, Meanwhile meanwhile) noexcept {
  const alloc::ErrnoKeeper keeper;
  count_ = 0;
  threads_ = nullptr;
  Outcome outcome;
  outcome.problem = prepare_slots(1) ? prepare_signal(settings.signal) : Incomplete::kNoMemory;
  if (outcome.problem == Incomplete::kNo) {
    outcome = Stopper(settings).run(meanwhile, count_, stopped_at_ns_);
    threads_ = g_stopped;
    if (outcome.problem != Incomplete::kNo) resume();
  }
  return outcome;
}

void World::resume() noexcept {
  const alloc::ErrnoKeeper keeper;
  count_ = 0;
  g_generation.fetch_add(1, std::memory_order_acq_rel);
  futex(g_generation, FUTEX_WAKE, INT32_MAX, nullptr);
  g_tracer.resume();
}

bool World::has_resumed() noexcept {
  return g_left.load(std::memory_order_relaxed) == g_answers.load(std::memory_order_relaxed);
}

}  // namespace arenascan::scan
