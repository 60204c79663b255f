// A general register of a thread that no signal reaches.
#include "tests/roots/deaf.h"

using namespace arenascan::test;

[[gnu::noinline]] static void spin() {
  block_all_signals();
  ARENA_SPIN_WITH("mov %%rax, %%r13\n", "xor %%r13d, %%r13d\n", "r13");
}

int main(int, char** argv) { return deaf_register_test(argv, spin); }
