// Several threads of which one runs at a time, as an input says: a thread goes on until it comes to an operation on an
// Atomic (alloc/atomic.h) at which the schedule lets another one run. The same seed and the same work give the same
// order, so a finding comes again.
//
// Only in the fuzz build; in others the threads run as the machine lets them.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace arenascan::fuzz {

class Schedule {
 public:
  static constexpr std::size_t kThreads = 4;

  // Before the threads enter: which of them will.
  void begin(std::uint64_t seed, const std::array<bool, kThreads>& takes_part);

  // Each waits for its first turn, works, and leaves.
  void enter(std::size_t thread);
  void leave();

 private:
  static void on_atomic(bool waits);
  void pass_on(bool waits);
  [[nodiscard]] std::uint64_t random();
  [[nodiscard]] std::size_t another(std::size_t than);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<bool, kThreads> active_{};
  std::size_t turn_ = 0;
  std::uint64_t state_ = 0;
};

}  // namespace arenascan::fuzz
