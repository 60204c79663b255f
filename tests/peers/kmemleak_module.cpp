// kmemleak's test module, a library here: some objects are lost at once, some are in a list of the module's, by
// pointers into their middle, and in its data for each thread (the kernel's: for each processor). What its data holds
// is reached as long as it is loaded.
#include <dlfcn.h>

#include "tests/peers/lost.h"

using namespace arenascan::test;

namespace {

[[gnu::noinline]] void call(void* module, const char* name) {
  const auto function = reinterpret_cast<void (*)()>(dlsym(module, name));
  CHECK(function != nullptr);
  if (function != nullptr) function();
}

}  // namespace

int main() {
  void* const module = dlopen(ARENA_TEST_LIB_DIR "/libmodule.so", RTLD_NOW);
  if (module == nullptr) std::fprintf(stderr, "%s\n", dlerror());
  CHECK(module != nullptr);
  if (module == nullptr) return finish();
  const std::uint32_t mark = arena_mark();
  call(module, "load_module");
  expect_lost("while it is loaded", lost_since(mark), {13, 0});
  call(module, "unload_module");
  expect_lost("when its list is empty", lost_since(mark), {23, 0});
  CHECK(dlclose(module) == 0);
  // The loader keeps the data of threads until one has use for another module's.
  void* const again = dlopen(ARENA_TEST_LIB_DIR "/libmodule.so", RTLD_NOW);
  CHECK(again != nullptr);
  call(again, "load_module");
  expect_lost("when its data was replaced", lost_since(mark), {24 + 13, 0});
  return finish();
}
