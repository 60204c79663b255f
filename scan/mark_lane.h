// One marker at work: it reads grey objects, finds pointers in them and turns white objects grey, until none is left.
//
// What keeps a mark waiting is memory: object, page, colour, record lie in five places. So each step asks for what the
// next one needs and goes on with something else:
//
//     grey pages --> groups about to be read --> words in the heap --> colours --> grey pages
//     (grey_pages.h)  a ring: contents and records (word_filter.h)     looked up in batches,
//                     are being fetched                                fetched, then set
//
// Several lanes share a mark where processors are free (marker.h): each owns some of the pages. A lane keeps only words
// of its own pages; the rest goes through the exchange.
//
// Threads: one at a time, with all of MarkState unchanged meanwhile but for what was reached of the lane's own pages.
// Called by: marker.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "alloc/heap_view.h"
#include "scan/closed_memory.h"
#include "scan/color.h"
#include "scan/exchange.h"
#include "scan/grey_pages.h"
#include "scan/mappings.h"
#include "scan/pointer_forms.h"
#include "scan/quiet_pages.h"
#include "scan/verdict.h"
#include "scan/word_filter.h"

namespace arenascan::scan {

// What all lanes of one mark know.
struct MarkState {
  alloc::HeapView heap;
  Epoch epoch{};
  Window window{};  // of the heap, as much as the lanes have room for
  ClosedHeap closed{};
  PointerForms forms{};
  const QuietPages* quiet = nullptr;  // of which no part is read; null: all is

  struct ReachedIn {
    std::uint8_t groups[64];
  };
  alloc::MetaVector<ReachedIn> reached_in{};      // by page number
  alloc::MetaVector<std::uint32_t> reached_of{};  // the same of whole pages, close together

  // Set by a lane that could not read what the program has closed; read when all lanes are done. Relaxed: they have
  // been waited for then.
  std::atomic<bool> has_missed{false};

  // Calls visit(begin, end) for the parts of a range that are not closed.
  template <typename Visit>
  void for_each_readable(std::uintptr_t begin, std::uintptr_t end, Visit&& visit) const noexcept;
};

class MarkLane {
 public:
  // Grey objects of one page that were turned black and have to be read: bit i is slot first + i.
  struct Group {
    alloc::Page* page;
    std::uint64_t objects;
    std::uint32_t first;
  };

  MarkLane() = default;
  MarkLane(const MarkLane&) = delete;
  MarkLane& operator=(const MarkLane&) = delete;

  // Room for pages 0 to `pages - 1`, and for words on their way to so many lanes; nothing may be grey. False: no
  // memory.
  [[nodiscard]] bool reserve(std::size_t pages, std::size_t lanes) noexcept;

  // For a new mark; forgets what one that was given up has left.
  void begin(MarkState& state) noexcept;

  void mark_object(const alloc::Object& object) noexcept;

  // Gathers the words of a range that could point into the heap. What is closed of it is read by the kernel.
  void gather(std::uintptr_t begin, std::uintptr_t end) noexcept;
  // The same of a range that is closed.
  void gather_closed(AddressRange range) noexcept;
  // Of a range that begins with a whole word: looks up the words that differ from what is `known` of them, one by one
  // (known_words.h), and knows them then.
  void gather_unknown(std::uintptr_t begin, std::uintptr_t end, std::uintptr_t* known) noexcept;
  // ... of these black objects.
  Count read(const Group& group) noexcept;

  // One step of the mark; false when nothing is left.
  bool step() noexcept;

  // How many pages hold grey objects.
  [[nodiscard]] std::size_t waiting() const noexcept { return grey_.size(); }

  [[nodiscard]] Count reached() const noexcept { return reached_; }

  // What follows is for a mark that several lanes share: hand_out() by the one that has all grey pages, share() by
  // each, beside the others, then take_over() from each, itself included, by the one that goes on alone.

  // Gives each of `lanes`, of which this is one, the grey pages that it owns.
  void hand_out(std::span<MarkLane> lanes, const Exchange& exchange) noexcept;
  // Marks as lane `self` of the exchange until that has ended; one of them ends it when it is told to.
  void share(Exchange& exchange, std::size_t self, const Until* until) noexcept;
  // Takes over all that lane `number`, which is `from`, has left.
  void take_over(MarkLane& from, Exchange& exchange, std::size_t number) noexcept;

  // One that was freed since it turned grey has lost its policy: it is not read where there are any.
  [[nodiscard]] static bool is_read(const alloc::Object& object) noexcept {
    constexpr std::uint8_t kAsked = alloc::state::kOccupancyMask | alloc::state::kNoScan | alloc::state::kIgnored;
    return !object.page->annotated.load(std::memory_order_relaxed) ||
           (object.state() & kAsked) == alloc::state::kAllocated;
  }

 private:
  static constexpr std::size_t kWords = 4096;  // gathered before they are looked up
  static constexpr std::size_t kChunk = 512;   // of one object, read at once
  static constexpr std::size_t kBatch = 64;    // looked up at once
  static constexpr std::size_t kAhead = 8;     // groups on their way from memory
  static_assert(kWords >= kMostWordsOfGroup && kWords >= kChunk);

  void gather_words(std::uintptr_t begin, std::uintptr_t end) noexcept;
  void look_up() noexcept;
  void look_up_all(const std::uintptr_t* words, std::size_t count) noexcept;
  template <bool kTell = false>
  std::uint64_t look_up_batch(const std::uintptr_t* words, std::size_t count) noexcept;
  std::size_t keep_own() noexcept;
  void send_all(std::size_t lane) noexcept;
  bool receive() noexcept;
  void give_back_page() noexcept;
  [[nodiscard]] std::uintptr_t* outbox(std::size_t lane) noexcept { return outbox_.begin() + lane * kWords; }
  bool next_group(Group& group) noexcept;
  std::uint64_t blacken(alloc::Page& page, std::uint32_t first) const noexcept;
  void fetch_ahead() noexcept;
  Count read_object(const alloc::Object& object) noexcept;
  bool read_next() noexcept;

  MarkState* state_ = nullptr;
  GreyPages grey_;
  Count reached_;

  // The page whose grey objects come next, and its groups that were not looked at yet.
  alloc::Page* page_ = nullptr;
  std::uint64_t groups_ = 0;

  // Groups that were asked for from memory: a ring.
  std::array<Group, kAhead> ahead_{};
  std::size_t ahead_begin_ = 0;
  std::size_t ahead_end_ = 0;

  // In the tool's memory: anywhere else these words would keep objects alive.
  alloc::MetaVector<std::uintptr_t> words_;
  std::size_t word_count_ = 0;

  // While others share the mark; words for them that have not been sent.
  Exchange* exchange_ = nullptr;
  std::size_t self_ = 0;
  alloc::MetaVector<std::uintptr_t> outbox_;  // kWords for each lane
  std::array<std::size_t, kMostLanes> outgoing_{};
};

// Of the 64 slots from `first`: which hold objects with this mark.
std::uint64_t objects_with_mark(const alloc::Page& page, std::uint32_t first, std::uint8_t mark) noexcept;

// Of sorted ranges: the first that does not end before `address`.
inline auto first_behind(std::span<const AddressRange> ranges, std::uintptr_t address) noexcept {
  return std::upper_bound(ranges.begin(), ranges.end(), address,
                          [](std::uintptr_t at, const AddressRange& range) { return at < range.end; });
}

template <typename Visit>
void MarkState::for_each_readable(std::uintptr_t begin, std::uintptr_t end, Visit&& visit) const noexcept {
  for (auto hole = first_behind(closed.parts, begin); hole != closed.parts.end() && hole->begin < end; ++hole) {
    if (hole->begin > begin) visit(begin, hole->begin);
    begin = hole->end;
  }
  if (begin < end) visit(begin, end);
}

}  // namespace arenascan::scan
