// Memory that the program mapped itself: sixteen megabytes, of which one page was ever touched.
#include <sys/mman.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

static void** volatile g_place = nullptr;

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

int main(int, char** argv) {
  constexpr std::size_t kBytes = std::size_t{16} << 20;
  void* const mapping = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  g_place = reinterpret_cast<void**>(static_cast<char*>(mapping) + kBytes / 2 + 8);
  return root_test(argv, "use_mappings", store, clear);
}
