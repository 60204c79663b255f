// dies: ^arenascan: interior free of 0x[0-9a-f]+: 16 bytes into a block of 100 bytes at 0x[0-9a-f]+; allocated by 0x
#include <cstddef>
#include <cstdlib>

int main() {
  char* volatile p = static_cast<char*>(std::malloc(100));
  volatile std::size_t offset = 16;
  std::free(p + offset);
}
