// dies: ^arenascan: invalid free of 0x[0-9a-f]+: freed already or never allocated
#include <cstdlib>

int main() {
  void* volatile p = std::malloc(10'000'000);
  std::free(p);
  std::free(p);
}
