// Ranges that the program registered, and what it has done to them since: unmapped, closed, a file cut short. What is
// left of them is read; what is gone does no harm.
#include <sys/mman.h>
#include <unistd.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

static constexpr std::size_t kPage = 4096;
static constexpr std::size_t kBytes = 64 * kPage;

static char* g_closed = nullptr;
static void** volatile g_place = nullptr;

[[gnu::noinline]] static void store_and_close(void* p) {
  mprotect(g_closed, kBytes, PROT_READ | PROT_WRITE);
  *g_place = p;
  mprotect(g_closed, kBytes, PROT_NONE);
}
[[gnu::noinline]] void store(Hidden hidden) { store_and_close(reveal(hidden)); }
[[gnu::noinline]] void clear() { store_and_close(nullptr); }

static char* map_and_register(int flags, int file) {
  void* const mapping = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, flags, file, 0);
  if (mapping == MAP_FAILED || arena_add_root(mapping, kBytes) != 0) return nullptr;
  std::memset(mapping, 1, kBytes);
  return static_cast<char*>(mapping);
}

// Whether a pointer that is left in a range is found there, whatever became of the rest.
static int check_holds(const char* what, void** place) {
  const std::uint32_t mark = arena_mark();
  *place = reveal(allocate_hidden());
  scrub_stack();
  int failed = expect(what, leaked_since(mark), 0);
  *place = nullptr;
  failed += expect(what, leaked_since(mark), 1);
  return failed;
}

int main(int, char** argv) {
  const int file = memfd_create("cut", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, kBytes) != 0) return 1;
  char* const gone = map_and_register(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char* const holed = map_and_register(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char* const cut = map_and_register(MAP_SHARED, file);
  char* const cut_private = map_and_register(MAP_PRIVATE, file);
  g_closed = map_and_register(MAP_SHARED | MAP_ANONYMOUS, -1);
  if (gone == nullptr || holed == nullptr || cut == nullptr || cut_private == nullptr || g_closed == nullptr) return 1;

  munmap(gone, kBytes);
  munmap(holed + 8 * kPage, 8 * kPage);
  if (ftruncate(file, 21 * kPage + 100) != 0) return 1;
  if (std::getenv("ARENA_ROOT_SWITCHED_OFF") == nullptr) {
    int failed = check_holds("behind a hole", reinterpret_cast<void**>(holed + 40 * kPage));
    failed += check_holds("before a file's end", reinterpret_cast<void**>(cut + 20 * kPage + 40));
    failed += check_holds("on a file's last page", reinterpret_cast<void**>(cut + 21 * kPage + 40));
    failed += check_holds("in a private copy of a file", reinterpret_cast<void**>(cut_private + 3 * kPage));
    if (failed != 0) return 1;
  }
  g_place = reinterpret_cast<void**>(g_closed + kBytes - 16);
  return root_test(argv, "use_root_regions", store, clear);
}
