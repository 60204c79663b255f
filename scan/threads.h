// The stacks of threads made by pthread_create, remembered after their threads have ended.
//
// The C library keeps the stacks of ended threads for later ones. To the scanner such a stack is a private mapping like
// any other, full of words that mean nothing any more; scanning it would keep leaks alive. Only whoever saw its thread
// start knows that it was a stack. So every thread registers its stack when it starts; whether the thread still runs is
// told by the stopped world, not by this registry.
//
// An entry is believed only while the thread descriptor at its top still points to itself (its first and third word do,
// on x86-64): when the library has unmapped the stack and somebody else maps memory there, the words are gone, and the
// mapping is an ordinary one again.
//
// What a thread returned lies in its descriptor until somebody joins it. Once joined, or when it was detached, nobody
// will ask, and of a thread that has ended everything is dead but for what the C library keeps for the next thread.
//
// In a forked child the other threads' stacks are all that is left of what they owned: fork_child() marks them
// inherited, and they are scanned whole, since nobody could have freed what they hold.
//
// Threads: register_thread() by each thread for itself, the other functions that take no lock() by anybody; the scanner
// holds lock() before it stops the world, so that no thread is stopped inside; fork handlers hold it around a fork.
//
// Called by: api/ (thread start, fork), roots.
#pragma once

#include <cstdint>
#include <mutex>

#include "alloc/meta_vector.h"

namespace arenascan::scan {

struct StackEntry {
  std::uintptr_t begin = 0;        // lowest address, above the guard
  std::uintptr_t end = 0;          // end of the mapping; thread-local storage and the descriptor lie just below it
  std::uintptr_t first_frame = 0;  // frame of the function the thread started in: stack below, thread-local data above
  std::uintptr_t thread_pointer = 0;  // address of the thread's descriptor
  bool result_taken = false;          // nobody will ask any more for what its thread returns
  bool inherited = false;             // its thread did not survive a fork
  std::uint64_t id = 0;               // of this thread, unlike its address, for ever: from new_id()
};

class ThreadRegistry {
 public:
  constexpr ThreadRegistry() = default;

  // For a thread that is about to be made. Takes the room for its stack, if there is memory: it may have none itself.
  [[nodiscard]] std::uint64_t new_id() noexcept;

  // It was made; whether it has registered yet, or has ended since, is not known. By its creator, so that others may
  // join it before it has run.
  void announce(std::uintptr_t thread_pointer, std::uint64_t id) noexcept;

  // The calling thread runs on [begin, end). Replaces what was known of any overlapping stack. Without memory the stack
  // stays unknown, which can hide leaks but never invents one.
  void register_thread(const StackEntry& entry) noexcept;

  // The lowest address of that thread's stack, if it is registered and `address` lies on it; else 0.
  [[nodiscard]] std::uintptr_t begin_of_stack(std::uintptr_t thread_pointer, std::uintptr_t address) noexcept;

  // Of the thread with this descriptor, which has to be asked for before it can have been joined; 0: it is unknown.
  [[nodiscard]] std::uint64_t id_of(std::uintptr_t thread_pointer) noexcept;
  // That thread was joined, or detached. 0: nothing happens.
  void forget_result(std::uint64_t id) noexcept;

  // In the child of a fork: every entry but the calling thread's is inherited.
  void fork_child(std::uintptr_t own_thread_pointer) noexcept;

  void lock() noexcept { mutex_.lock(); }
  void unlock() noexcept { mutex_.unlock(); }

  [[nodiscard]] const alloc::MetaVector<StackEntry>& entries_locked() const noexcept { return entries_; }

 private:
  bool drop_announced(std::uintptr_t thread_pointer, std::uint64_t id) noexcept;

  std::mutex mutex_;
  alloc::MetaVector<StackEntry> entries_;  // mutex_
  struct Announced {
    std::uintptr_t thread_pointer;
    std::uint64_t id;
    bool result_taken;
  };
  alloc::MetaVector<Announced> announced_;  // mutex_; that have not registered
  std::uint64_t last_id_ = 0;               // mutex_
};

}  // namespace arenascan::scan
