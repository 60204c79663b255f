#include <algorithm>
#include <cerrno>
#include <utility>

#include "alloc/os.h"
#include "scan/stop_signal.h"
#include "scan/tasks.h"
#include "scan/tracer.h"
#include "scan/world.h"

namespace arenascan::scan {
namespace {

constexpr std::uint64_t kWaitSliceNs = 5'000'000;
// A running thread answers within this; to go to sleep and be woken takes the scanner as long.
constexpr std::uint64_t kSpinNs = 100'000;
// A scanner that runs calls a stop off itself.
constexpr std::uint64_t kLeaseNs = 50'000;

constinit Tracer g_tracer;  // the scanner's

class Stopper {
 public:
  explicit Stopper(const StopSettings& settings) noexcept : settings_(settings) {}

  World::Outcome run(World::Meanwhile meanwhile, std::size_t& stopped, std::uint64_t& stopped_at_ns) noexcept {
    answers_before_ = StopSignal::answers();  // those who answered an earlier stop have done so
    answer_ = StopSignal::begin(meanwhile == World::Meanwhile::kSpin && alloc::os_thread_count() <= processors_);
    for (std::size_t before = SIZE_MAX; before != count_;) {
      before = count_;
      World::Outcome outcome = signal_new_threads();
      stopped_at_ns = stopped_at_ns_;
      if (outcome.problem == Incomplete::kNo) outcome = wait_for_answers();
      if (outcome.problem != Incomplete::kNo) return outcome;
    }
    if (!StopSignal::lease().hold()) return {Incomplete::kThreadNotStopped, StopSignal::slot(0).thread_id};
    stopped = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      const StopSignal::Slot& slot = StopSignal::slot(i);
      if (slot.answer.load(std::memory_order_relaxed) == kEnded) continue;
      // A handler of an earlier stop that was called off was in the way just now.
      if (!has_answered(slot)) return {Incomplete::kThreadNotStopped, slot.thread_id};
      StopSignal::stopped()[stopped++] = slot.thread;
    }
    return {};
  }

 private:
  World::Outcome signal_new_threads() noexcept {
    World::Outcome outcome;
    StopSignal::await(answers_before_ + StopSignal::kMostThreads);  // nobody waits yet
    const bool read = for_each_task([&](int thread_id) {
      if (thread_id == self_ || is_known(thread_id)) return true;
      if (!StopSignal::make_room(count_ + 1)) {
        outcome = {Incomplete::kNoMemory, thread_id};
        return false;
      }
      StopSignal::Slot& slot = StopSignal::slot(count_);
      slot.thread_id = thread_id;
      slot.answer.store(0, std::memory_order_relaxed);
      if (stopped_at_ns_ == 0) {
        stopped_at_ns_ = alloc::os_monotonic_ns();
        lease_until(after_patience(stopped_at_ns_));
      }
      if (g_tracer.knows(thread_id)) {
        if (blocks_signal(thread_id, signal_)) {
          ++count_;
          if (!trace(slot, false)) static_cast<void>(StopSignal::send(thread_id, count_ - 1));
          return true;
        }
        g_tracer.forget(thread_id);
      }
      if (StopSignal::send(thread_id, count_)) {
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
    await_missing();
    const std::uint64_t began = alloc::os_monotonic_ns();
    const std::uint64_t spin_until = processors_ > 1 ? began + kSpinNs : 0;
    std::uint64_t late_at = after_patience(began);
    lease_until(late_at);
    for (std::uint32_t before = answers_before_;;) {
      const std::uint32_t seen = StopSignal::answers();
      const StopSignal::Slot* const missing = first_missing();
      if (missing == nullptr) return {};
      const World::Outcome not_stopped{Incomplete::kThreadNotStopped, missing->thread_id};
      const std::uint64_t now = alloc::os_monotonic_ns();
      if (now >= deadline_ns_ || StopSignal::lease().is_over()) return not_stopped;
      if (std::exchange(before, seen) != seen) lease_until(late_at = after_patience(now));
      if (now < spin_until) {
        __builtin_ia32_pause();
        continue;
      }
      if (now >= late_at) {
        if (!blocks_signal(missing->thread_id, signal_)) return not_stopped;
        lease_until(late_at = UINT64_MAX);  // to be traced, or let pass
      }
      const std::uint64_t slice = std::min(kWaitSliceNs, late_at - now);
      if (StopSignal::sleep_for_answers(seen, slice) || slice < kWaitSliceNs) continue;
      look_after_missing();
      if (settings_.let_pass != nullptr && first_missing() != nullptr && !settings_.let_pass(settings_.argument)) {
        return {Incomplete::kThreadNotStopped, missing->thread_id};
      }
    }
  }

  [[nodiscard]] std::uint64_t after_patience(std::uint64_t now) const noexcept {
    return settings_.patience_ns == 0 ? UINT64_MAX : now + std::min(settings_.patience_ns, UINT64_MAX - now);
  }

  static void lease_until(std::uint64_t late_at) noexcept {
    StopSignal::lease().lease_until(late_at + std::min(kLeaseNs, UINT64_MAX - late_at));
  }

  [[nodiscard]] const StopSignal::Slot* first_missing() noexcept {
    while (answered_ < count_ && has_answered(StopSignal::slot(answered_))) ++answered_;
    return answered_ == count_ ? nullptr : &StopSignal::slot(answered_);
  }

  [[nodiscard]] bool has_answered(const StopSignal::Slot& slot) const noexcept {
    const std::uint32_t answer = slot.answer.load(std::memory_order_acquire);
    return answer == answer_ || answer == kEnded || answer == kTraced;
  }

  void await_missing() const noexcept {
    StopSignal::await(answers_before_ + static_cast<std::uint32_t>(count_ - not_awaited_));
  }

  void look_after_missing() noexcept {
    for (std::size_t i = answered_; i < count_; ++i) {
      StopSignal::Slot& slot = StopSignal::slot(i);
      if (has_answered(slot)) continue;
      if (has_ended(slot.thread_id)) {
        settle(slot, kEnded);
      } else if (g_tracer.awaits(slot.thread_id) ||
                 (blocks_signal(slot.thread_id, signal_) && has_pending(slot.thread_id, signal_))) {
        trace(slot, true);
      }
    }
    await_missing();
  }

  // Where that fails it is tried again: a thread in vfork, with all signals blocked, may first have to be let pass.
  bool trace(StopSignal::Slot& slot, bool was_signalled) noexcept {
    const std::uint64_t deadline = std::min(deadline_ns_, alloc::os_monotonic_ns() + kWaitSliceNs);
    lease_until(UINT64_MAX);
    const Tracer::Answer answer = g_tracer.stop(slot.thread_id, deadline, slot.thread);
    if (answer == Tracer::Answer::kFailed) return false;
    if (answer == Tracer::Answer::kStopped && was_signalled && !has_pending(slot.thread_id, signal_)) {
      g_tracer.let_go(slot.thread_id);  // it has let the signal in meanwhile, and its handler is about to answer
    } else {
      settle(slot, answer == Tracer::Answer::kEnded ? kEnded : kTraced);
    }
    return true;
  }

  void settle(StopSignal::Slot& slot, std::uint32_t answer) noexcept {
    if (slot.answer.exchange(answer, std::memory_order_relaxed) == 0) ++not_awaited_;
  }

  // The second listing has the threads in the order of the first.
  [[nodiscard]] bool is_known(int thread_id) noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      const std::size_t at = (looked_at_ + i) % count_;
      if (StopSignal::slot(at).thread_id != thread_id) continue;
      looked_at_ = at + 1;
      return true;
    }
    return false;
  }

  // No answers of handlers: those are odd.
  static constexpr std::uint32_t kEnded = 0xFFFFFFFE;
  static constexpr std::uint32_t kTraced = 0xFFFFFFFC;

  const StopSettings& settings_;
  std::uint64_t deadline_ns_ = alloc::os_monotonic_ns() + settings_.timeout_ns;
  int self_ = alloc::os_thread_id();
  int signal_ = StopSignal::number();
  std::uint32_t answer_ = 0;
  std::size_t processors_ = StopSignal::processors();
  std::size_t count_ = 0;
  std::size_t answered_ = 0;
  std::size_t not_awaited_ = 0;  // those who have ended or were traced
  std::size_t looked_at_ = 0;
  std::uint32_t answers_before_ = 0;
  std::uint64_t stopped_at_ns_ = 0;
};

}  // namespace

World::Outcome World::stop(const StopSettings& settings, Meanwhile meanwhile) noexcept {
  const alloc::ErrnoKeeper keeper;
  count_ = 0;
  threads_ = nullptr;
  Outcome outcome;
  outcome.problem = StopSignal::make_room(1) ? StopSignal::prepare(settings.signal) : Incomplete::kNoMemory;
  if (outcome.problem == Incomplete::kNo) {
    outcome = Stopper(settings).run(meanwhile, count_, stopped_at_ns_);
    threads_ = StopSignal::stopped();
    if (outcome.problem != Incomplete::kNo) resume();
  }
  return outcome;
}

void World::resume() noexcept {
  const alloc::ErrnoKeeper keeper;
  count_ = 0;
  StopSignal::lease().end();
  g_tracer.resume();
}

StopLease& World::lease() noexcept { return StopSignal::lease(); }

bool World::has_resumed() noexcept { return StopSignal::all_have_left(); }

AddressRange World::memory() noexcept { return StopSignal::memory(); }

}  // namespace arenascan::scan
