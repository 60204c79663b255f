// A pointer in the data of a library goes with the library.
// args: -
#include <dlfcn.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

void* g_library = nullptr;

[[gnu::noinline]] void store(Hidden hidden) {
  *static_cast<void**>(dlsym(g_library, "g_library_pointer")) = reveal(hidden);
}

}  // namespace

int main() {
  g_library = dlopen(ARENA_TEST_LIB_DIR "/libroot_library.so", RTLD_NOW);
  if (g_library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  const std::uint32_t mark = arena_mark();
  store(allocate_hidden());
  scrub_stack();
  int failures = expect("library open", leaked_since(mark), 0);
  failures += expect("dlclose", dlclose(g_library), 0);
  scrub_stack();
  return failures + expect("library closed", leaked_since(mark), 1);
}
