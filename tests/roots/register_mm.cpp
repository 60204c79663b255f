// An MMX register, which lies in the x87 state.
#include "tests/roots/register_test.h"

using namespace arenascan::test;

[[gnu::noinline]] static void spin() {
  ARENA_SPIN_WITH("movq %%rax, %%mm3\n",
                  "pxor %%mm3, %%mm3\n"
                  "emms\n",
                  "mm3");
}

int main(int, char** argv) { return register_test(argv, spin); }
