// What the scanner may hold on to: descriptors of pages that the program gives back meanwhile. What the page map tells
// without them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "alloc/heap.h"
#include "alloc/heap_view.h"

using namespace arenascan;

namespace {

constexpr std::size_t kBytes = 200'000;  // a page of its own

struct Fixture {
  Fixture() : view(heap) {
    REQUIRE(heap.init(std::size_t{1} << 30));
    REQUIRE((cache = heap.acquire_cache()) != nullptr);
  }
  ~Fixture() { heap.destroy(); }

  alloc::Object allocate() {
    alloc::Object object;
    REQUIRE(view.find(reinterpret_cast<std::uintptr_t>(heap.allocate(*cache, kBytes, heap.birth(0))), object));
    return object;
  }
  void release(const alloc::Object& object) { heap.release(*cache, reinterpret_cast<void*>(object.address())); }
  void keep(bool wanted) {
    view.lock();
    view.keep_descriptors_locked(wanted);
    view.unlock();
  }

  alloc::Heap heap;
  alloc::HeapView view;
  alloc::ThreadCache* cache = nullptr;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a kept descriptor says what it said until it is let go, and is used again then") {
  const alloc::Object first = allocate();
  const std::uintptr_t address = first.address();
  keep(true);
  release(first);
  const alloc::Object second = allocate();
  CHECK(second.address() == address);  // the memory is reused at once
  CHECK(second.page != first.page);
  CHECK(first.address() == address);
  CHECK(first.bytes() == kBytes);
  CHECK(!alloc::state::is_allocated(first.state()));
  second.mark().store(8);
  CHECK(first.mark() == 0);
  keep(false);
  CHECK(allocate().page == first.page);
  CHECK(heap.is_valid());
}

TEST_CASE_FIXTURE(Fixture, "a descriptor that nobody keeps is used again at once") {
  const alloc::Object first = allocate();
  release(first);
  CHECK(allocate().page == first.page);
}

TEST_CASE_FIXTURE(Fixture, "a slot is found by any address in it, of every class and of large objects") {
  for (unsigned size_class = 0; size_class <= alloc::kClassCount; ++size_class) {
    const std::size_t bytes = size_class < alloc::kClassCount ? alloc::slot_bytes(size_class) : kBytes;
    CAPTURE(bytes);
    for (int i = 0; i < 3; ++i) {
      const auto begin = reinterpret_cast<std::uintptr_t>(heap.allocate(*cache, bytes, heap.birth(0)));
      REQUIRE(begin != 0);
      for (const std::size_t offset : {std::size_t{0}, std::size_t{1}, bytes / 2, bytes - 1}) {
        REQUIRE(view.slot_of(begin + offset) == begin);
      }
      REQUIRE((size_class == alloc::kClassCount || view.slot_of(begin + bytes) != begin));
    }
  }
  const auto range = view.range();
  CHECK(view.slot_of(0) == 0);
  CHECK(view.slot_of(range.begin - 1) == 0);
  CHECK(view.slot_of(range.begin + range.bytes) == 0);
  CHECK(view.slot_of(range.begin + range.bytes - 1) == 0);  // nobody has it
}

TEST_CASE_FIXTURE(Fixture, "of the pages that are wanted each is visited once, in order") {
  for (int i = 0; i < 40; ++i) {
    allocate();  // four 64 KiB pages
    for (int k = 0; k < 9; ++k) heap.allocate(*cache, 8'000, heap.birth(0));
  }
  std::vector<const alloc::Page*> all;
  const auto fetch_nothing = [](const alloc::Page&) {};
  const std::size_t end = view.in_use_locked().bytes >> alloc::kPageShift;
  view.for_each_page(0, end, fetch_nothing, [&](const alloc::Page& page) { all.push_back(&page); });
  REQUIRE(all.size() > 80);
  for (const std::size_t stride : {1, 2, 3, 7, 1000}) {
    CAPTURE(stride);
    const auto is_wanted = [&](std::size_t number) { return number % stride == 0; };
    std::vector<const alloc::Page*> wanted;
    for (const alloc::Page* const page : all) {
      if (is_wanted(view.number_of(*page))) wanted.push_back(page);
    }
    std::vector<const alloc::Page*> fetched;
    std::vector<const alloc::Page*> visited;
    const auto ask = [&](std::size_t number, const alloc::PageEntry& entry) {
      const std::uint32_t known = alloc::HeapView::capacity(entry);
      REQUIRE(known == (entry.page()->page_count == 1 ? entry.page()->capacity : UINT32_MAX));
      return is_wanted(number);
    };
    view.for_each_page_if(
        end, ask, [&](const alloc::Page& page) { fetched.push_back(&page); },
        [&](const alloc::Page& page) { visited.push_back(&page); });
    CHECK(visited == wanted);
    fetched.resize(std::min(fetched.size(), visited.size()));
    CHECK(std::equal(fetched.begin(), fetched.end(), visited.begin()));
  }
}
