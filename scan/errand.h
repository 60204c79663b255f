// Something short that a stopped thread may do while it spins, for its processor has nothing else to do. It runs in a
// signal handler, on a few hundred bytes of the program's stack: a question to the kernel, nothing that allocates.
//
// The scanner offers it between World::stop() and resume(), one at a time, and takes it back before resume(); any
// stopped thread may do it in between, one of them does. One that loses its processor meanwhile still has it then, does
// the rest when it runs again, and only then answers to another stop.
//
// Called by: rereader (offer, take back), stop_signal (do).
#pragma once

#include <cstdint>

namespace arenascan::scan {

struct Errand {
  void (*run)(void* argument);
  void* argument;
};

// Nobody may have one.
void offer_errand(const Errand& errand) noexcept;

// kDone: all that it wrote is to be seen. kUntaken: nobody has taken it, and nobody will. kLeft: somebody still had it
// after `patience_ns`, and what it needs has to stay until await_errand().
enum class ErrandIs : std::uint8_t { kDone, kUntaken, kLeft };
[[nodiscard]] ErrandIs take_back_errand(std::uint64_t patience_ns) noexcept;

// Returns when nobody has an errand any more. While all threads run.
void await_errand() noexcept;

// Does what is offered, if anything is, unless somebody else has taken it. Async-signal-safe.
void do_offered_errand() noexcept;

}  // namespace arenascan::scan
