// What the scanner may hold on to: descriptors of pages that the program gives back meanwhile.
#include <doctest/doctest.h>

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
