// Quiet pages against a plain model: whatever is written, by whomever, a page that holds a pointer is read.
// ARENA_MODEL_ROUNDS sets how long.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "scan/quiet_pages.h"
#include "scan/write_watch.h"
#include "tests/unit/random.h"

using namespace arenascan;

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kObjectBytes = std::size_t{512} << 10;
constexpr std::size_t kObjects = 6;

struct Fixture {
  Fixture() {
    REQUIRE(heap->init(std::size_t{1} << 30));
    cache = heap->acquire_cache();
    for (char*& object : objects) object = allocate();
    pagemap.open(scan::Pagemap::Beside::kProgram);
    const auto range = alloc::HeapView(*heap).range();
    can_watch = watch.prepare({range.begin, range.begin + range.bytes});
    if (!can_watch) MESSAGE("NOT TESTED: this system does not let writes be watched (Linux 6.7, userfaultfd)");
  }
  ~Fixture() {
    watch.fork_child();
    heap->destroy();
  }

  char* allocate(std::size_t wanted = kObjectBytes) {
    return static_cast<char*>(heap->allocate(*cache, wanted, alloc::Birth{}));
  }

  std::size_t survey() {
    const alloc::HeapView view(*heap);
    const std::size_t listed_bytes = quiet.list(view, view.range().bytes >> alloc::kPageShift);
    quiet.survey(pagemap);
    return listed_bytes;
  }

  // Pages of the objects, by address, that the next mark reads.
  std::set<std::uintptr_t> loud_pages() {
    std::set<std::uintptr_t> loud;
    for (std::size_t i = 0; i < kObjects; ++i) {
      const auto begin = reinterpret_cast<std::uintptr_t>(objects[i]);
      quiet.for_each_loud_part(begin, begin + bytes[i], [&](std::uintptr_t from, std::uintptr_t to) {
        CHECK((from - begin) % kPage == 0);
        for (std::uintptr_t page = from; page < to; page += kPage) loud.insert(page);
      });
    }
    return loud;
  }

  // Those that hold a word which could be a pointer.
  std::set<std::uintptr_t> pages_with_pointers() {
    const auto reserved = alloc::HeapView(*heap).reserved();
    std::set<std::uintptr_t> found;
    for (std::size_t i = 0; i < kObjects; ++i) {
      for (std::size_t at = 0; at + sizeof(std::uintptr_t) <= bytes[i]; at += sizeof(std::uintptr_t)) {
        std::uintptr_t word;
        std::memcpy(&word, objects[i] + at, sizeof(word));
        if (word - reserved.begin < reserved.bytes)
          found.insert(reinterpret_cast<std::uintptr_t>(objects[i] + at) / kPage * kPage);
      }
    }
    return found;
  }

  std::unique_ptr<alloc::Heap> heap = std::make_unique<alloc::Heap>();
  alloc::ThreadCache* cache = nullptr;
  std::vector<char*> objects = std::vector<char*>(kObjects);
  std::vector<std::size_t> bytes = std::vector<std::size_t>(kObjects, kObjectBytes);
  scan::Pagemap pagemap;
  scan::WriteWatch watch;
  scan::QuietPages quiet;
  bool can_watch = false;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "what was never written is quiet, what is written is not") {
  if (!can_watch) return;
  survey();
  quiet.begin_mark(pagemap);
  CHECK(quiet.bytes() == kObjects * kObjectBytes);
  CHECK(loud_pages().empty());

  objects[2][5 * kPage + 100] = 1;
  quiet.begin_mark(pagemap);
  CHECK(loud_pages() == std::set{reinterpret_cast<std::uintptr_t>(objects[2] + 5 * kPage)});
  CHECK(quiet.bytes() == kObjects * kObjectBytes - kPage);

  quiet.forget();
  CHECK(quiet.empty());
  CHECK(loud_pages().size() == kObjects * kObjectBytes / kPage);
}

TEST_CASE_FIXTURE(Fixture, "a page that is written now and then is left alone for some scans, and quiet after them") {
  if (!can_watch) return;
  std::memset(objects[0], 1, kPage);
  survey();
  CHECK(quiet.bytes() == kObjects * kObjectBytes);
  std::memset(objects[0], 2, kPage);
  unsigned loud = 0;
  for (unsigned scans = 0; scans < 30; ++scans) {
    quiet.begin_mark(pagemap);
    loud += loud_pages().empty() ? 0 : 1;
    survey();
  }
  CHECK(loud > 2);
  CHECK(loud < 20);
}

TEST_CASE_FIXTURE(Fixture, "small objects are none of its business, and what is gone is forgotten") {
  if (!can_watch) return;
  heap->allocate(*cache, 100'000, alloc::Birth{});
  CHECK(survey() == kObjects * kObjectBytes);
  for (char* const object : objects) heap->release(*cache, object);
  CHECK(survey() == 0);
  CHECK(quiet.empty());
}

TEST_CASE_FIXTURE(Fixture, "memory that is watched no more: nothing is known") {
  if (!can_watch) return;
  survey();
  watch.fork_child();  // closes the file
  quiet.begin_mark(pagemap);
  CHECK(quiet.empty());
}

TEST_CASE_FIXTURE(Fixture, "against a model: no page with a pointer is ever quiet") {
  if (!can_watch) return;
  test::Random random(17);
  int channel[2];
  REQUIRE(pipe(channel) == 0);
  std::size_t quiet_bytes = 0;
  const std::uint64_t rounds = test::length_from("ARENA_MODEL_ROUNDS", 3'000);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (std::size_t writes = random.below(6); writes > 0; --writes) {
      const std::size_t number = random.below(kObjects);
      char*& object = objects[number];
      char* const place = object + random.below(bytes[number] / 8) * 8;
      // So long that it may be quiet, or a little less; some end with a page.
      const std::size_t other_bytes = (50 + random.below(200)) * kPage - random.below(2) * random.below(kPage);
      const auto pointer = reinterpret_cast<std::uintptr_t>(objects[random.below(kObjects)]);
      switch (random.below(8)) {
        case 0: std::memcpy(place, &pointer, sizeof(pointer)); break;
        case 1: std::memset(place, 0, 8); break;
        case 2: std::memset(object, 0, bytes[number]); break;
        case 3:  // by the kernel
          REQUIRE(write(channel[1], &pointer, sizeof(pointer)) == sizeof(pointer));
          REQUIRE(read(channel[0], place, sizeof(pointer)) == sizeof(pointer));
          break;
        case 4:  // another object in its place, or elsewhere
          heap->release(*cache, object);
          object = allocate(bytes[number] = other_bytes);
          break;
        case 5: madvise(object, bytes[number], MADV_DONTNEED); break;
        case 6: *place = 1; break;
        case 7:
          if (heap->resize_in_place(object, other_bytes, 0)) bytes[number] = other_bytes;
          break;
      }
    }
    if (random.below(10) == 0) quiet.forget();
    quiet.begin_mark(pagemap);
    const std::set<std::uintptr_t> loud = loud_pages();
    for (const std::uintptr_t page : pages_with_pointers()) {
      if (!loud.contains(page)) FAIL("round " << round << ": a page with a pointer would not be read");
    }
    quiet_bytes += quiet.bytes();
    if (random.below(4) != 0) survey();
  }
  CHECK(quiet_bytes / rounds > kObjectBytes);  // on an average
  close(channel[0]);
  close(channel[1]);
}
