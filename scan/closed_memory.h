// Memory that the program has closed (mprotect with PROT_NONE) and that still holds something, read all the same.
//
// A garbage collector that moves objects closes the pages it works on, so that it is told who comes there; what they
// hold is as alive as before. The kernel reads for a process what the process itself may not (/proc/thread-self/mem),
// so nothing is opened for it, which other threads would notice.
//
// Threads: any; with the program's other threads stopped where the memory may be written. errno is kept.
// Called by: roots, mark_lane, retainers.
#pragma once

#include <cstdint>
#include <span>

#include "scan/mappings.h"

namespace arenascan::scan {

// Parts of the heap that the program has closed (mprotect of a live block), and what of them was ever touched. Sorted;
// nearly always empty.
struct ClosedHeap {
  std::span<const AddressRange> parts;
  std::span<const AddressRange> touched;
};

// `piece` is a copy of what lies at `place`; it begins with a whole word, and overlaps the one before.
using ClosedVisit = void (*)(AddressRange piece, std::uintptr_t place, void* argument);

enum class Reading : std::uint8_t {
  kWhole,
  kCutShort,  // a part of it is not there: the file that was mapped ends before
  kDenied,    // who knows: the kernel does not read it, or does not let it be asked
};

// Calls visit for the pieces of a range, which begins with a whole word.
[[nodiscard]] Reading for_each_closed_piece(AddressRange range, ClosedVisit visit, void* argument) noexcept;

template <typename Visit>
[[nodiscard]] Reading for_each_closed_piece(AddressRange range, Visit&& visit) noexcept {
  return for_each_closed_piece(
      range,
      [](AddressRange piece, std::uintptr_t place, void* argument) { (*static_cast<Visit*>(argument))(piece, place); },
      &visit);
}

// Whether it is known that nothing was ever written to a range of private anonymous memory, by what any process may ask
// (mincore): /proc/PID/pagemap and mem are closed to one that has changed its user. Pages that are swapped out look the
// same as untouched ones, so where the process has any, the answer is no.
[[nodiscard]] bool is_untouched(AddressRange range) noexcept;

}  // namespace arenascan::scan
