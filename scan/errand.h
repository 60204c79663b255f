// Something short that a stopped thread may do while it spins, for its processor has nothing else to do. It runs in a
// signal handler, on a few hundred bytes of the program's stack: a question to the kernel, nothing that allocates.
//
// The scanner offers it between World::stop() and resume(), one at a time, and takes it back before resume(); any
// stopped thread may do it in between, one of them does.
//
// Called by: rereader (offer, take back), world (do).
#pragma once

namespace arenascan::scan {

struct Errand {
  void (*run)(void* argument);
  void* argument;
};

void offer_errand(const Errand& errand) noexcept;

// False: it was done, and all it wrote is to be seen. True: nobody has taken it, and nobody will.
[[nodiscard]] bool take_back_errand() noexcept;

// Does what is offered, if anything is, unless somebody else has taken it. Async-signal-safe.
void do_offered_errand() noexcept;

}  // namespace arenascan::scan
