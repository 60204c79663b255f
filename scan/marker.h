// The mark: everything that can be reached from the roots becomes black.
//
//     begin_locked()       next epoch: all white
//     mark_annotated()     what the user declared no leak is a root; ignored objects are black unread
//     mark_range(root)...  each word (pointer_forms.h) that points to or into an object turns it grey
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
// All of that is done by one lane (mark_lane.h). When much is waiting and processors are free, more lanes share the
// mark for a while, each on a thread of its own (helpers.h) and each for the pages that it owns (exchange.h); when
// there is too little for all, as along a list, the first goes on alone. What is black in the end is the same whoever
// did it.
//
// Only the bytes that the program asked for count: they are read, and a pointer to or into them reaches the object.
// What is left of a slot behind them is neither read, so what an earlier tenant left there keeps nothing alive, nor
// does a pointer there reach anything. What the program has closed of the heap is read by the kernel (closed_memory.h).
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
#include "scan/exchange.h"
#include "scan/helpers.h"
#include "scan/known_words.h"
#include "scan/mark_lane.h"
#include "scan/verdict.h"

namespace arenascan::scan {

class Marker {
 public:
  explicit Marker(alloc::HeapView heap) noexcept : state_{heap} {}

  // False: no memory.
  [[nodiscard]] bool begin_locked() noexcept;

  // How many lanes may share the mark, 1 to kMostLanes, where so many pages wait to be read; by default, that is
  // several milliseconds' work for one lane, and it takes a tenth of one until others help. 0: one, and one for each
  // processor that is idle when it comes to sharing.
  static constexpr std::size_t kPagesWorthSharing = 256;
  void set_lanes(std::size_t lanes, std::size_t pages_worth_sharing = kPagesWorthSharing) noexcept {
    most_lanes_ = lanes;
    pages_worth_sharing_ = pages_worth_sharing;
    ask_again_at_ns_ = 0;
  }
  // How many have done so since the mark began.
  [[nodiscard]] std::size_t lanes_used() const noexcept { return lanes_used_; }

  void mark_annotated(std::size_t page_end) noexcept;  // of the pages with numbers below
  void mark_range(AddressRange range) noexcept { first().gather(range.begin, range.end); }
  void mark_closed_range(AddressRange range) noexcept { first().gather_closed(range); }
  void mark_object(const alloc::Object& object) noexcept { first().mark_object(object); }
  // One step of the mark; false when nothing is left.
  bool step() noexcept { return first().step(); }
  void drain() noexcept {
    drain_until({[](void*) { return false; }, nullptr});
  }
  // The same until it is over; false when something is left then.
  bool drain_until(const Until& until) noexcept;
  // The same until os_monotonic_ns() has come to `deadline_ns`; false when something is left then.
  bool drain_until(std::uint64_t deadline_ns) noexcept;

  // Ends the threads of other lanes. To be called before any thread of the process is stopped or counted.
  void dismiss_helpers() noexcept { helpers_.dismiss(); }

  // The mark is over: memory that is good for no other is given back.
  void forget_known() noexcept {
    dropped_ = state_.heap.pages_dropped();
    known_.clear();
  }

  // With time to spare, copies of pages with many pointers are made, which makes rereading them cheap (known_words.h).
  static constexpr std::size_t kManyPointers = 64;  // of 512 words
  void set_many_pointers(std::size_t least) noexcept { many_pointers_ = least; }
  enum class Time : std::uint8_t { kShort, kToSpare };
  void reread(AddressRange written, Time time = Time::kShort) noexcept;
  // Ask for what a reread there will need first, the second one some time after the first.
  void fetch_page(std::uintptr_t os_page) const noexcept { __builtin_prefetch(state_.heap.page_of(os_page)); }
  void fetch_objects_at(std::uintptr_t os_page) const noexcept;
  void reread_all(AddressRange piece) noexcept;  // whole 64 KiB pages

  // The heap may grow while the mark runs. A mark knows of more than there was when it began; pointers to what lies
  // behind that mean nothing to it.
  [[nodiscard]] bool knows_all_locked() const noexcept {
    return state_.heap.in_use_locked().bytes <= state_.window.bytes;
  }

  // Takes in what the heap has grown by; black objects may point there. Nothing may be grey. False: no memory.
  [[nodiscard]] bool extend_locked() noexcept;

  // In which forms pointers are looked for, from the next mark on.
  void set_forms(const PointerForms& forms) noexcept { state_.forms = forms; }

  // What the program has closed of the heap, from now on.
  void set_closed(const ClosedHeap& closed) noexcept { state_.closed = closed; }

  // What need not be read, for a mark with the world stopped, in plain forms, of a heap of which nothing is closed.
  void set_quiet(const QuietPages* quiet) noexcept { state_.quiet = quiet; }

  // Whether memory that is closed could not be read in this mark. After it, with no lane at work.
  [[nodiscard]] bool has_missed() const noexcept { return state_.has_missed.load(std::memory_order_relaxed); }

  // The number behind the last page that the mark knows of.
  [[nodiscard]] std::size_t page_end() const noexcept { return state_.window.bytes >> alloc::kPageShift; }

  [[nodiscard]] Epoch epoch() const noexcept { return state_.epoch; }
  [[nodiscard]] Count reached() const noexcept { return lanes_[0].reached(); }

  // How many objects of the page with that number, or of the page's slots `first` to `first + 63`, were reached. In a
  // mark with the world stopped each is counted once.
  [[nodiscard]] std::uint32_t reached_of(std::size_t page) const noexcept { return state_.reached_of[page]; }
  void fetch_reached_in(std::size_t page) const noexcept { __builtin_prefetch(&state_.reached_in[page]); }
  [[nodiscard]] std::uint32_t reached_in(const alloc::Page& page, std::uint32_t first) const noexcept {
    return state_.reached_in[state_.heap.number_of(page)].groups[first >> GreyPages::kGroupShift];
  }

  // Calls visit(begin, end) for the parts of a range that are not closed.
  template <typename Visit>
  void for_each_readable(std::uintptr_t begin, std::uintptr_t end, Visit&& visit) const noexcept {
    state_.for_each_readable(begin, end, visit);
  }

  // Calls visit(word, address of it) for each word of a range that is not closed and may be a pointer.
  template <typename Visit>
  void for_each_word(std::uintptr_t begin, std::uintptr_t end, Visit&& visit) const noexcept {
    for_each_readable(begin, end,
                      [&](std::uintptr_t from, std::uintptr_t to) { state_.forms.for_each_word(from, to, visit); });
  }

 private:
  MarkLane& first() noexcept { return lanes_[0]; }
  std::size_t lanes_now() noexcept;
  bool share(std::size_t lanes, const Until& until) noexcept;
  void reread_part(const alloc::Page& page, AddressRange part, std::uintptr_t* known = nullptr) noexcept;
  void reread_slots(const alloc::Page& page, std::uint32_t begin, std::uint32_t end) noexcept;
  bool is_known_good() noexcept;
  [[nodiscard]] bool is_worth_knowing(std::uintptr_t os_page) noexcept;
  [[nodiscard]] bool is_black(const alloc::Page& page, std::uint32_t index) const noexcept {
    return page.marks()[index].load(std::memory_order_relaxed) == state_.epoch.black() &&
           alloc::state::is_allocated(page.states()[index].load(std::memory_order_acquire));
  }

  MarkState state_;
  std::array<MarkLane, kMostLanes> lanes_;
  std::size_t most_lanes_ = 1;
  std::size_t pages_worth_sharing_ = kPagesWorthSharing;
  std::size_t lanes_used_ = 1;
  std::size_t idle_lanes_ = 1;  // one and idle processors, good until:
  std::uint64_t ask_again_at_ns_ = 0;
  Exchange exchange_;
  Helpers helpers_;
  KnownWords known_;           // of this mark, and good as long as
  std::uint64_t dropped_ = 0;  // no page more than so many was given back
  std::size_t many_pointers_ = kManyPointers;
};

}  // namespace arenascan::scan
