// Lets the kernel watch which pages of the heap are written while the mark runs beside the program.
//
// The kernel protects pages from being written, notes the first write to each and lets it through by itself: the
// program waits for a page fault once a page, no thread of ours has a part in it, and system calls that write to the
// heap work as always (userfaultfd's asynchronous write protection, Linux 6.7; allowed to everybody for memory of their
// own). Pages are protected, and asked after, through pagemap.h.
//
// A first write costs the program about a microsecond on hardware and up to twenty in virtual machines. So pages are
// protected late, for the last part of a mark only (mark_cycle.h). They stay protected after it, until they are
// written, except where that would be soon: taking the protection of a page back costs a third of a first write, and
// holds up who writes nearby meanwhile.
//
// The heap's range stays registered with the kernel from the first concurrent mark on, since taking that back would
// stop everybody who needs memory for milliseconds. A program that closes our file takes it back: questions fail then,
// and the next prepare() begins anew. A forked child inherits no registration.
//
// Threads: the scanner's. fork_child() in the child of a fork.
// Called by: mark_cycle, rereader.
#pragma once

#include <cstdint>

#include "scan/mappings.h"

namespace arenascan::scan {

class WriteWatch {
 public:
  constexpr WriteWatch() = default;

  // Registers the heap, all of its range; nothing happens when it is. False: this system, or a policy of it, does not
  // allow it.
  [[nodiscard]] bool prepare(AddressRange heap) noexcept;

  // Lets the pages of `range` be written without being noted, until they are protected again.
  void release(AddressRange range) const noexcept;

  // In the child of a fork: what was registered was the parent's.
  void fork_child() noexcept;

 private:
  int file_ = -1;
  int process_ = 0;
};

}  // namespace arenascan::scan
