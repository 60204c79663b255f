#include "scan/orphans.h"

#include <emmintrin.h>

#include <algorithm>
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

std::uint64_t unreached_mask(const Page& page, std::uint32_t first, Epoch epoch) noexcept {
  constexpr std::uint8_t kEpochBits = 0xFE;  // grey and black differ in the lowest bit
  return ~matching(page.marks() + first, kEpochBits, epoch.grey());
}

std::uint64_t live_mask(const Page& page, std::uint32_t first) noexcept {
  return matching(page.states() + first, alloc::state::kOccupancyMask, alloc::state::kAllocated);
}

// 64 slots that may hold white objects. Which of them do is asked in a second pass, with the answers under way.
struct Suspects {
  Page* page;
  std::uint32_t first;
};
using SuspectList = alloc::MetaVector<Suspects>;

bool suspect(Page& page, std::uint32_t first, SuspectList& found) noexcept {
  __builtin_prefetch(page.marks() + first);
  __builtin_prefetch(page.states() + first);
  return found.push_back({&page, first});
}

bool add_white(const SuspectList& suspects, Epoch epoch, OrphanList& found) noexcept {
  bool fits = true;
  for (const auto& [page, first] : suspects) {
    const std::uint64_t white = unreached_mask(*page, first, epoch) & live_mask(*page, first);
    for (std::uint64_t rest = white; rest != 0; rest &= rest - 1) {
      Orphan orphan;
      orphan.object = {page, first + static_cast<std::uint32_t>(std::countr_zero(rest))};
      fits = fits && found.push_back(orphan);
    }
  }
  return fits;
}

constexpr std::size_t kAhead = 8;  // orphans on their way from memory

// What decides about an orphan, without its contents.
void fetch_state(const Orphan& orphan) noexcept {
  const Object& object = orphan.object;
  __builtin_prefetch(&object.mark());
  __builtin_prefetch(&object.page->states()[object.index]);
  __builtin_prefetch(&object.page->records[object.index]);
}

void read_records(OrphanList& orphans) noexcept {
  for (std::size_t i = 0; i < orphans.size(); ++i) {
    if (i + kAhead < orphans.size()) {
      const Object& later = orphans[i + kAhead].object;
      __builtin_prefetch(&later.page->records[later.index]);
    }
    Orphan& orphan = orphans[i];
    orphan.address = orphan.object.address();
    orphan.birth = orphan.object.birth();
    orphan.bytes = orphan.object.bytes();
  }
}

}  // namespace

bool find_white(alloc::HeapView heap, std::size_t page_end, Epoch epoch, OrphanList& found) noexcept {
  SuspectList suspects;
  bool fits = true;
  heap.for_each_page(0, page_end, HeapView::fetch_marks, [&](Page& page) {
    for (std::uint32_t first = 0; first < page.capacity; first += kGroupSlots) {
      if (unreached_mask(page, first, epoch) != 0) fits = suspect(page, first, suspects) && fits;
    }
  });
  fits = fits && add_white(suspects, epoch, found);
  read_records(found);
  return fits;
}

bool find_white_stopped(alloc::HeapView heap, std::size_t page_end, const Marker& marker, OrphanList& found) noexcept {
  SuspectList suspects;
  bool fits = true;
  heap.for_each_page(0, page_end, HeapView::fetch_count, [&](Page& page) {
    if (marker.reached_in(page) == HeapView::most_objects_stopped(page)) return;
    for (std::uint32_t first = 0; first < page.capacity; first += kGroupSlots) {
      if (marker.reached_in(page, first) != kGroupSlots) fits = suspect(page, first, suspects) && fits;
    }
  });
  fits = fits && add_white(suspects, marker.epoch(), found);
  read_records(found);
  return fits;
}

void keep_white(OrphanList& orphans, Epoch epoch) noexcept {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < orphans.size(); ++i) {
    if (i + kAhead < orphans.size()) fetch_state(orphans[i + kAhead]);
    const Orphan orphan = orphans[i];
    const bool white = epoch.is_white(orphan.object.mark().load(std::memory_order_relaxed));
    if (white && orphan.is_same_object()) orphans[kept++] = orphan;
  }
  orphans.truncate(kept);
}

void fetch_ahead(const OrphanList& orphans, std::size_t i) noexcept {
  constexpr std::size_t kLineBytes = 64;
  constexpr std::size_t kMostBytes = 4 * kLineBytes;  // the processor goes on by itself behind these
  if (i + kAhead >= orphans.size()) return;
  const Orphan& later = orphans[i + kAhead];
  fetch_state(later);
  const auto* const bytes = reinterpret_cast<const char*>(later.object.address());
  for (std::size_t at = 0; at < std::min(later.bytes, kMostBytes); at += kLineBytes) __builtin_prefetch(bytes + at);
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
