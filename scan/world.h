// Stopping every other thread of the process, and letting it go on.
//
// A thread is stopped by a signal whose handler says where the thread was interrupted and then waits. The kernel has
// saved all registers, vector registers too, in the signal frame on the thread's stack: they are the register roots.
// Threads are listed from /proc/self/task until a pass finds no new one, so that threads which nobody registered
// (timers, raw clone) are stopped as well.
//
//     scanner                                   thread
//     list tasks, give each a Slot
//     queue the signal with the Slot's address  --> handler: fill in the slot, mark it stopped, wake the scanner
//     wait until all slots are stopped              wait until the generation changes
//     ... mark ...
//     raise the generation, wake all            --> return: registers restored by the kernel
//
// Invariants
//   1. Slots are never unmapped and carry the generation they were given for: a signal that arrives late, after the
//      scanner gave up, finds another generation and returns at once.
//   2. The handler uses nothing but its slot, futexes and the clock; it keeps errno.
//   3. Nothing between stop() and resume() allocates from any tracked heap or takes a lock that was not held before.
//   4. A thread that ended meanwhile is not waited for; one that does not answer within the time limit makes stop()
//      fail, all others are let go, and the scan is incomplete.
//
// The handler is installed by the first stop(), not before. When the program has since put its own in its place, stop()
// says so and fails.
//
// Threads: one stop at a time; the scanner's lock sees to it. Called by: scanner;
// intended_signal() by api/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "scan/verdict.h"

namespace arenascan::scan {

struct StoppedThread {
  int thread_id = 0;
  std::uintptr_t stack_pointer = 0;    // of the interrupted code; the red zone lies below it
  std::uintptr_t thread_pointer = 0;   // fs base: address of the thread descriptor
  std::uintptr_t registers_begin = 0;  // where the general registers were saved
  std::uintptr_t registers_end = 0;
  std::uintptr_t vector_state = 0;  // where the vector registers were saved, in the processor's layout; 0: nowhere
};

// The pieces of a saved vector state that hold registers. Between them, and where a register set was not in use, lies
// whatever the stack held before.
struct VectorPieces {
  static constexpr std::size_t kMost = 8;
  struct Piece {
    std::uintptr_t begin, end;
  };
  Piece pieces[kMost];
  std::size_t count = 0;
};
VectorPieces vector_pieces(const StoppedThread& thread) noexcept;

struct StopSettings {
  int signal = 0;  // 0: the default
  std::uint64_t timeout_ns = 0;
};

class World {
 public:
  // Stops every thread but the calling one. On failure everything runs again and the reason is returned; `thread` is
  // the thread that did not stop.
  struct Outcome {
    Incomplete problem = Incomplete::kNo;
    int thread = 0;
  };
  Outcome stop(const StopSettings& settings) noexcept;

  // Lets all stopped threads go on.
  void resume() noexcept;

  // The threads that are stopped, between stop() and resume().
  [[nodiscard]] std::span<const StoppedThread> threads() const noexcept { return {threads_, count_}; }

  // The signal that the first stop has taken, or the one that it will try first when `wanted` is in the settings. Any
  // thread, handlers too.
  static int intended_signal(int wanted) noexcept;

 private:
  const StoppedThread* threads_ = nullptr;
  std::size_t count_ = 0;
};

// Saves the registers that a caller may keep pointers in on the stack, changes over to the stack that ends at
// `stack_end` and calls `body` there with the address the registers were saved at: from that address upwards the
// caller's stack holds everything the calling thread can reach, and nothing that `body` leaves behind.
void call_with_registers_saved(void (*body)(std::uintptr_t stack_pointer, void* argument), void* argument,
                               std::uintptr_t stack_end) noexcept asm("arenascan_call_with_registers_saved");

// Bytes that call_with_registers_saved puts at the address it passes.
inline constexpr std::size_t kSavedRegisterBytes = 6 * sizeof(std::uintptr_t);

// The calling thread as a StoppedThread, from the address that call_with_registers_saved passed.
StoppedThread calling_thread(std::uintptr_t stack_pointer) noexcept;

}  // namespace arenascan::scan
