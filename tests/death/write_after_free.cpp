// dies: ^arenascan: write after free: 17 bytes into a block of 100 bytes at 0x.* that was freed before; allocated
#include <cstdlib>

extern "C" const char* arena_default_options() { return "quarantine_mib=1"; }

int main() {
  char* volatile p = static_cast<char*>(std::malloc(100));
  std::free(p);
  static_cast<volatile char*>(p)[17] = 1;
  for (int i = 0; i < 100; ++i) {
    void* volatile other = std::malloc(100'000);
    std::free(other);
  }
}
