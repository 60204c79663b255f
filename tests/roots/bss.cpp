// A zero-initialised global, deep inside a large array.
#include "tests/roots/root_test.h"

using namespace arenascan::test;

void* g_pointers[100'000];

[[gnu::noinline]] void store(Hidden hidden) { g_pointers[77'777] = reveal(hidden); }
[[gnu::noinline]] void clear() { g_pointers[77'777] = nullptr; }

int main(int, char** argv) { return root_test(argv, "use_globals", store, clear); }
