// dies: ^arenascan: double free of 0x[0-9a-f]+: a block of 40 bytes at 0x[0-9a-f]+ that is free already; allocated by
#include <cstdlib>

extern "C" const char* arena_default_options() { return "quarantine_mib=1"; }

int main() {
  void* volatile p = std::malloc(40);
  std::free(p);
  std::free(p);
}
