// What AVX-512 adds: the upper half of a 512-bit register, one of the sixteen registers more, a mask register.
// args: upper upper-off more more-off mask mask-off
#include "tests/roots/register_test.h"

using namespace arenascan::test;

// The compiler uses none of the registers that only AVX-512 has.
[[gnu::noinline]] static void spin_upper() {
  ARENA_SPIN_WITH(
      "vmovq %%rax, %%xmm6\n"
      "vpxord %%zmm7, %%zmm7, %%zmm7\n"
      "vinserti32x4 $2, %%xmm6, %%zmm7, %%zmm7\n"
      "vpxor %%xmm6, %%xmm6, %%xmm6\n",
      "vpxord %%zmm7, %%zmm7, %%zmm7\n"
      "vzeroupper\n",
      "xmm6", "xmm7");
}

[[gnu::noinline]] static void spin_more() {
  ARENA_SPIN_WITH("vmovq %%rax, %%xmm17\n", "vpxord %%zmm17, %%zmm17, %%zmm17\n");
}

[[gnu::noinline]] static void spin_mask() { ARENA_SPIN_WITH("kmovq %%rax, %%k3\n", "kxorq %%k3, %%k3, %%k3\n"); }

int main(int, char** argv) {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) {
    std::fprintf(stderr, "NOT TESTED: this processor has no AVX-512\n");
    return 0;
  }
  const std::string_view which = argv[1];
  return register_test(argv, which.starts_with("upper")  ? spin_upper
                             : which.starts_with("more") ? spin_more
                                                         : spin_mask);
}
