// The object at the very beginning of the heap, lost: other reservations of the library end where the heap begins, and
// the library's own note of that address keeps nothing.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <arenascan/arena.hpp>

#include "tests/check.h"

namespace {

constexpr std::size_t kBytes = 48;

std::uintptr_t g_hidden = 0;  // complement of its address

// Before the C++ library allocates, which does so when it is loaded.
void lose_first_object() {
  void* volatile object = std::malloc(kBytes);
  g_hidden = ~reinterpret_cast<std::uintptr_t>(object);
  object = nullptr;
}
[[gnu::used, gnu::section(".preinit_array")]] void (*const kBeforeLibraries)() = lose_first_object;

// The heap lies as huge pages do.
bool is_heap_begin(std::uintptr_t address) { return address % (std::uintptr_t{1} << 21) == 0; }

}  // namespace

int main() {
  CHECK(is_heap_begin(~g_hidden));
  arena_scrub_stack();
  const arena::report found = arena::scan();
  CHECK(found.complete());
  CHECK(found.leaked.objects == 1);
  CHECK(found.leaked.bytes == kBytes);
  return arenascan::test::finish();
}
