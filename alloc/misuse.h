// One reporter for each way a program can misuse the heap. Each prints one line that names the pointer, what it is, and
// where it was allocated when that is known, and aborts.
//
//   arenascan: double free of 0x7f...: a block of 40 bytes; allocated by 0x55... 0x55... (MODULE+OFFSET ...)
//
// Nothing is allocated and no lock is taken, so a reporter works from any thread, inside a signal handler, and from the
// middle of a free. Frames are printed as module and offset (`addr2line -e MODULE OFFSET` names them).
//
// Called by: page, heap.
#pragma once

#include <cstddef>
#include <cstdint>

#include "alloc/layout.h"
#include "alloc/stack_table.h"

namespace arenascan::alloc {

// The object at `index` was freed already.
[[noreturn]] void report_double_free(const Page& page, std::uint32_t index) noexcept;

// `address` lies inside an object, not at its beginning.
[[noreturn]] void report_interior_free(const Page& page, std::uint32_t index, std::uintptr_t address) noexcept;

// No allocation was ever made at `address`. `what` says what it is, as far as it is known.
[[noreturn]] void report_invalid_free(std::uintptr_t address, const char* what) noexcept;

// The object came from one family of functions and is freed by another.
[[noreturn]] void report_mismatched_free(const Page& page, std::uint32_t index, const char* allocated_by,
                                         const char* freed_by) noexcept;

// A freed object was written to, `offset` bytes from its beginning.
[[noreturn]] void report_write_after_free(const Page& page, std::uint32_t index, std::size_t offset) noexcept;

// The table that allocation stacks in reports are read from, for the process's heap. Set once at start.
void set_misuse_stack_table(const StackTable* table) noexcept;

}  // namespace arenascan::alloc
