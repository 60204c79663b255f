// Threads that help the scanner for a while: they run one function together with it, and are gone when it lets them go.
//
//     start(n)      up to n threads, which wait
//     run(work)     each of them calls work(argument, number), numbers from 1
//     wait()        until all have returned from it; then run() again, or
//     dismiss()     they end, and have ended when it returns
//
// They are no threads of the C library's: it would allocate for them, from the heap that is being scanned, maybe while
// all its users stand still. So they exist only as long as there is something to help with, block all signals, and have
// no thread-local storage of their own but share the scanner's: what they run must not allocate, set errno, lock or
// throw.
//
// The kernel counts them among the process's threads. Nobody may be stopped, and no thread counted, before dismiss().
//
// Threads: the scanner's. Called by: marker.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace arenascan::scan {

inline constexpr std::size_t kMostHelpers = 7;

class Helpers {
 public:
  using Work = void (*)(void* argument, std::size_t number);

  Helpers() = default;
  ~Helpers();
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;

  // Returns how many there are then: fewer than wanted where memory or the system's leave is missing.
  std::size_t start(std::size_t wanted) noexcept;

  void run(Work work, void* argument) noexcept;
  void wait() noexcept;
  void dismiss() noexcept;

 private:
  struct Helper {
    Helpers* all = nullptr;
    std::size_t number = 0;
    std::uint32_t round = 0;           // that was the last when it was started
    void* stack = nullptr;             // tool memory, which is no root; kept for the next one
    std::uintptr_t thread = 0;         // the system's name for it
    std::atomic<std::uint32_t> id{0};  // written by the kernel: the thread's, and 0 when it has left its stack
  };
  static int serve(void* helper) noexcept;
  bool begin_thread(Helper& helper) noexcept;
  static void join_thread(Helper& helper) noexcept;

  Helper helpers_[kMostHelpers];
  std::size_t count_ = 0;

  // Written by the scanner before the round is raised, read by helpers after they saw that.
  Work work_ = nullptr;
  void* argument_ = nullptr;
  // Raised by the scanner (release), awaited by helpers (acquire).
  std::atomic<std::uint32_t> round_{0};
  // Helpers that have not finished the round: set by the scanner before the round is raised, lowered by each (release),
  // awaited by the scanner (acquire).
  std::atomic<std::uint32_t> working_{0};
};

// Processors of this process that were idle just now; the calling thread's own is none of them.
std::size_t idle_processors() noexcept;

}  // namespace arenascan::scan
