// The process's one heap and what belongs to it: stack table, thread registry, user roots, scanner.
//
// All of it is set up by the first allocation, which comes from inside the dynamic loader, before any constructor; none
// of it is ever destroyed, because programs allocate and free until the very end.
//
// A thread's share is ThreadState, in initial-exec thread-local storage. Its cache is taken at the first allocation and
// goes back when the last of the thread's key destructors has run; what a thread allocates later still (the C library
// tidies up after the destructors) comes from one shared cache behind a lock.
//
// Threads: allocate() and release() from any thread. A signal handler may allocate unless it interrupted the allocator.
//
// Called by: malloc, new_delete, arena, lifecycle, threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/heap.h"
#include "alloc/stack_table.h"
#include "alloc/unwind.h"
#include "scan/scanner.h"

namespace arenascan::api {

struct Process {
  alloc::Heap heap;
  alloc::StackTable stacks;
  scan::ThreadRegistry threads;
  scan::UserRoots roots;
};

struct ThreadState {
  alloc::ThreadCache* cache = nullptr;
  std::uint32_t disabled = 0;          // depth of arena_disable
  std::uint8_t destructor_rounds = 0;  // how often the key's destructor has run
  bool ended = false;                  // the cache went back for good
  bool capturing = false;              // inside a stack walk: an allocation there gets no stack
};

// The process's state, set up before it is returned for the first time.
Process& process() noexcept;

// Its scanner; made on first use.
scan::Scanner& process_scanner() noexcept;

ThreadState& this_thread() noexcept;

// Where an allocation came from: the entry point that the program called, and its caller.
struct Origin {
  const void* entry;
  alloc::FrameState caller;
};

// Memory for the program, or null; errno is not touched. `alignment` is a power of two.
void* allocate(std::size_t bytes, const Origin& origin) noexcept;
void* allocate_aligned(std::size_t bytes, std::size_t alignment, const Origin& origin) noexcept;
void* allocate_zeroed(std::size_t bytes, const Origin& origin) noexcept;

// As realloc for a live object and a size above 0; null leaves the object as it was.
void* reallocate(void* object, std::size_t bytes, const Origin& origin) noexcept;

// Frees a live object of the process's heap; anything else dies with a report.
void release(void* object) noexcept;

// Stands for lifecycle_linux.cpp, which nothing calls.
extern const char kLifecycle;

// Settings of a scan from the process's options.
scan::ScanSettings scan_settings() noexcept;

}  // namespace arenascan::api

// The origin of the function it stands in, which the program called; needs a frame pointer there.
#define ARENA_ORIGIN(entry_point) \
  (::arenascan::api::Origin{reinterpret_cast<const void*>(entry_point), ARENA_CALLER_STATE()})
