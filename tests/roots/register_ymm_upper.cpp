// The upper half of a 256-bit vector register.
#include "tests/roots/register_test.h"

using namespace arenascan::test;

[[gnu::noinline]] static void spin() {
  const Hidden hidden = g_register_value;
  asm volatile(
      "mov %[hidden], %%rax\n"
      "test %%rax, %%rax\n"
      "jz 1f\n"
      "not %%rax\n"
      "1:\n"
      "vmovq %%rax, %%xmm6\n"
      "vpxor %%ymm7, %%ymm7, %%ymm7\n"
      "vinserti128 $1, %%xmm6, %%ymm7, %%ymm7\n"
      "vpxor %%xmm6, %%xmm6, %%xmm6\n"
      "xor %%eax, %%eax\n"
      "lock incl %[rounds]\n"
      "2: pause\n"
      "cmp %[hidden], %[value]\n"
      "je 2b\n"
      "vpxor %%ymm7, %%ymm7, %%ymm7\n"
      "vzeroupper\n"
      :
      : [hidden] "r"(hidden), [value] "m"(g_register_value), [rounds] "m"(g_register_rounds)
      : "xmm6", "xmm7", "rax", "cc", "memory");
}

int main(int, char** argv) {
  if (!__builtin_cpu_supports("avx2")) {
    std::fprintf(stderr, "NOT TESTED: this processor has no AVX2\n");
    return 0;
  }
  return register_test(argv, spin);
}
