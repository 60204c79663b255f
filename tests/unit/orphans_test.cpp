// The white check against its definition, byte by byte; looks; what is remembered from scan to scan; epochs.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

#include "alloc/heap.h"
#include "scan/orphans.h"
#include "scan/scanner.h"
#include "tests/unit/random.h"

using namespace arenascan;
using alloc::Object;

namespace {

struct Fixture {
  Fixture() {
    REQUIRE(heap.init(std::size_t{1} << 28));
    REQUIRE((cache = heap.acquire_cache()) != nullptr);
  }
  ~Fixture() { heap.destroy(); }

  Object object_of(void* p) {
    Object object;
    REQUIRE(alloc::HeapView(heap).find(reinterpret_cast<std::uintptr_t>(p), object));
    return object;
  }
  void* allocate(std::size_t bytes) { return heap.allocate(*cache, bytes, heap.birth(0)); }

  alloc::Heap heap;
  alloc::ThreadCache* cache = nullptr;
};

scan::Epoch epoch_number(int n) {
  scan::Epoch epoch;
  for (int i = 0; i < n; ++i) epoch.advance();
  return epoch;
}

}  // namespace

TEST_CASE("epochs: colours of one are white in every other; the wrap is told once in 127") {
  scan::Epoch epoch;
  CHECK(epoch.advance());  // the first one, before which all marks are 0
  for (int i = 0; i < 126; ++i) {
    const scan::Epoch before = epoch;
    CHECK(!epoch.advance());
    CHECK(epoch.is_white(0));
    CHECK(epoch.is_white(before.grey()));
    CHECK(epoch.is_white(before.black()));
    CHECK(!epoch.is_white(epoch.grey()));
    CHECK(!epoch.is_white(epoch.black()));
  }
  CHECK(epoch.advance());
}

TEST_CASE_FIXTURE(Fixture, "white is allocated and of another epoch, whatever the other bits say") {
  alloc::Page& page = *object_of(allocate(16)).page;
  test::Random random(3);
  for (int round = 0; round < 2'000; ++round) {
    const scan::Epoch epoch = epoch_number(1 + static_cast<int>(random.below(127)));
    for (std::uint32_t i = 0; i < 128; ++i) {
      page.states()[i].store(static_cast<std::uint8_t>(random.next()), std::memory_order_relaxed);
      const auto mark = random.one_in(2) ? epoch.grey() + random.below(2) : random.next();
      page.marks()[i].store(static_cast<std::uint8_t>(mark), std::memory_order_relaxed);
    }
    std::vector<std::uint32_t> expected;
    for (std::uint32_t i = 0; i < 128; ++i) {
      if (alloc::state::is_allocated(page.states()[i]) && epoch.is_white(page.marks()[i])) expected.push_back(i);
    }
    scan::OrphanList found;
    REQUIRE(scan::find_white(alloc::HeapView(heap), 1, epoch, found));
    std::vector<std::uint32_t> indices;
    for (const scan::Orphan& orphan : found) indices.push_back(orphan.object.index);
    REQUIRE(indices == expected);
  }
  for (std::uint32_t i = 0; i < 128; ++i) page.states()[i].store(i == 0 ? 1 : 0, std::memory_order_relaxed);
}

TEST_CASE_FIXTURE(Fixture, "a look tells changed contents, another object in the slot, and a freed one") {
  scan::Marker marker{alloc::HeapView(heap)};
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{40}, std::size_t{5000}, std::size_t{300000}}) {
    CAPTURE(bytes);
    auto* const p = static_cast<unsigned char*>(allocate(bytes));
    std::memset(p, 0, bytes);  // all zeros hash to something ordinary too
    scan::Orphan orphan;
    orphan.object = object_of(p);
    orphan.birth = orphan.object.birth();
    REQUIRE(scan::look(orphan, marker));
    CHECK(orphan.hashed);
    REQUIRE(scan::look(orphan, marker));
    CHECK(!orphan.changed);
    if (bytes > 0) {
      p[bytes - 1] ^= 1;
      REQUIRE(scan::look(orphan, marker));
      CHECK(orphan.changed);
    }
    heap.release(*cache, p);
    CHECK(!scan::look(orphan, marker));
    heap.advance_stamp_locked();
    std::vector<void*> others;  // until one takes the slot
    do others.push_back(allocate(bytes));
    while (others.back() != p);
    CHECK(!scan::look(orphan, marker));
    for (void* const other : others) heap.release(*cache, other);
  }
}

TEST_CASE_FIXTURE(Fixture, "orphans are recalled by address and birth; one that changed is looked at twice again") {
  scan::OrphanList earlier;
  scan::OrphanList now;
  for (int i = 0; i < 10; ++i) {
    scan::Orphan orphan;
    orphan.object = object_of(allocate(32));
    orphan.address = orphan.object.address();
    orphan.birth = orphan.object.birth();
    REQUIRE(now.push_back(orphan));
    orphan.hashed = orphan.reported = true;
    orphan.checksum = static_cast<std::uint64_t>(i) + 100;
    orphan.changed = i == 4;
    if (i == 6) orphan.birth.stamp ^= 0x100;  // another object was there
    if (i != 2) REQUIRE(earlier.push_back(orphan));
  }
  scan::recall(now, earlier, 1);
  for (std::size_t i = 0; i < now.size(); ++i) {
    CAPTURE(i);
    const bool known = i != 2 && i != 6;
    CHECK(now[i].hashed == (known && i != 4));
    CHECK(now[i].reported == known);
    if (known) CHECK(now[i].checksum == i + 100);
  }
}

TEST_CASE_FIXTURE(Fixture, "known leaks stay known when the page of one before them lies elsewhere by now") {
  scan::UserRoots roots;
  scan::Scanner scanner(heap, roots, nullptr);
  scan::Verdict verdict;
  constexpr std::size_t kLarge = 200'000;
  void* const first = allocate(kLarge);
  void* const second = allocate(16);
  REQUIRE(first < second);
  scanner.scan({}, verdict);
  CHECK(verdict.fresh.objects == 2);

  const alloc::Page* const page = object_of(first).page;
  heap.release(*cache, first);
  const Object third = object_of(allocate(2 * kLarge));
  REQUIRE(third.page == page);  // the descriptor, for other addresses
  REQUIRE(third.address() > reinterpret_cast<std::uintptr_t>(second));
  REQUIRE(alloc::HeapView(heap).add_policy(third, alloc::state::kNotLeak));
  scanner.scan({}, verdict);
  CHECK(verdict.orphans.objects == 1);
  CHECK(verdict.fresh.objects == 0);
  CHECK(verdict.recovered.objects == 1);
}

TEST_CASE_FIXTURE(Fixture, "a known leak stays known when its birth has grown old") {
  scan::UserRoots roots;
  scan::Scanner scanner(heap, roots, nullptr);
  scan::Verdict verdict;
  allocate(32);
  scanner.scan({}, verdict);
  CHECK(verdict.fresh.objects == 1);
  for (int round = 0; round < 5; ++round) {
    for (unsigned i = 0; i < alloc::Birth::kAgingInterval; ++i) scanner.mark_time();
    scanner.scan({}, verdict);
    CHECK(verdict.direct.objects == 1);
    CHECK(verdict.fresh.objects == 0);
    CHECK(verdict.recovered.objects == 0);
  }
  // Another one could have come to lie there.
  for (unsigned i = 0; i < alloc::Birth::kOldestAge; ++i) scanner.mark_time();
  scanner.scan({}, verdict);
  CHECK(verdict.direct.objects == 1);
  CHECK(verdict.fresh.objects == 1);
}

TEST_CASE_FIXTURE(Fixture, "stamps come round, and old objects still do not look new") {
  alloc::HeapView view(heap);
  const auto advance = [&] {
    const std::unique_lock guard(view);
    heap.age_births_locked();
    return heap.advance_stamp_locked();
  };
  void* const old = allocate(48);
  for (std::uint32_t i = 1; i <= 200'000; ++i) {
    const std::uint32_t now = advance();
    const alloc::Birth birth = object_of(old).birth();
    REQUIRE(birth.age(now) == std::min<std::uint32_t>(i, alloc::Birth::kOldestAge));
    if (i % 1000 != 0) continue;
    const std::uint32_t mark = advance();
    ++i;
    void* const young = allocate(48);
    CHECK(object_of(young).birth().age(mark + 1) == 1);
    CHECK(object_of(young).birth().age(mark) == 0);
    heap.release(*cache, young);
  }
}
