#include "scan/orphans.h"

#include <immintrin.h>

#include <bit>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace arenascan::scan {

using alloc::Object;
using alloc::Page;

namespace {

constexpr char kMarkEpochBits = static_cast<char>(0xFE);

// The byte arrays are arrays of lock-free atomics; a vector load reads 16 or 32 of them at once, each of them whole.
const std::uint8_t* plain(const std::atomic<std::uint8_t>* bytes) noexcept {
  return reinterpret_cast<const std::uint8_t*>(bytes);
}

[[gnu::no_sanitize_thread]] std::uint64_t by_sse2(const std::uint8_t* states, const std::uint8_t* marks,
                                                  Epoch epoch) noexcept {
  const __m128i occupancy = _mm_set1_epi8(alloc::state::kOccupancyMask);
  const __m128i allocated = _mm_set1_epi8(alloc::state::kAllocated);
  const __m128i epoch_bits = _mm_set1_epi8(kMarkEpochBits);
  const __m128i reached = _mm_set1_epi8(static_cast<char>(epoch.grey()));
  std::uint64_t mask = 0;
  for (unsigned i = 0; i < 64; i += 16) {
    const __m128i state = _mm_loadu_si128(reinterpret_cast<const __m128i*>(states + i));
    const __m128i mark = _mm_loadu_si128(reinterpret_cast<const __m128i*>(marks + i));
    const __m128i is_live = _mm_cmpeq_epi8(_mm_and_si128(state, occupancy), allocated);
    const __m128i is_reached = _mm_cmpeq_epi8(_mm_and_si128(mark, epoch_bits), reached);
    const auto bits = static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_andnot_si128(is_reached, is_live)));
    mask |= std::uint64_t{bits} << i;
  }
  return mask;
}

[[gnu::target("avx2"), gnu::no_sanitize_thread]] std::uint64_t by_avx2(const std::uint8_t* states,
                                                                       const std::uint8_t* marks,
                                                                       Epoch epoch) noexcept {
  const __m256i occupancy = _mm256_set1_epi8(alloc::state::kOccupancyMask);
  const __m256i allocated = _mm256_set1_epi8(alloc::state::kAllocated);
  const __m256i epoch_bits = _mm256_set1_epi8(kMarkEpochBits);
  const __m256i reached = _mm256_set1_epi8(static_cast<char>(epoch.grey()));
  std::uint64_t mask = 0;
  for (unsigned i = 0; i < 64; i += 32) {
    const __m256i state = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(states + i));
    const __m256i mark = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(marks + i));
    const __m256i is_live = _mm256_cmpeq_epi8(_mm256_and_si256(state, occupancy), allocated);
    const __m256i is_reached = _mm256_cmpeq_epi8(_mm256_and_si256(mark, epoch_bits), reached);
    const auto bits = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_andnot_si256(is_reached, is_live)));
    mask |= std::uint64_t{bits} << i;
  }
  return mask;
}

}  // namespace

std::uint64_t white_mask(const Page& page, std::uint32_t first, Epoch epoch) noexcept {
  if (!__builtin_cpu_supports("avx2")) return white_mask_sse2(page, first, epoch);
  return by_avx2(plain(page.states()) + first, plain(page.marks()) + first, epoch);
}

std::uint64_t white_mask_sse2(const Page& page, std::uint32_t first, Epoch epoch) noexcept {
  return by_sse2(plain(page.states()) + first, plain(page.marks()) + first, epoch);
}

bool find_white(alloc::HeapView heap, std::size_t page_end, Epoch epoch, OrphanList& found) noexcept {
  bool fits = true;
  heap.for_each_page(0, page_end, [&](Page& page) {
    for (std::uint32_t first = 0; first < page.capacity; first += 64) {
      for (std::uint64_t white = white_mask(page, first, epoch); white != 0; white &= white - 1) {
        const Object object{&page, first + static_cast<std::uint32_t>(std::countr_zero(white))};
        Orphan orphan;
        orphan.object = object;
        orphan.birth = object.birth();
        orphan.bytes = object.bytes();
        fits = fits && found.push_back(orphan);
      }
    }
  });
  return fits;
}

void keep_white(OrphanList& orphans, Epoch epoch) noexcept {
  constexpr std::size_t kAhead = 8;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < orphans.size(); ++i) {
    if (i + kAhead < orphans.size()) {
      const Object& later = orphans[i + kAhead].object;
      __builtin_prefetch(&later.mark());
      __builtin_prefetch(&later.page->states()[later.index]);
      __builtin_prefetch(&later.page->records[later.index]);
    }
    const Orphan orphan = orphans[i];
    const bool white = epoch.is_white(orphan.object.mark().load(std::memory_order_relaxed));
    if (white && orphan.is_same_object()) orphans[kept++] = orphan;
  }
  orphans.truncate(kept);
}

void recall(OrphanList& orphans, const OrphanList& earlier) noexcept {
  const Orphan* old = earlier.begin();
  for (Orphan& orphan : orphans) {
    const std::uintptr_t address = orphan.object.address();
    while (old != earlier.end() && old->object.address() < address) ++old;
    if (old == earlier.end()) return;
    if (old->object.address() != address || old->birth != orphan.birth) continue;
    orphan.checksum = old->checksum;
    orphan.hashed = old->hashed && !old->changed;  // one that changed is looked at twice again
    orphan.reported = old->reported;
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
