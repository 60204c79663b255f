// dies: ^arenascan: interior free of 0x[0-9a-f]+: 7340032 bytes into a block of 10000000 bytes
#include <cstddef>
#include <cstdlib>

int main() {
  char* volatile p = static_cast<char*>(std::malloc(10'000'000));
  volatile std::size_t offset = 7 * 1024 * 1024;
  std::free(p + offset);
}
