// Which pages of the heap were written while the mark ran beside the program.
//
// The kernel protects pages from being written, notes the first write to each and lets it through by itself: the
// program waits for a page fault once a page, no thread of ours has a part in it, and system calls that write to the
// heap work as always (userfaultfd's asynchronous write protection, Linux 6.7; allowed to everybody for memory of their
// own).
//
//     prepare ... protect ... written ... written ... release
//
// A first write costs the program about a microsecond on hardware and up to twenty in virtual machines. So pages are
// protected late, for the last part of a mark only (concurrent_mark.h), and released as soon as it is over.
//
// The heap's range stays registered with the kernel from the first concurrent mark on, since taking that back would
// stop everybody who needs memory for milliseconds. A program that closes our file takes it back: whatever is asked
// fails then, which is told, and the next prepare() begins anew. A forked child inherits no registration.
//
// Threads: the scanner's; written() also while the world is stopped. fork_child() in the child of a fork.
// Called by: concurrent_mark, scanner.
#pragma once

#include <cstdint>

#include "scan/mappings.h"
#include "scan/pagemap.h"

namespace arenascan::scan {

class WriteWatch {
 public:
  constexpr WriteWatch() = default;

  // Registers the heap, all of its range. False: this system, or a policy of it, does not allow it.
  [[nodiscard]] bool prepare(AddressRange heap) noexcept;

  // From now on writes to the range are noted. A little at a time, so that no writer waits long for the kernel's locks.
  [[nodiscard]] bool protect(const Pagemap& pagemap, AddressRange range) noexcept;

  // Writes go unnoticed and undisturbed again.
  void release(AddressRange range) noexcept;

  // In the child of a fork: what was registered was the parent's.
  void fork_child() noexcept;

 private:
  int file_ = -1;
  int process_ = 0;
};

}  // namespace arenascan::scan
