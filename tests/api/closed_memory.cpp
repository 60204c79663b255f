// args: concurrent stopped
// Memory that cannot be read as usual: pages of a live block that the program has closed, which hold a pointer all the
// same, a file mapping that was cut short, and mappings that come and go while scans run. Nothing crashes.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "tests/check.h"
#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPages = 16;

char* volatile g_block = nullptr;
std::vector<void*> g_ballast;  // a heap worth a concurrent mark

void** word_of(std::size_t page) { return reinterpret_cast<void**>(g_block + page * kPage + 64); }

[[gnu::noinline]] void store_in_and_beside_closed_pages() {
  *word_of(1) = reveal(allocate_hidden());
  *word_of(6) = reveal(allocate_hidden());
  *word_of(kPages - 2) = reveal(allocate_hidden());
}

long scan(bool stopped, std::uint32_t mark) {
  arena_scan_options options{};
  options.size = sizeof(options);
  options.born_since = mark;
  options.stop = stopped ? 1 : 0;
  arena_scan_result result{};
  result.size = sizeof(result);
  CHECK(arena_scan_ex(&options, &result) == 0);
  CHECK(result.incomplete == ARENA_COMPLETE);
  return static_cast<long>(result.leaked.objects);
}

void* map_private(int file, std::size_t bytes) {
  return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
}

}  // namespace

int main(int, char** argv) {
  const bool stopped = std::string_view(argv[1]) == "stopped";
  for (int i = 0; i < 40'000; ++i) g_ballast.push_back(std::calloc(1, 120));
  std::atomic<bool> done{false};
  std::thread maps([&done] {
    while (!done) {
      void* const memory = map_private(-1, kPages * kPage);
      static_cast<char*>(memory)[kPage] = 1;
      munmap(memory, kPages * kPage);
    }
  });

  g_block = static_cast<char*>(std::aligned_alloc(kPage, kPages * kPage));
  std::memset(g_block, 0, kPages * kPage);
  const std::uint32_t mark = arena_mark();
  store_in_and_beside_closed_pages();
  scrub_stack();
  mprotect(g_block + 5 * kPage, 4 * kPage, PROT_NONE);
  CHECK(scan(stopped, mark) == 0);
  *word_of(kPages - 2) = nullptr;
  scrub_stack();
  CHECK(scan(stopped, mark) == 1);
  mprotect(g_block + 5 * kPage, 4 * kPage, PROT_READ | PROT_WRITE);
  *word_of(6) = nullptr;
  mprotect(g_block + 5 * kPage, 4 * kPage, PROT_NONE);
  scrub_stack();
  CHECK(scan(stopped, mark) == 2);
  mprotect(g_block + 5 * kPage, 4 * kPage, PROT_READ | PROT_WRITE);

  std::FILE* const file = std::tmpfile();
  CHECK(ftruncate(fileno(file), kPages * kPage) == 0);
  char* const memory = static_cast<char*>(map_private(fileno(file), kPages * kPage));
  for (std::size_t page = 0; page < kPages; page += 2) memory[page * kPage] = 1;
  CHECK(ftruncate(fileno(file), 3 * kPage) == 0);
  for (int i = 0; i < 100; ++i) CHECK(scan(stopped, mark) == 2);

  done = true;
  maps.join();
  return finish();
}
