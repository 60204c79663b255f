// A system call that a stop interrupts, and that the program must not see interrupted.
//
// Some system calls that wait are never restarted after a signal handler has run, whatever its flags say: poll,
// nanosleep and others fail with EINTR (signal(7)). When that is the doing of a stop and of nothing else, the functions
// of the C library that make those calls make them again (api/waits_linux.cpp):
//
//     InterruptedCall call;               from here on the handler knows what it interrupts
//     poll(...)                           EINTR
//       the handler of the stop           has interrupted a system call of ours: leaves all signals blocked when it
//                                         returns
//     call.by_stop()                      true
//     ppoll(..., call.mask())             lets them in and waits, in one step
//     ~InterruptedCall                    lets them in
//
// So a signal that comes after the stop finds the thread waiting, as it would have without; none comes between the two
// calls and is forgotten. A thread in such a call has -EINTR in its result register when the handler interrupts it, and
// a system call instruction behind it. Had another signal come first, the handler would have interrupted that one's
// handler, at its beginning; then the call stays interrupted.
//
// A program may leave by longjmp, out of a handler of its own. The frame that is remembered then is no longer there, so
// a call counts as ours only when it is made from just below.
//
// Threads: each for itself. note_stop() in the handler of the stop signal. Called by: stop_signal; api/.
#pragma once

#include <cstdint>

namespace arenascan::scan {

class InterruptedCall {
 public:
  InterruptedCall() noexcept;
  // Keeps errno. Signals that were blocked meanwhile arrive here.
  ~InterruptedCall();
  InterruptedCall(const InterruptedCall&) = delete;
  InterruptedCall& operator=(const InterruptedCall&) = delete;

  // After EINTR: whether a stop did it, and nothing else, since the last time that this was asked. All signals are
  // blocked then.
  [[nodiscard]] bool by_stop() noexcept;

  // What the thread blocks by its own will, as the kernel writes it: bit i is signal i + 1. After by_stop().
  [[nodiscard]] std::uint64_t mask() const noexcept;

  // For a call that cannot let signals in by itself: it may be made again a moment after they were. True: one has come,
  // and interrupts the call for good. Keeps errno.
  bool let_signals_in() noexcept;

  struct State {
    std::uintptr_t frame = 0;  // 0: no call of ours
    std::uint64_t mask = 0;    // good when
    int stop_signal = 0;
    bool has_blocked = false;     // all signals are blocked, by the handler
    bool is_interrupted = false;  // by a stop alone
  };

 private:
  State outer_;  // of a call that a handler of the program's has interrupted, and makes one itself
};

// The handler of this signal is about to return to this context, its ucontext_t.
void note_stop(int signal, void* context) noexcept;

}  // namespace arenascan::scan
