// The process's mappings, as /proc tells them. The calling thread is asked
// (/proc/thread-self): /proc/self is the main thread, which has no mappings any more when it has ended before the
// others.
//
// Threads: the scanner's; also while the world is stopped, since only raw system calls and tool memory are used.
// Called by: roots.
#pragma once

#include <cstdint>
#include <string_view>

#include "alloc/meta_vector.h"

namespace arenascan::scan {

struct AddressRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};

struct Mapping {
  AddressRange range;
  bool readable = false;
  bool writable = false;
  bool shared = false;
  bool file = false;     // backed by a file
  bool special = false;  // a device, or the kernel's own ([vdso], [vvar], ...)
};

using MappingList = alloc::MetaVector<Mapping>;

// One line of /proc/self/maps. False when it is not one.
bool parse_mapping(std::string_view line, Mapping& mapping) noexcept;

// All lines. False when the text could not be read whole, or there is no memory.
[[nodiscard]] bool read_mappings(MappingList& mappings) noexcept;

}  // namespace arenascan::scan
