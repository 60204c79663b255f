// What a function that is registered to run at exit will get.
#include <cstdlib>

#include "tests/roots/root_test.h"

using namespace arenascan::test;

static void at_exit(int, void*) {}

[[gnu::noinline]] static void store(Hidden hidden) { on_exit(at_exit, reveal(hidden)); }

// What is registered cannot be taken back.
int main(int, char** argv) {
  const bool is_off = std::strcmp(argv[1], "off") == 0;
  if (is_off) switch_off("use_globals", argv);
  const std::uint32_t mark = arena_mark();
  store(allocate_hidden());
  scrub_stack();
  return expect(is_off ? "switched off" : "registered", leaked_since(mark), is_off ? 1 : 0);
}
