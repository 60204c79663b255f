// Memory that the program mapped itself and has closed, as a garbage collector closes the pages whose objects it moves.
#include <sys/mman.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

static void** volatile g_place = nullptr;

static constexpr std::size_t kBytes = std::size_t{1} << 20;
static char* g_mapping = nullptr;

[[gnu::noinline]] static void store_and_close(void* p) {
  mprotect(g_mapping, kBytes, PROT_READ | PROT_WRITE);
  *g_place = p;
  mprotect(g_mapping, kBytes, PROT_NONE);
}
[[gnu::noinline]] void store(Hidden hidden) { store_and_close(reveal(hidden)); }
[[gnu::noinline]] void clear() { store_and_close(nullptr); }

int main(int, char** argv) {
  g_mapping = static_cast<char*>(map_apart(kBytes));
  g_place = reinterpret_cast<void**>(g_mapping + kBytes / 2 + 4080);
  return root_test(argv, "use_mappings", store, clear);
}
