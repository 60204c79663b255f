// The last word of the red zone: the 128 bytes below its stack pointer that a function which calls nobody may use.
#include "tests/roots/register_test.h"

using namespace arenascan::test;

[[gnu::noinline]] static void spin() { ARENA_SPIN_WITH("mov %%rax, -128(%%rsp)\n", "movq $0, -128(%%rsp)\n"); }

int main(int, char** argv) { return register_test(argv, spin, "use_stacks"); }
