// The stack of a thread that has ended is no root, although the C library keeps it mapped. Memory that the program maps
// where such a stack was is one again.
// args: kept reused reused-off
#include <pthread.h>
#include <sys/mman.h>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

Hidden g_hidden = 0;
void* g_stack = nullptr;
std::size_t g_stack_bytes = 0;

[[gnu::noinline]] void put(void* volatile& place) { place = reveal(g_hidden); }

void* leave_behind(void*) {
  void* volatile places[1000] = {};
  put(places[0]);  // deeper than what runs when a thread ends
  pthread_attr_t attributes;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &g_stack, &g_stack_bytes);
  pthread_attr_destroy(&attributes);
  return nullptr;
}

void run_thread(std::size_t stack_bytes) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  pthread_t thread;
  pthread_create(&thread, &attributes, leave_behind, nullptr);
  pthread_join(thread, nullptr);
}

int test_kept() {
  const std::uint32_t mark = arena_mark();
  g_hidden = allocate_hidden();
  run_thread(std::size_t{1} << 20);
  scrub_stack();
  unsigned char resident = 0;
  if (mincore(g_stack, 4096, &resident) != 0) return expect("the stack is mapped", 0, 1);
  return expect("left on a dead stack", leaked_since(mark), 1);
}

void** volatile g_place = nullptr;

[[gnu::noinline]] void store(Hidden hidden) { *g_place = reveal(hidden); }
[[gnu::noinline]] void clear() { *g_place = nullptr; }

int test_reused(char** argv) {
  g_hidden = hide(nullptr);
  run_thread(std::size_t{256} << 20);  // more than the C library keeps
  void* const mapping =
      mmap(g_stack, g_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (mapping != g_stack) return expect("the stack's place is free", 0, 1);
  g_place = static_cast<void**>(mapping) + 1000;
  return root_test(argv, "use_mappings", store, clear);
}

}  // namespace

int main(int, char** argv) { return std::strcmp(argv[1], "kept") == 0 ? test_kept() : test_reused(argv); }
