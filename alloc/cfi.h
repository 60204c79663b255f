// From the compiler's unwind table to a rule for one code address (x86-64, DWARF call frame information).
//
// An entry (FDE) with its common part (CIE) is a little program that describes, address by address, where the caller's
// frame begins and where registers were saved. evaluate() runs it up to one address and sees whether the result is one
// of the few shapes that almost all code has; everything else is kComplex.
//
//   frame begins (CFA)   rsp + n, rbp + n, or the word at rbp + n (functions that realign their stack)
//   return address       the word below the CFA
//   caller's rbp         unchanged, the word at CFA - n, or the word at rbp + n
//
// Facts: DWARF 5 section 6.4; the .eh_frame deviations are in the Linux Standard Base, "Exception Frames".
// Pure: reads the table's bytes, nothing else; keeps no state. A table that is cut short or damaged gives kComplex.
//
// Called by: unwind.
#pragma once

#include <cstddef>
#include <cstdint>

namespace arenascan::alloc {

struct UnwindRule {
  enum class Kind : std::uint8_t {
    kFrame,    // the fields below say how to step
    kSignal,   // the frame that returns from a signal handler
    kEnd,      // outermost frame
    kComplex,  // not expressible here
  };
  enum class Base : std::uint8_t { kSp, kFp, kWordAtFp };
  enum class SavedFp : std::uint8_t { kUnchanged, kBelowCfa, kAtFp };

  Kind kind = Kind::kComplex;
  Base base = Base::kSp;
  SavedFp saved_fp = SavedFp::kUnchanged;
  std::int32_t cfa_offset = 0;
  std::int32_t fp_offset = 0;  // of the saved rbp: from the CFA (negative), or from rbp

  friend bool operator==(const UnwindRule&, const UnwindRule&) = default;
};

// The FDE for `address` in the sorted table of an .eh_frame_hdr section, or null. It may end before that address.
const std::byte* find_fde(const std::byte* eh_frame_hdr, std::uintptr_t address) noexcept;

// Whether `fde` is readable and describes other code than that at `address`.
bool is_elsewhere(const std::byte* fde, std::uintptr_t address) noexcept;

// Runs the program of `fde` up to `address`.
UnwindRule evaluate(const std::byte* fde, std::uintptr_t address) noexcept;

}  // namespace arenascan::alloc
