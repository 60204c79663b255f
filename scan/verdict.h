// What one scan found: plain figures and groups, with nothing in it that points into the heap.
//
// Written by the scanner (scanner.h) when a scan ends, read by the reports and the public API. Groups are sorted the
// way they are printed: direct leaks before indirect ones, then by bytes, most first.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/meta_vector.h"
#include "alloc/stack_table.h"

namespace arenascan::scan {

enum class Incomplete : std::uint8_t {
  kNo,                // the verdict is whole
  kNoMemory,          // the scanner's own memory ran out
  kThreadNotStopped,  // a thread did not answer in time; `incomplete_thread` tells which
  kSignalTaken,       // the program took over the signal that stops threads
  kMapsUnreadable,    // /proc/self/maps or /proc/self/task could not be read
  kCancelled,         // by the progress callback
  kClosedMemory,      // the kernel does not let memory be read that the program has closed
  kWatchLost,         // the program closed the file by which writes are watched: in no verdict, a stopped mark follows
};

// One line of words for people.
const char* to_text(Incomplete reason) noexcept;

// How the mark was made (mark_cycle.h): beside the program, or while it stood still, and why.
enum class Way : std::uint8_t {
  kConcurrent,
  kStoppedAlone,     // there is no other thread
  kStoppedSmall,     // it takes no longer than the pauses of a concurrent mark
  kStoppedByOption,  // asked for
  kStoppedForked,    // a forked child, of a process that had several threads
  kStoppedNoWatch,   // the system does not let writes be watched
};
const char* to_text(Way way) noexcept;

// Objects of one kind that were allocated from one call stack.
struct Group {
  alloc::StackId stack = alloc::kNoStack;
  bool direct = true;  // no other leaked object points to it
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;     // as requested by the program
  std::uintptr_t example = 0;  // address of one of them
};

// One leaked object; for reports that list them.
struct LeakedObject {
  alloc::StackId stack = alloc::kNoStack;
  bool direct = true;
  std::uintptr_t address = 0;
  std::uint64_t bytes = 0;
};

struct Count {
  std::uint64_t objects = 0;
  std::uint64_t bytes = 0;
};

struct Verdict {
  Incomplete incomplete = Incomplete::kNo;
  int incomplete_thread = 0;

  Count seen;        // allocated when the world stood still
  Count reached;     // of them, reached from the roots; by a concurrent mark, at some time during the mark
  Count orphans;     // not reached
  Count changed;     // orphans that somebody still writes to, and what they hold
  Count suppressed;  // leaks that are not to be reported, and what they hold
  Count direct;      // leaks, split
  Count indirect;
  Count fresh;      // leaks that the scan before did not know
  Count recovered;  // leaks of the scan before that are none: freed, or reached again

  Way way = Way::kStoppedAlone;
  unsigned pauses = 0;
  std::uint64_t root_bytes = 0;
  unsigned threads = 0;  // that were stopped
  unsigned lanes = 1;    // that shared the mark, for some time at least

  std::uint64_t prepare_ns = 0;  // listing roots and threads
  std::uint64_t mark_ns = 0;
  std::uint64_t white_ns = 0;     // finding white objects
  std::uint64_t classify_ns = 0;  // checksums, second look, grouping
  std::uint64_t longest_pause_ns = 0;
  std::uint64_t total_pause_ns = 0;
  std::uint64_t total_ns = 0;

  alloc::MetaVector<Group> leaks;
  alloc::MetaVector<Group> changed_groups;
  alloc::MetaVector<Group> suppressed_groups;  // without what they hold
  alloc::MetaVector<LeakedObject> objects;     // in the order of addresses; if asked for
};

}  // namespace arenascan::scan
