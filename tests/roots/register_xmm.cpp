// A vector register.
#include "tests/roots/register_test.h"

using namespace arenascan::test;

[[gnu::noinline]] static void spin() { ARENA_SPIN_WITH("movq %%rax, %%xmm7\n", "pxor %%xmm7, %%xmm7\n", "xmm7"); }

int main(int, char** argv) { return register_test(argv, spin); }
