// The mark beyond what random graphs show: long lists, the rest of a slot, ranges that must not be read, no memory.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "alloc/heap.h"
#include "alloc/meta_alloc.h"
#include "alloc/os.h"
#include "scan/marker.h"
#include "tests/unit/random.h"

using namespace arenascan;

namespace {

struct Fixture {
  Fixture() : marker(alloc::HeapView(heap)) {
    REQUIRE(heap.init(std::size_t{1} << 30));
    REQUIRE((cache = heap.acquire_cache()) != nullptr);
  }
  ~Fixture() { heap.destroy(); }

  void** allocate(std::size_t bytes) {
    void* const p = heap.allocate(*cache, bytes, heap.birth(0));
    std::memset(p, 0, bytes);
    return static_cast<void**>(p);
  }
  std::uint64_t reached_from(void* const* root) {
    alloc::HeapView view(heap);
    view.lock();
    REQUIRE(marker.begin_locked());
    marker.set_closed({closed, touched});
    const auto begin = reinterpret_cast<std::uintptr_t>(root);
    marker.mark_range({begin, begin + sizeof(void*)});
    marker.drain();
    view.unlock();
    return marker.reached().objects;
  }

  alloc::Heap heap;
  scan::Marker marker;
  alloc::ThreadCache* cache = nullptr;
  std::vector<scan::AddressRange> closed;
  std::vector<scan::AddressRange> touched;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a list of a million nodes takes no recursion") {
  void* head = nullptr;
  for (int i = 0; i < 1'000'000; ++i) {
    void** const node = allocate(24);
    node[1] = head;
    head = node;
  }
  CHECK(reached_from(&head) == 1'000'000);
  head = nullptr;
  CHECK(reached_from(&head) == 0);
}

TEST_CASE_FIXTURE(Fixture, "only what was asked for is read, not the rest of the slot") {
  void** const target = allocate(64);
  void** holder = allocate(48);
  holder[5] = target;
  CHECK(reached_from(reinterpret_cast<void**>(&holder)) == 2);
  REQUIRE(heap.resize_in_place(holder, 40, 0));  // holder[5] lies behind the end now
  CHECK(reached_from(reinterpret_cast<void**>(&holder)) == 1);
}

TEST_CASE_FIXTURE(Fixture, "a pointer reaches an object through its last byte, not through the rest of the slot") {
  for (const std::size_t bytes : {1, 40, 1000, 65534, 200'000}) {
    const auto address = reinterpret_cast<std::uintptr_t>(allocate(bytes));
    const auto reached_through = [&](std::size_t offset) {
      void* const pointer = reinterpret_cast<void*>(address + offset);
      return reached_from(&pointer);
    };
    CHECK(reached_through(0) == 1);
    CHECK(reached_through(bytes - 1) == 1);
    CHECK(reached_through(bytes) == 0);
    CHECK(reached_through(bytes + 1) == 0);
  }
  const auto array = reinterpret_cast<std::size_t*>(allocate(sizeof(std::size_t)));
  const void* const behind = array + 1;
  CHECK(reached_from(const_cast<void* const*>(&behind)) == 1);  // new T[0]: the length, 0, and no elements
  *array = 1;
  CHECK(reached_from(const_cast<void* const*>(&behind)) == 0);
  const auto nothing = reinterpret_cast<std::uintptr_t>(allocate(0));
  for (const std::uintptr_t offset : {0, 1}) {
    void* const pointer = reinterpret_cast<void*>(nothing + offset);
    CHECK(reached_from(&pointer) == 1 - offset);
  }
}

TEST_CASE_FIXTURE(Fixture,
                  "what the program has closed inside a block is read by the kernel, as far as it was touched") {
  void** const first = allocate(16);
  void** const last = allocate(16);
  void** const inside = allocate(16);
  constexpr std::size_t kBytes = std::size_t{1} << 20;
  void** block = allocate(kBytes);
  block[0] = first;
  block[kBytes / sizeof(void*) - 1] = last;
  const auto hole = (reinterpret_cast<std::uintptr_t>(block) + 8192) & ~std::uintptr_t{4095};
  reinterpret_cast<void**>(hole)[64 * 512 - 1] = inside;
  REQUIRE(mprotect(reinterpret_cast<void*>(hole), 64 * 4096, PROT_NONE) == 0);
  closed.push_back({hole, hole + 64 * 4096});
  CHECK(reached_from(reinterpret_cast<void**>(&block)) == 3);
  touched.push_back({hole + 4096, hole + 64 * 4096});
  CHECK(reached_from(reinterpret_cast<void**>(&block)) == 4);
  CHECK(!marker.has_missed());
  touched[0] = {0x1000, 0x2000};  // nothing is there
  touched.push_back({hole, hole + 4096});
  CHECK(reached_from(reinterpret_cast<void**>(&block)) == 3);
  REQUIRE(mprotect(reinterpret_cast<void*>(hole), 64 * 4096, PROT_READ | PROT_WRITE) == 0);
}

TEST_CASE_FIXTURE(Fixture, "a large block that grew where it lies is reached through its last byte") {
  const auto address = reinterpret_cast<std::uintptr_t>(allocate(200'000));
  REQUIRE(heap.resize_in_place(reinterpret_cast<void*>(address), 1'000'000, 0));
  void* const pointer = reinterpret_cast<void*>(address + 999'999);
  CHECK(reached_from(&pointer) == 1);
}

TEST_CASE_FIXTURE(Fixture, "a mark needs no memory once it has begun, and says so when there is none to begin with") {
  constexpr int kNodes = 200;
  void* head = nullptr;
  for (int i = 0; i < kNodes; ++i) {
    void** const node = allocate(i % 10 == 0 ? 200'000 : 24);
    node[1] = head;
    head = node;
  }
  CHECK(reached_from(&head) == kNodes);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    for (std::size_t bytes = std::size_t{1} << 30; bytes >= 16; bytes /= 2) {  // all that is reserved; none is touched
      while (alloc::meta_allocate(bytes) != nullptr) {
      }
    }
    const bool as_before = reached_from(&head) == kNodes;
    scan::Marker another{alloc::HeapView(heap)};
    _exit(as_before && !another.begin_locked() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

// The word is the same each time it is read; what it points into came into being between two readings.
TEST_CASE_FIXTURE(Fixture, "a word that led nowhere is looked up again, though it has not changed") {
  void** holder = allocate(16 << 10);
  void** const victim = allocate(400);
  void* const inside = victim + 7;
  heap.release(*cache, victim);
  holder[5] = inside;
  marker.set_many_pointers(1);
  CHECK(reached_from(reinterpret_cast<void**>(&holder)) == 1);

  const std::uintptr_t os_page = reinterpret_cast<std::uintptr_t>(holder) & ~(alloc::kOsPageBytes - 1);
  const scan::AddressRange written{os_page, os_page + alloc::kOsPageBytes};
  marker.reread(written, scan::Marker::Time::kToSpare);
  marker.drain();
  std::vector<void**> born;
  while (born.empty() || born.back() != victim) born.push_back(allocate(400));
  alloc::Object object;
  REQUIRE(alloc::HeapView(heap).find(reinterpret_cast<std::uintptr_t>(inside), object));
  CHECK(object.mark().load() != marker.epoch().black());
  marker.reread(written);
  marker.drain();
  CHECK(object.mark().load() == marker.epoch().black());
}

TEST_CASE_FIXTURE(Fixture, "a mark that lanes share is whole, also when it is cut short again and again") {
  test::Random random(5);
  constexpr std::size_t kNodes = 60'000;
  std::vector<void**> nodes(kNodes);
  for (std::size_t i = 0; i < kNodes; ++i) {
    nodes[i] = allocate(32 + random.below(200));
    if (i == 0) continue;
    // A tree, so that each node is reached by one way only; and a pointer back to anywhere.
    void** const parent = nodes[random.below(i)];
    nodes[i][0] = parent[1];
    parent[1] = nodes[i];
    nodes[i][2] = nodes[random.below(i)];
  }
  void* root = nodes[0];
  const auto begin = reinterpret_cast<std::uintptr_t>(&root);
  alloc::HeapView view(heap);
  for (std::size_t lanes = 2; lanes <= scan::kMostLanes; ++lanes) {
    for (int round = 0; round < 10; ++round) {
      marker.set_lanes(lanes, 1);
      view.lock();
      REQUIRE(marker.begin_locked());
      view.unlock();
      marker.mark_range({begin, begin + sizeof(void*)});
      while (!marker.drain_until(alloc::os_monotonic_ns() + random.below(200'000))) {
      }
      REQUIRE(marker.lanes_used() == lanes);
      REQUIRE(marker.reached().objects == kNodes);
    }
  }
  marker.dismiss_helpers();
}

// The same word again, but its page was given back meanwhile, and another one set up there has no colours yet.
TEST_CASE_FIXTURE(Fixture, "a word is looked up again when a page was given back, though it has not changed") {
  constexpr std::size_t kLarge = 300'000;
  void** holder = allocate(16 << 10);
  void* const victim = allocate(kLarge);
  holder[5] = victim;
  marker.set_many_pointers(1);
  CHECK(reached_from(reinterpret_cast<void**>(&holder)) == 2);

  const std::uintptr_t os_page = reinterpret_cast<std::uintptr_t>(holder) & ~(alloc::kOsPageBytes - 1);
  const scan::AddressRange written{os_page, os_page + alloc::kOsPageBytes};
  marker.reread(written, scan::Marker::Time::kToSpare);
  marker.drain();
  heap.release(*cache, victim);
  REQUIRE(allocate(kLarge) == victim);
  alloc::Object object;
  REQUIRE(alloc::HeapView(heap).find(reinterpret_cast<std::uintptr_t>(victim), object));
  CHECK(object.mark().load() != marker.epoch().black());
  marker.reread(written);
  marker.drain();
  CHECK(object.mark().load() == marker.epoch().black());
}
