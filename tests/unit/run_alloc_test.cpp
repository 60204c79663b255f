// Runs of pages against a map of what is taken.
#include <doctest/doctest.h>

#include <cstring>
#include <map>

#include "alloc/os.h"
#include "alloc/run_alloc.h"
#include "tests/unit/random.h"

using namespace arenascan;
using alloc::kPageBytes;
using alloc::RunAllocator;

namespace {

constexpr std::uint64_t kDecayNs = 1'000;

struct Fixture {
  static constexpr std::size_t kPages = 2'000;

  Fixture() {
    REQUIRE(alloc::os_commit(bitmaps, bitmap_bytes));
    start(kDecayNs);
  }
  ~Fixture() {
    alloc::os_release(memory, kPages * kPageBytes);
    alloc::os_release(bitmaps, bitmap_bytes);
  }
  void start(std::uint64_t decay_ns) {
    runs.init(reinterpret_cast<std::uintptr_t>(memory), kPages, static_cast<std::uint64_t*>(bitmaps),
              {decay_ns, false});
  }
  std::uint64_t& word(std::size_t page) {
    return *reinterpret_cast<std::uint64_t*>(static_cast<char*>(memory) + page * kPageBytes);
  }

  void* memory = alloc::os_reserve(kPages * kPageBytes, kPageBytes);
  std::size_t bitmap_bytes = (RunAllocator::bitmap_bytes(kPages) + 4095) & ~std::size_t{4095};
  void* bitmaps = alloc::os_reserve(bitmap_bytes, 4096);
  RunAllocator runs;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "pages go back when they have been idle from one look to the next, and not before") {
  constexpr std::uint64_t kFuture = std::uint64_t{1} << 62;  // later than any clock of the test
  runs.decay_locked(kFuture - kDecayNs);
  const std::uintptr_t base = runs.take_locked(200).base;
  for (std::size_t page = 0; page < 200; ++page) word(page) = 1;
  const auto give_back = [&](std::size_t first, std::size_t count) {
    runs.give_back_locked(base + first * kPageBytes, count);
  };
  give_back(10, 100);
  runs.decay_locked(kFuture);
  for (std::size_t page = 0; page < 200; ++page) REQUIRE(word(page) == 1);
  give_back(150, 10);
  REQUIRE(runs.take_locked(5).base == base + 10 * kPageBytes);  // in use again
  runs.decay_locked(kFuture + kDecayNs - 1);                    // not the time yet
  for (std::size_t page = 0; page < 200; ++page) REQUIRE(word(page) == 1);
  runs.decay_locked(kFuture + kDecayNs);
  for (std::size_t page = 0; page < 200; ++page) REQUIRE(word(page) == (page >= 15 && page < 110 ? 0 : 1));
  REQUIRE(runs.is_valid_locked());
  runs.decay_locked(kFuture + 2 * kDecayNs);
  for (std::size_t page = 0; page < 200; ++page) {
    REQUIRE(word(page) == ((page >= 15 && page < 110) || (page >= 150 && page < 160) ? 0 : 1));
  }
  REQUIRE(runs.is_valid_locked());
}

TEST_CASE_FIXTURE(Fixture, "without a decay time pages go back at once") {
  start(0);
  const std::uintptr_t base = runs.take_locked(10).base;
  for (std::size_t page = 0; page < 10; ++page) word(page) = 1;
  runs.give_back_locked(base + 3 * kPageBytes, 4);
  for (std::size_t page = 0; page < 10; ++page) CHECK(word(page) == (page >= 3 && page < 7 ? 0 : 1));
}

TEST_CASE_FIXTURE(Fixture, "random runs never overlap, keep their alignment, and read as zero when they say so") {
  test::Random random(7);
  std::map<std::uintptr_t, std::size_t> taken;
  std::size_t pages = 0;
  bool refused = false;
  bool seen_zeroed = false;
  constexpr std::uint64_t kFuture = std::uint64_t{1} << 62;
  for (int i = 0; i < 30'000; ++i) {
    if (taken.empty() || random.below(100) < 55) {
      const std::size_t count = random.one_in(10) ? 1 + random.below(200) : 1 + random.below(4);
      const std::size_t alignment = kPageBytes << (random.one_in(5) ? random.below(6) : 0);
      const RunAllocator::Run run = runs.take_locked(count, alignment);
      if (run.base == 0) {
        refused = true;
        continue;
      }
      REQUIRE(run.base % alignment == 0);
      const auto [at, is_new] = taken.emplace(run.base, count);
      REQUIRE(is_new);
      if (at != taken.begin()) REQUIRE(std::prev(at)->first + std::prev(at)->second * kPageBytes <= run.base);
      if (std::next(at) != taken.end()) REQUIRE(run.base + count * kPageBytes <= std::next(at)->first);
      auto* const words = reinterpret_cast<std::uint64_t*>(run.base);
      for (std::size_t page = 0; page < count; ++page) {
        std::uint64_t& word = words[page * kPageBytes / sizeof(std::uint64_t)];
        if (run.zeroed) REQUIRE(word == 0);
        word = 1;
      }
      pages += count;
      seen_zeroed = seen_zeroed || (i > 20'000 && run.zeroed);
    } else {
      auto at = taken.begin();
      std::advance(at, random.below(taken.size()));
      runs.give_back_locked(at->first, at->second);
      pages -= at->second;
      taken.erase(at);
    }
    if (random.one_in(100)) runs.decay_locked(kFuture + static_cast<std::uint64_t>(i) * kDecayNs);
    REQUIRE(runs.taken_pages() == pages);
    if (i % 1'000 == 0) REQUIRE(runs.is_valid_locked());
  }
  CHECK(refused);  // the range was full at some time
  CHECK(runs.take_locked(kPages + 1).base == 0);
  CHECK(runs.take_locked(0).base == 0);
  CHECK(seen_zeroed);  // of pages that had gone back
}
