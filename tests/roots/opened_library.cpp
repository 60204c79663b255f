// A global variable of a library opened with dlopen.
#include <dlfcn.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

void** volatile g_place = nullptr;

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

int main(int, char** argv) {
  void* const library = dlopen(ARENA_TEST_LIB_DIR "/libroot_library.so", RTLD_NOW);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  g_place = static_cast<void**>(dlsym(library, "g_library_pointer"));
  return root_test(argv, "use_globals", store, clear);
}
