// Reading again beside a program: what a scan may leave out because the one before has protected it, and where
// protection is taken back.
#include <doctest/doctest.h>

#include <cstring>
#include <set>
#include <vector>

#include "alloc/heap.h"
#include "scan/marker.h"
#include "scan/pace.h"
#include "scan/pagemap.h"
#include "scan/rereader.h"
#include "scan/write_watch.h"
#include "tests/unit/written_pages.h"

using namespace arenascan;

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPiece = std::size_t{2} << 20;

struct Fixture {
  Fixture() : marker(alloc::HeapView(heap)), rereader(alloc::HeapView(heap), marker, pagemap) {
    REQUIRE(heap.init(std::size_t{1} << 30));
    REQUIRE((cache = heap.acquire_cache()) != nullptr);
    for (int i = 0; i < 80; ++i) blocks.push_back(allocate(kBlockBytes));  // five pieces
    holder = reinterpret_cast<void**>(blocks[20]);
    target = allocate(100);
    pagemap.open(scan::Pagemap::Beside::kProgram);
    const auto range = alloc::HeapView(heap).range();
    can_watch = watch.prepare({range.begin, range.begin + range.bytes});
    if (!can_watch) MESSAGE("NOT TESTED: this system does not let writes be watched (Linux 6.7, userfaultfd)");
  }
  ~Fixture() {
    watch.fork_child();
    heap.destroy();
  }

  char* allocate(std::size_t bytes) {
    void* const p = heap.allocate(*cache, bytes, heap.birth(0));
    std::memset(p, 0, bytes);
    return static_cast<char*>(p);
  }

  void mark() {
    alloc::HeapView view(heap);
    view.lock();
    REQUIRE(marker.begin_locked());
    marker.mark_range({reinterpret_cast<std::uintptr_t>(&holder), reinterpret_cast<std::uintptr_t>(&holder + 1)});
    marker.drain();
    view.unlock();
  }
  std::uint64_t reached() { return marker.reached().objects; }

  scan::AddressRange in_use() {
    alloc::HeapView view(heap);
    const std::scoped_lock lock(view);
    const auto used = view.in_use_locked();
    return {used.begin, used.begin + used.bytes};
  }
  // Numbers of the pages that were written since they were protected.
  std::set<std::size_t> written(bool protect_again) { return test::written_pages(pagemap, in_use(), protect_again); }
  // Writes to one page of so many that blocks have in the piece with this number.
  void write_to_piece(std::size_t number, std::size_t one_of) {
    std::size_t pages = 0;
    for (char* const block : blocks) {
      for (std::size_t at = 0; at < kBlockBytes; at += kPage) {
        const std::uintptr_t offset = reinterpret_cast<std::uintptr_t>(block + at) - in_use().begin;
        if (offset / kPiece == number && pages++ % one_of == 0) block[at] = 1;
      }
    }
  }

  static constexpr std::size_t kBlockBytes = 128 << 10;
  alloc::Heap heap;
  alloc::ThreadCache* cache = nullptr;
  std::vector<char*> blocks;
  void** holder = nullptr;
  char* target = nullptr;
  scan::Marker marker;
  scan::Pagemap pagemap;
  scan::WriteWatch watch;
  scan::Rereader rereader;
  scan::Pace pace{scan::PaceSettings{}};
  bool can_watch = false;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "what was written since the last scan protected it is read again, and nothing else") {
  if (!can_watch) return;
  mark();
  CHECK(reached() == 1);
  holder[0] = target;
  REQUIRE(rereader.begin(pace) == scan::Incomplete::kNo);
  CHECK(reached() == 2);  // nothing was protected before
  CHECK(written(false).empty());

  holder[0] = nullptr;
  mark();
  CHECK(reached() == 1);
  holder[0] = target;
  REQUIRE(rereader.begin(pace) == scan::Incomplete::kNo);
  CHECK(reached() == 2);

  holder[0] = nullptr;
  mark();
  holder[0] = target;
  CHECK(!written(true).empty());  // as if nobody had written
  REQUIRE(rereader.begin(pace) == scan::Incomplete::kNo);
  CHECK(reached() == 1);
  REQUIRE(rereader.begin_anew(pace) == scan::Incomplete::kNo);
  CHECK(reached() == 2);
}

TEST_CASE_FIXTURE(Fixture, "a scan that reads all again asks after each piece whether to go on, written or not") {
  if (!can_watch) return;
  mark();
  REQUIRE(rereader.begin(pace) == scan::Incomplete::kNo);
  CHECK(written(false).empty());
  std::size_t asked = 0;
  scan::PaceSettings settings;
  settings.go_on = [](const scan::Progress&, void* count) { return ++*static_cast<std::size_t*>(count) < 4; };
  settings.argument = &asked;
  scan::Pace counted(settings);
  CHECK(rereader.begin_anew(counted) == scan::Incomplete::kCancelled);
  CHECK(asked == 4);
}

TEST_CASE_FIXTURE(Fixture, "protection is taken back where much was written beside the scan, and nowhere else") {
  if (!can_watch) return;
  mark();
  for (std::size_t piece = 0; piece < 4; ++piece) write_to_piece(piece, 1);  // before: does not count
  REQUIRE(rereader.begin(pace) == scan::Incomplete::kNo);
  write_to_piece(1, 8);
  write_to_piece(2, 3);
  REQUIRE(rereader.catch_up(pace) == scan::Incomplete::kNo);
  CHECK(written(false).empty());
  REQUIRE(rereader.release_busy(watch, pace) == scan::Incomplete::kNo);
  std::set<std::size_t> expected;
  for (std::size_t page = 0; page < kPiece / kPage; ++page) expected.insert(2 * kPiece / kPage + page);
  CHECK(written(false) == expected);
}
