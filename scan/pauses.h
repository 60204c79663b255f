// Pauses of the program: the locks that a scan needs while it reads roots, and the world stopped.
//
//     const Pause pause(pauses, settings, verdict, before);    locks, before(), stop
//     if (!pause.is_stopped()) return pause.problem();
//     ...                                                      until the end of the block: resume, unlock
//
// A thread in vfork cannot be stopped before its child has run another program, and the child, in the same memory, may
// need the allocator before that. So while a thread is long in answering, the heap's lock is let go now and then. None
// of those that stand has it, nor can one take it; should it not come back all the same (one that blocks all signals
// may have taken it, and have been stopped then), all go on, and the pause begins anew.
//
// A thread that could answer, and does not, has no processor. Then the stop is called off, all go on, and it is tried
// again a little later, with more patience after every few attempts; until the time limit, when the scan is incomplete.
//
// Nor does anybody wait for a scanner that has none: what may as well be done beside the program is done on a lease
// (stop_lease.h), with the heap's lock left to whoever needs it.
//
// Lock order: thread registry -> user roots -> heap; all are held before the first thread is stopped, since one that is
// stopped may have been about to take them.
//
// Threads: the scanner's. Called by: mark_cycle.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "alloc/heap_view.h"
#include "scan/marker.h"
#include "scan/roots.h"
#include "scan/threads.h"
#include "scan/verdict.h"
#include "scan/world.h"

namespace arenascan::scan {

// A mean in which the last one counts as a quarter.
inline std::uint64_t mean_of(std::uint64_t before, std::uint64_t last) noexcept {
  return before == 0 ? last : (3 * before + last) / 4;
}

// What surrounds the process's heap.
struct Surroundings {
  ThreadRegistry* threads = nullptr;
  std::span<const AddressRange> never;  // tool memory outside the heap that is no root
};

class Pauses {
 public:
  // The marker's helpers leave before anybody is stopped.
  Pauses(alloc::HeapView heap, Marker& marker, UserRoots& user_roots, const Surroundings* surroundings) noexcept
      : heap_(heap), marker_(marker), user_roots_(user_roots), surroundings_(surroundings) {}

  // Whether no other thread could have to be stopped.
  void set_alone(bool is_alone) noexcept { is_alone_ = is_alone; }
  [[nodiscard]] bool is_alone() const noexcept { return is_alone_; }

  [[nodiscard]] World& world() noexcept { return world_; }

  // When the pause began that lasts: when the first thread was about to be stopped.
  [[nodiscard]] std::uint64_t began_ns() const noexcept { return began_ns_; }
  // Within a pause that is to end by then: leaves it to the threads to go on when it does not, and to lock the heap.
  void lease_until(std::uint64_t deadline_ns) noexcept;
  // The pause is the scanner's again, to its end, and the heap's lock. False: it is over.
  [[nodiscard]] bool hold() noexcept;

  // How much of a pause that may last so long there is until the threads have to be let go on.
  [[nodiscard]] std::uint64_t until_resume_ns(std::uint64_t budget_ns) const noexcept {
    return budget_ns - std::min(budget_ns, going_on_ns_);
  }

 private:
  friend class Pause;
  static constexpr std::uint64_t kLeastGoingOnNs = 30'000;
  static constexpr std::uint64_t kLeaseNs = kLeastGoingOnNs / 2;  // who has a processor is no later than that

  // Not lockable by others, for it is no use without what follows.
  void lock() noexcept;
  void unlock() noexcept;
  bool let_pass() noexcept;
  Incomplete stop(StopSettings settings, World::Meanwhile meanwhile, Verdict& verdict) noexcept;
  void resume(Verdict& verdict) noexcept;
  void note(Verdict& verdict) const noexcept;

  alloc::HeapView heap_;
  Marker& marker_;
  UserRoots& user_roots_;
  const Surroundings* surroundings_;
  World world_;
  bool is_alone_ = false;
  bool is_heap_locked_ = false;
  std::uint64_t pass_ns_ = 0;  // that let_pass() lasts the next time
  std::uint64_t began_ns_ = 0;
  std::uint64_t going_on_ns_ = kLeastGoingOnNs;  // what letting threads go on takes, on average, and a little more
};

class Pause {
 public:
  // `before`, under the locks, is what has to be done before each attempt; where it says no, none is made.
  template <typename Before>
  Pause(Pauses& pauses, const StopSettings& settings, Verdict& verdict, Before before,
        World::Meanwhile meanwhile = World::Meanwhile::kSpin) noexcept
      : pauses_(pauses), verdict_(verdict) {
    begin(
        settings, meanwhile, [](void* wanted) { return (*static_cast<Before*>(wanted))(); }, &before);
  }
  ~Pause();
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  [[nodiscard]] bool is_stopped() const noexcept { return is_stopped_; }
  // Why it is not; kNo: `before` said so.
  [[nodiscard]] Incomplete problem() const noexcept { return problem_; }

 private:
  void begin(const StopSettings& settings, World::Meanwhile meanwhile, bool (*before)(void*), void* argument) noexcept;

  Pauses& pauses_;
  Verdict& verdict_;
  Incomplete problem_ = Incomplete::kNo;
  bool is_stopped_ = false;
};

}  // namespace arenascan::scan
