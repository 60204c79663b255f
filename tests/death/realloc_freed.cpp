// dies: ^arenascan: double free of 0x[0-9a-f]+: a block of 24 bytes
#include <cstdlib>

int main() {
  void* volatile p = std::malloc(24);
  std::free(p);
  void* volatile q = std::realloc(p, 1000);
  static_cast<void>(q);
}
