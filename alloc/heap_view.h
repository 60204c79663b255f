// What the scanner may know of a heap: find, iterate, policy, stamps, lock order. The door for scan/.
//
// An Object names a slot by its page and index; it stays readable for ever (metadata is never unmapped) but says
// something only while the slot holds the object that was meant: check is_allocated and the birth again after the world
// has been let go.
//
// Threads: find() and the accessors work without a lock at any time. for_each_page_locked() is for the holder of
// lock(), who alone keeps pages from coming and going; slots may still change unless the world is stopped.
//
// A Page that was found while the program runs may be given back and set up again elsewhere at any moment, its fields
// passing through whatever set-up writes, unless keep_descriptors_locked() forbids it.
//
// Lock order: lock() is taken before other threads are stopped, and released after they run again: a thread can then
// not be stopped while it holds it.
//
// Called by: all of scan/.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/heap.h"

namespace arenascan::alloc {

struct Object {
  Page* page = nullptr;
  std::uint32_t index = 0;

  [[nodiscard]] std::uintptr_t address() const noexcept { return page->address_of(index); }
  [[nodiscard]] std::size_t bytes() const noexcept { return page->requested_bytes(index); }
  // Whether an address in its slot points to or into the object, and not into what is left of the slot behind it. An
  // object of no bytes is pointed to by its address. So is the array that `new T[0]` makes of a type with a destructor:
  // nothing but its length, 0, with the program's pointer behind it (LeakSanitizer has the same exception).
  [[nodiscard]] bool contains(std::uintptr_t word) const noexcept {
    const std::size_t offset = word - address();
    if (offset == 0) return true;
    const std::size_t size = bytes();
    return offset < size || (size == kArrayLengthBytes && offset == size && is_empty_array());
  }
  [[nodiscard]] Birth birth() const noexcept { return page->birth(index); }
  [[nodiscard]] std::uint8_t state() const noexcept { return page->states()[index].load(std::memory_order_acquire); }
  [[nodiscard]] Atomic<std::uint8_t>& mark() const noexcept { return page->marks()[index]; }

  friend bool operator==(const Object& a, const Object& b) noexcept { return a.page == b.page && a.index == b.index; }

 private:
  static constexpr std::size_t kArrayLengthBytes = sizeof(std::size_t);
  [[nodiscard, gnu::no_sanitize_thread]] bool is_empty_array() const noexcept {
    return __atomic_load_n(reinterpret_cast<const std::size_t*>(address()), __ATOMIC_RELAXED) == 0;
  }
};

class HeapView {
 public:
  explicit HeapView(Heap& heap) noexcept : heap_(heap) {}

  void lock() noexcept { heap_.lock(); }
  bool try_lock() noexcept { return heap_.try_lock(); }
  void unlock() noexcept { heap_.unlock(); }

  // The heap's range of addresses; every pointer to an object is a word in it.
  struct Range {
    std::uintptr_t begin;
    std::size_t bytes;
  };
  [[nodiscard]] Range range() const noexcept { return {heap_.map_.begin(), heap_.map_.range_bytes()}; }

  // The front of that range that has ever been handed out.
  [[nodiscard]] Range in_use_locked() const noexcept {
    return {heap_.map_.begin(), heap_.page_end_locked() * kPageBytes};
  }

  // Everything the heap has reserved, metadata included: never a root.
  [[nodiscard]] Range reserved() const noexcept {
    return {reinterpret_cast<std::uintptr_t>(heap_.reserved_), heap_.reserved_bytes_};
  }

  // The allocated object that `word` points to or into. False when there is none.
  bool find(std::uintptr_t word, Object& object) const noexcept {
    Page* const page = heap_.map_.find(word);
    if (page == nullptr) return false;
    const Object found{page, page->index_of(word)};
    if (!state::is_allocated(found.state()) || !found.contains(word)) return false;
    object = found;
    return true;
  }

  // What a class tells of its spans of one page: all that a lookup needs besides the entry of the page map.
  struct OnePageSlots {
    std::uint64_t reciprocal;
    std::uint32_t capacity;
    std::uint16_t bytes;
    std::uint16_t marks;  // where they begin, from the Page
    // The slot that an address so far behind the page's beginning lies in.
    [[nodiscard]] constexpr std::uint32_t index_of(std::uint64_t offset) const noexcept {
      return static_cast<std::uint32_t>((offset * reciprocal) >> kReciprocalShift);
    }
  };
  // By size class; the last one is that of an entry of no such span.
  static_assert(alloc::slot_bytes(kOnePageClasses - 1) <= UINT16_MAX);
  static constexpr auto kOnePageSlots = [] {
    std::array<OnePageSlots, PageEntry::kNoClass + 1> classes{};
    classes[PageEntry::kNoClass].capacity = UINT32_MAX;
    for (unsigned c = 0; c < kOnePageClasses; ++c) {
      const std::size_t bytes = alloc::slot_bytes(c);
      const std::uint32_t capacity = span_capacity(c);
      classes[c] = {alloc::reciprocal(bytes), capacity, static_cast<std::uint16_t>(bytes),
                    static_cast<std::uint16_t>(sizeof(Page) + Page::padded(capacity))};
    }
    return classes;
  }();

  // Where the slot begins that `word` lies in, whatever it holds; 0: in none. Of spans of one page the page map tells,
  // and nothing else is read.
  [[nodiscard]] std::uintptr_t slot_of(std::uintptr_t word) const noexcept {
    const PageEntry entry = pages().find(word);
    if (entry.bits() == 0) return 0;
    if (entry.size_class() == PageEntry::kNoClass) return entry.page()->address_of(entry.page()->index_of(word));
    const OnePageSlots& slots = kOnePageSlots[entry.size_class()];
    const std::uintptr_t offset = word & (kPageBytes - 1);
    return word - offset + std::uintptr_t{slots.index_of(offset)} * slots.bytes;
  }

  // heap.h
  void keep_descriptors_locked(bool keep) noexcept { heap_.keep_descriptors_locked(keep); }

  // The page that holds `word`, which lies in range(), and its number; of a span of several 64 KiB pages all have the
  // number of the first. Null: none does, or it was never handed out.
  [[nodiscard]] Page* page_of(std::uintptr_t word) const noexcept { return heap_.map_.find(word); }
  [[nodiscard]] PageMap::Reader pages() const noexcept { return PageMap::Reader(heap_.map_); }
  [[nodiscard]] std::size_t number_of(const Page& page) const noexcept {
    return (page.base - heap_.map_.begin()) >> kPageShift;
  }
  // The page with that number; null: there is none.
  [[nodiscard]] Page* page_numbered(std::size_t number) const noexcept {
    return heap_.map_.find(heap_.map_.begin() + (number << kPageShift));
  }

  // Calls visit(Page&) for each page in use, in address order.
  template <typename Visit>
  void for_each_page_locked(Visit&& visit) const {
    heap_.for_each_page_locked(visit);
  }

  // The same without the lock, for the pages with numbers from `begin` to below `end`: those that come or go meanwhile
  // are visited or not. fetch(page) asks for what a visit will read from memory, some pages ahead: the pieces are too
  // short for the processor to foresee the next.
  template <typename Fetch, typename Visit>
  void for_each_page(std::size_t begin, std::size_t end, Fetch&& fetch, Visit&& visit) const {
    constexpr std::size_t kAhead = 8;
    for (std::size_t number = begin; number < end; ++number) {
      __builtin_prefetch(page_numbered(number + 2 * kAhead));
      Page* const soon = page_numbered(number + kAhead);
      if (soon != nullptr && number_of(*soon) == number + kAhead) fetch(*soon);
      Page* const page = page_numbered(number);
      if (page != nullptr && number_of(*page) == number) visit(*page);
    }
  }

  // The same for those pages below `end` of which wanted(number, entry) says so, by what the page map tells of them.
  // Their descriptors are asked for first, then what fetch(page) does, some of those pages ahead.
  template <typename Wanted, typename Fetch, typename Visit>
  void for_each_page_if(std::size_t end, Wanted&& wanted, Fetch&& fetch, Visit&& visit) const {
    constexpr std::size_t kAhead = 16;
    std::array<Page*, 2 * kAhead> ahead;
    std::size_t count = 0;
    std::uintptr_t last = 0;
    end = std::min(end, heap_.map_.page_limit());
    for (std::size_t number = 0; number < end; ++number) {
      const PageEntry entry = heap_.map_.entry(number);
      if (entry.bits() == last) continue;  // none, or the rest of a span
      last = entry.bits();
      if (last == 0 || !wanted(number, entry)) continue;
      Page*& place = ahead[count % ahead.size()];
      if (count >= ahead.size()) visit(*place);
      place = entry.page();
      __builtin_prefetch(place);
      if (count >= kAhead) fetch(*ahead[(count - kAhead) % ahead.size()]);
      ++count;
    }
    for (std::size_t i = count - std::min(count, ahead.size()); i < count; ++i) visit(*ahead[i % ahead.size()]);
  }

  // How many objects such an entry's page has room for, where that is known without its descriptor; else more than any.
  [[nodiscard]] static std::uint32_t capacity(const PageEntry& entry) noexcept {
    return kOnePageSlots[entry.size_class()].capacity;
  }

  static void fetch_marks(const Page& page) noexcept { fetch(page.marks(), page.capacity); }
  static void fetch_states_and_marks(const Page& page) noexcept {
    fetch(page.states(), 2 * std::size_t{page.padded_capacity()});  // marks follow states
  }

  // No fewer than the objects of the page. Exact enough for that only while the page's owner stands still.
  [[nodiscard]] static std::uint32_t most_objects_stopped(const Page& page) noexcept { return page.local->used; }
  static void fetch_count(const Page& page) noexcept { __builtin_prefetch(page.local); }

  // Adds policy bits (layout.h) to a live object. False when it is not allocated (any more).
  bool add_policy(const Object& object, std::uint8_t bits) noexcept;
  [[nodiscard]] std::uint64_t annotations() const noexcept { return heap_.annotations(); }

  // How many pages have been given back: what was marked of them says nothing of who lies there now.
  [[nodiscard]] std::uint64_t pages_dropped() const noexcept { return heap_.pages_dropped(); }

  // Stamps of births (heap.h).
  std::uint32_t advance_stamp_locked() noexcept { return heap_.advance_stamp_locked(); }
  void age_births_locked() noexcept { heap_.age_births_locked(); }
  [[nodiscard]] std::uint32_t stamp() const noexcept { return heap_.stamp(); }

 private:
  static void fetch(const Atomic<std::uint8_t>* bytes, std::size_t count) noexcept {
    constexpr std::size_t kLineBytes = 64;
    for (std::size_t at = 0; at < count; at += kLineBytes) __builtin_prefetch(bytes + at);
  }

  Heap& heap_;
};

}  // namespace arenascan::alloc
