// A local variable of a fiber that is switched out, whose stack lies on the heap, or was mapped.
// args: heap heap-off mapped mapped-off
#include <ucontext.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 16;
ucontext_t g_home;
ucontext_t g_fiber;
void* g_stack = nullptr;  // what holds a stack on the heap
void* volatile* g_place = nullptr;

void run() {
  void* volatile place = nullptr;
  g_place = &place;
  swapcontext(&g_fiber, &g_home);
}

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

}  // namespace

int main(int, char** argv) {
  const bool is_mapped = std::string_view(argv[1]).starts_with("mapped");
  g_stack = is_mapped ? map_apart(kStackBytes) : std::calloc(1, kStackBytes);
  getcontext(&g_fiber);
  g_fiber.uc_stack.ss_sp = g_stack;
  g_fiber.uc_stack.ss_size = kStackBytes;
  g_fiber.uc_link = &g_home;
  makecontext(&g_fiber, run, 0);
  swapcontext(&g_home, &g_fiber);
  return root_test(argv, is_mapped ? "use_mappings" : "use_globals", store, clear);
}
