// Whether a stop of the program's threads still lasts.
//
// The scanner holds a stop, or has it on a lease. One that is held lasts until end(). When a lease has run out, the
// scanner has lost its processor, and one of the stopped threads ends the stop: all go on. So what is done on a lease
// is what may be done beside a running program; as a look at one that stands it counts if hold() says afterwards that
// all have stood until then.
//
//     begin()         a lease                               threads are listed, signalled and waited for
//     hold()          held, unless it was called off        roots are read
//     lease_until()   a lease again                         what was written meanwhile is read
//     hold()          held, unless ...                      the verdict
//     end()
//
// Invariants
//   1. A stop that was called off is not taken up again: hold() and call_off_late() change the same word, by exchange
//   and
//      from the same value, so that one of them fails.
//   2. Nothing that a thread does when a held stop has ended comes before what the scanner did in it.
//
// Threads: begin() to end() by the scanner, one stop at a time; lasts() to sleep() by stopped threads, from signal
// handlers. Called by: stop_signal, world, pauses.
#pragma once

#include <atomic>
#include <cstdint>

namespace arenascan::scan {

class StopLease {
 public:
  // A new stop, on a lease that has no end yet. Returns its number.
  std::uint32_t begin() noexcept;
  // Until when, by os_monotonic_ns(), the lease lasts that there is, or begins now.
  void lease_until(std::uint64_t ns) noexcept;
  // From now on the stop lasts until end(). False: it was called off.
  [[nodiscard]] bool hold() noexcept;
  // The threads go on.
  void end() noexcept;
  [[nodiscard]] bool is_over() const noexcept;
  // When one was called off the last time, by os_monotonic_ns(); 0: never.
  [[nodiscard]] std::uint64_t called_off_at_ns() const noexcept;

  [[nodiscard]] bool lasts(std::uint32_t stop) const noexcept;
  // Ends this stop if it is on a lease that has run out.
  void call_off_late(std::uint32_t stop, std::uint64_t now_ns) noexcept;
  // Until this stop may be over. `looks_after` the lease: that is looked at again twice a millisecond, or when it runs
  // out.
  void sleep(std::uint32_t stop, bool looks_after) noexcept;

 private:
  // The lowest two bits of a generation; the others number the stops.
  static constexpr std::uint32_t kRunning = 0;
  static constexpr std::uint32_t kHeld = 1;
  static constexpr std::uint32_t kLeased = 2;
  static constexpr std::uint32_t kStates = 4;

  static std::uint32_t stop_of(std::uint32_t generation) noexcept { return generation / kStates; }
  static std::uint32_t state_of(std::uint32_t generation) noexcept { return generation % kStates; }
  bool change(std::uint32_t& generation, std::uint32_t stop, std::uint32_t state) noexcept;
  void wake_all() noexcept;

  // Writers: the scanner; a stopped thread, from leased to running. Readers: all of them; stopped threads wait on it.
  // Release/acquire: invariant 2.
  std::atomic<std::uint32_t> generation_{0};
  // Writer: the scanner. Readers: stopped threads. Relaxed: one that has found the lease over just before it is given a
  // later end calls off what was not late, of which the scanner learns by hold(); a new lease is seen with its end,
  // which is stored before the generation.
  std::atomic<std::uint64_t> ends_ns_{UINT64_MAX};
  // Writer: a thread that has called a stop off. Reader: the scanner, for a figure; relaxed.
  std::atomic<std::uint64_t> called_off_at_ns_{0};
};

}  // namespace arenascan::scan
