// A program that writes where it should not: over freed blocks, past the ends of live ones, through any pointer into
// the heap. Its own data suffers; the allocator's structures do not, and what is told of each block stays true.
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "alloc/heap.h"
#include "scan/scanner.h"
#include "tests/unit/random.h"

using namespace arenascan;
using test::Random;

namespace {

struct Block {
  void* address;
  std::size_t bytes;
  alloc::Birth birth;
};

}  // namespace

TEST_CASE("a million wild writes leave every structure of the heap valid") {
  alloc::Heap heap;
  REQUIRE(heap.init(std::size_t{1} << 30));
  alloc::ThreadCache* caches[2] = {heap.acquire_cache(), heap.acquire_cache()};
  scan::UserRoots roots;
  scan::Scanner scanner(heap, roots, nullptr);
  alloc::HeapView view(heap);
  Random random(11);
  std::vector<Block> live;
  const auto cache = [&]() -> alloc::ThreadCache& { return *caches[random.below(2)]; };
  const std::uint64_t writes = test::length_from("ARENA_WILD_WRITES", 1'000'000);
  for (std::uint64_t i = 0; i < writes; ++i) {
    if (live.empty() || (random.one_in(3) && live.size() < 2'000)) {
      const std::size_t bytes = random.one_in(40) ? random.below(400'000) : random.below(600);
      const alloc::Birth birth = heap.birth(static_cast<std::uint32_t>(i));
      live.push_back({heap.allocate(cache(), bytes, birth), bytes, birth});
      REQUIRE(live.back().address != nullptr);
    } else if (random.one_in(3)) {
      const std::size_t which = random.below(live.size());
      heap.release(cache(), live[which].address);
      live[which] = live.back();
      live.pop_back();
    }
    view.lock();
    const auto range = view.in_use_locked();
    view.unlock();
    // What looks like pointers into the heap is what would confuse an allocator most.
    const std::uintptr_t to = range.begin + random.below(range.bytes / 8) * 8;
    const std::uintptr_t word = random.one_in(2) ? random.next() : range.begin + random.below(range.bytes);
    std::memcpy(reinterpret_cast<void*>(to), &word, sizeof(word));
    if (i % 50'000 != 0) continue;
    REQUIRE(heap.is_valid());
    scan::Verdict verdict;
    scanner.scan({}, verdict);
    REQUIRE(verdict.incomplete == scan::Incomplete::kNo);
    REQUIRE(verdict.seen.objects == live.size());
  }
  REQUIRE(heap.is_valid());
  for (const Block& block : live) {
    alloc::Object object;
    REQUIRE(view.find(reinterpret_cast<std::uintptr_t>(block.address), object));
    REQUIRE(object.bytes() == block.bytes);
    REQUIRE(object.birth() == block.birth);
    heap.release(*caches[0], block.address);
  }
  CHECK(heap.is_valid());
  heap.destroy();
}
