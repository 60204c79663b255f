// dies: ^arenascan: interior free of 0x[0-9a-f]+: 7340032 bytes into a block of 10000000 bytes
#include <cstdlib>

int main() {
  char* volatile p = static_cast<char*>(std::malloc(10'000'000));
  std::free(p + 7 * 1024 * 1024);
}
