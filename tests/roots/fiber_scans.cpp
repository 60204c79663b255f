// The scan is called on a fiber, whose stack lies on the heap, or was mapped. What the fiber holds is held by the stack
// it runs on; what its caller holds lies on a stack that no thread runs on at the moment.
// args: heap mapped mapped-off caller
#include <ucontext.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

constexpr std::size_t kStackBytes = std::size_t{1} << 18;
ucontext_t g_home;
ucontext_t g_fiber;
void* g_stack = nullptr;
char** g_arguments = nullptr;
int g_failures = 1;
void* volatile* g_place = nullptr;

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

void run() {
  void* volatile place = nullptr;
  if (g_place == nullptr) g_place = &place;
  g_failures = root_test(g_arguments, "use_stacks", store, clear);
}

}  // namespace

int main(int, char** argv) {
  g_arguments = argv;
  const std::string_view what = argv[1];
  g_stack = what.starts_with("heap") ? std::calloc(1, kStackBytes) : map_apart(kStackBytes);
  void* volatile place = nullptr;
  if (what == "caller") g_place = &place;
  getcontext(&g_fiber);
  g_fiber.uc_stack.ss_sp = g_stack;
  g_fiber.uc_stack.ss_size = kStackBytes;
  g_fiber.uc_link = &g_home;
  makecontext(&g_fiber, run, 0);
  swapcontext(&g_home, &g_fiber);
  return g_failures;
}
