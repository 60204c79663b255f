// A library opened with RTLD_DEEPBIND, as PHP opens its extensions: it would find the C library's malloc and free
// before ours, and objects cross over. The loader must still see who asked: $ORIGIN is the caller's directory.
#include <dlfcn.h>

#include <cstdlib>

#include "tests/check.h"

int main() {
  void* const library = dlopen("$ORIGIN/lib/libdeep_library.so", RTLD_NOW | RTLD_DEEPBIND);
  CHECK(library != nullptr);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  const auto library_free = reinterpret_cast<void (*)(void*)>(dlsym(library, "library_free"));
  const auto library_allocate = reinterpret_cast<void* (*)(std::size_t)>(dlsym(library, "library_allocate"));
  library_free(std::malloc(40));
  std::free(library_allocate(40));
  CHECK(dlopen("no-such-library.so", RTLD_NOW | RTLD_DEEPBIND) == nullptr);
  CHECK(dlerror() != nullptr);
  CHECK(dlclose(library) == 0);
  return arenascan::test::finish();
}
