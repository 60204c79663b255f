// dies: ^arenascan: mismatched free of 0x[0-9a-f]+: a block of 24 bytes .* that operator new allocated, by free
#include <cstdlib>

extern "C" const char* arena_default_options() { return "check_mismatch=1"; }

int main() {
  void* volatile p = ::operator new(24);
  std::free(p);
}
