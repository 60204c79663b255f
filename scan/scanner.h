// One scan from beginning to end: the phases in order, and what is kept from one scan to the next.
//
//   mark       what was out of reach at one instant (mark_cycle.h)   -- one or two pauses --
//   looks      checksums: against the last scan's, or a second look
//   hold       what changed orphans point to is reached, too          -- a short pause, when there are any --
//   suppress   leaks that the user knows of count as held, with what they hold   -- a short pause, when there are any
//   -- classify   direct and indirect, groups
//
// All of it runs on a stack of the scanner's own, so that nothing it handles (addresses of objects, of pages) is left
// behind on the caller's stack, where the next scan, or a forked child's, would take it for pointers.
//
// A heap has one Scanner. The process's scanner has a Surroundings: other threads to stop, roots to find. A private
// heap's has none: its roots are the ranges registered with it, and the caller answers for nobody using it meanwhile.
//
// Lock order: scan lock -> thread registry -> user roots -> heap.
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
#include "scan/mark_cycle.h"
#include "scan/orphans.h"
#include "scan/verdict.h"

namespace arenascan::scan {

struct ScanSettings {
  MarkSettings mark;
  std::uint64_t second_look_ns = 0;
  std::uint32_t born_since = 0;   // only objects with this birth stamp or a later one count as leaks; 0: all, and so
                                  // does one that lies Birth::kOldestAge or more back
  std::uint32_t born_before = 0;  // only objects with an earlier stamp do; 0: all
  std::uint16_t min_unref_scans = 1;  // and only those that so many scans in a row, this one the last, found at rest
  // Whether leaks that were allocated there are not to be reported. Asked beside the program, on the scanner's stack.
  // Null: all are.
  bool (*is_suppressed)(alloc::StackId stack, void* argument) = nullptr;
  void* suppress_argument = nullptr;
  bool list_objects = false;  // Verdict::objects
};

// One object, and what the last scan made of it.
struct Description {
  enum class Standing : std::uint8_t {
    kNeverScanned,
    kLongAgo,  // so many marks that births before the scan and after it cannot be told apart
    kBornLater,
    kReached,
    kHeldByChanged,
    kChanged,
    kSuppressed,  // or held by one
    kForgotten,   // a leak then, forgotten since; or a suppressed one, annotated since
    kNotDue,      // it would be a leak but for ScanSettings::born_before or min_unref_scans
    kLeaked
  };
  std::uintptr_t address = 0;
  std::uint64_t bytes = 0;
  std::uint64_t slot_bytes = 0;
  std::uint8_t state = 0;  // layout.h
  alloc::StackId stack = alloc::kNoStack;
  std::uint32_t age = 0;  // in scans and marks; Birth::kOldestAge: at least that
  Standing standing = Standing::kNeverScanned;
  bool is_hashed = false;
  std::uint64_t checksum = 0;
};

class Scanner {
 public:
  Scanner(alloc::Heap& heap, UserRoots& user_roots, const Surroundings* surroundings) noexcept
      : heap_(heap), cycle_(alloc::HeapView(heap), user_roots, surroundings), is_process_(surroundings != nullptr) {}

  // Scans now. The calling thread's registers, and its stack from here on, are roots (not for a private heap).
  void scan(const ScanSettings& settings, Verdict& verdict) noexcept;

  // Why the object that `word` points to or into is reached. The world stands still for it.
  void find_retainers(const ScanSettings& settings, std::uintptr_t word, Retainers& found) noexcept;

  // What is known of the object that `word` points to or into. False: there is none.
  bool describe(std::uintptr_t word, Description& known) noexcept;

  // Births from now on can be told from earlier ones; for ScanSettings::born_since and born_before.
  std::uint32_t mark_time() noexcept;

  // What the last scan has found leaked is never a leak from now on, and what it holds is reached.
  void forget_leaks() noexcept;

  // Around a fork: no scan is under way meanwhile.
  void lock() noexcept { mutex_.lock(); }
  void unlock() noexcept { mutex_.unlock(); }

  // In the child of a fork. When it `inherits` what other threads held, none of the leaks that are known is one any
  // more.
  void fork_child(bool inherits) noexcept {
    cycle_.fork_child();
    if (inherits) orphans_.clear();
  }

 private:
  bool prepare_stack() noexcept;
  template <typename Body>
  bool call_on_own_stack(Body body) noexcept;
  void run(const ScanSettings& settings, std::uintptr_t stack_pointer, Verdict& verdict) noexcept;
  Incomplete mark_phase(const ScanSettings& settings, Pace& pace, std::uintptr_t stack_pointer,
                        Verdict& verdict) noexcept;
  Incomplete look_phase(const ScanSettings& settings, Pace& pace, const Verdict& verdict) noexcept;
  Incomplete hold_phase(const ScanSettings& settings, Verdict& verdict) noexcept;
  Incomplete suppress_phase(const ScanSettings& settings, Verdict& verdict) noexcept;
  Incomplete classify_phase(const ScanSettings& settings, Verdict& verdict) noexcept;
  // Whether what lies now where an orphan of the last mark lay is the same object, by its birth.
  [[nodiscard]] bool is_still(const Orphan& orphan, const alloc::Birth& birth) const noexcept;
  [[nodiscard]] bool is_white(const Orphan& orphan) const noexcept {
    return cycle_.marker().epoch().is_white(orphan.object.mark().load(std::memory_order_relaxed));
  }

  alloc::HeapView heap_;
  MarkCycle cycle_;
  bool is_process_;

  std::mutex mutex_;
  AddressRange stack_;               // mutex_, and the rest likewise; reserved by the first scan and kept
  OrphanList orphans_;               // of the last mark that was whole
  std::uint32_t orphans_stamp_ = 0;  // of its instant
  bool is_whole_ = false;            // the last scan was
};

}  // namespace arenascan::scan
