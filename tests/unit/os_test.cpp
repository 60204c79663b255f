// The operating system's contract, and text without allocation.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "alloc/check.h"
#include "alloc/os.h"

using namespace arenascan::alloc;

TEST_CASE("reserved memory is aligned, committed memory zero, decommitted memory zero again") {
  for (std::size_t alignment = kOsPageBytes; alignment <= std::size_t{1} << 30; alignment *= 16) {
    constexpr std::size_t kBytes = 5 * kOsPageBytes;
    void* const memory = os_reserve(kBytes, alignment);
    REQUIRE(memory != nullptr);
    CHECK(reinterpret_cast<std::uintptr_t>(memory) % alignment == 0);
    auto* const bytes = static_cast<unsigned char*>(memory) + kOsPageBytes;
    REQUIRE(os_commit(bytes, 2 * kOsPageBytes));
    CHECK(bytes[100] == 0);
    std::memset(bytes, 1, 2 * kOsPageBytes);
    CHECK(os_decommit(bytes, kOsPageBytes));
    CHECK(bytes[100] == 0);
    CHECK(bytes[kOsPageBytes] == 1);
    os_release(memory, kBytes);
  }
  errno = 4711;
  CHECK(os_reserve(std::size_t{1} << 60, kOsPageBytes) == nullptr);
  CHECK(!os_commit(reinterpret_cast<void*>(kOsPageBytes), kOsPageBytes));
  CHECK(errno == 4711);
}

TEST_CASE("populated memory is resident before it is touched, and zero") {
  constexpr std::size_t kPages = 16;
  void* const memory = os_reserve(kPages * kOsPageBytes, kOsPageBytes);
  REQUIRE(memory != nullptr);
  REQUIRE(os_commit(memory, kPages * kOsPageBytes));
  const bool is_possible = madvise(memory, kOsPageBytes, MADV_POPULATE_WRITE) == 0;
  errno = 4711;
  os_populate(memory, kPages * kOsPageBytes);
  CHECK(errno == 4711);
  std::array<unsigned char, kPages> resident{};
  REQUIRE(mincore(memory, kPages * kOsPageBytes, resident.data()) == 0);
  if (is_possible) {
    for (const unsigned char page : resident) CHECK((page & 1) == 1);
  } else {
    MESSAGE("this kernel cannot populate (Linux before 5.14): residency was not checked");
  }
  CHECK(*static_cast<const unsigned char*>(memory) == 0);
  os_release(memory, kPages * kOsPageBytes);
}

TEST_CASE("files are read and written whole, failures are told without errno") {
  char buffer[100'000];
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK(os_write_all(ends[1], "hello", 5) == 0);
  CHECK(read(ends[0], buffer, sizeof(buffer)) == 5);
  close(ends[0]);
  close(ends[1]);
  errno = 4711;
  CHECK(os_write_all(ends[1], "hello", 5) == EBADF);
  CHECK(os_read_file("/no/such/file", buffer, sizeof(buffer)) == -ENOENT);
  CHECK(os_read_file("/proc/self/task", buffer, sizeof(buffer)) == -EISDIR);
  CHECK(os_read_file("/proc/self/stat", buffer, 4) == 4);
  CHECK(os_read_file("/proc/self/status", buffer, sizeof(buffer)) > 100);
  CHECK(errno == 4711);
  CHECK(os_process_id() == getpid());
}

TEST_CASE("sleeping takes as long as it says") {
  const std::uint64_t before = os_monotonic_ns();
  os_sleep_ns(3'000'000);
  CHECK(os_monotonic_ns() - before >= 3'000'000);
}

TEST_CASE("code addresses belong to modules, others to none") {
  const CodePlace here = os_code_place(reinterpret_cast<std::uintptr_t>(&os_sleep_ns));
  REQUIRE(here.module != nullptr);
  CHECK(std::string(here.module).empty());  // the main program
  const CodePlace libc = os_code_place(reinterpret_cast<std::uintptr_t>(&getpid));
  REQUIRE(libc.module != nullptr);
  CHECK(os_code_place(1).module == nullptr);
}

TEST_CASE("text in a fixed buffer, cut where it ends") {
  FixedText text;
  text.text("n=").decimal(0).text(" ").decimal(UINT64_MAX).text(" ").hex(0).text(" ").hex(0xDEADBEEF);
  CHECK(text.view() == "n=0 18446744073709551615 0x0 0xdeadbeef");
  for (int i = 0; i < 300; ++i) text.text("0123456789");
  CHECK(text.view().size() == 1024);
}
