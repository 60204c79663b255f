// Groups of leaks against their definition: all of one stack and kind in one, whatever the order they are added in.
#include <doctest/doctest.h>

#include <map>
#include <utility>

#include "alloc/heap.h"
#include "scan/leaks.h"
#include "tests/unit/random.h"

using namespace arenascan;

TEST_CASE("leaks of thousands of stacks, in any order, are one group a stack and kind") {
  constexpr std::uint32_t kStacks = 3'000;  // more than a builder remembers
  constexpr int kLeaks = 20'000;
  alloc::Heap heap;
  REQUIRE(heap.init(std::size_t{1} << 28));
  void* const block = heap.allocate(*heap.acquire_cache(), 16, heap.birth(0));
  scan::Orphan orphan;
  REQUIRE(alloc::HeapView(heap).find(reinterpret_cast<std::uintptr_t>(block), orphan.object));

  test::Random random(7);
  scan::GroupBuilder builder;
  std::map<std::pair<std::uint32_t, bool>, scan::Count> expected;
  for (int i = 0; i < kLeaks; ++i) {
    orphan.birth.stack = static_cast<std::uint32_t>(random.below(kStacks));
    orphan.bytes = random.below(1000);
    const bool direct = random.one_in(2);
    REQUIRE(builder.add(orphan, direct));
    scan::Count& count = expected[{orphan.birth.stack, direct}];
    ++count.objects;
    count.bytes += orphan.bytes;
  }
  const auto groups = builder.finish();
  CHECK(groups.size() == expected.size());
  for (const scan::Group& group : groups) {
    const scan::Count& count = expected[{group.stack, group.direct}];
    CHECK(group.objects == count.objects);
    CHECK(group.bytes == count.bytes);
  }
  heap.destroy();
}
