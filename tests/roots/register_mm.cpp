// An MMX register, which lies in the x87 state.
#include "tests/roots/register_test.h"

using namespace arenascan::test;

// Loads the hidden value, reveals it inside the register, counts the round, spins, and empties the registers it used.
[[gnu::noinline]] static void spin() {
  const Hidden hidden = g_register_value;
  asm volatile(
      "mov %[hidden], %%rax\n"
      "test %%rax, %%rax\n"
      "jz 1f\n"
      "not %%rax\n"
      "1:\n"
      "movq %%rax, %%mm3\n"
      "xor %%eax, %%eax\n"
      "lock incl %[rounds]\n"
      "2: pause\n"
      "cmp %[hidden], %[value]\n"
      "je 2b\n"
      "pxor %%mm3, %%mm3\n"
      "emms\n"
      :
      : [hidden] "r"(hidden), [value] "m"(g_register_value), [rounds] "m"(g_register_rounds)
      : "mm3", "rax", "cc", "memory");
}

int main(int, char** argv) { return register_test(argv, spin); }
