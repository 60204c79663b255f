// Which slots and pages a thread's allocations come from, where that is a promise and not chance.
#include <doctest/doctest.h>
#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <set>
#include <vector>

#include "alloc/heap.h"
#include "alloc/os.h"

using namespace arenascan;

namespace {

struct Fixture {
  Fixture() {
    REQUIRE(heap.init(std::size_t{1} << 26));
    cache = heap.acquire_cache();
    REQUIRE(cache != nullptr);
  }
  ~Fixture() { heap.destroy(); }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  std::uintptr_t take(std::size_t bytes) {
    return reinterpret_cast<std::uintptr_t>(heap.allocate(*cache, bytes, heap.birth(0)));
  }
  void give_back(std::uintptr_t object) { heap.release(*cache, reinterpret_cast<void*>(object)); }

  alloc::Heap heap;
  alloc::ThreadCache* cache = nullptr;
};

constexpr std::size_t kBytes = 64;
constexpr std::size_t kSlots = alloc::kPageBytes / kBytes;

std::uintptr_t page_of(std::uintptr_t object) { return object / alloc::kPageBytes; }

std::size_t resident_os_pages(std::uintptr_t page) {
  std::array<unsigned char, alloc::kPageBytes / alloc::kOsPageBytes> resident{};
  REQUIRE(mincore(reinterpret_cast<void*>(page * alloc::kPageBytes), alloc::kPageBytes, resident.data()) == 0);
  std::size_t count = 0;
  for (const unsigned char byte : resident) count += byte & 1U;
  return count;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "few objects go round in few slots") {
  constexpr std::size_t kLive = 20;
  std::vector<std::uintptr_t> live;
  for (std::size_t i = 0; i < kLive; ++i) live.push_back(take(kBytes));
  std::set<std::uintptr_t> seen(live.begin(), live.end());
  for (std::size_t i = 0; i < 10'000; ++i) {
    std::uintptr_t& object = live[i * 7 % kLive];
    give_back(object);
    object = take(kBytes);
    seen.insert(object);
  }
  CHECK(seen.size() <= 128);
}

TEST_CASE_FIXTURE(Fixture, "a full page is used again when an eighth of it is free, and not before") {
  std::vector<std::uintptr_t> objects;
  for (std::size_t i = 0; i < 2 * kSlots; ++i) objects.push_back(take(kBytes));
  const std::uintptr_t first_page = page_of(objects[0]);
  REQUIRE(page_of(objects[kSlots - 1]) == first_page);
  REQUIRE(page_of(objects[kSlots]) != first_page);

  for (std::size_t i = 0; i < kSlots / 8 - 1; ++i) give_back(objects[i]);
  CHECK(page_of(take(kBytes)) != first_page);
  give_back(objects[kSlots / 8 - 1]);
  std::size_t from_first = 0;
  for (std::size_t i = 0; i < 2 * kSlots; ++i) from_first += page_of(take(kBytes)) == first_page ? 1 : 0;
  CHECK(from_first == kSlots / 8);
}

TEST_CASE_FIXTURE(Fixture, "from a class's third page on, a page is resident before its objects are touched") {
  std::vector<std::uintptr_t> pages;
  for (std::size_t i = 0; i < 4; ++i) {
    pages.push_back(page_of(take(kBytes)));
    for (std::size_t k = 1; k < kSlots; ++k) take(kBytes);
  }
  CHECK(resident_os_pages(pages[0]) == 0);
  CHECK(resident_os_pages(pages[1]) == 0);
  void* const trial = alloc::os_reserve(alloc::kOsPageBytes, alloc::kOsPageBytes);
  REQUIRE(alloc::os_commit(trial, alloc::kOsPageBytes));
  if (madvise(trial, alloc::kOsPageBytes, MADV_POPULATE_WRITE) == 0) {
    CHECK(resident_os_pages(pages[2]) == 16);
    CHECK(resident_os_pages(pages[3]) == 16);
  } else {
    MESSAGE("this kernel cannot populate (Linux before 5.14): residency was not checked");
  }
  alloc::os_release(trial, alloc::kOsPageBytes);
}

TEST_CASE_FIXTURE(Fixture, "pages of objects larger than an OS page are left to be touched") {
  constexpr std::size_t kLarge = 2 * alloc::kOsPageBytes;
  for (std::size_t i = 0; i < 4 * alloc::kPageBytes / kLarge; ++i) {
    const std::uintptr_t object = take(kLarge);
    if (object % alloc::kPageBytes == 0) CHECK(resident_os_pages(page_of(object)) == 0);
  }
}
