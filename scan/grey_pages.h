// Where grey objects wait to be read: the pages that hold any, and in which parts of them.
//
//     full_      a ring of page numbers: nearly full of grey objects      page --> Place: groups, bit g set: among
//     waiting_   a ring of page numbers: the rest                                  the slots 64 g to 64 g + 63 there
//                                                                                  may be grey ones; marks tell which
//
// A page waits until it comes up, and gathers grey objects meanwhile; then all of them are read in the order of their
// addresses, which is what memory is fastest at. A page that is nearly full has little to gain by waiting, and what it
// points to fills others: it comes first, before all others when it follows the last one in memory. Otherwise first
// come, first served; where objects are found one by one, as along a list, a page comes up with one object in it, and
// the bits lead straight to its 64 marks. scan/README.md has the orders this was measured against.
//
// Page numbers count 64 KiB pages from the beginning of the heap; a span is known by its first one. A page is at most
// once in each ring, so neither can overflow, and all is made before the mark. An entry that a page has left behind, by
// coming up otherwise, is passed over.
//
// Threads: one at a time. Called by: mark_lane.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "alloc/heap_view.h"
#include "alloc/meta_vector.h"

namespace arenascan::scan {

class GreyPages {
  struct Place {
    std::uint64_t groups;
    std::int32_t spare;  // so many more objects may turn grey before queue() has to be called
    enum Stage : std::uint8_t { kNothing, kWaiting, kFull } stage;
    bool in_waiting;  // rings that have an entry of it
    bool in_full;
  };

 public:
  static constexpr unsigned kGroupShift = 6;  // 64 slots a bit, and at most 64 bits a page
  static constexpr std::uint32_t kGroupSlots = 1U << kGroupShift;

  // Makes room for pages 0 to `pages - 1`. Nothing may be waiting. False: no memory.
  [[nodiscard]] bool reserve(std::size_t pages) noexcept;

  // Forgets all that waits. Pages are those of this heap from now on.
  void begin(const alloc::HeapView& heap) noexcept;

  // Adds many.
  class Adder {
   public:
    explicit Adder(GreyPages& to) noexcept : to_(to), places_(to.places_.begin()) {}

    // Slot `index` of the page was white and is grey now, or not: nothing happens then, and no branch asks which.
    void add_if(bool turned_grey, std::size_t page, std::uint32_t index) noexcept {
      Place& place = places_[page];
      place.groups |= std::uint64_t{turned_grey} << (index >> kGroupShift);
      place.spare -= std::int32_t{turned_grey};
      if (place.spare < 0) [[unlikely]]
        to_.queue(page, index);
    }

   private:
    GreyPages& to_;
    Place* const places_;
  };

  // A page and the groups of it that may hold grey objects.
  struct Waiting {
    std::size_t page;
    std::uint64_t groups;
    std::int32_t spare = kUnknown;  // fewer than 0: it is nearly full
  };
  static constexpr std::int32_t kUnknown = std::numeric_limits<std::int32_t>::max();
  void add(const Waiting& waiting) noexcept;

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  // How many pages hold grey objects.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  // Takes the page that comes next. There must be one.
  Waiting pop() noexcept;
  // Takes all of them, in order of addresses: calls visit(Waiting), which may add it again.
  template <typename Visit>
  void take_all(Visit&& visit) noexcept {
    std::size_t left = size_;
    for (std::size_t page = 0; left != 0; ++page) {
      if (places_[page].stage == Place::kNothing) continue;
      --left;
      visit(take(page));
    }
  }

 private:
  // Its size is a power of two, and more than it ever holds.
  struct Ring {
    alloc::MetaVector<std::uint32_t> pages;
    std::size_t head = 0;
    std::size_t tail = 0;

    [[nodiscard]] bool empty() const noexcept { return head == tail; }
    void push(std::size_t page) noexcept { pages[tail++ & (pages.size() - 1)] = static_cast<std::uint32_t>(page); }
    std::size_t pop() noexcept { return pages[head++ & (pages.size() - 1)]; }
  };

  void queue(std::size_t page, std::uint32_t index) noexcept;
  void queue_full(std::size_t page) noexcept;
  Waiting take(std::size_t page) noexcept;

  const alloc::HeapView* heap_ = nullptr;
  alloc::MetaVector<Place> places_;
  Ring full_;
  Ring waiting_;
  std::size_t size_ = 0;
  std::size_t last_ = 0;  // popped
};

}  // namespace arenascan::scan
