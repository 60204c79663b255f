// dies: ^arenascan: double free of 0x[0-9a-f]+: a block of 40 bytes at 0x[0-9a-f]+ that is free already; allocated by
// 0x
#include <cstdlib>

int main() {
  void* volatile p = std::malloc(40);
  std::free(p);
  std::free(p);
}
