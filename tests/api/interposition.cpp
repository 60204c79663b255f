// The program's malloc and operator new reach this allocator, although libmimalloc.so, which defines both, is loaded
// too.
#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>

#include <arenascan/arena.h>

#include "tests/check.h"

namespace {

bool is_loaded(const char* library) {
  return dl_iterate_phdr(
             [](dl_phdr_info* info, std::size_t, void* name) {
               return std::strstr(info->dlpi_name, static_cast<const char*>(name)) != nullptr ? 1 : 0;
             },
             const_cast<char*>(library)) == 1;
}

bool is_ours(void* symbol) {
  Dl_info info{};
  return dladdr(symbol, &info) != 0 && std::strstr(info.dli_fname, "libarenascan") != nullptr;
}

}  // namespace

int main() {
  CHECK(is_loaded("libmimalloc.so"));
  void* const mimalloc = dlopen("libmimalloc.so.2", RTLD_LAZY | RTLD_NOLOAD);
  CHECK(mimalloc != nullptr);
  CHECK(dlsym(mimalloc, "malloc") != nullptr && !is_ours(dlsym(mimalloc, "malloc")));
  using IsMimallocs = bool (*)(const void*);
  const auto is_mimallocs = reinterpret_cast<IsMimallocs>(dlsym(mimalloc, "mi_is_in_heap_region"));
  CHECK(is_mimallocs != nullptr);

  for (const char* name : {"malloc",
                           "calloc",
                           "realloc",
                           "reallocarray",
                           "free",
                           "memalign",
                           "aligned_alloc",
                           "posix_memalign",
                           "valloc",
                           "pvalloc",
                           "malloc_usable_size",
                           "free_sized",
                           "free_aligned_sized",
                           "cfree",
                           "_Znwm",
                           "_Znam",
                           "_ZnwmRKSt9nothrow_t",
                           "_ZnamRKSt9nothrow_t",
                           "_ZnwmSt11align_val_t",
                           "_ZnamSt11align_val_t",
                           "_ZnwmSt11align_val_tRKSt9nothrow_t",
                           "_ZnamSt11align_val_tRKSt9nothrow_t",
                           "_ZdlPv",
                           "_ZdaPv",
                           "_ZdlPvm",
                           "_ZdaPvm",
                           "_ZdlPvSt11align_val_t",
                           "_ZdaPvSt11align_val_t",
                           "_ZdlPvmSt11align_val_t",
                           "_ZdaPvmSt11align_val_t",
                           "_ZdlPvRKSt9nothrow_t",
                           "_ZdaPvRKSt9nothrow_t",
                           "_ZdlPvSt11align_val_tRKSt9nothrow_t",
                           "_ZdaPvSt11align_val_tRKSt9nothrow_t"}) {
    if (!is_ours(dlsym(RTLD_DEFAULT, name))) std::fprintf(stderr, "%s is not ours\n", name);
    CHECK(is_ours(dlsym(RTLD_DEFAULT, name)));
  }

  void* const blocks[] = {std::malloc(10), ::operator new(10), strdup("inside the C library"), std::calloc(3, 7)};
  for (void* block : blocks) {
    CHECK(arena_no_scan(block) == 0);  // an object of this heap
    CHECK(!is_mimallocs(block));
  }
  std::free(blocks[0]);
  ::operator delete(blocks[1]);
  std::free(blocks[2]);
  std::free(blocks[3]);
  return arenascan::test::finish();
}
