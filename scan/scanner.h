// One scan from beginning to end: the phases in order, and what is kept from one scan to the next.
//
//   prepare    list modules                                     the program runs
//   stop       all other threads                                -- pause --
//   roots      maps, stacks, registers, thread-local storage
//   mark       annotated objects, roots, what they reach
//   white      vector compare over states and colours
//   resume                                                      -- end of pause --
//   looks      checksums: against the last scan's, or a second look
//   hold       what changed orphans point to is reached, too    -- short second pause, when there are any --
//   classify   direct and indirect, groups
//
// All of it runs on a stack of the scanner's own, so that nothing it handles (addresses of objects, of pages) is left
// behind on the caller's stack, where the next scan, or a forked child's, would take it for pointers.
//
// A heap has one Scanner. The process's scanner has a Surroundings: other threads to stop, roots to find. A private
// heap's has none: its roots are the ranges registered with it, and the caller answers for nobody using it meanwhile.
//
// Lock order: scan lock -> thread registry -> user roots -> heap. All of them are taken before the world is stopped.
//
// Failure: never an exception, never a guess. When anything prevents a whole verdict, Verdict::incomplete says what and
// no leak is claimed.
//
// Threads: scan() from any thread, one at a time, others wait. Called by: api/.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>

#include "alloc/heap_view.h"
#include "scan/leaks.h"
#include "scan/marker.h"
#include "scan/orphans.h"
#include "scan/roots.h"
#include "scan/threads.h"
#include "scan/verdict.h"
#include "scan/world.h"

namespace arenascan::scan {

struct ScanSettings {
  RootSettings roots;
  StopSettings stop;
  std::uint64_t second_look_ns = 0;
  // In a forked child of a process with threads: objects born before this stamp are inherited. A thread that did not
  // survive may have held one in a register, which nobody knows any more; they count as reached. 0: nothing is.
  std::uint32_t inherited_before = 0;
  std::uint32_t born_since = 0;  // only objects with this birth stamp or a later one count as leaks; 0: all, and so
                                 // does one that lies Birth::kOldestAge or more back
};

// What surrounds the process's heap.
struct Surroundings {
  ThreadRegistry* threads = nullptr;
  std::span<const AddressRange> never;  // tool memory outside the heap that is no root
};

class Scanner {
 public:
  Scanner(alloc::Heap& heap, UserRoots& user_roots, const Surroundings* surroundings) noexcept
      : heap_(heap), marker_(alloc::HeapView(heap)), user_roots_(user_roots), surroundings_(surroundings) {}

  // Scans now. The calling thread's registers, and its stack from here on, are roots (not for a private heap).
  void scan(const ScanSettings& settings, Verdict& verdict) noexcept;

  // Births from now on can be told from earlier ones; for ScanSettings::born_since.
  std::uint32_t mark_time() noexcept;

  // Around a fork: no scan is under way meanwhile.
  void lock() noexcept { mutex_.lock(); }
  void unlock() noexcept { mutex_.unlock(); }

 private:
  bool prepare_stack() noexcept;
  void run(const ScanSettings& settings, std::uintptr_t stack_pointer, Verdict& verdict) noexcept;
  Incomplete mark_phase(const ScanSettings& settings, std::uintptr_t stack_pointer, Verdict& verdict) noexcept;
  Incomplete mark_world_stopped(const ScanSettings& settings, std::uintptr_t stack_pointer, Verdict& verdict) noexcept;
  bool mark_inherited(std::uint32_t before) noexcept;
  Incomplete stop_world(const ScanSettings& settings, Verdict& verdict) noexcept;
  void resume_world(Verdict& verdict) noexcept;
  Incomplete look_phase(const ScanSettings& settings) noexcept;
  Incomplete hold_phase(const ScanSettings& settings, Verdict& verdict) noexcept;
  Incomplete classify_phase(const ScanSettings& settings, Verdict& verdict) noexcept;

  alloc::HeapView heap_;
  Marker marker_;
  UserRoots& user_roots_;
  const Surroundings* surroundings_;

  std::mutex mutex_;
  AddressRange stack_;  // mutex_, and the rest likewise; reserved by the first scan and kept
  Pagemap pagemap_;     // open during a scan
  RootCollector roots_;
  World world_;
  OrphanList orphans_;       // of the last scan
  std::uint32_t stamp_ = 0;  // objects born from here on were not there when the world stopped
  std::uint64_t stopped_at_ns_ = 0;
};

}  // namespace arenascan::scan
