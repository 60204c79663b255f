// A global variable of the program, initialised.
#include "tests/roots/root_test.h"

using namespace arenascan::test;

static int g_other = 1;
void* g_pointer = &g_other;

[[gnu::noinline]] void store(Hidden hidden) { g_pointer = reveal(hidden); }
[[gnu::noinline]] void clear() { g_pointer = nullptr; }

int main(int, char** argv) { return root_test(argv, "use_globals", store, clear); }
