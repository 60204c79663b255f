// Memory that the program mapped, wrote to and made read-only, in a process of few mappings and of many.
// args: on off many many-off
#include <sys/mman.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

constexpr std::size_t kPage = 4096;
void** g_place = nullptr;

void put(void* pointer) {
  mprotect(g_place, kPage, PROT_READ | PROT_WRITE);
  *g_place = pointer;
  mprotect(g_place, kPage, PROT_READ);
}

[[gnu::noinline]] void store(Hidden hidden) { put(reveal(hidden)); }
[[gnu::noinline]] void clear() { put(nullptr); }

void* map(std::size_t bytes) {
  return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

}  // namespace

int main(int, char** argv) {
  g_place = static_cast<void**>(map(kPage));
  if (std::string_view(argv[1]).starts_with("many")) {
    char* const pages = static_cast<char*>(map(2'000 * kPage));
    for (std::size_t i = 0; i < 2'000; i += 2) mprotect(pages + i * kPage, kPage, PROT_NONE);
  }
  return root_test(argv, "use_mappings", store, clear);
}
