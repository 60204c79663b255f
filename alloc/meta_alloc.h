// The tool's own memory: what the scanner and the reports need, never tracked and never scanned.
//
// All of it comes from one exclusive mimalloc arena, a reserved range whose bounds are known, so that the scanner can
// leave it out of the roots with one compare. Each thread that allocates here gets a mimalloc heap of its own inside
// that arena (mimalloc heaps belong to the thread that made them); any thread may free any block. mimalloc takes no
// lock, so a thread that is stopped inside it blocks nobody.
//
// mimalloc does not look whether memory of its arena could be made accessible; so all of it is, when the arena is made,
// which takes no memory until it is used. Where accessible memory counts against a limit, the arena is a small part of
// it.
//
// The arena is made on first use, which is the first scan or report: a program that never scans does not pay for it.
//
// mimalloc takes a thread's heaps away when the thread ends, in a destructor of its own. meta_end_thread() is called
// before that; what the thread allocates later gets a heap for that one block, whose pages mimalloc then keeps.
//
// Failure: null, never an exception; the scan that needed the memory is incomplete.
// Threads: all functions from any thread. meta_prepare() must have been called by the scanning thread before it stops
// the world, so that nothing has to be set up while other threads are stopped.
//
// Called by: scan/, api/. Never by the allocation paths of alloc/.
#pragma once

#include <cstddef>
#include <cstdint>

namespace arenascan::alloc {

// Makes sure that the calling thread can allocate tool memory. False when the arena could not be reserved.
[[nodiscard]] bool meta_prepare() noexcept;

// Memory aligned to 16, or null. Contents undefined.
[[nodiscard]] void* meta_allocate(std::size_t bytes) noexcept;
void meta_free(void* block) noexcept;

// The calling thread is about to end.
void meta_end_thread() noexcept;

// The bounds of all tool memory, for leaving it out of the roots; both 0 before the first use.
struct MetaRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};
MetaRange meta_range() noexcept;

}  // namespace arenascan::alloc
