// Where the registers of a thread were saved when it was interrupted: they are roots.
//
// The kernel saves all of them, vector registers too, on the thread's stack, in a signal frame; the calling thread
// saves its own.
//
// Threads: the scanner's; StoppedThread is filled in by each thread for itself (world.h).
// Called by: world, roots, scanner.
#pragma once

#include <cstddef>
#include <cstdint>

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

// Makes a vector state that ptrace has copied, of `bytes` in all, one as it lies in a signal frame.
void as_in_signal_frame(void* vector_state, std::size_t bytes) noexcept;

// Asks the processor, which takes long in a virtual machine, how vector_pieces() has to read; once.
void learn_register_layout() noexcept;

// Address of the calling thread's descriptor.
std::uintptr_t own_thread_pointer() noexcept;

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
