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

// One line of /proc/self/maps. False when it is not one.
bool parse_mapping(std::string_view line, Mapping& mapping) noexcept;

// All lines, sorted by address. A process whose mappings are as they were is told from one that has changed by a
// comparison of the text: nothing is parsed then.
class MappingTable {
 public:
  // False when the text could not be read whole, or there is no memory; the table is empty then.
  [[nodiscard]] bool read() noexcept;

  [[nodiscard]] const Mapping* begin() const noexcept { return mappings_.begin(); }
  [[nodiscard]] const Mapping* end() const noexcept { return mappings_.end(); }
  [[nodiscard]] std::size_t size() const noexcept { return mappings_.size(); }

 private:
  struct Text {
    alloc::MetaVector<char> room;
    std::size_t length = 0;
    [[nodiscard]] std::string_view view() const noexcept { return {room.begin(), length}; }
  };
  [[nodiscard]] static bool read_text(Text& text) noexcept;
  [[nodiscard]] bool parse() noexcept;

  alloc::MetaVector<Mapping> mappings_;
  Text known_;  // what mappings_ was parsed from
  Text now_;
};

}  // namespace arenascan::scan
