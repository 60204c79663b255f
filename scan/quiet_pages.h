// Pages of large objects that need not be read: nothing in them could be a pointer into the heap when they were read
// last, and nobody has written to them since.
//
// A program that is scanned often, after each input of a fuzzer for instance, holds large tables and buffers that are
// mostly as they were. Reading all of them is most of such a scan. So between scans that follow each other closely,
//
//     survey()      at the end of a scan, beside the program: pages of large objects that are not known are protected
//                   from being written (write_watch.h), then read: known, and quiet or not; those that were never
//                   touched are known to be zero
//     begin_mark()  in the next one, with the world stopped: pages that were written since are not known any more
//     for_each_loud_part()  what the mark has to read
//
// Invariants
//   1. A known page was protected before it was read, and nothing has protected it since. What it holds is what it held
//      then, unless the kernel says that it was written.
//   2. begin_mark() asks about every page that is known, whatever lies there by then. What a page belongs to does not
//      matter: a page without pointers holds none, whoever owns it. (One that was given back to the system reads as
//      zero.)
//   3. A concurrent mark protects pages for itself: forget() after it.
//
// Protecting a page costs the program a fault when it writes there next. One that was found written is left alone for
// some scans, and read in each.
//
// Threads: the scanner's; the lanes of a mark read. Called by: mark_lane, mark_cycle.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "alloc/heap_view.h"
#include "alloc/meta_vector.h"
#include "alloc/os.h"
#include "scan/mappings.h"
#include "scan/pagemap.h"
#include "scan/word_filter.h"

namespace arenascan::scan {

class QuietPages {
 public:
  // Objects from this size on are looked at.
  static constexpr std::size_t kLeastObjectBytes = std::size_t{256} << 10;

  // What a survey would look at, in bytes. `page_end` as for HeapView::for_each_page().
  [[nodiscard]] std::size_t list(alloc::HeapView heap, std::size_t page_end) noexcept;

  // After list(). The world runs, but nobody closes memory of the heap, and none of it is closed. Pages must be
  // watched.
  void survey(const Pagemap& pagemap) noexcept;

  // With the world stopped, before for_each_loud_part() is used.
  void begin_mark(const Pagemap& pagemap) noexcept;

  // Nothing is known any more.
  void forget() noexcept;

  [[nodiscard]] bool empty() const noexcept { return quiet_pages_ == 0; }
  // How much need not be read.
  [[nodiscard]] std::size_t bytes() const noexcept { return quiet_pages_ * alloc::kOsPageBytes; }

  // Calls visit(begin, end) for the parts of a range of the heap that have to be read.
  template <typename Visit>
  void for_each_loud_part(std::uintptr_t begin, std::uintptr_t end, Visit&& visit) const {
    while (begin < end) {
      const std::uintptr_t loud = find(begin, end, true);
      const std::uintptr_t quiet = find(loud, end, false);
      if (loud < quiet) visit(loud, quiet);
      begin = quiet;
    }
  }

 private:
  // Of one page: flags, and for how many surveys it is to be left alone.
  using State = std::uint8_t;
  static constexpr State kKnown = 0x80;
  static constexpr State kQuiet = 0x40;
  static constexpr State kRestMask = 0x3F;
  static constexpr State kRest = 8;

  [[nodiscard]] std::size_t number_of(std::uintptr_t address) const noexcept {
    return (address - base_) / alloc::kOsPageBytes;
  }
  // The first address from `begin` on that is loud, or quiet; `end` if there is none.
  [[nodiscard]] std::uintptr_t find(std::uintptr_t begin, std::uintptr_t end, bool loud) const noexcept;
  void drop_what_is_not_listed(std::span<const AddressRange> listed) noexcept;
  [[nodiscard]] bool note_written(AddressRange range, const Pagemap& pagemap) noexcept;
  [[nodiscard]] bool learn(AddressRange range, const Pagemap& pagemap) noexcept;
  [[nodiscard]] bool learn_run(AddressRange run, const Pagemap& pagemap) noexcept;
  bool is_without_pointers(std::uintptr_t page) noexcept;
  void set(std::uintptr_t page, State state) noexcept;

  std::uintptr_t base_ = 0;
  Window window_{};                          // all of the heap's range, handed out or not
  alloc::MetaVector<State> states_;          // from base_ on
  alloc::MetaVector<AddressRange> ranges_;   // hold all known pages; in order, apart
  alloc::MetaVector<AddressRange> listed_;   // for the next survey
  alloc::MetaVector<std::uintptr_t> words_;  // where a page is filtered into
  std::size_t quiet_pages_ = 0;
};

}  // namespace arenascan::scan
