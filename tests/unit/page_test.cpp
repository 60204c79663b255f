// A page that other threads free into: who pushes it to the pending list, and when it may leave the list.
#include <doctest/doctest.h>

#include "alloc/heap.h"
#include "alloc/heap_view.h"

using namespace arenascan;

TEST_CASE("a page stays in the pending list until the last free that has begun is drained") {
  alloc::Heap heap;
  REQUIRE(heap.init(std::size_t{1} << 26));
  alloc::ThreadCache* const cache = heap.acquire_cache();
  REQUIRE(cache != nullptr);
  alloc::Object objects[3];
  for (alloc::Object& object : objects) {
    void* const p = heap.allocate(*cache, 100, heap.birth(0));
    REQUIRE(alloc::HeapView(heap).find(reinterpret_cast<std::uintptr_t>(p), object));
  }
  alloc::Page& page = *objects[0].page;
  REQUIRE(objects[2].page == &page);
  const std::uint32_t used = page.local->used;

  CHECK(alloc::page_free_remote(page, objects[0].index));  // the first one pushes the page
  CHECK(!alloc::page_free_remote(page, objects[1].index));
  ++page.remote->pending;  // a third has counted itself and not set its bit yet
  CHECK(!alloc::page_drain_remote(page));
  CHECK(page.local->used == used - 2);
  CHECK(!alloc::page_free_remote(page, objects[2].index));
  --page.remote->pending;  // counted twice now
  CHECK(alloc::page_drain_remote(page));
  CHECK(page.local->used == used - 3);
  heap.destroy();
}
