// The upper half of a 256-bit vector register; of a thread that no signal reaches, too.
// args: on off deaf-on deaf-off
#include "tests/roots/deaf.h"

using namespace arenascan::test;

static bool g_is_deaf = false;

[[gnu::noinline]] static void spin() {
  if (g_is_deaf) block_all_signals();
  ARENA_SPIN_WITH(
      "vmovq %%rax, %%xmm6\n"
      "vpxor %%ymm7, %%ymm7, %%ymm7\n"
      "vinserti128 $1, %%xmm6, %%ymm7, %%ymm7\n"
      "vpxor %%xmm6, %%xmm6, %%xmm6\n",
      "vpxor %%ymm7, %%ymm7, %%ymm7\n"
      "vzeroupper\n",
      "xmm6", "xmm7");
}

int main(int, char** argv) {
  if (!__builtin_cpu_supports("avx2")) {
    std::fprintf(stderr, "NOT TESTED: this processor has no AVX2\n");
    return 0;
  }
  g_is_deaf = std::string_view(argv[1]).starts_with("deaf");
  return g_is_deaf ? deaf_register_test(argv, spin) : register_test(argv, spin);
}
