// A general register that functions keep for their callers.
#include "tests/roots/register_test.h"

using namespace arenascan::test;

[[gnu::noinline]] static void spin() { ARENA_SPIN_WITH("mov %%rax, %%r12\n", "xor %%r12d, %%r12d\n", "r12"); }

int main(int, char** argv) { return register_test(argv, spin); }
