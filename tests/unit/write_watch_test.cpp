// Watching writes: which pages are told, by whom they may be written, and what happens when the file is closed.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "scan/pagemap.h"
#include "scan/write_watch.h"
#include "tests/unit/random.h"
#include "tests/unit/written_pages.h"

using namespace arenascan;

namespace {

constexpr std::size_t kPage = 4096;

struct Fixture {
  Fixture() {
    memory =
        static_cast<char*>(mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(memory != MAP_FAILED);
    range = {reinterpret_cast<std::uintptr_t>(memory), reinterpret_cast<std::uintptr_t>(memory) + kPages * kPage};
    for (std::size_t page = 0; page < kPages; page += 2) memory[page * kPage] = 1;  // the others were never touched
    pagemap.open(scan::Pagemap::Beside::kProgram);
    REQUIRE(parts.make_room());
    can_watch = watch.prepare(range);
    if (!can_watch) MESSAGE("NOT TESTED: this system does not let writes be watched (Linux 6.7, userfaultfd)");
  }
  ~Fixture() {
    watch.fork_child();
    munmap(memory, kPages * kPage);
  }

  // False: not all of it is watched.
  bool protect() {
    return pagemap.for_each_written_run(
        range, true, [](scan::AddressRange, void*) {}, nullptr);
  }

  // Numbers of the pages that were written since they were protected.
  std::set<std::size_t> written(bool protect_again) { return test::written_pages(pagemap, range, protect_again); }

  // The same, asked for by two threads, or by none until the answers are wanted.
  std::set<std::size_t> written_by_parts(bool asked) {
    test::WrittenPages found{range.begin, {}};
    parts.cut(pagemap, range);
    if (asked) {
      std::thread other([this] { parts.ask(); });
      parts.ask();
      other.join();
    }
    REQUIRE(parts.for_each_run(test::WrittenPages::add, &found));
    return found.pages;
  }

  static constexpr std::size_t kPages = 10'000;  // five parts; more runs in each than one answer holds
  char* memory = nullptr;
  scan::AddressRange range;
  scan::Pagemap pagemap;
  scan::WrittenParts parts;
  scan::WriteWatch watch;
  bool can_watch = false;
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "exactly the pages that were written are told, and again only when written again") {
  if (!can_watch) return;
  REQUIRE(protect());
  CHECK(written(false).empty());
  test::Random random(5);
  for (int round = 0; round < 20; ++round) {
    std::set<std::size_t> expected;
    for (std::uint64_t writes = random.below(5'000); writes > 0; --writes) {
      const std::size_t page = random.below(kPages);
      memory[page * kPage + random.below(kPage)] = static_cast<char>(writes);
      expected.insert(page);
    }
    REQUIRE(written(false) == expected);
    REQUIRE(written_by_parts(true) == expected);
    REQUIRE(written_by_parts(false) == expected);
    REQUIRE(written(true) == expected);
    REQUIRE(written(true).empty());
  }
}

TEST_CASE_FIXTURE(Fixture, "released pages count as written, with what was written before, until protected again") {
  if (!can_watch) return;
  REQUIRE(protect());
  memory[7 * kPage] = 1;
  watch.release({range.begin + 20 * kPage, range.begin + 23 * kPage});
  CHECK(written(false) == std::set<std::size_t>{7, 20, 21, 22});
  memory[20 * kPage] = 1;
  CHECK(written(true) == std::set<std::size_t>{7, 20, 21, 22});
  CHECK(written(false).empty());
}

TEST_CASE_FIXTURE(Fixture, "a write by the kernel is told like any other, and succeeds") {
  if (!can_watch) return;
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  REQUIRE(protect());
  REQUIRE(write(ends[1], "abc", 3) == 3);
  REQUIRE(read(ends[0], memory + 42 * kPage, 3) == 3);
  CHECK(memory[42 * kPage + 2] == 'c');
  CHECK(written(false) == std::set<std::size_t>{42});
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE_FIXTURE(Fixture, "a forked child writes as it likes, and its parent is still watched") {
  if (!can_watch) return;
  REQUIRE(protect());
  const pid_t child = fork();
  if (child == 0) {
    watch.fork_child();
    memory[0] = 2;
    memory[kPage] = 2;
    _exit(0);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  memory[6 * kPage] = 3;
  CHECK(written(false) == std::set<std::size_t>{6});
}

TEST_CASE_FIXTURE(Fixture, "memory that is not watched, any more or at all, is refused") {
  if (!can_watch) return;
  REQUIRE(protect());
  watch.fork_child();  // closes the file
  CHECK(!protect());
  CHECK(!pagemap.for_each_written_run(
      range, false, [](scan::AddressRange, void*) {}, nullptr));
  REQUIRE(watch.prepare(range));
  CHECK(protect());
  pagemap.close();
  CHECK(!protect());
  parts.cut(pagemap, range);
  parts.ask();
  CHECK(!parts.for_each_run([](scan::AddressRange, void*) {}, nullptr));
}
