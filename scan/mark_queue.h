// The grey objects that wait to be read: a stack in the tool's own memory, eight bytes an object.
//
// A Page is aligned to 64 bytes and lies below 2^48, and an index is below 2^16, so page and index fit one word. When
// the tool's memory runs out the object is not queued, stays grey, and the queue remembers that it overflowed: the
// marker then looks for grey objects in the pages themselves.
//
// Threads: the scanner's.
#pragma once

#include <cstdint>

#include "alloc/heap_view.h"
#include "alloc/meta_vector.h"

namespace arenascan::scan {

class MarkQueue {
 public:
  void push(const alloc::Object& object) noexcept {
    const auto page = reinterpret_cast<std::uintptr_t>(object.page);
    if (!entries_.push_back(page | std::uint64_t{object.index} << kIndexShift)) overflowed_ = true;
  }

  bool pop(alloc::Object& object) noexcept {
    if (entries_.empty()) return false;
    const std::uint64_t entry = entries_.pop_back();
    object.page = reinterpret_cast<alloc::Page*>(entry & ((std::uint64_t{1} << kIndexShift) - 1));
    object.index = static_cast<std::uint32_t>(entry >> kIndexShift);
    return true;
  }

  // Whether objects were left out since the last call.
  bool take_overflow() noexcept {
    const bool overflowed = overflowed_;
    overflowed_ = false;
    return overflowed;
  }

 private:
  static constexpr unsigned kIndexShift = 48;
  alloc::MetaVector<std::uint64_t> entries_;
  bool overflowed_ = false;
};

}  // namespace arenascan::scan
