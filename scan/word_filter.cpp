#include "scan/word_filter.h"

#include <immintrin.h>

#include <array>
#include <bit>

namespace arenascan::scan {
namespace {

// Words below this number are not worth a vector register.
constexpr std::size_t kFewWords = 8;

constexpr std::size_t kLineBytes = 64;

const std::uintptr_t* words_of(const alloc::Page& page, std::uint32_t index) noexcept {
  return reinterpret_cast<const std::uintptr_t*>(page.address_of(index));
}

// As many objects of a group as this are a stream that the processor foresees: asking for them only gets in its way.
constexpr int kStream = 48;
// Few enough for all of them to be on their way into the first cache at once.
constexpr int kFew = 6;

// Values of __builtin_prefetch: into the first cache, or only into the second, which can wait for more lines at a time.
constexpr int kNear = 3;
constexpr int kFar = 2;

// In line always: GCC drops calls of functions that do nothing but prefetch.
template <int kWhere>
[[gnu::always_inline]] inline void fetch(const alloc::Page& page, std::uint32_t index) noexcept {
  __builtin_prefetch(&page.records[index], 0, kWhere);
  const auto* const begin = reinterpret_cast<const char*>(page.address_of(index));
  for (std::size_t at = 0; at < page.slot_bytes; at += kLineBytes) __builtin_prefetch(begin + at, 0, kWhere);
}

std::uint32_t first_of(std::uint64_t objects, std::uint32_t first) noexcept {
  return first + static_cast<std::uint32_t>(std::countr_zero(objects));
}

// The objects of a group one by one, each of them fetched kFetchedAhead before its turn but for the first ones, which
// fetch_objects() has fetched.
struct Turns {
  Turns(const alloc::Page& of, std::uint32_t first_slot, std::uint64_t objects) noexcept
      : page(of), first(first_slot), rest(objects), ahead(std::popcount(objects) < kStream ? objects : 0) {
    for (unsigned i = 0; i < kFetchedAhead; ++i) ahead &= ahead - 1;
  }
  [[nodiscard]] bool any() const noexcept { return rest != 0; }
  [[gnu::always_inline]] std::uint32_t next() noexcept {
    if (ahead != 0) {
      fetch<kFar>(page, first_of(ahead, first));
      ahead &= ahead - 1;
    }
    const std::uint32_t index = first_of(rest, first);
    rest &= rest - 1;
    return index;
  }

  const alloc::Page& page;
  std::uint32_t first;
  std::uint64_t rest;
  std::uint64_t ahead;
};

[[gnu::always_inline, gnu::no_sanitize_address, gnu::no_sanitize_thread]] inline std::size_t by_word(
    const std::uintptr_t* words, std::size_t count, Window window, std::uintptr_t* out) noexcept {
  std::size_t found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uintptr_t word = __atomic_load_n(words + i, __ATOMIC_RELAXED);
    out[found] = word;
    found += word - window.begin < window.bytes ? 1 : 0;
  }
  return found;
}

using Shuffle = std::array<std::int32_t, 8>;

// For each set of the four words of a vector, the shuffle of its 32-bit halves that moves them to the front.
constexpr std::array<Shuffle, 16> kToFront = [] {
  std::array<Shuffle, 16> table{};
  for (unsigned set = 0; set < 16; ++set) {
    unsigned to = 0;
    for (int word = 0; word < 4; ++word) {
      if ((set >> word & 1) == 0) continue;
      table[set][to++] = 2 * word;
      table[set][to++] = 2 * word + 1;
    }
  }
  return table;
}();

// The comparison is a signed one: both sides are moved by half the range of a word.
constexpr std::uintptr_t kSignBit = std::uintptr_t{1} << 63;

struct Avx2Window {
  __m256i shift;
  __m256i limit;
};

// The statement makes the register's contents unknown to the compiler, which would otherwise load once more, from
// memory that may have changed, what it has compared.
[[gnu::target("avx2"), gnu::no_sanitize_address, gnu::no_sanitize_thread]] inline __m256i load(
    const std::uintptr_t* words) noexcept {
  __m256i loaded = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
  asm("" : "+x"(loaded));
  return loaded;
}

[[gnu::target("avx2")]] inline __m256i in_window(__m256i words, const Avx2Window& window) noexcept {
  return _mm256_cmpgt_epi64(window.limit, _mm256_add_epi64(words, window.shift));
}

[[gnu::target("avx2,popcnt")]] inline std::size_t copy_hits(__m256i words, __m256i hits, std::uintptr_t* out) noexcept {
  const auto set = static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(hits)));
  const __m256i shuffle = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kToFront[set].data()));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(words, shuffle));
  return static_cast<std::size_t>(std::popcount(set));
}

}  // namespace

[[gnu::no_sanitize_address, gnu::no_sanitize_thread]] std::size_t filter_words_scalar(const std::uintptr_t* words,
                                                                                      std::size_t count, Window window,
                                                                                      std::uintptr_t* out) noexcept {
  return by_word(words, count, window, out);
}

[[gnu::target("avx2,popcnt"), gnu::no_sanitize_address, gnu::no_sanitize_thread]] std::size_t filter_words_avx2(
    const std::uintptr_t* words, std::size_t count, Window window, std::uintptr_t* out) noexcept {
  const Avx2Window bounds{_mm256_set1_epi64x(static_cast<long long>(kSignBit - window.begin)),
                          _mm256_set1_epi64x(static_cast<long long>(window.bytes ^ kSignBit))};
  std::size_t found = 0;
  std::size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    // All eight stay in registers, which takes a loop that is none any more.
    __m256i vectors[8];
    __m256i any = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (unsigned v = 0; v < 8; ++v) {
      vectors[v] = load(words + i + std::size_t{4} * v);
      any = _mm256_or_si256(any, in_window(vectors[v], bounds));
    }
    if (_mm256_testz_si256(any, any) != 0) continue;
#pragma GCC unroll 8
    for (unsigned v = 0; v < 8; ++v) found += copy_hits(vectors[v], in_window(vectors[v], bounds), out + found);
  }
  for (; i + 4 <= count; i += 4) {
    const __m256i vector = load(words + i);
    found += copy_hits(vector, in_window(vector, bounds), out + found);
  }
  return found + by_word(words + i, count - i, window, out + found);
}

void fetch_objects(const alloc::Page& page, std::uint32_t first, std::uint64_t objects) noexcept {
  const int count = std::popcount(objects);
  if (count >= kStream) return;
  if (count <= kFew) {
    for (; objects != 0; objects &= objects - 1) fetch<kNear>(page, first_of(objects, first));
    return;
  }
  for (unsigned i = 0; i < kFetchedAhead && objects != 0; ++i, objects &= objects - 1) {
    fetch<kFar>(page, first_of(objects, first));
  }
}

[[gnu::no_sanitize_address, gnu::no_sanitize_thread]] std::size_t filter_objects_scalar(
    const alloc::Page& page, std::uint32_t first, std::uint64_t objects, Window window, std::uintptr_t* out,
    std::uint64_t& bytes) noexcept {
  std::size_t found = 0;
  std::uint64_t sum = 0;
  for (Turns turns(page, first, objects); turns.any();) {
    const std::uint32_t index = turns.next();
    const std::size_t size = page.slot_bytes - page.record(index).slack;
    sum += size;
    found += by_word(words_of(page, index), size / sizeof(std::uintptr_t), window, out + found);
  }
  bytes = sum;
  return found;
}

// The last vector of a slot may reach into the next one, but not past the page: slots that are no multiple of 32 bytes
// leave at least 16 bytes unused at its end, but for those of 16 bytes.
[[gnu::target("avx2,popcnt"), gnu::no_sanitize_address, gnu::no_sanitize_thread]] std::size_t filter_objects_avx2(
    const alloc::Page& page, std::uint32_t first, std::uint64_t objects, Window window, std::uintptr_t* out,
    std::uint64_t& bytes) noexcept {
  const __m256i shift = _mm256_set1_epi64x(static_cast<long long>(kSignBit - window.begin));
  const __m256i limit = _mm256_set1_epi64x(static_cast<long long>(window.bytes ^ kSignBit));
  const std::size_t slot_bytes = page.slot_bytes;
  const std::size_t vectors = (slot_bytes + 31) / 32;
  std::uintptr_t* to = out;
  std::uint64_t sum = 0;
  for (Turns turns(page, first, objects); turns.any();) {
    const std::uint32_t index = turns.next();
    const std::size_t size = slot_bytes - page.record(index).slack;
    sum += size;
    std::uint64_t valid = (std::uint64_t{1} << size / sizeof(std::uintptr_t)) - 1;
    const std::uintptr_t* const words = words_of(page, index);
    for (std::size_t v = 0; v < vectors; ++v) {
      const __m256i vector = load(words + 4 * v);
      const __m256i hits = _mm256_cmpgt_epi64(limit, _mm256_add_epi64(vector, shift));
      const auto set =
          static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(hits))) & static_cast<unsigned>(valid) & 15U;
      valid >>= 4;
      const __m256i shuffle = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kToFront[set].data()));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permutevar8x32_epi32(vector, shuffle));
      to += std::popcount(set);
    }
  }
  bytes = sum;
  return static_cast<std::size_t>(to - out);
}

// Words that do not belong to the object are not loaded.
[[gnu::target("avx512f,popcnt"), gnu::no_sanitize_address, gnu::no_sanitize_thread]] std::size_t filter_objects_avx512(
    const alloc::Page& page, std::uint32_t first, std::uint64_t objects, Window window, std::uintptr_t* out,
    std::uint64_t& bytes) noexcept {
  const __m512i begin = _mm512_set1_epi64(static_cast<long long>(window.begin));
  const __m512i limit = _mm512_set1_epi64(static_cast<long long>(window.bytes));
  const std::size_t slot_bytes = page.slot_bytes;
  const std::size_t vectors = (slot_bytes + 63) / 64;
  std::uintptr_t* to = out;
  std::uint64_t sum = 0;
  for (Turns turns(page, first, objects); turns.any();) {
    const std::uint32_t index = turns.next();
    const std::size_t size = slot_bytes - page.record(index).slack;
    sum += size;
    std::uint64_t valid = (std::uint64_t{1} << size / sizeof(std::uintptr_t)) - 1;
    const std::uintptr_t* const words = words_of(page, index);
    for (std::size_t v = 0; v < vectors; ++v) {
      const auto loaded = static_cast<__mmask8>(valid);
      valid >>= 8;
      __m512i vector = _mm512_maskz_loadu_epi64(loaded, words + 8 * v);
      asm("" : "+v"(vector));  // as in load()
      const __mmask8 hits = _mm512_mask_cmplt_epu64_mask(loaded, _mm512_sub_epi64(vector, begin), limit);
      _mm512_storeu_si512(to, _mm512_maskz_compress_epi64(hits, vector));
      to += std::popcount(static_cast<unsigned>(hits));
    }
  }
  bytes = sum;
  return static_cast<std::size_t>(to - out);
}

std::size_t filter_objects(const alloc::Page& page, std::uint32_t first, std::uint64_t objects, Window window,
                           std::uintptr_t* out, std::uint64_t& bytes) noexcept {
  if (page.slot_bytes < 32 || !has_avx2()) return filter_objects_scalar(page, first, objects, window, out, bytes);
  if (!has_avx512()) return filter_objects_avx2(page, first, objects, window, out, bytes);
  return filter_objects_avx512(page, first, objects, window, out, bytes);
}

bool has_avx512() noexcept { return __builtin_cpu_supports("avx512f") != 0 && has_avx2(); }

bool has_avx2() noexcept { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("popcnt") != 0; }

std::size_t filter_words(const std::uintptr_t* words, std::size_t count, Window window, std::uintptr_t* out) noexcept {
  if (count < kFewWords || !has_avx2()) return filter_words_scalar(words, count, window, out);
  return filter_words_avx2(words, count, window, out);
}

}  // namespace arenascan::scan
