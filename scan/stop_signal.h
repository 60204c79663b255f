// The signal that stops a thread, and what the thread does when it comes.
//
// A signal carries the number of its stop and that of a slot. The handler writes into the slot where the thread was
// interrupted, counts itself as one more answer, and waits until the stop is over: it spins, and does an errand
// (errand.h) if there is one, or sleeps. Meanwhile it looks after the scanner's lease (stop_lease.h); of those that
// sleep the first to answer does.
//
// Invariants
//   1. Slots are never unmapped. The handler of a signal that arrives late, when its stop has been called off, returns
//      at once.
//   2. The handler uses nothing but its slot, futexes, the clock and the number of its processor, and an errand that it
//      takes; it keeps errno.
//   3. A handler that was late may still write into its slot when the next stop has given that to somebody else. But it
//      has returned before its own thread answers the next stop: who looks at all slots again when all have answered
//      sees what it wrote.
//
// The handler is installed by the first prepare(), not before. When the program has since put its own in its place,
// prepare() says so.
//
// Threads: prepare() to end() by the scanner, one stop at a time; intended_number() by any, handlers too.
// Called by: world; learn_processors() and intended_number() by api/.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "scan/mappings.h"
#include "scan/registers.h"
#include "scan/stop_lease.h"
#include "scan/verdict.h"

namespace arenascan::scan {

class StopSignal {
 public:
  static constexpr std::size_t kMostThreads = std::size_t{1} << 16;

  // One for each thread of a stop. `thread` is written by the handler before, and read by the scanner after, an
  // exchange through `answer`.
  struct alignas(64) Slot {
    std::atomic<std::uint32_t>
        answer;     // writer: handler, release, when `thread` is filled in; reader: scanner, acquire
    int thread_id;  // the scanner's
    StoppedThread thread;
  };

  // Room for the slots of so many threads, and the handler. `wanted`: which signal; 0: the default.
  [[nodiscard]] static bool make_room(std::size_t threads) noexcept;
  [[nodiscard]] static Incomplete prepare(int wanted) noexcept;
  [[nodiscard]] static int number() noexcept;  // the one that prepare() has taken

  // A new stop; returns what its handlers answer, an odd number. `may_spin`: each thread may have a processor for
  // itself.
  static std::uint32_t begin(bool may_spin) noexcept;
  [[nodiscard]] static StopLease& lease() noexcept;

  // False, and errno: it was not sent.
  [[nodiscard]] static bool send(int thread_id, std::size_t slot) noexcept;
  [[nodiscard]] static Slot& slot(std::size_t number) noexcept;

  // How many handlers have answered, ever.
  [[nodiscard]] static std::uint32_t answers() noexcept;
  // At how many of those sleep_for_answers() is to be woken.
  static void await(std::uint32_t answers) noexcept;
  // Until then, or so long, unless there are others than `seen` already. False: so long.
  static bool sleep_for_answers(std::uint32_t seen, std::uint64_t ns) noexcept;
  // Whether all that have answered go on by now.
  [[nodiscard]] static bool all_have_left() noexcept;

  // The slots, and what the world keeps behind them: one StoppedThread for each.
  [[nodiscard]] static AddressRange memory() noexcept;
  [[nodiscard]] static StoppedThread* stopped() noexcept;

  // Remembers how many processors the process may use: to be called when it begins, before any thread is kept to some
  // of them.
  static void learn_processors() noexcept;
  // How many that were, or are now, if there are more: the scanner may be kept to one of them, and the others to the
  // rest.
  [[nodiscard]] static std::size_t processors() noexcept;

  // The signal that prepare() has taken, or the one that it will try first when `wanted` is in the settings.
  [[nodiscard]] static int intended_number(int wanted) noexcept;
};

}  // namespace arenascan::scan
