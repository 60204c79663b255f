// Stopping every other thread of the process, and letting it go on.
//
// A thread is stopped by a signal whose handler says where the thread was interrupted and then waits. The kernel has
// saved all registers, vector registers too, in the signal frame on the thread's stack: they are the register roots.
// Threads are listed from /proc/self/task until a pass finds no new one, so that threads which nobody registered
// (timers, raw clone) are stopped as well.
//
//     scanner                                   thread
//     list tasks, give each a Slot
//     queue the signal with the Slot's number   --> handler: fill in the slot, mark it stopped; the last wakes the
//     scanner wait until all slots are stopped              wait until the generation changes
//     ... mark ...
//     end the stop, wake all                    --> return: registers restored by the kernel
//
// What the handler may do, and what becomes of one that comes late: stop_signal.h.
//
// Invariants
//   1. Nothing between stop() and resume() allocates from any tracked heap or takes a lock that was not held before.
//   2. A thread that ended meanwhile is not waited for; one that does not answer within the time limit makes stop()
//      fail, and all others are let go. So does, sooner, one that could answer and has no processor: threads that stand
//      would wait for what another process, or another machine on the same host, does with it (pauses.h tries again).
//
// Threads: one stop at a time; the scanner's lock sees to it. Called by: pauses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "scan/mappings.h"
#include "scan/registers.h"
#include "scan/stop_lease.h"
#include "scan/verdict.h"

namespace arenascan::scan {

struct StopSettings {
  int signal = 0;  // 0: the default
  std::uint64_t timeout_ns = 0;
  // How long the threads that stand already wait for the next one that could answer: it has no processor. Then stop()
  // fails, too. 0: as long as the time limit.
  std::uint64_t patience_ns = 0;
  // Called now and then while a thread is waited for, with the others stopped. It may wait for something else that the
  // scanner holds: a thread in vfork, for instance, until its child has done with the allocator. False: give up.
  bool (*let_pass)(void* argument) = nullptr;
  void* argument = nullptr;
};

class World {
 public:
  // Stops every thread but the calling one. On failure everything runs again and the reason is returned; `thread` is
  // the thread that did not stop.
  struct Outcome {
    Incomplete problem = Incomplete::kNo;
    int thread = 0;
  };
  // Stopped threads spin for a moment when each can have a processor, and go on in no time then; or they sleep at once,
  // and their processors have nothing to do with what happens to the process's page tables: protecting pages takes a
  // sixth of the time.
  enum class Meanwhile : std::uint8_t { kSpin, kSleep };
  Outcome stop(const StopSettings& settings, Meanwhile meanwhile = Meanwhile::kSpin) noexcept;

  // On what terms they stand. They are held when stop() returns; while they are not, nothing may be read that a running
  // program may unmap.
  static StopLease& lease() noexcept;

  // Lets all stopped threads go on.
  void resume() noexcept;
  // Whether all of them do so by now: one that slept may take 0.2 ms to be woken.
  [[nodiscard]] static bool has_resumed() noexcept;

  // The threads that are stopped, between stop() and resume().
  [[nodiscard]] std::span<const StoppedThread> threads() const noexcept { return {threads_, count_}; }

  // When the first thread was about to be stopped, by os_monotonic_ns(); 0: there was none to stop.
  [[nodiscard]] std::uint64_t stopped_at_ns() const noexcept { return stopped_at_ns_; }

  // Where it keeps what threads have told: stack pointers, which may be addresses in the heap.
  static AddressRange memory() noexcept;

 private:
  const StoppedThread* threads_ = nullptr;
  std::size_t count_ = 0;
  std::uint64_t stopped_at_ns_ = 0;
};

}  // namespace arenascan::scan
