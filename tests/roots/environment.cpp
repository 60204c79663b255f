// A string in the environment, whose table belongs to the C library.
#include "tests/roots/root_test.h"

using namespace arenascan::test;

namespace {

char g_plain[] = "ARENA_TEST=plain";

// In place of the one that has the name already: the table stays.
[[gnu::noinline]] void store(Hidden hidden) {
  char* const text = static_cast<char*>(reveal(hidden));
  std::strcpy(text, "ARENA_TEST=held");
  putenv(text);
}
[[gnu::noinline]] void clear() { putenv(g_plain); }

}  // namespace

int main(int, char** argv) {
  unsetenv("ARENA_TEST");  // in the table that the kernel has put on the stack, where it would be replaced
  putenv(g_plain);
  return root_test(argv, "use_globals", store, clear);
}
