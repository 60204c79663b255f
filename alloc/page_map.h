// Which Page describes an address: a flat array with one entry for each 64 KiB of the heap's range.
//
//     address --> (address - begin) >> 16 --> entry --> Page
//                                             | address of the Page, a multiple of 64 | tag 6 |
//
// The tag is the size class of a span of one page, which says all that a lookup needs to know of the Page: the mark,
// which asks for millions of addresses in no order, touches no descriptor but that of an interior pointer.
//
// "Could this word be ours" is one subtraction and one compare; from there to the Page is one load. Every page of a
// span has an entry, so interior addresses need no search. The array is committed as the heap grows; what lies beyond
// its limit was never handed out.
//
// Threads: entries are written under the heap's lock, with release, after the Page they name is complete; they are read
// without a lock, with acquire, by frees and by the scanner. An entry goes back to null before its Page is reused.
// The limits are raised under the lock, with release after the entries below are accessible, and read with acquire.
//
// Called by: heap (publish, clear), free paths and heap_view (find).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/atomic.h"
#include "alloc/layout.h"

namespace arenascan::alloc {

// What the map says of one 64 KiB page; nothing, of one that is not in use.
class PageEntry {
 public:
  static constexpr unsigned kNoClass = 63;  // a span of several pages, or of a large object
  static_assert(alignof(Page) > kNoClass && kOnePageClasses <= kNoClass);

  constexpr PageEntry() = default;
  explicit constexpr PageEntry(std::uintptr_t bits) noexcept : bits_(bits) {}
  explicit PageEntry(const Page* page) noexcept
      : bits_(reinterpret_cast<std::uintptr_t>(page) |
              (page->size_class < kOnePageClasses ? page->size_class : kNoClass)) {}

  [[nodiscard]] std::uintptr_t bits() const noexcept { return bits_; }
  [[nodiscard]] Page* page() const noexcept { return reinterpret_cast<Page*>(bits_ & ~std::uintptr_t{kNoClass}); }
  // Meaningless where there is no page.
  [[nodiscard]] unsigned size_class() const noexcept { return static_cast<unsigned>(bits_ & kNoClass); }

 private:
  std::uintptr_t bits_ = 0;
};

class PageMap {
 public:
  constexpr PageMap() = default;

  // `entries` is reserved memory for one entry for each of the `page_count` pages from `begin`; none: empty the map.
  void init(std::uintptr_t begin, std::size_t page_count, void* entries) noexcept;

  // Makes the entries of the first `page_count` pages accessible. False when there is no memory.
  [[nodiscard]] bool grow_locked(std::size_t page_count) noexcept {
    return page_count * kPageBytes <= limit_bytes_.load(std::memory_order_relaxed) || grow_slow_locked(page_count);
  }

  [[nodiscard]] bool contains(std::uintptr_t address) const noexcept {
    return address - begin_ < limit_bytes_.load(std::memory_order_acquire);
  }

  // The Page that holds `address`, or null. Any value may be asked for.
  [[nodiscard]] Page* find(std::uintptr_t address) const noexcept { return Reader(*this).find(address).page(); }

  // Of the page with that number, which is below page_limit().
  [[nodiscard]] PageEntry entry(std::size_t number) const noexcept { return load(entries_ + number); }

  // The same for the quick way of freeing; null for all once close_quick_way() was called. Whether another thread sees
  // that a moment earlier or later makes no difference to what it may do.
  [[nodiscard]] Page* find_quickly(std::uintptr_t address) const noexcept {
    const std::uintptr_t offset = address - begin_;
    if (offset >= quick_limit_bytes_.load(std::memory_order_acquire)) [[unlikely]]
      return nullptr;
    return load(entries_ + (offset >> kPageShift)).page();
  }
  void close_quick_way_locked() noexcept {
    is_quick_way_open_ = false;
    quick_limit_bytes_.store(0, std::memory_order_relaxed);
  }

  // For many addresses: what find() would load each time, loaded once. It does not see the map grow.
  class Reader {
   public:
    explicit Reader(const PageMap& map) noexcept
        : begin_(map.begin_), limit_bytes_(map.limit_bytes_.load(std::memory_order_acquire)), entries_(map.entries_) {}
    [[nodiscard]] PageEntry find(std::uintptr_t address) const noexcept {
      const std::uintptr_t offset = address - begin_;
      return offset < limit_bytes_ ? load(entries_ + (offset >> kPageShift)) : PageEntry();
    }
    [[nodiscard]] std::uintptr_t begin() const noexcept { return begin_; }

   private:
    std::uintptr_t begin_;
    std::size_t limit_bytes_;
    const Atomic<std::uintptr_t>* entries_;
  };

  void publish_locked(Page* page) noexcept { fill_locked(*page, PageEntry(page)); }
  void clear_locked(const Page* page) noexcept { fill_locked(*page, PageEntry()); }

  [[nodiscard]] std::uintptr_t begin() const noexcept { return begin_; }

  // Pages below this number have entries.
  [[nodiscard]] std::size_t page_limit() const noexcept {
    return limit_bytes_.load(std::memory_order_acquire) >> kPageShift;
  }

  // Size of the whole range, handed out or not.
  [[nodiscard]] std::size_t range_bytes() const noexcept { return page_count_ * kPageBytes; }

 private:
  bool grow_slow_locked(std::size_t page_count) noexcept;
  void fill_locked(const Page& page, PageEntry entry) noexcept {
    const std::size_t first = (page.base - begin_) >> kPageShift;
    for (std::size_t i = 0; i < page.page_count; ++i)
      entries_[first + i].store(entry.bits(), std::memory_order_release);
  }
  static PageEntry load(const Atomic<std::uintptr_t>* entry) noexcept {
    return PageEntry(entry->load(std::memory_order_acquire));
  }

  std::uintptr_t begin_ = 0;
  std::size_t page_count_ = 0;
  Atomic<std::size_t> limit_bytes_{0};
  Atomic<std::size_t> quick_limit_bytes_{0};  // the same, or 0
  bool is_quick_way_open_ = true;             // the heap's lock
  Atomic<std::uintptr_t>* entries_ = nullptr;
};

}  // namespace arenascan::alloc
