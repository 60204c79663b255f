// The process's one heap and what belongs to it: stack tables, thread registry, user roots, scanner.
//
// All of it is set up by the first allocation, which comes from inside the dynamic loader, before any constructor; none
// of it is ever destroyed, because programs allocate and free until the very end.
//
// A thread's share is ThreadState, in initial-exec thread-local storage. Its cache is taken at the first allocation and
// goes back when the last of the thread's key destructors has run; what a thread allocates later still (the C library
// tidies up after the destructors) comes from one shared cache behind a lock.
//
// Called by: allocate, arena, lifecycle, threads, last_report.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/heap.h"
#include "alloc/stack_cache.h"
#include "scan/scanner.h"

namespace arenascan::api {

// Which allocations get a call stack.
enum class StacksOf : std::uint8_t { kNone, kAll, kSample, kAllRechecked };

// What the short way of allocating (allocate.h) does about it; or there is none.
enum class ShortWay : std::uint8_t { kNoStacks, kAllStacks, kSample, kClosed };

struct Process {
  alloc::Heap heap;
  alloc::StackTables tables;
  StacksOf stacks_of = StacksOf::kNone;  // constant after the set-up
  // Writers: the set-up, and whoever installs the first hook (hooks.h). Readers: any thread; relaxed, for it guards
  // nothing: an allocation that is under way is not told.
  std::atomic<ShortWay> short_way{ShortWay::kNoStacks};
  bool is_guarded = false;  // some option of guard.h is on: every call takes the long way; constant likewise
  std::size_t max_allocation_bytes = SIZE_MAX;        // constant likewise
  void (*on_no_memory)(std::size_t bytes) = nullptr;  // the face's; told before an allocation fails; constant likewise
  scan::ThreadRegistry threads;
  scan::UserRoots roots;
  int id = 0;                          // 0: not known yet; written before main and in the child of a fork
  std::uint32_t inherited_before = 0;  // see ScanSettings; written in the child of a fork, which has one thread

  // How the stack caches fare, counted for kAllRechecked; any thread, relaxed.
  struct StackCounts {
    std::atomic<std::uint64_t> hits{0};     // stacks that a cache knew
    std::atomic<std::uint64_t> walks{0};    // stacks that it did not
    std::atomic<std::uint64_t> checked{0};  // stacks compared with libunwind's
    std::atomic<std::uint64_t> wrong{0};    // of them, other ones
  } stack_counts;
};

struct ThreadState {
  // The cache while nothing stands in the way of the short way through it (allocate.h); else null: there is none yet or
  // any more, a call is using it, or what is allocated is to be disabled.
  alloc::ThreadCache* ready = nullptr;
  alloc::ThreadCache* cache = nullptr;
  std::uint32_t disabled = 0;          // depth of arena_disable
  std::uint8_t destructor_rounds = 0;  // how often the key's destructor has run
  bool ended = false;                  // the cache went back for good
  bool capturing = false;              // inside a stack walk: an allocation there gets no stack
  bool in_use = false;                 // the long way is using the cache
  bool scanning = false;               // inside a scan
  std::uint64_t until_sample = 0;      // StacksOf::kSample: bytes to allocate before the next one that gets a stack
  std::uint64_t random = 0;            // state of the generator of the distances between samples
};

// Storage that is initialised before everything and destroyed never.
template <typename T>
union Immortal {
  constexpr Immortal() : value() {}
  ~Immortal() {}
  T value;
};

extern constinit Immortal<Process> g_process;
[[gnu::tls_model("initial-exec")]] extern constinit thread_local ThreadState t_thread;

// The process's state, set up before it is returned for the first time.
Process& process() noexcept;

// Its scanner; made on first use.
scan::Scanner& process_scanner() noexcept;

// What the calling thread allocates from now on is never a leak; and the end of that, which may be nested. False when
// there is nothing to end.
void disable_leaks() noexcept;
bool enable_leaks() noexcept;

// Stand for lifecycle_linux.cpp and identity_linux.cpp, which nothing calls.
extern const char kLifecycle;
extern const char kIdentity;

// Settings of a scan from the process's options.
scan::ScanSettings scan_settings() noexcept;

}  // namespace arenascan::api
