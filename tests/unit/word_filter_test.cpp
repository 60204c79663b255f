// The range filter: both ways against the plain definition, for all lengths, all patterns of hits and extreme windows;
// and beside somebody who changes the words meanwhile.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "alloc/heap.h"
#include "scan/word_filter.h"
#include "tests/unit/random.h"

using namespace arenascan;
using Way = std::size_t (*)(const std::uintptr_t*, std::size_t, scan::Window, std::uintptr_t*) noexcept;

namespace {

void compare(const std::vector<std::uintptr_t>& words, scan::Window window, Way way) {
  std::vector<std::uintptr_t> expected;
  for (const std::uintptr_t word : words) {
    if (word >= window.begin && word - window.begin < window.bytes) expected.push_back(word);
  }
  constexpr std::uintptr_t kUntouched = 0xDEADBEEF;
  std::vector<std::uintptr_t> out(expected.size() + scan::kFilterSlack + 1, kUntouched);
  const std::size_t found = way(words.data(), words.size(), window, out.data());
  REQUIRE(found == expected.size());
  REQUIRE(std::vector<std::uintptr_t>(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(found)) == expected);
  REQUIRE(out.back() == kUntouched);
}

void compare_all(Way way) {
  constexpr std::uintptr_t kTop = std::uintptr_t{1} << 63;
  const scan::Window windows[] = {
      {0x7F0000000000, std::size_t{1} << 40}, {0x7F0000000000, 0}, {0, 1}, {1, ~std::uintptr_t{0}}, {kTop - 64, 128},
      {~std::uintptr_t{0} - 63, 64}};
  test::Random random(7);
  for (const scan::Window& window : windows) {
    const std::uintptr_t edges[] = {
        window.begin - 1, window.begin,      window.begin + window.bytes - 1, window.begin + window.bytes, 0, 1, kTop,
        kTop - 1,         ~std::uintptr_t{0}};
    for (std::size_t length = 0; length < 140; ++length) {
      for (const unsigned one_in : {1U, 2U, 7U, 1000U}) {
        std::vector<std::uintptr_t> words(length);
        for (std::uintptr_t& word : words) {
          word = random.one_in(one_in) ? edges[random.below(std::size(edges))] : random.below(1000) << 20;
        }
        compare(words, window, way);
      }
    }
  }
}

}  // namespace

TEST_CASE("the filter word by word") { compare_all(scan::filter_words_scalar); }

TEST_CASE("the filter by vectors") {
  if (!scan::has_avx2()) {
    MESSAGE("NOT TESTED: this processor has no AVX2");
    return;
  }
  compare_all(scan::filter_words_avx2);
}

TEST_CASE("the filter that the marker calls") { compare_all(scan::filter_words); }

namespace {

using GroupWay = std::size_t (*)(const alloc::Page&, std::uint32_t, std::uint64_t, scan::Window, std::uintptr_t*,
                                 std::uint64_t&) noexcept;

// Pages full of objects of random sizes, every word of every slot a hit or none at random, the rest of a slot always a
// hit: only words of objects may come out, those of the chosen objects, in order.
void compare_groups(GroupWay way, std::size_t slot_bytes) {
  CAPTURE(slot_bytes);
  alloc::Heap heap;
  REQUIRE(heap.init(std::size_t{1} << 24));
  alloc::ThreadCache* const cache = heap.acquire_cache();
  REQUIRE(cache != nullptr);
  test::Random random(slot_bytes);
  const std::size_t count = alloc::kPageBytes / slot_bytes;
  constexpr scan::Window kWindow{0x7F0000000000, 1 << 20};
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t least = slot_bytes - 15;
    auto* const words = static_cast<std::uintptr_t*>(
        heap.allocate(*cache, least + random.below(slot_bytes - least + 1), heap.birth(0)));
    REQUIRE(words != nullptr);
    for (std::size_t w = 0; w < slot_bytes / sizeof(*words); ++w) {
      words[w] = random.one_in(3) ? kWindow.begin + random.below(1 << 20) : random.below(1 << 20);
    }
  }
  const alloc::HeapView view(heap);
  const alloc::Page* const page = view.page_numbered(0);
  REQUIRE(page != nullptr);
  REQUIRE(page->slot_bytes == slot_bytes);
  std::vector<std::uintptr_t> out(scan::kMostWordsOfGroup + scan::kFilterSlack);
  for (std::uint32_t first = 0; first < page->capacity; first += 64) {
    std::uint64_t objects = random.next() | random.next();  // many, half or few
    if (random.one_in(2)) objects &= random.next();
    if (random.one_in(3)) objects &= random.next() & random.next();
    if (page->capacity - first < 64) objects &= (std::uint64_t{1} << (page->capacity - first)) - 1;
    std::vector<std::uintptr_t> expected;
    std::uint64_t expected_bytes = 0;
    for (std::uint32_t i = 0; i < 64; ++i) {
      if ((objects >> i & 1) == 0) continue;
      const std::size_t bytes = page->requested_bytes(first + i);
      const auto* const words = reinterpret_cast<const std::uintptr_t*>(page->address_of(first + i));
      expected_bytes += bytes;
      for (std::size_t w = 0; w < bytes / sizeof(*words); ++w) {
        if (words[w] - kWindow.begin < kWindow.bytes) expected.push_back(words[w]);
      }
    }
    std::uint64_t bytes = 0;
    scan::fetch_objects(*page, first, objects);
    const std::size_t found = way(*page, first, objects, kWindow, out.data(), bytes);
    REQUIRE(bytes == expected_bytes);
    REQUIRE(std::vector<std::uintptr_t>(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(found)) == expected);
  }
  heap.destroy();
}

void compare_all_groups(GroupWay way, std::size_t least) {
  for (unsigned c = 0; alloc::slot_bytes(c) <= scan::kSmallSlotBytes; ++c) {
    if (alloc::slot_bytes(c) >= least) compare_groups(way, alloc::slot_bytes(c));
  }
}

}  // namespace

TEST_CASE("groups of objects word by word") { compare_all_groups(scan::filter_objects_scalar, 16); }

TEST_CASE("groups of objects by vectors") {
  if (!scan::has_avx2()) {
    MESSAGE("NOT TESTED: this processor has no AVX2");
    return;
  }
  compare_all_groups(scan::filter_objects_avx2, 32);
}

TEST_CASE("groups of objects by wide vectors") {
  if (!scan::has_avx512()) {
    MESSAGE("NOT TESTED: this processor has no AVX-512");
    return;
  }
  compare_all_groups(scan::filter_objects_avx512, 16);
}

TEST_CASE("groups of objects as the marker calls it") { compare_all_groups(scan::filter_objects, 16); }

namespace {

constexpr scan::Window kSmallWindow{0x7F0000000000, 1 << 20};

// Another thread's words, in the window and out of it by turns, as fast as it can.
class Changing {
 public:
  Changing(std::uintptr_t* words, std::size_t count)
      : thread_([this, words, count] {
          for (std::uintptr_t turn = 0; !is_over_.load(std::memory_order_relaxed); ++turn) {
            const std::uintptr_t word = turn % 2 == 0 ? kSmallWindow.begin + turn % kSmallWindow.bytes : turn;
            for (std::size_t i = 0; i < count; ++i) __atomic_store_n(words + i, word, __ATOMIC_RELAXED);
          }
        }) {}
  ~Changing() {
    is_over_.store(true, std::memory_order_relaxed);
    thread_.join();
  }
  Changing(const Changing&) = delete;
  Changing& operator=(const Changing&) = delete;

 private:
  std::atomic<bool> is_over_{false};  // written by the destructor, read by the thread; nothing hangs from it: relaxed
  std::thread thread_;
};

// Whatever is copied is what was compared, so it lies in the window.
template <typename Filter>
void filter_beside(std::uintptr_t* words, std::size_t count, Filter&& filter) {
  constexpr int kRounds = 300'000;
  std::vector<std::uintptr_t> out(scan::kMostWordsOfGroup + scan::kFilterSlack);
  const Changing changing(words, count);
  std::size_t outside = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::size_t found = filter(out.data());
    for (std::size_t i = 0; i < found; ++i) outside += out[i] - kSmallWindow.begin < kSmallWindow.bytes ? 0 : 1;
  }
  CHECK(outside == 0);
}

}  // namespace

TEST_CASE("words that change are loaded once") {
  alignas(64) std::uintptr_t words[47] = {};
  const auto beside = [&](Way way) {
    filter_beside(words, std::size(words),
                  [&](std::uintptr_t* out) { return way(words, std::size(words), kSmallWindow, out); });
  };
  beside(scan::filter_words_scalar);
  if (scan::has_avx2()) beside(scan::filter_words_avx2);
}

TEST_CASE("words of groups of objects that change are loaded once") {
  alloc::Heap heap;
  REQUIRE(heap.init(std::size_t{1} << 24));
  alloc::ThreadCache* const cache = heap.acquire_cache();
  REQUIRE(cache != nullptr);
  constexpr std::size_t kBytes = 64;
  auto* const words = static_cast<std::uintptr_t*>(heap.allocate(*cache, kBytes, heap.birth(0)));
  REQUIRE(words != nullptr);
  const alloc::Page* const page = alloc::HeapView(heap).page_numbered(0);
  REQUIRE(page != nullptr);
  REQUIRE(page->base == reinterpret_cast<std::uintptr_t>(words));
  const auto beside = [&](GroupWay way) {
    filter_beside(words, kBytes / sizeof(*words), [&](std::uintptr_t* out) {
      std::uint64_t bytes = 0;
      return way(*page, 0, 1, kSmallWindow, out, bytes);
    });
  };
  beside(scan::filter_objects_scalar);
  if (scan::has_avx2()) beside(scan::filter_objects_avx2);
  if (scan::has_avx512()) beside(scan::filter_objects_avx512);
  heap.destroy();
}
