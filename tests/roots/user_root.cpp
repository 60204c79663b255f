// A range that the program registered: shared memory, which is no root by itself.
#include <sys/mman.h>

#include <cerrno>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

static void** volatile g_place = nullptr;

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

int main(int, char** argv) {
  void* const mapping = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  g_place = static_cast<void**>(mapping) + 5;
  if (arena_remove_root(mapping, 4096) == 0) return expect("removing what was never added", 0, -1);
  errno = 0;
  if (arena_add_root(mapping, SIZE_MAX) == 0 || errno != EINVAL) return expect("a range beyond the end", 0, -1);
  arena_add_root(mapping, 4096);
  arena_add_root(mapping, 4096);
  arena_remove_root(mapping, 4096);  // counted: one registration is left
  return root_test(argv, "use_root_regions", store, clear);
}
