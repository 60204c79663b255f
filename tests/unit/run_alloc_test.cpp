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

TEST_CASE("random runs never overlap, keep their alignment, and read as zero when they say so") {
  constexpr std::size_t kPages = 2'000;
  void* const memory = alloc::os_reserve(kPages * kPageBytes, kPageBytes);
  const std::size_t bitmap_bytes = (RunAllocator::bitmap_bytes(kPages) + 4095) & ~std::size_t{4095};
  void* const bitmaps = alloc::os_reserve(bitmap_bytes, 4096);
  REQUIRE(alloc::os_commit(bitmaps, bitmap_bytes));
  RunAllocator runs;
  runs.init(reinterpret_cast<std::uintptr_t>(memory), kPages, static_cast<std::uint64_t*>(bitmaps));
  test::Random random(7);
  std::map<std::uintptr_t, std::size_t> taken;
  std::size_t pages = 0;
  bool refused = false;
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
    } else {
      auto at = taken.begin();
      std::advance(at, random.below(taken.size()));
      runs.give_back_locked(at->first, at->second);
      pages -= at->second;
      taken.erase(at);
    }
    REQUIRE(runs.taken_pages() == pages);
    if (i % 1'000 == 0) REQUIRE(runs.is_valid_locked());
  }
  CHECK(refused);  // the range was full at some time
  CHECK(runs.take_locked(kPages + 1).base == 0);
  CHECK(runs.take_locked(0).base == 0);
  alloc::os_release(memory, kPages * kPageBytes);
  alloc::os_release(bitmaps, bitmap_bytes);
}
