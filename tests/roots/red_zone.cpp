// The last word of the red zone: the 128 bytes below its stack pointer that a function which calls nobody may use.
#include "tests/roots/register_test.h"

using namespace arenascan::test;

// Loads the hidden value, reveals it, puts it into its place, counts the round, spins, and empties the place.
[[gnu::noinline]] static void spin() {
  const Hidden hidden = g_register_value;
  asm volatile(
      "mov %[hidden], %%rax\n"
      "test %%rax, %%rax\n"
      "jz 1f\n"
      "not %%rax\n"
      "1:\n"
      "mov %%rax, -128(%%rsp)\n"
      "xor %%eax, %%eax\n"
      "lock incl %[rounds]\n"
      "2: pause\n"
      "cmp %[hidden], %[value]\n"
      "je 2b\n"
      "movq $0, -128(%%rsp)\n"
      :
      : [hidden] "r"(hidden), [value] "m"(g_register_value), [rounds] "m"(g_register_rounds)
      : "rax", "cc", "memory");
}

int main(int, char** argv) { return register_test(argv, spin, "use_stacks"); }
