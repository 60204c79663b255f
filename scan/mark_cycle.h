// The mark of one scan: which objects were out of reach at the instant at which the world stood still.
//
// Two ways lead to the same verdict.
//
//   stopped       stop - roots - mark - white objects - resume
//
//   concurrent    stop - roots - resume             the first pause
//                 mark                              beside the program, which moves pointers as it likes
//                 protect, reread what is black     piece by piece: all, the first time; then what was written since
//                                                   the last scan had protected it. What is written there afterwards
//                                                   is noted
//                 search white objects
//                 reread what was written, repeat   until little is (rereader.h), or no less
//                 stop - roots - reread the last written pages - mark - look again at the white ones - resume
//
// The second pause makes the verdict exact. A pointer that the program moved lies, when the world stands, in a root
// (all are read then), in an object that was born or reached late (read when it is reached), or in a black object: that
// was read after its page was protected, so either the pointer was there, or the page was written and is read again.
// (A page that has stayed protected since the last scan holds what it held when this mark read it.)
// Nothing is lost by marking too much before: what was dropped during the mark is found by the next scan.
//
// Why pages are protected only after the first mark: a write to a protected page costs the program up to 20 us, and
// without protection nothing. The first mark takes longest and needs no protection, since all it found is read again;
// rereading goes through memory in order and takes a third of the time. (Protecting first and rereading only what was
// written costs a program that writes all over a large heap most of its speed for the whole mark.) Pages stay protected
// after the scan, which spares the next one that rereading; but where so much was written that most would be written
// by then, protection is taken back at once, and the next mark costs nothing there either.
//
// The pause is limited. One in which the last pages cannot be reread, by what such pauses took lately, is not begun:
// the program writes as fast as it is read then, and is slowed down: what was written is listed and protected in a
// pause, part by part (which takes a sixth of the time while all threads sleep), and reread while the program runs for
// a quarter of the time only, in pauses of the same length. So less is left each time, until a pause is enough for it.
// After many that were not, as of a program with more threads than can be stopped in that time, it is given twice the
// time, or four times, and in the end as much as it takes: the verdict comes first. Roots outside the heap are read
// during pauses, whole, however long that takes.
//
// Concurrent marking is for heaps whose mark would be a pause worth avoiding, of processes that have somebody to pause,
// on systems that can watch writes; Verdict::way tells which way was taken and why.
//
// A heap that is large only by tables and buffers which hardly change is a small one where scans follow each other
// closely (quiet_pages.h).
//
// Lock order: scan lock -> thread registry -> user roots -> heap; the latter three are held during pauses only, and
// taken before the world is stopped.
//
// Threads: the scanner's. Called by: scanner.
#pragma once

#include <cstdint>
#include <span>

#include "alloc/heap_view.h"
#include "scan/marker.h"
#include "scan/orphans.h"
#include "scan/pace.h"
#include "scan/pagemap.h"
#include "scan/pauses.h"
#include "scan/quiet_pages.h"
#include "scan/rereader.h"
#include "scan/retainers.h"
#include "scan/roots.h"
#include "scan/verdict.h"
#include "scan/write_watch.h"

namespace arenascan::scan {

struct MarkSettings {
  RootSettings roots;
  PointerForms forms;
  StopSettings stop;
  // Where the calling thread's stack begins to be alive, if that is known better than by its stack pointer; nothing of
  // it is in registers then. 0: it is not.
  std::uintptr_t live_stack = 0;
  // In a forked child of a process with threads: objects born before this stamp are inherited. A thread that did not
  // survive may have held one in a register, which nobody knows any more; they count as reached. 0: nothing is.
  std::uint32_t inherited_before = 0;
  bool concurrent = false;  // where it can be
  std::size_t lanes = 0;    // that may share a large mark, at most kMostLanes; 0: one, and one for each idle processor
  PaceSettings pace;        // of what is done beside the program
  std::uint64_t pause_ns = 0;  // longest pause of a concurrent mark; 0: no limit
};

class MarkCycle {
 public:
  // Without `surroundings`, a private heap: no other threads, no roots but the user's.
  MarkCycle(alloc::HeapView heap, UserRoots& user_roots, const Surroundings* surroundings) noexcept
      : heap_(heap),
        marker_(heap),
        user_roots_(user_roots),
        surroundings_(surroundings),
        pauses_(heap, marker_, user_roots, surroundings),
        rereader_(heap, marker_, pagemap_) {}

  // Marks, and lists what was out of reach. `own` is the calling thread, `own_stack` the stack that this runs on.
  Incomplete run(const MarkSettings& settings, Pace& pace, std::uintptr_t stack_pointer, AddressRange own_stack,
                 Verdict& verdict, OrphanList& white) noexcept;

  // Marks, with the world stopped, from objects that turned out to be held after all. Each of `orphans` that `is_held`.
  Incomplete mark_held(const MarkSettings& settings, const OrphanList& orphans, bool (*is_held)(const Orphan&),
                       Verdict& verdict) noexcept;

  // Why the object that `word` points to is reached, with the world stopped. A mark of its own: what the last one found
  // white is no longer told by colours.
  Incomplete find_retainers(const MarkSettings& settings, std::uintptr_t word, std::uintptr_t stack_pointer,
                            AddressRange own_stack, Retainers& found) noexcept;

  [[nodiscard]] const Marker& marker() const noexcept { return marker_; }

  // Objects born with this stamp or later were not there when the world stood still.
  [[nodiscard]] std::uint32_t stamp() const noexcept { return stamp_; }

  // In the child of a fork.
  void fork_child() noexcept {
    watch_.fork_child();
    quiet_.forget();
  }

 private:
  struct Job {
    const MarkSettings& settings;
    Pace& pace;
    std::uintptr_t stack_pointer;
    AddressRange own_stack;
    Verdict& verdict;
  };

  Way choose_way(const MarkSettings& settings) noexcept;
  [[nodiscard]] bool may_skip_quiet(const MarkSettings& settings) const noexcept;
  void survey_for_next(const MarkSettings& settings, std::uint64_t began_ns) noexcept;
  Incomplete run_stopped(const Job& job, OrphanList& white) noexcept;
  Incomplete run_concurrent(const Job& job, OrphanList& white) noexcept;
  Incomplete begin_concurrent(const Job& job) noexcept;
  Incomplete finish(const Job& job, OrphanList& white) noexcept;
  Incomplete settle(const Job& job) noexcept;
  Incomplete reread_slowly(const Job& job, std::uint64_t pause_ns) noexcept;
  [[nodiscard]] std::uint64_t lease_slowed(std::uint64_t pause_ns) noexcept;
  enum class Attempt : std::uint8_t { kFinished, kTooLong, kStoppedLate, kListed, kOutgrown };
  Incomplete try_to_finish(const Job& job, std::uint64_t pause_ns, std::uint64_t over_roots_ns, OrphanList& white,
                           Attempt& attempt) noexcept;
  Incomplete finish_until(const Job& job, std::uint64_t deadline_ns, OrphanList& white, Attempt& attempt) noexcept;
  Incomplete mark_from_roots(const Job& job) noexcept;

  Incomplete collect_roots(const Job& job) noexcept;
  void mark_annotated(std::size_t page_end) noexcept;
  void mark_roots(const Job& job) noexcept;
  bool mark_inherited(std::uint32_t before) noexcept;

  alloc::HeapView heap_;
  Marker marker_;
  UserRoots& user_roots_;
  const Surroundings* surroundings_;

  RootCollector roots_;
  Pauses pauses_;
  Pagemap pagemap_;  // open while the roots are collected, and during a concurrent mark
  WriteWatch watch_;
  Rereader rereader_;
  std::uint64_t annotations_ = 0;  // made when they were last marked
  std::uint32_t stamp_ = 0;
  std::uint64_t first_pause_ns_ = 0;  // of this concurrent mark
  // On average, of pauses that were to finish a mark: how long it took until it was known what is left to reread, from
  // their beginning, and from when all threads stood.
  std::uint64_t until_listed_ns_ = 0;
  std::uint64_t listing_ns_ = 0;
  QuietPages quiet_;
  std::uint64_t ended_ns_ = 0;  // the last mark
};

}  // namespace arenascan::scan
