#include "scan/orphans.h"

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace arenascan::scan {

using alloc::HeapView;
using alloc::Object;
using alloc::Page;

namespace {

constexpr std::uint32_t kGroupSlots = GreyPages::kGroupSlots;  // looked at together

// The byte arrays are arrays of lock-free atomics; a vector load reads 16 of them at once, each of them whole. Wider
// vectors find nothing faster: memory is what takes time.
[[gnu::no_sanitize_thread]] __m128i load(const std::atomic<std::uint8_t>* bytes) noexcept {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

// Of 64 bytes: those that are `wanted` under `mask`.
[[gnu::no_sanitize_thread]] std::uint64_t matching(const std::atomic<std::uint8_t>* bytes, std::uint8_t mask,
                                                   std::uint8_t wanted) noexcept {
  std::uint64_t found = 0;
  for (unsigned i = 0; i < kGroupSlots; i += 16) {
    const __m128i masked = _mm_and_si128(load(bytes + i), _mm_set1_epi8(static_cast<char>(mask)));
    const __m128i matches = _mm_cmpeq_epi8(masked, _mm_set1_epi8(static_cast<char>(wanted)));
    found |= std::uint64_t{static_cast<std::uint32_t>(_mm_movemask_epi8(matches))} << i;
  }
  return found;
}

std::uint64_t unreached_mask(const std::atomic<std::uint8_t>* marks, Epoch epoch) noexcept {
  constexpr std::uint8_t kEpochBits = 0xFE;  // grey and black differ in the lowest bit
  return ~matching(marks, kEpochBits, epoch.grey());
}

std::uint64_t live_mask(const std::atomic<std::uint8_t>* states) noexcept {
  return matching(states, alloc::state::kOccupancyMask, alloc::state::kAllocated);
}

// Groups of 64 slots that may hold white objects. Which of them do is asked some groups later, with the answers on
// their way from memory meanwhile.
class Suspects {
 public:
  Suspects(Epoch epoch, OrphanList& found) noexcept : epoch_(epoch), found_(found) {}

  void add(Page& page, std::uint32_t first) noexcept {
    Group& group = waiting_[added_++ % kWaiting];
    if (added_ > kWaiting) look_at(group);
    group = {&page, page.states() + first, page.marks() + first, first};
    __builtin_prefetch(group.states);
    __builtin_prefetch(group.marks);
  }

  // Looks at those that still wait. False: there was no memory for all that was found.
  [[nodiscard]] bool finish() noexcept {
    for (std::size_t i = added_ - std::min(added_, kWaiting); i < added_; ++i) look_at(waiting_[i % kWaiting]);
    return fits_;
  }

 private:
  static constexpr std::size_t kWaiting = 16;

  struct Group {
    Page* page;
    const std::atomic<std::uint8_t>* states;
    const std::atomic<std::uint8_t>* marks;
    std::uint32_t first;
  };

  void look_at(const Group& group) noexcept {
    std::uint64_t white = unreached_mask(group.marks, epoch_) & live_mask(group.states);
    for (; white != 0; white &= white - 1) {
      Orphan orphan;
      orphan.object = {group.page, group.first + static_cast<std::uint32_t>(std::countr_zero(white))};
      fits_ = fits_ && found_.push_back(orphan);
    }
  }

  Epoch epoch_;
  OrphanList& found_;
  std::array<Group, kWaiting> waiting_;
  std::size_t added_ = 0;
  bool fits_ = true;
};

void read_records(OrphanList& orphans) noexcept {
  const auto fetch = [](const Orphan& orphan) {
    __builtin_prefetch(&orphan.object.page->records[orphan.object.index]);
  };
  for_each_fetched(orphans, fetch, [](Orphan& orphan) {
    orphan.address = orphan.object.address();
    orphan.birth = orphan.object.birth();
    orphan.bytes = orphan.object.bytes();
  });
}

}  // namespace

bool find_white(alloc::HeapView heap, std::size_t page_end, Epoch epoch, OrphanList& found) noexcept {
  Suspects suspects(epoch, found);
  heap.for_each_page(0, page_end, HeapView::fetch_marks, [&](Page& page) {
    for (std::uint32_t first = 0; first < page.capacity; first += kGroupSlots) {
      if (unreached_mask(page.marks() + first, epoch) != 0) suspects.add(page, first);
    }
  });
  const bool fits = suspects.finish();
  read_records(found);
  return fits;
}

bool find_white_stopped(alloc::HeapView heap, std::size_t page_end, const Marker& marker, OrphanList& found) noexcept {
  Suspects suspects(marker.epoch(), found);
  const auto may_hold_white = [&](std::size_t number, const alloc::PageEntry& entry) {
    if (marker.reached_of(number) == HeapView::capacity(entry)) return false;
    marker.fetch_reached_in(number);
    return true;
  };
  heap.for_each_page_if(page_end, may_hold_white, HeapView::fetch_count, [&](Page& page) {
    if (marker.reached_of(heap.number_of(page)) == HeapView::most_objects_stopped(page)) return;
    for (std::uint32_t first = 0; first < page.capacity; first += kGroupSlots) {
      const std::uint32_t slots = std::min(kGroupSlots, page.capacity - first);
      if (marker.reached_in(page, first) != slots) suspects.add(page, first);
    }
  });
  const bool fits = suspects.finish();
  read_records(found);
  return fits;
}

void keep_white(OrphanList& orphans, Epoch epoch) noexcept {
  std::size_t kept = 0;
  for_each_fetched(orphans, fetch_standing, [&](const Orphan& orphan) {
    const bool white = epoch.is_white(orphan.object.mark().load(std::memory_order_relaxed));
    if (white && orphan.is_same_object()) orphans[kept++] = orphan;
  });
  orphans.truncate(kept);
}

void fetch_standing(const Orphan& orphan) noexcept {
  const Object& object = orphan.object;
  __builtin_prefetch(&object.page->states()[object.index]);
  __builtin_prefetch(&object.page->records[object.index]);
  __builtin_prefetch(&object.mark());
}

void fetch_contents(const Orphan& orphan) noexcept {
  constexpr std::size_t kLineBytes = 64;
  constexpr std::size_t kMostBytes = 4 * kLineBytes;  // the processor goes on by itself behind these
  __builtin_prefetch(&orphan.object.page->states()[orphan.object.index]);
  const auto* const bytes = reinterpret_cast<const char*>(orphan.address);
  for (std::size_t at = 0; at < std::min<std::size_t>(orphan.bytes, kMostBytes); at += kLineBytes) {
    __builtin_prefetch(bytes + at);
  }
}

void recall(OrphanList& orphans, const OrphanList& earlier, std::uint32_t stamps) noexcept {
  if (stamps >= alloc::Birth::kOldestAge) return;
  const Orphan* old = earlier.begin();
  for (Orphan& orphan : orphans) {
    while (old != earlier.end() && old->address < orphan.address) ++old;
    if (old == earlier.end()) return;
    if (old->address != orphan.address || !orphan.birth.can_be(old->birth)) continue;
    orphan.checksum = old->checksum;
    orphan.hashed = old->hashed && !old->changed;  // one that changed is looked at twice again
    orphan.reported = old->reported;
    orphan.scans_at_rest = old->scans_at_rest;
  }
}

bool look(Orphan& orphan, const Marker& marker) noexcept {
  if (!orphan.is_same_object()) return false;
  const std::uintptr_t begin = orphan.object.address();
  std::uint64_t checksum = 0;
  marker.for_each_readable(begin, begin + orphan.object.bytes(), [&checksum](std::uintptr_t from, std::uintptr_t to) {
    checksum = XXH3_64bits_withSeed(reinterpret_cast<const void*>(from), to - from, checksum);
  });
  if (!orphan.is_same_object()) return false;
  if (orphan.hashed && orphan.checksum != checksum) orphan.changed = true;
  orphan.checksum = checksum;
  orphan.hashed = true;
  return true;
}

}  // namespace arenascan::scan
