// The mark: everything that can be reached from the roots becomes black.
//
//     begin_locked()       next epoch: all white
//     mark_annotated()     what the user declared no leak is a root; ignored objects are black unread
//     mark_range(root)...  each aligned word that points to or into an object turns it grey
//     drain()              reads grey objects until none is left
//
// The program may run meanwhile and move pointers from where the marker has not looked yet to where it has. Then
//
//     reread(pages)        looks again at what black objects hold in pages that were written
//     reread_all(piece)    ... at all black objects there
//
// and at last, with the world stopped, reread(what was written since), roots, drain. mark_cycle.h has the order of
// it.
//
// What keeps a mark waiting is memory: object, page, colour, record lie in five places. So each step asks for what the
// next one needs and goes on with something else:
//
//     grey pages --> groups about to be read --> words in the heap --> pages and colours --> grey pages
//     (grey_pages.h)  a ring: contents and records (word_filter.h)     looked up in batches,
//                     are being fetched                                their colours fetched, then set
//
// Only the bytes that the program asked for count: they are read, and a pointer to or into them reaches the object.
// What is left of a slot behind them is neither read, so what an earlier tenant left there keeps nothing alive, nor
// does a pointer there reach anything. Ranges that the program made unreadable are left out.
//
// Legal sequence: begin_locked, then the others in any order and number; the mark is finished after a drain that was
// not cut short. Invariant then: no object is grey; every object that a black one points to, as it was last read, is
// black.
//
// Threads: the scanner's. ..._locked() with the heap's lock held. Exact only while the world is stopped (or
// nobody else uses the heap); while it runs, descriptors of pages have to be kept (heap.h): what is marked of a page
// that was given back is nobody's any more.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "alloc/heap_view.h"
#include "scan/color.h"
#include "scan/grey_pages.h"
#include "scan/roots.h"
#include "scan/verdict.h"
#include "scan/word_filter.h"

namespace arenascan::scan {

class Marker {
 public:
  explicit Marker(alloc::HeapView heap) noexcept : heap_(heap) {}

  // False: no memory.
  [[nodiscard]] bool begin_locked() noexcept;
  void mark_annotated(std::size_t page_end) noexcept;  // of the pages with numbers below
  void mark_range(AddressRange range) noexcept;
  void mark_object(const alloc::Object& object) noexcept;
  // One step of the mark; false when nothing is left.
  bool step() noexcept;
  void drain() noexcept {
    while (step()) {
    }
  }
  // The same until os_monotonic_ns() has come to `deadline_ns`; false when something is left then.
  bool drain_until(std::uint64_t deadline_ns) noexcept;

  void reread(AddressRange written) noexcept;
  void reread_all(AddressRange piece) noexcept;  // whole 64 KiB pages

  // The heap may grow while the mark runs. A mark knows of more than there was when it began; pointers to what lies
  // behind that mean nothing to it.
  [[nodiscard]] bool knows_all_locked() const noexcept { return heap_.in_use_locked().bytes <= window_.bytes; }

  // Takes in what the heap has grown by; black objects may point there. Nothing may be grey. False: no memory.
  [[nodiscard]] bool extend_locked() noexcept;

  // Ranges of the heap that must not be read from now on; sorted.
  void leave_out(std::span<const AddressRange> unreadable) noexcept { unreadable_ = unreadable; }

  // The number behind the last page that the mark knows of.
  [[nodiscard]] std::size_t page_end() const noexcept { return window_.bytes >> alloc::kPageShift; }

  [[nodiscard]] Epoch epoch() const noexcept { return epoch_; }
  [[nodiscard]] Count reached() const noexcept { return reached_; }

  // How many objects of the page, or of its slots `first` to `first + 63`, were reached. In a mark with the world
  // stopped each is counted once.
  [[nodiscard]] std::uint32_t reached_in(const alloc::Page& page) const noexcept;
  [[nodiscard]] std::uint32_t reached_in(const alloc::Page& page, std::uint32_t first) const noexcept {
    return reached_in_[heap_.number_of(page)].groups[first >> GreyPages::kGroupShift];
  }

  // Calls visit(begin, end) for the parts of a range that may be read.
  template <typename Visit>
  void for_each_readable(std::uintptr_t begin, std::uintptr_t end, Visit&& visit) const noexcept;

  // Calls visit(word) for each aligned word of a range that may be read.
  template <typename Visit>
  void for_each_word(std::uintptr_t begin, std::uintptr_t end, Visit&& visit) const noexcept {
    for_each_readable(begin, end, [&](std::uintptr_t from, std::uintptr_t to) { visit_words(from, to, visit); });
  }

 private:
  static constexpr std::size_t kWords = 4096;  // gathered before they are looked up
  static constexpr std::size_t kChunk = 512;   // of one object, read at once
  static constexpr std::size_t kBatch = 64;    // looked up at once
  static constexpr std::size_t kAhead = 8;     // groups on their way from memory
  static_assert(kWords >= kMostWordsOfGroup && kWords >= kChunk);

  // Grey objects of one page that were turned black and have to be read: bit i is slot first + i.
  struct Group {
    alloc::Page* page;
    std::uint64_t objects;
    std::uint32_t first;
  };

  template <typename Visit>
  static void visit_words(std::uintptr_t begin, std::uintptr_t end, Visit&& visit) noexcept;
  void gather(std::uintptr_t begin, std::uintptr_t end) noexcept;
  void look_up() noexcept;
  void look_up_batch(const std::uintptr_t* words, std::size_t count) noexcept;
  bool next_group(Group& group) noexcept;
  std::uint64_t blacken(alloc::Page& page, std::uint32_t first) const noexcept;
  std::uint64_t black_ones(const alloc::Page& page, std::uint32_t first) const noexcept;
  void fetch_ahead() noexcept;
  Count read(const Group& group) noexcept;
  Count read_object(const alloc::Object& object) noexcept;
  void reread_part(const alloc::Page& page, AddressRange part) noexcept;
  [[nodiscard]] static bool is_read(const alloc::Object& object) noexcept {
    return !object.page->annotated.load(std::memory_order_relaxed) ||
           (object.state() & (alloc::state::kNoScan | alloc::state::kIgnored)) == 0;
  }
  [[nodiscard]] bool is_black(const alloc::Page& page, std::uint32_t index) const noexcept {
    return page.marks()[index].load(std::memory_order_relaxed) == epoch_.black() &&
           alloc::state::is_allocated(page.states()[index].load(std::memory_order_acquire));
  }

  alloc::HeapView heap_;
  Epoch epoch_;
  Window window_;  // of the heap, as much as grey_ has room for
  GreyPages grey_;
  Count reached_;
  struct ReachedIn {
    std::uint8_t groups[64];
  };
  alloc::MetaVector<ReachedIn> reached_in_;  // by page number
  std::span<const AddressRange> unreadable_;

  // The page whose grey objects come next, and its groups that were not looked at yet.
  alloc::Page* page_ = nullptr;
  std::uint64_t groups_ = 0;

  // Groups that were asked for from memory: a ring.
  std::array<Group, kAhead> ahead_;
  std::size_t ahead_begin_ = 0;
  std::size_t ahead_end_ = 0;

  // In the tool's memory: anywhere else these words would keep objects alive.
  alloc::MetaVector<std::uintptr_t> words_;
  std::size_t word_count_ = 0;
};

// The words are read while other code may be writing them, and belong to nobody's object as far as the language can
// see: relaxed atomic loads, out of the sanitizers' sight.
template <typename Visit>
[[gnu::no_sanitize_address, gnu::no_sanitize_thread]] void Marker::visit_words(std::uintptr_t begin, std::uintptr_t end,
                                                                               Visit&& visit) noexcept {
  constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);
  begin = (begin + kWord - 1) & ~(kWord - 1);
  end &= ~(kWord - 1);
  for (std::uintptr_t at = begin; at < end; at += kWord) {
    visit(__atomic_load_n(reinterpret_cast<const std::uintptr_t*>(at), __ATOMIC_RELAXED));
  }
}

template <typename Visit>
void Marker::for_each_readable(std::uintptr_t begin, std::uintptr_t end, Visit&& visit) const noexcept {
  for (const AddressRange& hole : unreadable_) {
    if (hole.end <= begin || hole.begin >= end) continue;
    if (hole.begin > begin) visit(begin, hole.begin);
    begin = hole.end;
    if (begin >= end) return;
  }
  visit(begin, end);
}

}  // namespace arenascan::scan
