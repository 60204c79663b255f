// Lines of /proc/self/maps, and which pages have been touched.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <vector>

#include "scan/mappings.h"
#include "scan/pagemap.h"
#include "tests/unit/random.h"

using namespace arenascan;
using scan::Mapping;

TEST_CASE("lines of maps") {
  Mapping m;
  REQUIRE(scan::parse_mapping("7f0000001000-7f0000003000 rw-p 00000000 00:00 0 ", m));
  CHECK(m.range.begin == 0x7f0000001000);
  CHECK(m.range.end == 0x7f0000003000);
  CHECK((m.readable && m.writable && !m.shared && !m.file && !m.special));
  REQUIRE(
      scan::parse_mapping("55d000000000-55d000001000 r--p 00000000 fe:00 1234                       /usr/bin/a b", m));
  CHECK((m.readable && !m.writable && m.file && !m.special));
  REQUIRE(scan::parse_mapping("7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]", m));
  CHECK((m.writable && !m.file && !m.special));
  REQUIRE(scan::parse_mapping("7ffd00000000-7ffd00004000 r--p 00000000 00:00 0                          [vvar]", m));
  CHECK(m.special);
  REQUIRE(scan::parse_mapping("7f0000000000-7f0000001000 rw-s 00000000 00:06 42                         /dev/dri/card0",
                              m));
  CHECK((m.shared && m.special));
  REQUIRE(scan::parse_mapping("7f0000000000-7f0000001000 ---p 00000000 00:00 0", m));
  CHECK((!m.readable && !m.writable));
  for (const char* bad :
       {"", "x", "1000", "1000-2000", "1000-2000 ", "1000-2000 rw", "1000-zzzz rw-p 0 0:0 0", "-2000 rw-p"}) {
    CAPTURE(bad);
    CHECK(!scan::parse_mapping(bad, m));
  }
}

TEST_CASE("the process's own mappings are in order and hold its data") {
  scan::MappingTable mappings;
  REQUIRE(mappings.read({}));
  static int global = 1;
  int local = 2;
  int found = 0;
  std::uintptr_t last = 0;
  for (const Mapping& m : mappings) {
    CHECK(m.range.begin >= last);
    last = m.range.end;
    for (const int* p : {&global, &local}) {
      const auto at = reinterpret_cast<std::uintptr_t>(p);
      if (at >= m.range.begin && at < m.range.end) found += m.readable && m.writable && !m.shared ? 1 : 100;
    }
  }
  CHECK(found == 2);
}

TEST_CASE("a table that is read again follows what was mapped and unmapped meanwhile") {
  scan::MappingTable mappings;
  const auto holds = [&](std::uintptr_t address) {
    return std::any_of(mappings.begin(), mappings.end(), [&](const Mapping& m) {
      return address >= m.range.begin && address < m.range.end && m.writable && !m.shared;
    });
  };
  REQUIRE(mappings.read({}));
  REQUIRE(mappings.read({}));  // by now its own memory is mapped
  const std::size_t before = mappings.size();
  void* const memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  CHECK(!holds(address));
  REQUIRE(mappings.read({}));
  CHECK(holds(address));
  REQUIRE(mappings.read({}));
  CHECK(holds(address));
  munmap(memory, 4096);
  REQUIRE(mappings.read({}));
  CHECK(!holds(address));
  CHECK(mappings.size() == before);
}

// Mappings of every kind at random, one after the other.
TEST_CASE("questions are answered as the text tells it, but for what need not be told") {
  test::Random random(3);
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  REQUIRE(ftruncate(fileno(file), 64 * 4096) == 0);
  const int in_dev = open("/dev/shm", O_TMPFILE | O_RDWR, 0600);  // a path in /dev that is no device
  REQUIRE(in_dev >= 0);
  REQUIRE(ftruncate(in_dev, 64 * 4096) == 0);
  bool left_any_out = false;
  bool left_any_sealed_out = false;
  scan::MappingTable answers;
  scan::MappingTable text(scan::MappingTable::Way::kText);
  std::vector<void*> mapped;
  for (int round = 0; round < 100; ++round) {
    const int protections[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};
    const int sharing = random.below(4) == 0 ? MAP_SHARED : MAP_PRIVATE;
    const int fd = random.below(2) == 0 ? -1 : random.below(2) == 0 ? fileno(file) : in_dev;
    void* const memory =
        mmap(nullptr, 64 * 4096, protections[random.below(4)], sharing | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    REQUIRE(memory != MAP_FAILED);
    mapped.push_back(memory);
    if (random.below(2) == 0) {
      mprotect(static_cast<char*>(memory) + random.below(64) * 4096, 4096, protections[random.below(4)]);
    }
    if (mapped.size() > 20) {
      munmap(mapped.front(), 64 * 4096);
      mapped.erase(mapped.begin());
    }
    std::vector<scan::AddressRange> without;
    std::vector<scan::AddressRange> sealed;  // some of one mapping, some of several, some with room between them
    for (const Mapping& m : text) {
      if (random.below(3) == 0) {
        without.push_back(m.range);
      } else if (random.below(3) == 0 && m.range.end < ~std::uintptr_t{0} >> 1) {
        const scan::AddressRange range{m.range.begin, m.range.end + random.below(3) * 4096};
        const bool touches = !sealed.empty() && sealed.back().end >= range.begin;
        touches ? static_cast<void>(sealed.back().end = range.end) : sealed.push_back(range);
      }
    }
    REQUIRE(answers.read(without, sealed));
    REQUIRE(text.read({}));  // the last one: it must not map anything that the other has not seen
    const Mapping* answer = answers.begin();
    for (const Mapping& told : text) {
      CAPTURE(told.range.begin);
      if (answer == answers.end() || answer->range.begin != told.range.begin) {
        const bool vsyscall = told.range.begin >= ~std::uintptr_t{0} >> 1;  // of no process, and not a root
        const auto holds = [&](const scan::AddressRange& range) {
          return range.begin <= told.range.begin && told.range.end <= range.end;
        };
        const bool left_out = std::any_of(without.begin(), without.end(), holds);
        const bool is_sealed = !told.writable && std::any_of(sealed.begin(), sealed.end(), holds);
        CHECK((left_out || is_sealed || (vsyscall && told.special)));
        left_any_out = left_any_out || left_out;
        left_any_sealed_out = left_any_sealed_out || (is_sealed && !left_out);
        continue;
      }
      CHECK(answer->range.end == told.range.end);
      CHECK(answer->readable == told.readable);
      CHECK(answer->writable == told.writable);
      CHECK(answer->shared == told.shared);
      CHECK(answer->file == told.file);
      const auto special = told.special ? scan::MappingTable::Answer::kYes : scan::MappingTable::Answer::kNo;
      CHECK(scan::MappingTable::is_special(*answer) == special);
      ++answer;
    }
    CHECK(answer == answers.end());
  }
  for (void* const memory : mapped) munmap(memory, 64 * 4096);
  CHECK(left_any_sealed_out == left_any_out);
  if (!left_any_out)
    MESSAGE("this kernel answers no questions about mappings (Linux 6.11 does): the text was tested only");
  close(in_dev);
  std::fclose(file);
}

TEST_CASE("of a private mapping of a file, pages that were written are told") {
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  constexpr std::size_t kPages = 8;
  REQUIRE(ftruncate(fileno(file), kPages * 4096) == 0);
  void* const memory = mmap(nullptr, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fileno(file), 0);
  REQUIRE(memory != MAP_FAILED);
  auto* const bytes = static_cast<volatile char*>(memory);
  for (std::size_t page = 0; page < kPages; ++page) static_cast<void>(bytes[page * 4096]);
  bytes[5 * 4096] = 1;
  std::vector<scan::AddressRange> runs;
  scan::Pagemap pagemap;
  pagemap.open(scan::Pagemap::Beside::kProgram);
  const auto base = reinterpret_cast<std::uintptr_t>(memory);
  REQUIRE(pagemap.for_each_touched_run(
      {base, base + kPages * 4096},
      [](scan::AddressRange run, void* to) { static_cast<std::vector<scan::AddressRange>*>(to)->push_back(run); },
      &runs));
  REQUIRE(runs.size() == 1);
  CHECK((runs[0].begin == base + 5 * 4096 && runs[0].end == base + 6 * 4096));
  munmap(memory, kPages * 4096);
  std::fclose(file);
}

namespace {

// Whether the runs of touched pages of a mapping, and of a part of it, are those that were touched.
bool are_touched_runs_right() {
  constexpr std::size_t kPages = 3'000;
  void* const memory = mmap(nullptr, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  const auto base = reinterpret_cast<std::uintptr_t>(memory);
  for (const std::size_t page : {std::size_t{0}, std::size_t{1}, std::size_t{511}, std::size_t{512}, kPages - 1}) {
    *reinterpret_cast<char*>(base + page * 4096) = 1;
  }
  scan::Pagemap pagemap;
  pagemap.open(scan::Pagemap::Beside::kProgram);
  const auto is_told = [&](scan::AddressRange range, const std::vector<scan::AddressRange>& expected) {
    std::vector<scan::AddressRange> runs;
    const auto collect = [](scan::AddressRange run, void* to) {
      static_cast<std::vector<scan::AddressRange>*>(to)->push_back(run);
    };
    const auto is_same = [](const scan::AddressRange& a, const scan::AddressRange& b) {
      return a.begin == b.begin && a.end == b.end;
    };
    return pagemap.for_each_touched_run(range, collect, &runs) &&
           std::equal(runs.begin(), runs.end(), expected.begin(), expected.end(), is_same);
  };
  const bool is_right = is_told({base, base + kPages * 4096}, {{base, base + 2 * 4096},
                                                               {base + 511 * 4096, base + 513 * 4096},
                                                               {base + (kPages - 1) * 4096, base + kPages * 4096}}) &&
                        is_told({base + 100, base + 4096 + 100}, {{base + 100, base + 4096 + 100}}) &&
                        is_told({base + 2 * 4096, base + 511 * 4096}, {});
  munmap(memory, kPages * 4096);
  return is_right;
}

// From here on the kernel answers no ioctl, as one that does not know the question.
bool deny_ioctl() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(rules), rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

TEST_CASE("only touched pages are told, also of a range that begins and ends inside pages") {
  CHECK(are_touched_runs_right());
}

TEST_CASE("the same where the kernel does not tell runs (Linux before 6.7)") {
  enum Status { kRight, kWrong, kNoFilter };
  const pid_t child = fork();
  REQUIRE(child != -1);
  if (child == 0) _exit(!deny_ioctl() ? kNoFilter : are_touched_runs_right() ? kRight : kWrong);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNoFilter) {
    MESSAGE("system calls cannot be filtered here: not checked");
  } else {
    CHECK(WEXITSTATUS(status) == kRight);
  }
}
