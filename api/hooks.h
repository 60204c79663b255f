// Functions of the program that are told of each allocation and each free: libFuzzer counts them.
//
// Nobody is asked on the short ways of allocating and freeing: with the first hook they are closed, for all threads at
// once (Process::short_way, Heap::close_quick_release), and the long ones tell.
//
// Each allocation and each free is told once, whatever function it goes through; a realloc is a free of the old and an
// allocation of the new object. What the scanner and the reports use for themselves is not told.
//
// Threads: any, concurrently. A hook is called by the thread that allocates or frees, outside of all locks, and may
// allocate itself. Called by: allocate, threads, the LeakSanitizer face.
#pragma once

#include <cstddef>

namespace arenascan::api {

struct Hooks {
  using OnAllocated = void (*)(const volatile void* object, std::size_t bytes);
  using OnFreed = void (*)(const volatile void* object);
  OnAllocated on_allocated = nullptr;
  OnFreed on_freed = nullptr;
};

// For good. False: there are five already.
bool install_hooks(const Hooks& hooks) noexcept;

// Whether there are any.
[[nodiscard]] bool has_hooks() noexcept;

// What the calling thread allocates and frees while one of these lives is our own, and not told. A new thread frees
// what it was handed over by in the midst of whatever the others do, and libFuzzer compares how many allocations and
// frees an input has made: one free too many, and it does not look for a leak.
class Untold {
 public:
  Untold() noexcept;
  ~Untold();
  Untold(const Untold&) = delete;
  Untold& operator=(const Untold&) = delete;
};

void tell_allocated(const void* object, std::size_t bytes) noexcept;
void tell_freed(const void* object) noexcept;

}  // namespace arenascan::api
