// Which Page describes an address: a flat array with one entry for each 64 KiB of the heap's range.
//
//     address --> (address - begin) >> 16 --> entry --> Page
//
// "Could this word be ours" is one subtraction and one compare; from there to the Page is one load. Every page of a
// span has an entry, so interior addresses need no search. The array is committed as the heap grows; what lies beyond
// its limit was never handed out.
//
// Threads: entries are written under the heap's lock, with release, after the Page they name is complete; they are read
// without a lock, with acquire, by frees and by the scanner. An entry goes back to null before its Page is reused.
// limit_bytes_ is raised under the lock, with release after the entries below it are accessible, and read with acquire.
//
// Called by: heap (publish, clear), free paths and heap_view (find).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/layout.h"

namespace arenascan::alloc {

class PageMap {
 public:
  constexpr PageMap() = default;

  // `entries` is reserved memory for one entry for each of the `page_count` pages from `begin`; none: empty the map.
  void init(std::uintptr_t begin, std::size_t page_count, std::atomic<Page*>* entries) noexcept;

  // Makes the entries of the first `page_count` pages accessible. False when there is no memory.
  [[nodiscard]] bool grow_locked(std::size_t page_count) noexcept {
    return page_count * kPageBytes <= limit_bytes_.load(std::memory_order_relaxed) || grow_slow_locked(page_count);
  }

  [[nodiscard]] bool contains(std::uintptr_t address) const noexcept {
    return address - begin_ < limit_bytes_.load(std::memory_order_acquire);
  }

  // The Page that holds `address`, or null. Any value may be asked for.
  [[nodiscard]] Page* find(std::uintptr_t address) const noexcept {
    const std::uintptr_t offset = address - begin_;
    if (offset >= limit_bytes_.load(std::memory_order_acquire)) return nullptr;
    return entries_[offset >> kPageShift].load(std::memory_order_acquire);
  }

  [[nodiscard]] Page* at(std::size_t page_index) const noexcept {
    return entries_[page_index].load(std::memory_order_acquire);
  }

  void publish_locked(Page* page) noexcept { fill_locked(page->base, page->page_count, page); }
  void clear_locked(const Page* page) noexcept { fill_locked(page->base, page->page_count, nullptr); }

  [[nodiscard]] std::uintptr_t begin() const noexcept { return begin_; }

  // Size of the whole range, handed out or not.
  [[nodiscard]] std::size_t range_bytes() const noexcept { return page_count_ * kPageBytes; }

 private:
  bool grow_slow_locked(std::size_t page_count) noexcept;
  void fill_locked(std::uintptr_t base, std::size_t count, Page* page) noexcept {
    const std::size_t first = (base - begin_) >> kPageShift;
    for (std::size_t i = 0; i < count; ++i) entries_[first + i].store(page, std::memory_order_release);
  }

  std::uintptr_t begin_ = 0;
  std::size_t page_count_ = 0;
  std::atomic<std::size_t> limit_bytes_{0};
  std::atomic<Page*>* entries_ = nullptr;
};

}  // namespace arenascan::alloc
